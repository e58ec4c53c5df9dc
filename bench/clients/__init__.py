"""Scripts that benchmarks run in the environments of SageMaker SDKs."""
