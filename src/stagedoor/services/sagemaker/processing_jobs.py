"""Processing jobs: a container's command between inputs and outputs in S3.

Creating a job records it as InProgress; ``reconcile.processing`` takes it from there. Instance types, volumes, keys and networks
are recorded: one machine does the work. What cannot be honoured is refused by name.
"""

import posixpath
from collections.abc import Mapping
from typing import Any

from stagedoor.domain import images
from stagedoor.domain.errors import AwsError
from stagedoor.domain.job_components import PROCESSING
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import job_data, names, paging, programs, roles
from stagedoor.services.sagemaker.job_records import JobRecords
from stagedoor.services.sagemaker.names import PROCESSING_JOB, validation
from stagedoor.services.sagemaker.refusals import refuse, unsupported

_ROOT = "/opt/ml/processing"
_DEFAULT_MAX_RUNTIME_S = 86_400
_INSTANCES_AT_MOST = 16
_JOBS = JobRecords(
    PROCESSING_JOB,
    PROCESSING,
    "Job name must be unique within an AWS account and region, and a job with this name already exists",
    lambda name: validation(f"Could not find requested job with name: {name}"),
    lambda document, now: document | {"ProcessingJobStatus": "Stopping", "LastModifiedTime": now},
)


def create_processing_job(call: Call, request: dict[str, Any]) -> Answer:
    """CreateProcessingJob: image, role, inputs and the buckets of outputs must be there now."""
    name = request["ProcessingJobName"]
    try:
        algorithm = images.resolve(request["AppSpecification"]["ImageUri"])
    except images.UnsupportedImageError as error:
        raise validation(str(error)) from error
    program = programs.of_processing(request, algorithm)
    roles.require_role(call, request["RoleArn"])
    _check_cluster(request["ProcessingResources"]["ClusterConfig"])
    inputs = [
        _input(call, each, f"ProcessingInputs.{number}.", request["RoleArn"])
        for number, each in enumerate(request.get("ProcessingInputs", []), 1)
    ]
    outputs = [
        _output(call, each, f"ProcessingOutputConfig.Outputs.{number}.")
        for number, each in enumerate(request.get("ProcessingOutputConfig", {}).get("Outputs", []), 1)
    ]
    _check_unique([each["InputName"] for each in inputs], "ProcessingInputs", "InputName")
    _check_unique([each["OutputName"] for each in outputs], "ProcessingOutputConfig.Outputs", "OutputName")
    _check_unique([each["S3Input"]["LocalPath"] for each in inputs], "ProcessingInputs", "LocalPath")
    arn = names.arn(call, PROCESSING_JOB, name)
    document: dict[str, Any] = request | {
        "ProcessingJobArn": arn,
        "ProcessingJobStatus": "InProgress",
        "StoppingCondition": {"MaxRuntimeInSeconds": _DEFAULT_MAX_RUNTIME_S}
        | request.get("StoppingCondition", {}),
        "CreationTime": call.now,
        "LastModifiedTime": call.now,
        "program": program,
    }
    if inputs:
        document["ProcessingInputs"] = inputs
    if outputs:
        document["ProcessingOutputConfig"] = request["ProcessingOutputConfig"] | {"Outputs": outputs}
    _JOBS.insert(call, name, document)
    return {"ProcessingJobArn": arn}


def _check_cluster(cluster: Mapping[str, Any]) -> None:
    refuse(cluster, ("InstancePreferences",), "ProcessingResources.ClusterConfig.")
    for member in ("InstanceType", "InstanceCount"):
        if member not in cluster:
            raise validation(f"ProcessingResources.ClusterConfig.{member} is required.")
    if cluster["InstanceCount"] > _INSTANCES_AT_MOST:
        raise AwsError(
            "ResourceLimitExceeded",
            f"The account-level service limit 'Number of instances across all processing jobs' is {_INSTANCES_AT_MOST} Instances, "
            f"and ProcessingResources.ClusterConfig.InstanceCount is {cluster['InstanceCount']}.",
            status=400,
        )


def _input(call: Call, given: dict[str, Any], path: str, role_arn: str) -> dict[str, Any]:
    """An input with AWS's defaults; ValidationException for what cannot be honoured."""
    refuse(given, ("DatasetDefinition", "AppManaged"), path)
    s3 = given.get("S3Input")
    if s3 is None:
        raise validation(f"{path}S3Input is required.")
    source = {
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    } | s3
    path += "S3Input."
    if source["S3InputMode"] != "File":
        raise unsupported(f"{path}S3InputMode {source['S3InputMode']}", "Use File.")
    if source["S3CompressionType"] != "None":
        raise validation(
            f"{path}S3CompressionType {source['S3CompressionType']} is for S3InputMode Pipe. Use None."
        )
    source["LocalPath"] = _local_path(source.get("LocalPath"), path)
    located = {"S3DataType": source["S3DataType"], "S3Uri": source["S3Uri"]}
    job_data.check_source(call, {"S3DataSource": located}, path, role_arn)
    return given | {"AppManaged": False, "S3Input": source}


def _output(call: Call, given: dict[str, Any], path: str) -> dict[str, Any]:
    refuse(given, ("FeatureStoreOutput", "AppManaged"), path)
    s3 = given.get("S3Output")
    if s3 is None:
        raise validation(f"{path}S3Output is required.")
    job_data.check_output(call, s3["S3Uri"], f"{path}S3Output.S3Uri")
    local = _local_path(s3.get("LocalPath"), f"{path}S3Output.")
    return given | {"AppManaged": False, "S3Output": s3 | {"LocalPath": local}}


def _local_path(value: str | None, path: str) -> str:
    """A folder below /opt/ml/processing; ValidationException for any other."""
    normal = posixpath.normpath(value or "")
    if not normal.startswith(f"{_ROOT}/") and normal != _ROOT:
        raise validation(f"{path}LocalPath must be a folder below {_ROOT}, and {value or 'nothing'} is not.")
    return normal


def _check_unique(values: list[str], where: str, member: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise validation(f"{where}: {member} must be unique; {value} occurs more than once.")


def describe_processing_job(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeProcessingJob: what was asked for, and how far it is."""
    document = names.public(_JOBS.existing(call, call.house.records, request["ProcessingJobName"]).document)
    return {member: value for member, value in document.items() if value not in ({}, [])}


def list_processing_jobs(call: Call, request: dict[str, Any]) -> Answer:
    """ListProcessingJobs, newest first unless told otherwise."""
    summarise = paging.members(
        "ProcessingJobName",
        "ProcessingJobArn",
        "CreationTime",
        "ProcessingEndTime",
        "LastModifiedTime",
        "ProcessingJobStatus",
        "FailureReason",
        "ExitMessage",
    )
    summaries = paging.ByCreation(call, PROCESSING_JOB.kind, summarise)
    return paging.answer(
        request,
        summaries,
        member="ProcessingJobSummaries",
        name_member="ProcessingJobName",
        status_member="ProcessingJobStatus",
    )


def stop_processing_job(call: Call, request: dict[str, Any]) -> Answer:
    """StopProcessingJob: asks for the end; what was written until then is uploaded."""
    return _JOBS.stop(call, request["ProcessingJobName"])


def delete_processing_job(call: Call, request: dict[str, Any]) -> Answer:
    """DeleteProcessingJob: forgets a job that has ended; its outputs and logs stay."""
    return _JOBS.delete(call, request["ProcessingJobName"])
