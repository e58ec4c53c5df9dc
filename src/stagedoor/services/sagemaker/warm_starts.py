"""What a tuning job takes over from earlier ones: WarmStartConfig.

Place in the flow: CreateHyperParameterTuningJob calls ``parents`` and stores what it gives, so that the earlier jobs may be
deleted afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagedoor.domain import tuning_trials
from stagedoor.services.call import Call
from stagedoor.services.sagemaker import names, trials
from stagedoor.services.sagemaker.names import TUNING_JOB, validation

_TERMINAL = ("Completed", "Failed", "Stopped")
_TRIALS_AT_MOST = 500


def parents(
    call: Call, warm_start: Mapping[str, Any] | None, strategy: str, definitions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The trials that have an objective: their ``hyperparameters``, ``value`` and ``summary``. ValidationException otherwise."""
    if warm_start is None:
        return []
    if strategy == "Grid":
        raise validation(
            "WarmStartConfig has no use with the Grid strategy, which tries every combination once."
        )
    if len(definitions) > 1:
        raise validation(
            "WarmStartConfig can be used with TrainingJobDefinition only, not with TrainingJobDefinitions."
        )
    found: list[dict[str, Any]] = []
    for parent in warm_start["ParentHyperParameterTuningJobs"]:
        name = parent.get("HyperParameterTuningJobName", "")
        record = call.house.records.get(names.key(call, TUNING_JOB, name)) if name else None
        if record is None:
            raise validation(
                f'WarmStartConfig: could not find the parent hyperparameter tuning job "{name}".'
            )
        status = record.document["HyperParameterTuningJobStatus"]
        if status not in _TERMINAL:
            raise validation(f"WarmStartConfig: the parent {name} is in status {status}; it must have ended.")
        if warm_start["WarmStartType"] == "IdenticalDataAndAlgorithm":
            _check_identical(name, record.document["definitions"], definitions[0])
        for trial in trials.summaries(call, record.document):
            value = tuning_trials.value_of(trial)
            if value is None:
                continue
            static = record.document["definitions"][trial["definition"]]["static"]
            summary = names.public(trial) | {"TuningJobName": record.document["HyperParameterTuningJobName"]}
            found.append(
                {
                    "hyperparameters": static | trial["TunedHyperParameters"],
                    "value": value,
                    "summary": summary,
                }
            )
    if len(found) > _TRIALS_AT_MOST:
        raise validation(
            f"WarmStartConfig: the parents have {len(found)} training jobs, more than {_TRIALS_AT_MOST}."
        )
    return found


def _check_identical(name: str, theirs: Sequence[Mapping[str, Any]], mine: Mapping[str, Any]) -> None:
    """Same image, same data, same objective, same number of hyperparameters, whether static or not."""
    if len(theirs) > 1:
        raise validation(f"WarmStartConfig: the parent {name} has several training job definitions.")
    other = theirs[0]
    for what, same in (
        ("objective", other["objective"] == mine["objective"]),
        ("training image", _image(other) == _image(mine)),
        ("input data", _data(other) == _data(mine)),
        ("number of hyperparameters", _count(other) == _count(mine)),
    ):
        if not same:
            raise validation(
                f"WarmStartConfig: with IdenticalDataAndAlgorithm the {what} must be that of the parent {name}. Use "
                "TransferLearning otherwise."
            )


def _image(definition: Mapping[str, Any]) -> str:
    return definition["template"]["AlgorithmSpecification"]["TrainingImage"]


def _data(definition: Mapping[str, Any]) -> list[Any]:
    return [
        (channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"])
        for channel in definition["template"]["InputDataConfig"]
    ]


def _count(definition: Mapping[str, Any]) -> int:
    return len(definition["static"]) + sum(len(each) for each in definition["ranges"].values())
