"""The trial components that SageMaker makes for jobs, whether or not they belong to an experiment.

Place in the flow: Create operations of jobs call ``begin`` in their transaction. A component holds no copy of its job: what
is told of it follows from the job's record when somebody asks, so it is never behind. Who deletes a job calls ``keep`` first.
"""

from collections.abc import Mapping
from typing import Any, Final

from stagedoor.domain.job_components import PROCESSING, TRAINING, TRANSFORM, JobType
from stagedoor.domain.job_components import component as new_component
from stagedoor.services.call import Call
from stagedoor.services.sagemaker import authors, experiment_names, names
from stagedoor.services.sagemaker.names import EXPERIMENT, TRIAL, TRIAL_COMPONENT, validation
from stagedoor.store.records import Document, Key, Reader, Transaction
from stagedoor.store.step_metrics import Component

_MAPS: Final = ("Parameters", "InputArtifacts", "OutputArtifacts")
_VALUE_CHARACTERS: Final = 2_500
_NUMBER_CHARACTERS: Final = 40


TYPES: Final = {one.kind: one for one in (TRAINING, TRANSFORM, PROCESSING)}


def begin(
    call: Call, transaction: Transaction, job: JobType, name: str, arn: str, config: Mapping[str, str] | None
) -> None:
    """Make the component of a job that is being created, and put it into the trial that ExperimentConfig names.

    With an experiment alone, the job gets a trial of its own. ResourceNotFound for an experiment or trial that is not there.
    """
    config = config or {}
    component = f"{name}-{job.suffix}"
    key = names.key(call, TRIAL_COMPONENT, component)
    existing = transaction.get(key)
    if existing is not None and "Source" not in existing.document:
        raise experiment_names.taken(call, TRIAL_COMPONENT, component)
    trial = _trial(call, transaction, name, config)
    author = authors.user_context(call)
    document = new_component(job, name, arn, call.key(job.kind, name.lower()), author, call.now)
    if "TrialComponentDisplayName" in config:
        document["DisplayName"] = config["TrialComponentDisplayName"]
    if "RunName" in config:
        document["runName"] = config["RunName"]
    transaction.put(key, document)  # in the place of one that a deleted job of this name left
    if trial is not None:
        transaction.put(experiment_names.association(call, trial, component), {"creationTime": call.now})


def _trial(call: Call, transaction: Transaction, job_name: str, config: Mapping[str, str]) -> str | None:
    """The name of the trial that the job belongs to; made when only the experiment is given."""
    experiment_name, trial_name = config.get("ExperimentName"), config.get("TrialName")
    if experiment_name is not None:
        experiment_names.existing(call, transaction, EXPERIMENT, experiment_name)
    if trial_name is not None:
        trial = experiment_names.existing(call, transaction, TRIAL, trial_name)
        found = trial.document["ExperimentName"]
        if experiment_name is not None and found.lower() != experiment_name.lower():
            raise validation(
                f"ExperimentConfig: the trial '{trial_name}' belongs to the experiment '{found}', not to '{experiment_name}'."
            )
        return trial.name
    if experiment_name is None:
        return None
    name = f"{job_name}-aws-trial"
    transaction.put(
        names.key(call, TRIAL, name),
        {
            "TrialName": name,
            "DisplayName": name,
            "TrialArn": names.arn(call, TRIAL, name),
            "ExperimentName": experiment_name,
            **authors.creation(call),
            **authors.change(call),
        },
    )
    return name


def keep(transaction: Transaction, call: Call, job: JobType, name: str) -> None:
    """The job is about to be deleted: its component stays as it is now."""
    key = names.key(call, TRIAL_COMPONENT, f"{name}-{job.suffix}")
    record = transaction.get(key)
    if record is None or "jobKey" not in record.document:
        return
    own = {member: value for member, value in record.document.items() if member != "jobKey"}
    transaction.put(key, own | described(transaction, record.document))


def shown(call: Call, document: Document) -> dict[str, Any]:
    """As ``described``, with what was put for the component step by step."""
    found = described(call.house.records, document)
    arn = document["TrialComponentArn"]
    place = Component(call.account_id, call.region, document["TrialComponentName"].lower())
    metrics: dict[str, dict[str, Any]] = {one["MetricName"]: one for one in found.get("Metrics", [])}
    for summary in call.house.step_metrics.summaries(place):
        metrics[summary.metric] = {
            "MetricName": summary.metric,
            "SourceArn": arn,
            "TimeStamp": summary.time_s,
            "Last": summary.last,
            "Min": summary.lowest,
            "Max": summary.highest,
            "Count": summary.values,
            "Avg": summary.average,
            "StdDev": summary.deviation,
        }
    return found | ({"Metrics": list(metrics.values())} if metrics else {})


def described(reader: Reader, document: Document) -> dict[str, Any]:
    """A component as Describe answers it, with what follows from its job."""
    shown: dict[str, Any] = {}
    if (place := document.get("jobKey")) is not None:
        key = Key(*place)
        job = reader.get(key)
        if job is not None:
            shown = _of_job(TYPES[key.kind], job.document)
    own = names.public(document)
    for member in _MAPS:
        merged = shown.get(member, {}) | own.get(member, {})
        gone = document.get(f"removed{member}", [])
        own[member] = {name: value for name, value in merged.items() if name not in gone}
    return {name: value for name, value in (shown | own).items() if value not in ({}, [])}


