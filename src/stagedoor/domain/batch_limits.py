"""How requests to a model may be batched, as its environment variables say.

Place in the flow: CreateModel and CreateTransformJob check the variables, ``reconcile.programs`` puts what they say into a model
worker's spec. The names are those of AWS's PyTorch inference containers (TorchServe's batchSize and maxBatchDelay); here they
hold for every model.
"""

from collections.abc import Mapping
from typing import Final, TypedDict

BATCH_SIZE: Final = "SAGEMAKER_TS_BATCH_SIZE"
MAX_BATCH_DELAY: Final = "SAGEMAKER_TS_MAX_BATCH_DELAY"
_LARGEST = 2**31 - 1  # TorchServe's: an int of Java


class BatchLimits(TypedDict, total=False):
    """What the environment says, named as in ``worker.specs.ModelSpec``; a member that is not there is not limited by it."""

    max_batch_count: int
    max_batch_delay_s: float


class BatchLimitError(ValueError):
    """A variable's value cannot be used; the text names the variable and says what it may be."""


def of(environment: Mapping[str, str]) -> BatchLimits:
    """The limits that a model's environment sets. BatchLimitError for values that are no limits."""
    limits: BatchLimits = {}
    if BATCH_SIZE in environment:
        limits["max_batch_count"] = _number(
            environment, BATCH_SIZE, 1, "how many requests a batch has at most"
        )
    if MAX_BATCH_DELAY in environment:
        meaning = "how many milliseconds a request waits for others at most"
        limits["max_batch_delay_s"] = _number(environment, MAX_BATCH_DELAY, 0, meaning) / 1000
    return limits


def _number(environment: Mapping[str, str], name: str, least: int, meaning: str) -> int:
    text = environment[name].strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= _LARGEST):
        raise BatchLimitError(
            f"{name} is {environment[name]!r}. It says {meaning}: a whole number from {least} to {_LARGEST}."
        )
    return int(text)
