"""Batch transform jobs: a model's answers for whole objects in S3.

Creating a job records it as InProgress together with what its model is at that moment; ``reconcile.transform`` takes it
from there. Instance types, their number and encryption keys are recorded: one machine does the work, with the same
output. What else cannot be honoured is refused by name.
"""

from typing import Any

from stagedoor.domain.job_components import TRANSFORM
from stagedoor.domain.json_path import JsonPath, JsonPathError
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import job_data, names, paging, programs
from stagedoor.services.sagemaker.job_records import JobRecords
from stagedoor.services.sagemaker.names import MODEL, TRANSFORM_JOB, validation

_MAX_PAYLOAD_MB = 100
_JOBS = JobRecords(
    TRANSFORM_JOB,
    TRANSFORM,
    "Job name must be unique within an AWS account and region, and a job with this name already exists",
    lambda name: validation(f"Could not find requested job with name: {name}"),
    lambda document, now: document | {"TransformJobStatus": "Stopping", "lastModifiedTime": now},
)
_FILTERED_TYPES = ("text/csv", "csv", "application/json", "application/jsonlines", "application/x-jsonlines")


def create_transform_job(call: Call, request: dict[str, Any]) -> Answer:
    """CreateTransformJob: the model, the input and the output's bucket must exist now."""
    name = request["TransformJobName"]
    model = names.existing(call, call.house.records, MODEL, request["ModelName"]).document
    _check_payloads(request)
    programs.check_batching(request.get("Environment", {}), "")
    transform_input = {"CompressionType": "None", "SplitType": "None"} | request["TransformInput"]
    processing = _data_processing(request, transform_input)
    job_data.check_source(
        call, transform_input["DataSource"], "TransformInput.DataSource.", model.get("ExecutionRoleArn")
    )
    job_data.check_output(call, request["TransformOutput"]["S3OutputPath"], "TransformOutput.S3OutputPath")
    if (capture := request.get("DataCaptureConfig")) is not None:
        job_data.check_output(call, capture["DestinationS3Uri"], "DataCaptureConfig.DestinationS3Uri")
    arn = names.arn(call, TRANSFORM_JOB, name)
    document = request | {
        "TransformJobArn": arn,
        "TransformJobStatus": "InProgress",
        "TransformInput": transform_input,
        "TransformOutput": {"AssembleWith": "None", "KmsKeyId": ""} | request["TransformOutput"],
        "DataProcessing": processing,
        "CreationTime": call.now,
        "lastModifiedTime": call.now,
        "model": {member: model[member] for member in ("algorithm", "artifact", "container")}
        | programs.carried(model),
    }
    _JOBS.insert(call, name, document)
    return {"TransformJobArn": arn}


def _check_payloads(request: dict[str, Any]) -> None:
    payload_mb = request.get("MaxPayloadInMB")
    in_flight = request.get("MaxConcurrentTransforms") or 1
    if (payload_mb or 0) * in_flight > _MAX_PAYLOAD_MB:
        raise validation(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {_MAX_PAYLOAD_MB} MB, and {in_flight} * "
            f"{payload_mb} does."
        )


def _data_processing(request: dict[str, Any], transform_input: dict[str, Any]) -> dict[str, Any]:
    """DataProcessing with AWS's defaults; ValidationException for filters that are none, or that the data cannot have."""
    processing = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"} | request.get(
        "DataProcessing", {}
    )
    does_something = processing["JoinSource"] != "None"
    for member in ("InputFilter", "OutputFilter"):
        try:
            does_something |= not JsonPath.parse(processing[member]).is_all
        except JsonPathError as error:
            raise validation(f"DataProcessing.{member}: {error}") from error
    content_type = str(transform_input.get("ContentType", "")).partition(";")[0].strip().lower()
    if does_something and content_type not in _FILTERED_TYPES:
        raise validation(
            f"DataProcessing needs records in text/csv, application/json or application/jsonlines, and "
            f"TransformInput.ContentType is {content_type or 'not given'}."
        )
    return processing


def describe_transform_job(call: Call, request: dict[str, Any]) -> Answer:
    """DescribeTransformJob: what was asked for, and how far it is."""
    document = names.public(_JOBS.existing(call, call.house.records, request["TransformJobName"]).document)
    return {member: value for member, value in document.items() if value not in ({}, [])}


def list_transform_jobs(call: Call, request: dict[str, Any]) -> Answer:
    """ListTransformJobs, newest first unless told otherwise."""
    shown = paging.members(
        "TransformJobName",
        "TransformJobArn",
        "CreationTime",
        "TransformEndTime",
        "TransformJobStatus",
        "FailureReason",
    )
    summaries = paging.ByCreation(
        call,
        TRANSFORM_JOB.kind,
        lambda document: shown(document) | {"LastModifiedTime": document["lastModifiedTime"]},
    )
    return paging.answer(
        request,
        summaries,
        member="TransformJobSummaries",
        name_member="TransformJobName",
        status_member="TransformJobStatus",
    )


def stop_transform_job(call: Call, request: dict[str, Any]) -> Answer:
    """StopTransformJob: asks for the end; outputs that are complete stay."""
    return _JOBS.stop(call, request["TransformJobName"])