def _of_job(job: JobType, document: Document) -> dict[str, Any]:
    """What a job's record says about its component."""
    status = document[f"{job.prefix}JobStatus"]
    secondary = document.get("SecondaryStatus", "")
    found: dict[str, Any] = {
        "Status": {
            "PrimaryStatus": status,
            "Message": f"Status: {status}, secondary status: {secondary}, failure reason: "
            f"{document.get('FailureReason', '')}."[:1024],
        },
        "Parameters": _parameters(job, document),
    }
    for member, source in (("StartTime", f"{job.prefix}StartTime"), ("EndTime", f"{job.prefix}EndTime")):
        if source in document:
            found[member] = document[source]
    inputs, outputs = _ARTIFACTS[job.prefix](document)
    found |= {"InputArtifacts": inputs, "OutputArtifacts": outputs}
    arn = document[f"{job.prefix}JobArn"]
    if metrics := _metrics(arn, document):
        found["Metrics"] = metrics
    return found


def _metrics(arn: str, document: Document) -> list[dict[str, Any]]:
    statistics: Mapping[str, Mapping[str, Any]] = document.get("metricStatistics", {})
    return [
        {
            "MetricName": metric["MetricName"],
            "SourceArn": arn,
            "TimeStamp": metric["Timestamp"],
            "Last": metric["Value"],
            **statistics.get(metric["MetricName"], {}),
        }
        for metric in document.get("FinalMetricDataList", [])
    ]


def _parameters(job: JobType, document: Document) -> dict[str, dict[str, Any]]:
    hyperparameters: Mapping[str, str] = document.get("HyperParameters", {})
    found = {name: _value(text) for name, text in hyperparameters.items()}
    image = {
        "Training": document.get("AlgorithmSpecification", {}).get("TrainingImage"),
        "Processing": document.get("AppSpecification", {}).get("ImageUri"),
    }.get(job.prefix)
    resources: Mapping[str, Any] = (
        document.get("ResourceConfig")
        or document.get("TransformResources")
        or document.get("ProcessingResources", {}).get("ClusterConfig")
        or {}
    )
    own: dict[str, Any] = {"SageMaker.ImageUri": image}
    for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        own[f"SageMaker.{member}"] = resources.get(member)
    own["SageMaker.ModelName"] = document.get("ModelName")
    for name, value in own.items():
        if value is not None:
            found[name] = {"StringValue": value} if isinstance(value, str) else {"NumberValue": float(value)}
    return found


def _value(text: str) -> dict[str, Any]:
    """A hyperparameter: a number where it is one."""
    plain = text.strip('"') if len(text) < _NUMBER_CHARACTERS else text
    try:
        number = float(plain)
    except ValueError:
        return {"StringValue": text[:_VALUE_CHARACTERS]}
    finite = abs(number) <= 1.7e308
    return {"NumberValue": number} if finite and "_" not in plain else {"StringValue": text}


_Artifacts = dict[str, dict[str, str]]


def _artifact(uri: str | None, media_type: str | None = None) -> dict[str, str]:
    found = {"Value": uri or ""}
    # Types such as `csv`, which AWS takes for channels, are no media types.
    return found | ({"MediaType": media_type} if media_type and "/" in media_type else {})


def _training(document: Document) -> tuple[_Artifacts, _Artifacts]:
    inputs = {
        channel["ChannelName"]: _artifact(
            channel["DataSource"].get("S3DataSource", {}).get("S3Uri"),
            _media_type(channel.get("ContentType")),
        )
        for channel in document.get("InputDataConfig", [])
    }
    outputs: _Artifacts = {}
    if (model := document.get("ModelArtifacts", {}).get("S3ModelArtifacts")) is not None:
        outputs["SageMaker.ModelArtifact"] = _artifact(model)
    if (debug := document.get("DebugHookConfig", {}).get("S3OutputPath")) is not None:
        outputs["SageMaker.DebugHookOutput"] = _artifact(debug)
    return inputs, outputs


def _transform(document: Document) -> tuple[_Artifacts, _Artifacts]:
    source = document["TransformInput"]
    uri = source["DataSource"]["S3DataSource"]["S3Uri"]
    output = document["TransformOutput"]
    return (
        {"SageMaker.TransformInput": _artifact(uri, _media_type(source.get("ContentType")))},
        {"SageMaker.TransformOutput": _artifact(output["S3OutputPath"], _media_type(output.get("Accept")))},
    )


def _processing(document: Document) -> tuple[_Artifacts, _Artifacts]:
    inputs = {
        one["InputName"]: _artifact(one.get("S3Input", {}).get("S3Uri"))
        for one in document.get("ProcessingInputs", [])
    }
    outputs = {
        one["OutputName"]: _artifact(one.get("S3Output", {}).get("S3Uri"))
        for one in document.get("ProcessingOutputConfig", {}).get("Outputs", [])
    }
    return inputs, outputs


def _media_type(content_type: str | None) -> str | None:
    return (content_type or "").partition(";")[0].strip()[:64] or None


_ARTIFACTS: Final = {"Training": _training, "Transform": _transform, "Processing": _processing}
