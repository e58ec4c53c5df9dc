"""A tuning job's record as ``plan`` sees it, and what it becomes: pure functions.

Place in the flow: ``act`` reads and commits records with these. The record has AWS's members, and below them in lower case:
``seed``, ``maxJobs``, ``definitions`` (``objective``, ``ranges``, ``static``, ``template``: a training job before it begins), ``tags``,
``creator`` (a UserContext), ``parents`` (trials to start from, with ``hyperparameters`` and ``value``) and ``trials`` (``domain.tuning_trials``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stagedoor.domain import job_components, training_states
from stagedoor.domain.arns import Arn
from stagedoor.domain.tuning_trials import Summary, is_over, value_of
from stagedoor.reconcile.tuning.plan import Limits, Plan, Status, Trial
from stagedoor.store.records import Document, Key
from stagedoor.worker.tuning.proposals import Question
from stagedoor.worker.tuning.proposals import Trial as Tried

KIND = "sagemaker.tuning_job"
TRAINING_KIND = "sagemaker.training_job"
TUNING_METRIC = "_tuning_objective_metric"
_REASON_CHARACTERS = 1024


def limits(document: Mapping[str, Any]) -> Limits:
    """What limits a tuning job."""
    config = document["HyperParameterTuningJobConfig"]
    resources = config["ResourceLimits"]
    criteria = config.get("TuningJobCompletionCriteria", {})
    hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    return Limits(
        max_jobs=document["maxJobs"],
        parallel=resources["MaxParallelTrainingJobs"],
        maximize=is_maximizing(document),
        max_runtime_s=resources.get("MaxRuntimeInSeconds"),
        target=criteria.get("TargetObjectiveMetricValue"),
        not_improving=criteria.get("BestObjectiveNotImproving", {}).get(
            "MaxNumberOfTrainingJobsNotImproving"
        ),
        on_convergence=criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled",
        early_stopping=(
            "Hyperband"
            if config["Strategy"] == "Hyperband"
            else config.get("TrainingJobEarlyStoppingType", "Off")
        ),
        min_resource=hyperband.get("MinResource", 1),
        max_resource=hyperband.get("MaxResource", 1),
    )


def is_maximizing(document: Mapping[str, Any]) -> bool:
    """All definitions of a job have the same direction."""
    return document["definitions"][0]["objective"]["Type"] == "Maximize"


def watches_series(document: Mapping[str, Any]) -> bool:
    """Whether the trials' objectives matter before they end."""
    return limits(document).early_stopping != "Off"


def trial(summary: Summary, series: tuple[float, ...]) -> Trial:
    """A trial as ``plan`` takes it."""
    over = is_over(summary)
    return Trial(
        summary["TrainingJobName"],
        summary["TrainingJobStatus"],
        value_of(summary),
        summary.get("TrainingEndTime", summary["CreationTime"]) if over else None,
        series,
    )


def question(document: Mapping[str, Any], summaries: Sequence[Summary]) -> Question:
    """What to ask for the next trial."""
    number = len(summaries)
    index, within = _definition_of(document, number)
    definition = document["definitions"][index]
    static: dict[str, str] = definition["static"]
    tried: list[Tried] = []
    for each in summaries:
        if each["definition"] != index:
            continue
        known: Tried = {
            "hyperparameters": static | each["TunedHyperParameters"],
            "running": not is_over(each),
        }
        if (value := value_of(each)) is not None:
            known["value"] = value
        tried.append(known)
    parents: list[Tried] = [
        {"hyperparameters": parent["hyperparameters"], "running": False, "value": parent["value"]}
        for parent in document.get("parents", [])
    ]
    return {
        "strategy": document["HyperParameterTuningJobConfig"]["Strategy"],
        "ranges": definition["ranges"],
        "maximize": definition["objective"]["Type"] == "Maximize",
        "seed": document["seed"] + index,
        "number": within,
        "trials": [*parents, *tried],
    }


def _definition_of(document: Mapping[str, Any], number: int) -> tuple[int, int]:
    """Whose turn the trial of that number is, and its number there: one after the other, but a grid as a whole."""
    counts = [definition.get("combinations") for definition in document["definitions"]]
    if document["HyperParameterTuningJobConfig"]["Strategy"] != "Grid":
        within, index = divmod(number, len(counts))
        return index, within
    for index, count in enumerate(counts):
        if number < count:
            return index, number
        number -= count
    raise ValueError("the grid has been searched")


def new_trial(
    document: Document, key: Key, tuned: Mapping[str, str], suffix: str, now: float
) -> tuple[Document, Key, Document]:
    """The tuning job with one trial more; the key and the record of its training job."""
    number = len(document["trials"])
    index, _ = _definition_of(document, number)
    definition = document["definitions"][index]
    name = f"{document['HyperParameterTuningJobName']}-{number + 1:03d}-{suffix}"
    arn = str(Arn("sagemaker", key.region, key.account_id, f"training-job/{name.lower()}"))
    entry: Document = {
        "TrainingJobName": name,
        "TrainingJobArn": arn,
        "CreationTime": now,
        "TunedHyperParameters": dict(tuned),
        "definition": index,
    }
    if definition.get("name"):
        entry["TrainingJobDefinitionName"] = definition["name"]
    job = training_states.begun(
        definition["template"]
        | {
            "TrainingJobName": name,
            "TrainingJobArn": arn,
            "TuningJobArn": document["HyperParameterTuningJobArn"],
            "HyperParameters": definition["static"] | dict(tuned),
        },
        now,
    )
    if checkpoints := job.get("CheckpointConfig"):
        # Each trial has its own: it must not go on from another one's model.
        job["CheckpointConfig"] = checkpoints | {"S3Uri": f"{checkpoints['S3Uri'].rstrip('/')}/{name}"}
    changed = document | {"trials": [*document["trials"], entry], "LastModifiedTime": now}
    return changed, Key(TRAINING_KIND, key.account_id, key.region, name.lower()), job


def new_component(document: Mapping[str, Any], job_key: Key, job: Document) -> tuple[Key, Document]:
    """The key and the record of the trial component of a trial, as every training job has one."""
    name, arn, author = job["TrainingJobName"], job["TrainingJobArn"], document.get("creator", {})
    found = job_components.component(job_components.TRAINING, name, arn, job_key, author, job["CreationTime"])
    place = found["TrialComponentName"].lower()
    return Key(job_components.KIND, job_key.account_id, job_key.region, place), found


def ended(document: Document, now: float, status: Status, reason: str) -> Document:
    """The tuning job's last state."""
    result = document | {
        "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningEndTime": now,
        "LastModifiedTime": now,
    }
    if reason:
        result["FailureReason"] = reason[:_REASON_CHARACTERS]
    return result


def noted(document: Document, summaries: Sequence[Summary], found: Plan, now: float) -> Document:
    """The tuning job with what has become known of its trials; the same when that is nothing new."""
    trials: list[Summary] = list(document["trials"])
    for number, summary in enumerate(summaries):  # there may be more trials by now
        if is_over(summary):
            trials[number] = dict(summary)
    details: Document = dict(document.get("TuningJobCompletionDetails", {}))
    if found.not_improving or details:
        details["NumberOfTrainingJobsObjectiveNotImproving"] = found.not_improving
    if found.converged:
        details.setdefault("ConvergenceDetectedTime", now)
    changed = document | {"trials": trials}
    if details:
        changed["TuningJobCompletionDetails"] = details
    return document if changed == document else changed | {"LastModifiedTime": now}
