"""Training jobs: built-in algorithms, and scripts of one's own, on data in S3.

Creating a job records it as InProgress and Starting; ``reconcile.training`` takes it from there. What a request may say is of
three kinds. Honoured: data, hyperparameters, image, environment, output, time limits, metrics. Recorded, since it chooses
hardware, networks or keys that a single machine does not have and changes nothing about the model: instance types and
volumes, VpcConfig, network isolation of algorithms (which use no network; a script's is cut off), encryption keys (artifacts are stored like
all objects here), managed spot training (nothing interrupts a job), warm pools (every job starts at once), the name of the
experiment, and the profiler's settings, which SDKs send with every job. Everything else is refused by name.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from stagedoor.domain import images, training_states
from stagedoor.domain.job_components import TRAINING
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import (
    job_data,
    metric_definitions,
    names,
    paging,
    programs,
    roles,
)
from stagedoor.services.sagemaker.job_records import JobRecords
from stagedoor.services.sagemaker.names import TRAINING_JOB, validation
from stagedoor.services.sagemaker.refusals import refuse, unsupported
from stagedoor.store.records import Document
from stagedoor.worker.algorithms import specification as built_in

_NOT_YET = (
    "DebugRuleConfigurations",
    "ProfilerRuleConfigurations",
    "ServerlessJobConfig",
    "MlflowConfig",
    "ModelPackageConfig",
)
_ALGORITHM_NOT_YET = ("AlgorithmName",)
_RESOURCES_NOT_YET = (
    "InstanceGroups",
    "TrainingPlanArn",
    "InstancePlacementConfig",
    "InstancePreferences",
)
_SWITCHES_NOT_YET = {
    "RemoteDebugConfig": "EnableRemoteDebug",
    "InfraCheckConfig": "EnableInfraCheck",
    "SessionChainingConfig": "EnableSessionTagChaining",
}
_DEFAULT_MAX_RUNTIME_S = 86_400
_HOSTS_AT_MOST = 64
_DISTRIBUTED = ("xgboost",)
_RESERVED = ("input", "model", "output", "code", "errors")
# What each input mode can deliver, on AWS as well as here.
_DATA_TYPES = {
    "File": ("S3Prefix", "ManifestFile"),
    "FastFile": ("S3Prefix",),
    "Pipe": ("S3Prefix", "ManifestFile", "AugmentedManifestFile"),
}


_JOBS = JobRecords(
    TRAINING_JOB,
    TRAINING,
    "Training job names must be unique within an AWS account and region, and a training job with this name already exists",
    lambda _: validation("Requested resource not found."),
    training_states.stopping,
)


def create_training_job(call: Call, request: dict[str, Any]) -> Answer:
    """CreateTrainingJob: all that can be known before the job runs is checked now."""
    name = request["TrainingJobName"]
    arn = names.arn(call, TRAINING_JOB, name)
    document = training_states.begun(checked(call, request) | {"TrainingJobArn": arn}, call.now)
    _JOBS.insert(call, name, document)
    return {"TrainingJobArn": arn}


def checked(call: Call, request: dict[str, Any]) -> Document:
    """What CreateTrainingJob asks for, with AWS's defaults, before the job has begun. ValidationException for what is wrong.

    A tuning job makes its trials from it, so the request need not have a name.
    """
    _refuse_what_is_not_built(request)
    algorithm = _algorithm(request["AlgorithmSpecification"])
    program = programs.of_training(request, algorithm)
    roles.require_role(call, request["RoleArn"])
    if program is None:
        _check_hosts(algorithm, request["ResourceConfig"])
    else:
        _check_script_hosts(program, request["ResourceConfig"])
    _check_checkpoints(call, request)
    _check_debug_output(call, request)
    stopping = _stopping_condition(request)
    channels = [
        _channel(call, channel, request, number) for number, channel in enumerate(_channels(request), 1)
    ]
    job_data.check_output(call, request["OutputDataConfig"]["S3OutputPath"], "OutputDataConfig.S3OutputPath")
    document = request | {
        "AlgorithmSpecification": _described_algorithm(request["AlgorithmSpecification"], algorithm, program),
        "InputDataConfig": channels,
        "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP"} | request["OutputDataConfig"],
        "StoppingCondition": stopping,
        "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation")),
        "EnableInterContainerTrafficEncryption": bool(request.get("EnableInterContainerTrafficEncryption")),
        "EnableManagedSpotTraining": bool(request.get("EnableManagedSpotTraining")),
        "algorithm": algorithm.name,
    }
    return document | ({"program": program} if program else {})


def _refuse_what_is_not_built(request: dict[str, Any]) -> None:
    refuse(request, _NOT_YET)
    for member, switch in _SWITCHES_NOT_YET.items():
        refuse(request.get(member, {}), (switch,), f"{member}.")
    resources = request.get("ResourceConfig")
    if resources is None:
        raise validation("ResourceConfig is required.")
    refuse(resources, _RESOURCES_NOT_YET, "ResourceConfig.")
    for member in ("InstanceType", "InstanceCount"):
        if member not in resources:
            raise validation(f"ResourceConfig.{member} is required.")
    if not 1 <= resources["InstanceCount"] <= _HOSTS_AT_MOST:
        raise validation(f"ResourceConfig.InstanceCount must be between 1 and {_HOSTS_AT_MOST}.")


def _algorithm(specification: Mapping[str, Any]) -> images.Algorithm:
    path = "AlgorithmSpecification."
    refuse(specification, _ALGORITHM_NOT_YET, path)
    if (
        specification.get("TrainingImageConfig", {}).get("TrainingRepositoryAccessMode", "Platform")
        != "Platform"
    ):
        raise unsupported(f"{path}TrainingImageConfig.TrainingRepositoryAccessMode Vpc")
    if "TrainingImage" not in specification:
        raise validation(f"{path}TrainingImage is required.")
    try:
        algorithm = images.resolve(specification["TrainingImage"])
    except images.UnsupportedImageError as error:
        raise validation(str(error)) from error
    return algorithm


def _described_algorithm(
    specification: dict[str, Any], algorithm: images.Algorithm, program: Mapping[str, Any] | None
) -> dict[str, Any]:
    """As AWS describes it: built-in algorithms bring their metrics, scripts have those that the request defines."""
    if program is not None:
        metric_definitions.check(specification.get("MetricDefinitions", []), "AlgorithmSpecification.")
        return {"EnableSageMakerMetricsTimeSeries": True} | specification
    if specification.get("MetricDefinitions"):
        raise validation(
            "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry your request "
            "without specifying metric definitions."
        )
    return (
        {"EnableSageMakerMetricsTimeSeries": True}
        | specification
        | {"MetricDefinitions": built_in.specification(algorithm.name).metric_definitions}
    )


def _check_hosts(algorithm: images.Algorithm, resources: Mapping[str, Any]) -> None:
    if resources["InstanceCount"] > 1 and algorithm.name not in _DISTRIBUTED:
        raise unsupported(
            f"ResourceConfig.InstanceCount {resources['InstanceCount']} for the algorithm {algorithm.name}",
            f"Use 1; algorithms that train on several instances here: {', '.join(_DISTRIBUTED)}.",
        )


def _check_script_hosts(program: Mapping[str, Any], resources: Mapping[str, Any]) -> None:
    if program["network"]:
        return
    if resources["InstanceCount"] > 1:
        raise unsupported(
            f"EnableNetworkIsolation with ResourceConfig.InstanceCount {resources['InstanceCount']}",
            "Instances talk to each other over this machine's network, so the job cannot be kept from it. "
            "Use 1 instance, or leave EnableNetworkIsolation out.",
        )
    if program.get("is_distributed"):
        raise unsupported(
            "EnableNetworkIsolation with distribution torch_distributed or pytorchddp",
            "Processes talk to each other over this machine's network. Leave one of the two out.",
        )


def _check_checkpoints(call: Call, request: Mapping[str, Any]) -> None:
    config = request.get("CheckpointConfig")
    if config is None:
        return
    job_data.check_output(call, config["S3Uri"], "CheckpointConfig.S3Uri")
    place = PurePosixPath(config.get("LocalPath", "/opt/ml/checkpoints"))
    below = place.parts[3:4]
    if place.parts[:3] != ("/", "opt", "ml") or not below or below[0] in _RESERVED or ".." in place.parts:
        raise validation(
            f"CheckpointConfig.LocalPath {place} cannot be used: it must be a folder below /opt/ml other than "
            f"{', '.join(_RESERVED)}. The default is /opt/ml/checkpoints."
        )


def _check_debug_output(call: Call, request: Mapping[str, Any]) -> None:
    for member in ("DebugHookConfig", "TensorBoardOutputConfig"):
        config = request.get(member)
        if config is None:
            continue
        job_data.check_output(call, config["S3OutputPath"], f"{member}.S3OutputPath")
        place = PurePosixPath(config.get("LocalPath", "/opt/ml/output/tensors"))
        if place.parts[:4] != ("/", "opt", "ml", "output") or len(place.parts) < 5 or ".." in place.parts:
            raise validation(
                f"{member}.LocalPath {place} cannot be used: it must be a folder below /opt/ml/output."
            )


def _stopping_condition(request: dict[str, Any]) -> dict[str, Any]:
    stopping = {"MaxRuntimeInSeconds": _DEFAULT_MAX_RUNTIME_S} | request.get("StoppingCondition", {})
    wait_s = stopping.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait_s is not None:
            raise validation("MaxWaitTimeInSeconds can be set only when EnableManagedSpotTraining is true.")
    elif wait_s is None or wait_s < stopping["MaxRuntimeInSeconds"]:
        raise validation(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds when "
            "EnableManagedSpotTraining is true."
        )
    return stopping


def _channels(request: dict[str, Any]) -> list[dict[str, Any]]:
    channels: list[dict[str, Any]] = request.get("InputDataConfig", [])
    seen: set[str] = set()
    for channel in channels:
        if channel["ChannelName"] in seen:
            raise validation(f"Channel names must be unique; {channel['ChannelName']} occurs more than once.")
        seen.add(channel["ChannelName"])
    return channels


def _channel(call: Call, channel: dict[str, Any], request: dict[str, Any], number: int) -> dict[str, Any]:
    """The channel with AWS's defaults; ValidationException for what cannot be honoured."""
    path = f"InputDataConfig.{number}."
    mode = channel.get("InputMode", request["AlgorithmSpecification"]["TrainingInputMode"])
    if channel.get("RecordWrapperType", "None") != "None" and mode != "Pipe":
        raise validation(
            f"{path}RecordWrapperType {channel['RecordWrapperType']} can be used only in Pipe mode, not in {mode} mode."
        )
    job_data.check_source(
        call, channel["DataSource"], f"{path}DataSource.", request["RoleArn"], _DATA_TYPES[mode]
    )
    if mode == "FastFile" and channel.get("CompressionType", "None") != "None":
        raise validation(
            f"{path}CompressionType {channel['CompressionType']} cannot be used in FastFile mode."
        )
    source = {"S3DataDistributionType": "FullyReplicated"} | channel["DataSource"]["S3DataSource"]
    return (
        {"CompressionType": "None", "RecordWrapperType": "None"}
        | channel
        | {"DataSource": {"S3DataSource": source}}
    )


