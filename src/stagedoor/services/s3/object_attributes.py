"""GetObjectAttributes: chosen facts about an object, with its parts."""

from typing import Any, Final

from stagedoor.services.call import Call
from stagedoor.services.s3 import errors, object_headers
from stagedoor.services.s3.lookup import bucket_of, object_of, shown_version
from stagedoor.services.s3.members import texts
from stagedoor.store.object_rows import ObjectRow

_MOST_PARTS: Final = 1000


def get_object_attributes(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """ETag, checksum, parts, storage class and size: those that were asked for."""
    bucket = bucket_of(call, request)
    object_headers.refuse_unbuilt(request)
    row = object_of(call, bucket, request["Key"], request.get("VersionId"))
    wanted = set(texts(request, "ObjectAttributes"))
    if not wanted:
        raise errors.invalid_request("The x-amz-object-attributes header is missing or empty.")
    answer: dict[str, Any] = {"LastModified": row.last_modified, "VersionId": shown_version(bucket, row)}
    if "ETag" in wanted:
        # Without quotes, unlike everywhere else in S3.
        answer["ETag"] = row.etag
    if "StorageClass" in wanted:
        answer["StorageClass"] = row.storage_class
    if "ObjectSize" in wanted:
        answer["ObjectSize"] = row.size_bytes
    if "Checksum" in wanted and (checksum := object_headers.checksum_answer(row)):
        # In the document, unlike in headers, a composite value goes without its count of parts.
        answer["Checksum"] = {name: value.partition("-")[0] for name, value in checksum.items()}
    if "ObjectParts" in wanted and (parts := _parts(call, request, row)):
        answer["ObjectParts"] = parts
    return answer


def _parts(call: Call, request: dict[str, Any], row: ObjectRow) -> dict[str, Any]:
    parts = call.house.objects.parts(row)
    if not parts:
        return {}
    found: dict[str, Any] = {"TotalPartsCount": len(parts)}
    checksum = row.attributes["Checksum"]
    # S3 tells sizes only of parts that were uploaded with a checksum of their own.
    if not all(part.checksum for part in parts):
        return found
    most = min(request.get("MaxParts") or _MOST_PARTS, _MOST_PARTS)
    after = request.get("PartNumberMarker") or 0
    rest = [part for part in parts if part.number > after]
    page = rest[:most]
    return found | {
        "PartNumberMarker": after,
        "NextPartNumberMarker": page[-1].number if page else 0,
        "MaxParts": most,
        "IsTruncated": len(rest) > most,
        "Parts": [
            {
                "PartNumber": part.number,
                "Size": part.size_bytes,
                f"Checksum{checksum['algorithm']}": part.checksum,
            }
            for part in page
        ],
    }
