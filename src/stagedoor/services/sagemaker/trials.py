"""The training jobs of a tuning job as they are now.

Place in the flow: Describe and List operations of tuning jobs, and warm starts, ask here.
"""

from collections.abc import Mapping
from typing import Any

from stagedoor.domain import tuning_trials
from stagedoor.domain.tuning_trials import Summary
from stagedoor.services.call import Call
from stagedoor.services.sagemaker import names
from stagedoor.services.sagemaker.names import TRAINING_JOB


def summaries(call: Call, document: Mapping[str, Any]) -> list[Summary]:
    """All training jobs of a tuning job, as they are now, with the reconciler's own members."""
    found: list[Summary] = []
    for trial in document["trials"]:
        objective = document["definitions"][trial["definition"]]["objective"]
        job = None
        if not tuning_trials.is_over(trial):
            job = call.house.records.get(names.key(call, TRAINING_JOB, trial["TrainingJobName"]))
        found.append(tuning_trials.summary(trial, job.document if job else None, objective))
    return found