def describe_training_job(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeTrainingJob: what was asked for, and how far it is."""
    document = names.public(_JOBS.existing(call, call.house.records, request["TrainingJobName"]).document)
    document["ProfilingStatus"] = "Disabled"  # nothing is profiled, whatever ProfilerConfig wishes
    return {member: value for member, value in document.items() if value not in ({}, [])}


def list_training_jobs(call: Call, request: dict[str, Any]) -> Answer:
    """ListTrainingJobs, oldest first unless told otherwise."""
    refuse(request, ("WarmPoolStatusEquals", "TrainingPlanArnEquals"))
    summarise = paging.members(
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )
    summaries = paging.ByCreation(call, TRAINING_JOB.kind, summarise)
    return paging.answer(
        request,
        summaries,
        member="TrainingJobSummaries",
        name_member="TrainingJobName",
        status_member="TrainingJobStatus",
        order="Ascending",
    )


def stop_training_job(call: Call, request: dict[str, Any]) -> Answer:
    """StopTrainingJob: asks for the end; the reconciler ends it and saves what the algorithm left."""
    return _JOBS.stop(call, request["TrainingJobName"])


def delete_training_job(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteTrainingJob: forgets a job that has ended; its artifacts and logs stay."""
    return _JOBS.delete(call, request["TrainingJobName"])
