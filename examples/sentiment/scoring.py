"""The batch transform job: the held-out reviews are scored, and the verdicts compared with the authors' own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from place import Place
from plan import INSTANCE_TYPE, Plan
from steps import wait_until
from training import JobFailed

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeTransformJobResponseTypeDef


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the held-out reviews the model judged as their authors did."""

    right: int
    of: int

    @property
    def accuracy(self) -> float:
        return self.right / self.of


def score(place: Place, plan: Plan, verdicts: list[bool]) -> tuple[Score, bool]:
    """Score the held-out reviews; the second value says whether that was done just now.

    :raises JobFailed: with the service's FailureReason.
    """
    name, found = _find_job(place, plan.training_job)
    if not found:
        _create(place, plan, name)

    def look() -> DescribeTransformJobResponseTypeDef:
        return place.sagemaker.describe_transform_job(TransformJobName=name)

    described = wait_until(
        look, lambda seen: seen["TransformJobStatus"] in {"Completed", "Failed", "Stopped"}
    )
    if described["TransformJobStatus"] != "Completed":
        raise JobFailed(f"the transform job {name} ended as {described['TransformJobStatus']}: "
                        f"{described.get('FailureReason', 'no reason given')}")  # fmt: skip
    key = f"{_output_prefix(plan)}/reviews.libsvm.out"
    answer = place.s3.get_object(Bucket=plan.data_bucket, Key=key)["Body"].read().decode()
    return compare([float(line) for line in answer.split()], verdicts), not found


def compare(probabilities: list[float], verdicts: list[bool]) -> Score:
    """:raises JobFailed: not one probability for each review."""
    if len(probabilities) != len(verdicts):
        raise JobFailed(
            f"{len(verdicts)} reviews were sent to be scored, {len(probabilities)} scores came back"
        )
    right = sum((p >= 0.5) is verdict for p, verdict in zip(probabilities, verdicts, strict=True))
    return Score(right, len(verdicts))


def _output_prefix(plan: Plan) -> str:
    return f"{plan.prefix}/scores/{plan.training_job}"


def _find_job(place: Place, name: str) -> tuple[str, bool]:
    attempt, candidate = 1, name
    while True:
        try:
            status = place.sagemaker.describe_transform_job(TransformJobName=candidate)["TransformJobStatus"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in {"ValidationException", "ResourceNotFound"}:
                raise
            return candidate, False
        if status not in {"Failed", "Stopped", "Stopping"}:
            return candidate, True
        attempt += 1
        candidate = f"{name}-{attempt}"


def _create(place: Place, plan: Plan, name: str) -> None:
    place.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=plan.model,
        BatchStrategy="MultiRecord",
        TransformInput={
            "ContentType": "text/libsvm",
            "SplitType": "Line",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": f"s3://{plan.data_bucket}/{plan.data_prefix}/held-out/",
                }
            },
        },
        TransformOutput={
            "S3OutputPath": f"s3://{plan.data_bucket}/{_output_prefix(plan)}",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        TransformResources={"InstanceType": INSTANCE_TYPE, "InstanceCount": 1},
    )
