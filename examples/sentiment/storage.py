"""The data bucket: training data goes up, the model and the held-out verdicts come down from it."""

from __future__ import annotations

import io

from botocore.exceptions import ClientError

from bags import Bags
from place import Place, PlaceUnusable
from plan import Plan
from steps import Step


def ensure_bucket(place: Place, bucket: str) -> bool:
    """Make the bucket unless this account has it; True when it was made."""
    try:
        place.s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if not _is_missing(error):
            raise PlaceUnusable(f"the bucket {bucket} cannot be used: {error}") from error
    else:
        return False
    if place.region == "us-east-1":
        place.s3.create_bucket(Bucket=bucket)
    else:
        where = {"LocationConstraint": place.region}
        place.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)  # pyright: ignore[reportArgumentType]
    place.s3.get_waiter("bucket_exists").wait(Bucket=bucket, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return True


def upload(place: Place, plan: Plan, bags: Bags, step: Step) -> int:
    """Upload what is not there yet; the number of bytes that went up."""
    files = {
        f"{plan.data_prefix}/train/reviews.libsvm": bags.train,
        f"{plan.data_prefix}/validation/reviews.libsvm": bags.validation,
        f"{plan.data_prefix}/held-out/reviews.libsvm": bags.held_out,
        f"{plan.data_prefix}/vocabulary.json": bags.vocabulary_json(),
    }
    missing = {key: data for key, data in files.items() if size_of(place, plan.data_bucket, key) != len(data)}
    step.expect(sum(len(data) for data in missing.values()) // 1024)
    sent = 0

    def count(chunk: int) -> None:
        nonlocal sent
        sent += chunk
        step.reach(sent // 1024)

    for key, data in missing.items():
        place.s3.upload_fileobj(io.BytesIO(data), plan.data_bucket, key, Callback=count)
    return sent


def size_of(place: Place, bucket: str, key: str) -> int | None:
    """An object's size in bytes; None when there is no such object."""
    try:
        return place.s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
    except ClientError as error:
        if _is_missing(error):
            return None
        raise


def _is_missing(error: ClientError) -> bool:
    """A HEAD request's answer has no body, so its code is the status."""
    return error.response.get("Error", {}).get("Code") == "404"
