"""The names that scripts take from here: content types, encoders, environments, ``worker.Response``."""

from stagedoor.worker.script_facts import ServingEnv, TrainingEnv

from . import content_types, encoders, entry_point, env, errors, params, worker

__all__ = [
    "ServingEnv",
    "TrainingEnv",
    "content_types",
    "encoders",
    "entry_point",
    "env",
    "errors",
    "params",
    "training_env",
    "worker",
]


def training_env() -> TrainingEnv:
    """The training job's facts."""
    return TrainingEnv()
