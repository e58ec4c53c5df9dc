"""What training and transform jobs say about S3: inputs that must exist when the job is created, and output locations.

Place in the flow: CreateTrainingJob and CreateTransformJob call this before they store anything, as AWS looks at the data
before it accepts a job. What the job's role may read and write is to be asked here, too (``roles.allows``); today the
rule is that both are buckets of the job's own account.
"""

from collections.abc import Mapping
from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.sagemaker.names import validation
from stagedoor.services.sagemaker.refusals import refuse, unsupported
from stagedoor.store import job_inputs
from stagedoor.store.job_inputs import InputError, Location


def check_source(
    call: Call,
    source: Mapping[str, Any],
    path: str,
    role_arn: str | None,
    data_types: tuple[str, ...] = ("S3Prefix", "ManifestFile"),
) -> None:
    """A DataSource of a channel or a transform: ValidationException when it is of a kind nobody reads, or has no objects."""
    refuse(source, ("FileSystemDataSource", "DatasetSource"), path)
    s3 = source.get("S3DataSource")
    if s3 is None:
        raise validation(f"{path}S3DataSource is required.")
    path += "S3DataSource."
    refuse(s3, ("InstanceGroupNames", "ModelAccessConfig", "HubAccessConfig"), path)
    if s3["S3DataType"] not in data_types:
        raise unsupported(f"{path}S3DataType {s3['S3DataType']}", f"Use {' or '.join(data_types)}.")
    augmented = s3["S3DataType"] == "AugmentedManifestFile"
    if augmented != bool(s3.get("AttributeNames")):
        raise validation(
            f"{path}AttributeNames is required for AugmentedManifestFile."
            if augmented
            else f"{path}AttributeNames can be given only for AugmentedManifestFile."
        )
    house, uri = call.house, s3["S3Uri"]
    try:
        bucket = house.objects.find_bucket(Location.parse(uri).bucket)
        readable = bucket is not None and bucket.account_id == call.account_id
        # Of an augmented manifest, only the job reads the lines.
        data_type = "S3Prefix" if augmented else s3["S3DataType"]
        found = readable and any(
            True for _ in job_inputs.inputs(house.objects, house.contents, data_type, uri)
        )
    except InputError as error:
        raise validation(str(error)) from error
    if not found:
        bucket_name = Location.parse(uri).bucket
        role = f'the role "{role_arn}"' if role_arn else "the model's role"
        raise validation(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists '
            f"in the selected region ({call.region}), that objects exist under that S3 prefix, and that {role} has "
            f'"s3:ListBucket" permissions on bucket "{bucket_name}".'
        )


def check_output(call: Call, uri: str, path: str) -> None:
    """An S3OutputPath: ValidationException unless its bucket is one of this account."""
    try:
        name = Location.parse(uri).bucket
    except InputError as error:
        raise validation(f"{path}: {error}") from error
    bucket = call.house.objects.find_bucket(name)
    if bucket is None or bucket.account_id != call.account_id:
        raise validation(
            f'{path}: the bucket "{name}" of "{uri}" does not exist in this account. Create it before the job.'
        )
