"""The batch transform job: the held-out reviews are scored, and the verdicts compared with the authors' own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs import JobFailed, find
from place import Place
from plan import INSTANCE_TYPE, Plan
from steps import wait_until
from storage import size_of

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
    name, found = _find_job(place, plan)
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
    answer = place.s3.get_object(Bucket=plan.data_bucket, Key=_output_key(plan, name))["Body"].read().decode()
    return compare([float(line) for line in answer.split()], verdicts), not found


def compare(probabilities: list[float], verdicts: list[bool]) -> Score:
    """:raises JobFailed: not one probability for each review."""
    if len(probabilities) != len(verdicts):
        raise JobFailed(
            f"{len(verdicts)} reviews were sent to be scored, {len(probabilities)} scores came back"
        )
    right = sum((p >= 0.5) is verdict for p, verdict in zip(probabilities, verdicts, strict=True))
    return Score(right, len(verdicts))


def _output_prefix(plan: Plan, job: str) -> str:
    return f"{plan.prefix}/scores/{job}"


def _output_key(plan: Plan, job: str) -> str:
    return f"{_output_prefix(plan, job)}/reviews.libsvm.out"


def _find_job(place: Place, plan: Plan) -> tuple[str, bool]:
    def status_of(job: str) -> str:
        return place.sagemaker.describe_transform_job(TransformJobName=job)["TransformJobStatus"]

    def has_scores(job: str) -> bool:
        return size_of(place, plan.data_bucket, _output_key(plan, job)) is not None

    return find(plan.training_job, status_of, has_scores)


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
            "S3OutputPath": f"s3://{plan.data_bucket}/{_output_prefix(plan, name)}",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        TransformResources={"InstanceType": INSTANCE_TYPE, "InstanceCount": 1},
    )
