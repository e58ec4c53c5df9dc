"""What older scripts import as sagemaker_containers, for scripts that run in stagedoor."""

from stagedoor.worker.script_facts import ServingEnv, TrainingEnv

__all__ = ["ServingEnv", "TrainingEnv", "training_env"]


def training_env() -> TrainingEnv:
    """The training job's folders, channels, hosts and hyperparameters."""
    return TrainingEnv()
