"""What scripts import as sagemaker_training, for scripts that run in stagedoor."""
