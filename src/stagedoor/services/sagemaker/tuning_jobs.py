"""Hyperparameter tuning jobs: training jobs, one after the other, whose hyperparameters are chosen by how the others did.

Creating one checks everything that its training jobs will need and records it as InProgress; ``reconcile.tuning`` takes it from
there. What cannot be honoured is refused by name, in the tuning job and in its definitions of training jobs alike.
"""

import importlib.util
import secrets
from collections.abc import Mapping
from typing import Any

from stagedoor.domain import tuning_trials
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import (
    authors,
    names,
    paging,
    tag_sets,
    training_jobs,
    trials,
    tunable_ranges,
    warm_starts,
)
from stagedoor.services.sagemaker.names import TUNING_JOB, validation
from stagedoor.services.sagemaker.refusals import refuse, unsupported
from stagedoor.store.records import AlreadyExistsError, Document, Reader, Record
from stagedoor.worker.algorithms import specification as built_in
from stagedoor.worker.tuning.space import Space, SpaceError

TUNING_METRIC = "_tuning_objective_metric"
_TERMINAL = ("Completed", "Failed", "Stopped")
_DEFAULT_MAX_JOBS = 750
_MAX_RESOURCE = 20_000
_EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
_TRAINING_MEMBERS = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)


def create_hyper_parameter_tuning_job(call: Call, request: dict[str, Any]) -> Answer:
    """CreateHyperParameterTuningJob: all that can be known before the first training job runs is checked now."""
    name = request["HyperParameterTuningJobName"]
    refuse(request, ("Autotune",))
    config = request["HyperParameterTuningJobConfig"]
    definitions = [_definition(call, given, config) for given in _given_definitions(request)]
    config = _checked_config(config, definitions)
    parents = warm_starts.parents(call, request.get("WarmStartConfig"), config["Strategy"], definitions)
    arn = names.arn(call, TUNING_JOB, name)
    document: Document = {member: value for member, value in request.items() if member != "Tags"} | {
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobConfig": config,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": call.now,
        "LastModifiedTime": call.now,
        "seed": config.get("RandomSeed", secrets.randbelow(2**31)),
        "maxJobs": _max_jobs(config, definitions),
        "definitions": definitions,
        "parents": parents,
        "trials": [],
        "creator": authors.user_context(call),
    }
    described = [definition.pop("described") for definition in definitions]
    if "TrainingJobDefinition" in request:
        document["TrainingJobDefinition"] = described[0]
    else:
        document["TrainingJobDefinitions"] = described
    try:
        with call.house.records.transaction() as transaction:
            transaction.insert(names.key(call, TUNING_JOB, name), document)
            if request.get("Tags"):
                document["tags"] = tag_sets.add(
                    transaction, arn, request["Tags"]
                )  # its training jobs get them, too
                transaction.put(names.key(call, TUNING_JOB, name), document)
    except AlreadyExistsError:
        raise AwsError(
            "ResourceInUse",
            "Tuning job names must be unique within an AWS account and region, and a tuning job with this name already "
            f"exists ({arn})",
            status=400,
        ) from None
    return {"HyperParameterTuningJobArn": arn}


# What a request says ---------------------------------------------------------------------------------------------------


