"""What scripts import as sagemaker_inference, for scripts that run in stagedoor."""
