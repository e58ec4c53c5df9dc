"""``Environment()``: the training job's folders, channels, hosts and hyperparameters."""

from stagedoor.worker.script_facts import TrainingEnv as Environment

__all__ = ["Environment"]