def _given_definitions(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The definitions of training jobs, each with ``TuningObjective`` and ``HyperParameterRanges``, wherever they stood."""
    config = request["HyperParameterTuningJobConfig"]
    one, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
    if (one is None) == (several is None):
        raise validation("Give either TrainingJobDefinition or TrainingJobDefinitions.")
    if one is not None:
        refuse(one, ("TuningObjective", "HyperParameterRanges"), "TrainingJobDefinition.")
        for member in ("HyperParameterTuningJobObjective", "ParameterRanges"):
            if member not in config:
                raise validation(
                    f"HyperParameterTuningJobConfig.{member} is required with TrainingJobDefinition."
                )
        return [
            one
            | {
                "TuningObjective": config["HyperParameterTuningJobObjective"],
                "HyperParameterRanges": config["ParameterRanges"],
            }
        ]
    assert several is not None
    for member in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        if member in config:
            raise validation(
                f"HyperParameterTuningJobConfig.{member} cannot be given with TrainingJobDefinitions: each definition has "
                "its own."
            )
    for number, given in enumerate(several, 1):
        for member in ("DefinitionName", "TuningObjective", "HyperParameterRanges"):
            if member not in given:
                raise validation(f"TrainingJobDefinitions.{number}.{member} is required.")
    if len({given["DefinitionName"] for given in several}) < len(several):
        raise validation("TrainingJobDefinitions: a DefinitionName occurs more than once.")
    if len({given["TuningObjective"]["Type"] for given in several}) > 1:
        raise validation("TrainingJobDefinitions: the Type of all TuningObjectives must be the same.")
    return several


def _definition(call: Call, given: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """One definition as the reconciler needs it, and as it is ``described``."""
    objective: dict[str, str] = given["TuningObjective"]
    ranges = _scaled(given["HyperParameterRanges"])
    space = _space(ranges, config["Strategy"])
    static: dict[str, str] = dict(given.get("StaticHyperParameters", {}))
    if both := sorted(set(space.names) & set(static)):
        raise validation(
            f"The hyperparameter {both[0]} is static and has a range; it can only be one of both."
        )
    static[TUNING_METRIC] = objective["MetricName"]
    training = {member: given[member] for member in _TRAINING_MEMBERS if member in given}
    template = training_jobs.checked(
        call, training | {"ResourceConfig": _resources(given), "HyperParameters": static}
    )
    metrics = template["AlgorithmSpecification"].get("MetricDefinitions", [])
    possible = frozenset[str](metric["Name"] for metric in metrics)
    if "program" not in template:
        algorithm = built_in.specification(template["algorithm"])
        tunable_ranges.check(space, algorithm)
        possible = algorithm.objectives
    if not possible:
        raise validation(
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions."
        )
    if objective["MetricName"] not in possible:
        raise validation(
            f"The objective metric for the hyperparameter tuning job, [{objective['MetricName']}], isn't valid for the "
            f"algorithm. Choose a valid objective metric from {sorted(possible)}."
        )
    described: dict[str, Any] = dict(given) | {
        "StaticHyperParameters": static,
        "AlgorithmSpecification": given["AlgorithmSpecification"] | {"MetricDefinitions": metrics},
        "InputDataConfig": template["InputDataConfig"],
        "StoppingCondition": template["StoppingCondition"],
        # SDKs look for it here, also when they sent HyperParameterTuningResourceConfig.
        "ResourceConfig": template["ResourceConfig"],
    }
    if "HyperParameterTuningJobObjective" in config:
        described = {
            member: value
            for member, value in described.items()
            if member not in ("TuningObjective", "HyperParameterRanges")
        }
    return {
        "name": given.get("DefinitionName", ""),
        "objective": objective,
        "ranges": ranges,
        "combinations": space.count,
        "static": static,
        "template": template,
        "described": described,
    }


def _scaled(ranges: Mapping[str, Any]) -> dict[str, Any]:
    """ParameterRanges with AWS's default for scaling."""
    refuse(ranges, ("AutoParameters",), "ParameterRanges.")
    result = dict(ranges)
    for member in ("IntegerParameterRanges", "ContinuousParameterRanges"):
        if member in ranges:
            result[member] = [{"ScalingType": "Auto"} | each for each in ranges[member]]
    return result


def _space(ranges: Mapping[str, Any], strategy: str) -> Space:
    try:
        space = Space.read(ranges)
    except SpaceError as error:
        raise validation(str(error)) from error
    if not space.parameters:
        raise validation("A tuning job needs at least one hyperparameter with a range.")
    if strategy == "Grid" and any(parameter.kind != "categorical" for parameter in space.parameters):
        raise validation(
            "Grid search supports categorical hyperparameters only: give CategoricalParameterRanges."
        )
    return space


def _resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """The ResourceConfig of the training jobs. Of several InstanceConfigs the first: there is always room for it."""
    plain, tuning = given.get("ResourceConfig"), given.get("HyperParameterTuningResourceConfig")
    if (plain is None) == (tuning is None):
        raise validation("Give either ResourceConfig or HyperParameterTuningResourceConfig.")
    if plain is not None:
        return plain
    assert tuning is not None
    configs = tuning.get("InstanceConfigs")
    if configs and any(member in tuning for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB")):
        raise validation(
            "HyperParameterTuningResourceConfig: give either InstanceConfigs or InstanceType, InstanceCount and VolumeSizeInGB."
        )
    chosen = dict(configs[0] if configs else tuning)
    chosen.pop("AllocationStrategy", None)
    if "VolumeKmsKeyId" in tuning:
        chosen["VolumeKmsKeyId"] = tuning["VolumeKmsKeyId"]
    return chosen


def _checked_config(config: Mapping[str, Any], definitions: list[dict[str, Any]]) -> dict[str, Any]:
    """HyperParameterTuningJobConfig with AWS's defaults."""
    strategy = config["Strategy"]
    result = {"TrainingJobEarlyStoppingType": "Off"} | dict(config)
    if "ParameterRanges" in config:
        result["ParameterRanges"] = definitions[0]["ranges"]
    if strategy == "Bayesian" and importlib.util.find_spec("optuna") is None:
        raise unsupported(
            "HyperParameterTuningJobConfig.Strategy Bayesian, without the optional package that models trials,",
            "Install it on the server with: pip install 'stagedoor[tuning]', or use Random.",
        )
    if strategy == "Hyperband":
        if result["TrainingJobEarlyStoppingType"] != "Off":
            raise validation("TrainingJobEarlyStoppingType must be Off to use the Hyperband strategy.")
        result["StrategyConfig"] = {"HyperbandStrategyConfig": _hyperband(config, definitions)}
    elif config.get("StrategyConfig"):
        raise validation(f"StrategyConfig is for the Hyperband strategy; the Strategy is {strategy}.")
    return result


def _hyperband(config: Mapping[str, Any], definitions: list[dict[str, Any]]) -> dict[str, int]:
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    low, high = given.get("MinResource", 1), given.get("MaxResource")
    if high is None:
        static = definitions[0]["static"]
        high = next((int(static[name]) for name in _EPOCHS if static.get(name, "").isdigit()), None)
    if high is None:
        raise validation(
            "MaxResource is required in HyperbandStrategyConfig: it could not be inferred from the static hyperparameters "
            f"{', '.join(_EPOCHS)}."
        )
    if not low <= high <= _MAX_RESOURCE:
        raise validation(
            f"MaxResource must be between MinResource ({low}) and {_MAX_RESOURCE}, and is {high}."
        )
    return {"MinResource": low, "MaxResource": high}


def _max_jobs(config: Mapping[str, Any], definitions: list[dict[str, Any]]) -> int:
    limits = config["ResourceLimits"]
    wanted = limits.get("MaxNumberOfTrainingJobs")
    if config["Strategy"] == "Grid":
        combinations = sum(definition["combinations"] for definition in definitions)
        if wanted is not None and wanted != combinations:
            raise validation(
                f"MaxNumberOfTrainingJobs is {wanted}, and the grid has {combinations} combinations. Leave it out, or give "
                "that number."
            )
        return combinations
    if wanted is not None and wanted < limits["MaxParallelTrainingJobs"]:
        raise validation(
            f"MaxParallelTrainingJobs ({limits['MaxParallelTrainingJobs']}) can't be greater than MaxNumberOfTrainingJobs "
            f"({wanted})."
        )
    combinations = definitions[0]["combinations"]
    if len(definitions) == 1 and combinations is not None and combinations < (wanted or 1):
        raise validation(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter combinations for the "
            f"provided ranges [{float(combinations)}] must be equal or greater than the value of MaxNumberOfJobs, [{wanted}]. "
            "Provide additional ranges."
        )
    return wanted or _DEFAULT_MAX_JOBS


# Reading ---------------------------------------------------------------------------------------------------------------


def _existing(reader: Reader, call: Call, name: str) -> Record:
    record = reader.get(names.key(call, TUNING_JOB, name))
    if record is None:
        raise AwsError(
            "ResourceNotFound",
            f"Amazon SageMaker can't find a tuning job with the name {name}.",
            status=400,
        )
    return record


def describe_hyper_parameter_tuning_job(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeHyperParameterTuningJob: what was asked for, how far it is, and the best training job so far."""
    document = _existing(call.house.records, call, request["HyperParameterTuningJobName"]).document
    found = trials.summaries(call, document)
    maximize = document["definitions"][0]["objective"]["Type"] == "Maximize"
    answer = names.public(document) | {
        "TrainingJobStatusCounters": tuning_trials.status_counters(found),
        "ObjectiveStatusCounters": tuning_trials.objective_counters(found),
        "ConsumedResources": {
            "RuntimeInSeconds": int(
                document.get("HyperParameterTuningEndTime", call.now) - document["CreationTime"]
            )
        },
    }
    best = tuning_trials.best(found, maximize=maximize)
    if best is not None:
        answer["BestTrainingJob"] = names.public(best)
    if document.get("WarmStartConfig", {}).get("WarmStartType") == "IdenticalDataAndAlgorithm":
        candidates = [*(parent["summary"] for parent in document["parents"]), *([best] if best else [])]
        overall = tuning_trials.best(candidates, maximize=maximize)
        if overall is not None:
            name = document["HyperParameterTuningJobName"]
            answer["OverallBestTrainingJob"] = {"TuningJobName": name} | names.public(overall)
    return {member: value for member, value in answer.items() if value not in ({}, [])}


def list_hyper_parameter_tuning_jobs(call: Call, request: dict[str, Any]) -> Answer:
    """ListHyperParameterTuningJobs, by name unless told otherwise."""
    members = (
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobArn",
        "HyperParameterTuningJobStatus",
        "CreationTime",
        "HyperParameterTuningEndTime",
        "LastModifiedTime",
    )
    listed: list[dict[str, Any]] = []
    for record in call.house.records.list(TUNING_JOB.kind, call.account_id, call.region):
        document = record.document
        found = trials.summaries(call, document)
        config = document["HyperParameterTuningJobConfig"]
        listed.append(
            {member: document[member] for member in members if member in document}
            | {
                "Strategy": config["Strategy"],
                "ResourceLimits": config["ResourceLimits"],
                "TrainingJobStatusCounters": tuning_trials.status_counters(found),
                "ObjectiveStatusCounters": tuning_trials.objective_counters(found),
            }
        )
    return paging.answer(
        {"SortBy": "Name"} | request,
        listed,
        member="HyperParameterTuningJobSummaries",
        name_member="HyperParameterTuningJobName",
        status_member="HyperParameterTuningJobStatus",
        order="Ascending",
    )


def list_training_jobs_for_hyper_parameter_tuning_job(call: Call, request: dict[str, Any]) -> Answer:
    """ListTrainingJobsForHyperParameterTuningJob, by name unless told otherwise.

    Sorted by FinalObjectiveMetricValue, it leaves out the training jobs that have none, as AWS does.
    """
    document = _existing(call.house.records, call, request["HyperParameterTuningJobName"]).document
    found = [names.public(trial) for trial in trials.summaries(call, document)]
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        found = [trial for trial in found if tuning_trials.value_of(trial) is not None]
    return paging.answer(
        {"SortBy": "Name"} | request,
        found,
        member="TrainingJobSummaries",
        name_member="TrainingJobName",
        status_member="TrainingJobStatus",
        order="Ascending",
        sort_by={"FinalObjectiveMetricValue": tuning_trials.value_of},
    )


# Ending ----------------------------------------------------------------------------------------------------------------


def stop_hyper_parameter_tuning_job(call: Call, request: dict[str, Any]) -> Answer:
    """StopHyperParameterTuningJob: no further training jobs, and an end to those that run."""
    name = request["HyperParameterTuningJobName"]
    with call.house.records.transaction() as transaction:
        record = _existing(transaction, call, name)
        status = record.document["HyperParameterTuningJobStatus"]
        if status in _TERMINAL:
            raise validation(
                f"The request was rejected because the hyperparameter tuning job is in status {status}."
            )
        if status == "InProgress":
            changed = record.document | {
                "HyperParameterTuningJobStatus": "Stopping",
                "LastModifiedTime": call.now,
            }
            transaction.put(record.key, changed)
    return {}


def delete_hyper_parameter_tuning_job(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteHyperParameterTuningJob: forgets a job that has ended; its training jobs and their artifacts stay."""
    name = request["HyperParameterTuningJobName"]
    with call.house.records.transaction() as transaction:
        record = transaction.get(names.key(call, TUNING_JOB, name))
        if record is None:
            return {}
        status = record.document["HyperParameterTuningJobStatus"]
        if status not in _TERMINAL:
            raise validation(
                f"The hyperparameter tuning job {name} is in status {status}; only jobs that have ended can be deleted. Stop "
                "it first."
            )
        transaction.delete(record.key)
        tag_sets.forget(transaction, names.arn(call, TUNING_JOB, name))
    return {}
