"""Model data in S3: what a ModelDataUrl names, looked up when a model is made and remembered with it.

The very version that CreateModel saw is what workers load: a later upload under the same key needs a new model, so that
two workers of one endpoint can never serve different models.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from stagedoor.services.call import Call
from stagedoor.services.sagemaker import roles
from stagedoor.services.sagemaker.names import validation
from stagedoor.services.sagemaker.refusals import unsupported
from stagedoor.store import objects_io
from stagedoor.store.contents import ContentDamagedError
from stagedoor.store.object_listing import ObjectRow

_HTTPS = re.compile(
    r"https://(?:(?P<bucket>[a-z0-9.-]+)\.)?s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com(?:\.cn)?/(?P<rest>.+)"
)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key`` or S3's https form; ValidationException for anything else."""
    if url.startswith("s3://"):
        bucket, _, key = url.removeprefix("s3://").partition("/")
    elif (match := _HTTPS.fullmatch(url)) is not None:
        bucket, key = (
            (match["bucket"], match["rest"]) if match["bucket"] else match["rest"].partition("/")[::2]
        )
    else:
        raise validation(f"{url} is not an Amazon S3 location: write s3://BUCKET/KEY.")
    if not bucket or not key:
        raise validation(f"{url} does not name an object: write s3://BUCKET/KEY.")
    return bucket, key


def model_data_url(container: Mapping[str, Any], path: str) -> str:
    """Where a container's model is: ModelDataUrl, or a ModelDataSource that says the same in other words."""
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    url = container.get("ModelDataUrl")
    if source is None:
        if not url:
            raise validation(
                f"{path}ModelDataUrl is required: the image brings the algorithm, not the model."
            )
        return str(url)
    for member in ("ModelAccessConfig", "HubAccessConfig", "ManifestS3Uri", "ManifestEtag"):
        if source.get(member):
            raise unsupported(f"{path}ModelDataSource.S3DataSource.{member}")
    if source["S3DataType"] != "S3Object" or source["CompressionType"] != "Gzip":
        raise unsupported(
            f"{path}ModelDataSource with S3DataType {source['S3DataType']} and CompressionType {source['CompressionType']}",
            "Use S3Object and Gzip, or ModelDataUrl.",
        )
    if url and url != source["S3Uri"]:
        raise validation(f"{path}ModelDataUrl and {path}ModelDataSource name different objects.")
    return str(source["S3Uri"])


def find(call: Call, url: str, role_arn: str | None) -> dict[str, Any]:
    """What a record remembers of the model data: bucket, key, the object's version, ETag, size and SHA-256.

    The digest is of the bytes themselves, read here: whatever is loaded later is compared with it. ValidationException when there is no such object, or the execution role may not read it.
    """
    bucket_name, key = split_url(url)
    objects = call.house.objects
    bucket = objects.find_bucket(bucket_name)
    row = objects.get(bucket_name, key) if bucket is not None else None
    if bucket is None or row is None:
        raise validation(f"Could not find model data at {url}.")
    readable = bucket.account_id == call.account_id
    if role_arn is not None and readable:
        readable = roles.allows(call, role_arn, "s3:GetObject", f"arn:aws:s3:::{bucket_name}/{key}")
    if not readable:
        raise validation(
            f"Could not access model data at {url}. Please ensure that the role {role_arn} exists and has "
            "s3:GetObject permissions for the object."
        )
    return {
        "bucket": bucket_name,
        "key": key,
        "versionId": row.version_id,
        "sequence": row.sequence,
        "etag": row.etag,
        "sizeBytes": row.size_bytes,
        "sha256": _digest(call, row, url),
    }


def _digest(call: Call, row: ObjectRow, url: str) -> str:
    try:
        held = objects_io.reading(call.house.objects, call.house.contents, row)
    except (objects_io.ObjectChangedError, ContentDamagedError) as error:
        raise validation(f"Could not read model data at {url}: {error}.") from error
    digest = hashlib.sha256()
    try:
        for piece in held.pieces():
            digest.update(piece)
    except ContentDamagedError as error:
        raise validation(f"Could not read model data at {url}: {error}.") from error
    finally:
        held.release()
    return digest.hexdigest()
