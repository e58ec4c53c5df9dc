"""The environments of training and serving as objects."""

from stagedoor.worker.script_facts import ServingEnv, TrainingEnv

__all__ = ["ServingEnv", "TrainingEnv"]
