"""What Search looks at: every resource of a kind as a document to be searched, and as the answer shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from stagedoor.services.call import Call
from stagedoor.services.sagemaker import (
    deployments,
    experiment_names,
    job_components,
    names,
    package_containers,
    tag_sets,
)
from stagedoor.services.sagemaker.names import (
    ENDPOINT,
    EXPERIMENT,
    MODEL,
    MODEL_PACKAGE,
    MODEL_PACKAGE_GROUP,
    TRAINING_JOB,
    TRANSFORM_JOB,
    TRIAL,
    TRIAL_COMPONENT,
    ResourceType,
)
from stagedoor.store.records import Document, Key, Record
from stagedoor.wire import models as service_models

_EMPTY_MAPS: Final[dict[str, Any]] = {"Parameters": {}, "InputArtifacts": {}, "OutputArtifacts": {}}
TUNING_JOB_KIND: Final = "sagemaker.tuning_job"


@dataclass(frozen=True, slots=True)
class Found:
    """One resource. ``searched`` has tags and metrics as maps; ``shown`` makes what the answer tells."""

    arn: str
    searched: Mapping[str, Any]
    shown: Callable[[], Mapping[str, Any]]


def _found(call: Call, arn: str, document: Mapping[str, Any], shape: str, **more: Any) -> Found:
    tags = tag_sets.tags_of(call.house.records, arn)
    shown = {**document, **({"Tags": tags} if tags else {})}
    searched = {**document, "Tags": {tag["Key"]: tag["Value"] for tag in tags}, **more}
    return Found(arn, searched, lambda: _members(shown, shape))


@cache
def _modelled(shape: str) -> frozenset[str]:
    found: Any = service_models.service("sagemaker").model.shape_for(shape)
    return frozenset(found.members)


def _members(document: Mapping[str, Any], shape: str) -> dict[str, Any]:
    """What of a document an answer has room for, without what is empty."""
    wanted = _modelled(shape)
    return {name: value for name, value in document.items() if name in wanted and value not in (None, {}, [])}


def _records(call: Call, resource: ResourceType) -> list[Record]:
    return call.house.records.list(resource.kind, call.account_id, call.region)


def training_jobs(call: Call) -> list[Found]:
    """Training jobs; their final metrics are the property ``Metrics``."""
    return [
        _found(
            call,
            record.document["TrainingJobArn"],
            names.public(record.document),
            "TrainingJob",
            Metrics={
                metric["MetricName"]: metric["Value"]
                for metric in record.document.get("FinalMetricDataList", [])
            },
        )
        for record in _records(call, TRAINING_JOB)
    ]


def tuning_jobs(call: Call) -> list[Found]:
    """Hyperparameter tuning jobs."""
    return [
        _found(
            call,
            record.document["HyperParameterTuningJobArn"],
            names.public(record.document),
            "HyperParameterTuningJobSearchEntity",
        )
        for record in call.house.records.list(TUNING_JOB_KIND, call.account_id, call.region)
    ]


def experiments(call: Call) -> list[Found]:
    """Experiments."""
    return [
        _found(call, record.document["ExperimentArn"], names.public(record.document), "Experiment")
        for record in _records(call, EXPERIMENT)
    ]


def trials(call: Call) -> list[Found]:
    """Trials, with summaries of their components."""
    components = {record.name: record.document for record in _records(call, TRIAL_COMPONENT)}
    ours = _associations(call)
    found: list[Found] = []
    for record in _records(call, TRIAL):
        summaries: list[dict[str, Any]] = []
        for name in ours.get(record.name, ()):
            document = components.get(name)
            if document is None:
                continue
            summary = {
                member: document[member]
                for member in ("TrialComponentName", "TrialComponentArn", "CreationTime", "CreatedBy")
            }
            if "Source" in document:
                summary["TrialComponentSource"] = document["Source"]
            summaries.append(summary)
        shown = names.public(record.document) | {"TrialComponentSummaries": summaries}
        found.append(_found(call, record.document["TrialArn"], shown, "Trial"))
    return found


def _associations(call: Call) -> dict[str, list[str]]:
    """The components of each trial."""
    found: dict[str, list[str]] = {}
    for record in call.house.records.list(experiment_names.ASSOCIATION, call.account_id, call.region):
        trial, _, component = record.name.partition("/")
        found.setdefault(trial, []).append(component)
    return found


def trial_components(call: Call) -> list[Found]:
    """Trial components with their parents, and with the job that is their source."""
    experiments_of = {
        record.name: (record.document["TrialName"], record.document["ExperimentName"])
        for record in _records(call, TRIAL)
    }
    parents: dict[str, list[dict[str, str]]] = {}
    for trial, members in _associations(call).items():
        trial_name, experiment_name = experiments_of.get(trial, ("", ""))
        for component in members:
            parent = {"TrialName": trial_name, "ExperimentName": experiment_name}
            parents.setdefault(component, []).append(parent)
    found: list[Found] = []
    for record in _records(call, TRIAL_COMPONENT):
        shown = job_components.shown(call, record.document) | {"Parents": parents.get(record.name, [])}
        if "runName" in record.document:
            shown["RunName"] = record.document["runName"]
        if (detail := _source_detail(call, record.document)) is not None:
            shown["SourceDetail"] = detail
        metrics = {metric["MetricName"]: metric for metric in shown.get("Metrics", [])}
        arn = record.document["TrialComponentArn"]
        one = _found(call, arn, shown, "TrialComponent", Metrics=metrics)
        # Search has these maps also where they are empty, and SDKs go through them.
        found.append(replace(one, shown=lambda one=one: _EMPTY_MAPS | dict(one.shown())))
    return found


def _source_detail(call: Call, document: Document) -> dict[str, Any] | None:
    place = document.get("jobKey")
    job = call.house.records.get(Key(*place)) if place is not None else None
    if job is None:
        return None
    kind = job_components.TYPES[job.key.kind]
    member = f"{kind.prefix}Job"
    return {
        "SourceArn": document["Source"]["SourceArn"],
        member: _members(names.public(job.document), member),
    }


def endpoints(call: Call) -> list[Found]:
    """Endpoints as they are described."""
    return [
        _found(
            call,
            record.document["EndpointArn"],
            names.public(record.document) | deployments.described(record.document),
            "Endpoint",
        )
        for record in _records(call, ENDPOINT)
    ]


def models_(call: Call) -> list[Found]:
    """Models with the endpoints that serve them and their last transform job; properties of the model count as its own."""
    served: dict[str, list[dict[str, Any]]] = {}
    for record in _records(call, ENDPOINT):
        fleet: Mapping[str, Any] = record.document.get("serving") or record.document.get("coming") or {}
        for name in {variant["modelName"] for variant in fleet.get("variants", ())}:
            members = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
            served.setdefault(name, []).append({member: record.document[member] for member in members})
    last_jobs: dict[str, Document] = {}
    for record in _records(call, TRANSFORM_JOB):
        before = last_jobs.get(record.document["ModelName"])
        if before is None or before["CreationTime"] <= record.document["CreationTime"]:
            last_jobs[record.document["ModelName"]] = record.document
    found: list[Found] = []
    for record in _records(call, MODEL):
        model, arn = record.document, record.document["ModelArn"]
        tags = tag_sets.tags_of(call.house.records, arn)
        shown: dict[str, Any] = {"Model": _members({**names.public(model), "Tags": tags}, "Model")}
        if model["ModelName"] in served:
            shown["Endpoints"] = served[model["ModelName"]]
        if (job := last_jobs.get(model["ModelName"])) is not None:
            shown["LastBatchTransformJob"] = _members(names.public(job), "TransformJob")
        searched = {
            **names.public(model),
            **shown,
            "Tags": {tag["Key"]: tag["Value"] for tag in tags},
            "LastModifiedTime": model["CreationTime"],
        }
        found.append(Found(arn, searched, lambda shown=shown: shown))
    return found


def model_packages(call: Call) -> list[Found]:
    """Model packages, versions and others."""
    return [
        _found(
            call,
            record.document["ModelPackageArn"],
            {"LastModifiedTime": record.document["CreationTime"]}
            | package_containers.described(record.document),
            "ModelPackage",
        )
        for record in _records(call, MODEL_PACKAGE)
    ]


def model_package_groups(call: Call) -> list[Found]:
    """Model package groups."""
    return [
        _found(
            call,
            record.document["ModelPackageGroupArn"],
            names.public(record.document),
            "ModelPackageGroup",
            LastModifiedTime=record.document["CreationTime"],
        )
        for record in _records(call, MODEL_PACKAGE_GROUP)
    ]
