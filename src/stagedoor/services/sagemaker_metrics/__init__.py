"""SageMaker Metrics: what experiments measure, step by step."""
