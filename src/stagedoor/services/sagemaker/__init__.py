"""SageMaker's control plane. Operations record intent; ``reconcile`` makes it true."""
