"""The training job: SageMaker's XGBoost algorithm on the uploaded reviews, its progress read from its log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs import JobFailed, find
from place import Place
from plan import HYPERPARAMETERS, INSTANCE_TYPE, Plan
from roles import once_assumable
from steps import Step, wait_until
from storage import size_of

if TYPE_CHECKING:
    from types_boto3_logs.type_defs import GetLogEventsResponseTypeDef
    from types_boto3_sagemaker.type_defs import ChannelTypeDef, DescribeTrainingJobResponseTypeDef

LOG_GROUP = "/aws/sagemaker/TrainingJobs"

# What XGBoost writes after each round: "[12]	train-error:0.20	validation-error:0.22"; CloudWatch may show the tabs
# as "#011".
_ROUND = re.compile(r"^\[(\d+)\](.*)$")
_METRIC = re.compile(r"([a-z]+-[a-z]+):([0-9.eE+-]+)")


@dataclass(frozen=True, slots=True)
class Trained:
    """Where the model lies, and whether it was trained just now."""

    model_data: str
    new: bool
    summary: str


@dataclass(frozen=True, slots=True)
class Round:
    """One line of the training log."""

    number: int
    metrics: dict[str, float]


def train(place: Place, plan: Plan, role: str, image: str, step: Step) -> Trained:
    """The model for this data and these hyperparameters: trained now, unless it has been.

    :raises JobFailed: with the service's FailureReason.
    """
    name, found = _find_job(place, plan.training_job)
    if not found:
        once_assumable(lambda: _create(place, plan, name, role, image))
    step.expect(int(HYPERPARAMETERS["num_round"]))
    follower = _Follower(place, name, step)

    def look() -> DescribeTrainingJobResponseTypeDef:
        described = place.sagemaker.describe_training_job(TrainingJobName=name)
        if described["TrainingJobStatus"] == "InProgress":
            step.note(described["SecondaryStatus"].lower())
        follower.read()
        return described

    described = wait_until(
        look, lambda seen: seen["TrainingJobStatus"] in {"Completed", "Failed", "Stopped"}, 1.0
    )
    if described["TrainingJobStatus"] != "Completed":
        raise JobFailed(f"the training job {name} ended as {described['TrainingJobStatus']}: "
                        f"{described.get('FailureReason', 'no reason given')}")  # fmt: skip
    follower.read()
    return Trained(described["ModelArtifacts"]["S3ModelArtifacts"], not found, follower.summary())


def read_round(message: str) -> Round | None:
    """The metrics in a line of the training log; None for any other line."""
    found = _ROUND.match(message.strip())
    if not found:
        return None
    metrics = {name: float(value) for name, value in _METRIC.findall(found[2])}
    return Round(int(found[1]), metrics) if metrics else None


def _find_job(place: Place, name: str) -> tuple[str, bool]:
    def status_of(job: str) -> str:
        return place.sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"]

    def has_model(job: str) -> bool:
        artifacts = place.sagemaker.describe_training_job(TrainingJobName=job)["ModelArtifacts"]
        bucket, _, key = artifacts["S3ModelArtifacts"].removeprefix("s3://").partition("/")
        return size_of(place, bucket, key) is not None

    return find(name, status_of, has_model)


def _create(place: Place, plan: Plan, name: str, role: str, image: str) -> None:
    place.sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn=role,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        HyperParameters=HYPERPARAMETERS,
        InputDataConfig=[_channel(plan, "train"), _channel(plan, "validation")],
        OutputDataConfig={"S3OutputPath": f"s3://{plan.data_bucket}/{plan.prefix}/models"},
        ResourceConfig={"InstanceType": INSTANCE_TYPE, "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )


def _channel(plan: Plan, name: str) -> ChannelTypeDef:
    return {
        "ChannelName": name,
        "ContentType": "text/libsvm",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": f"s3://{plan.data_bucket}/{plan.data_prefix}/{name}/",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


class _Follower:
    """Reads a job's log as it grows, and moves the bar with it."""

    def __init__(self, place: Place, job: str, step: Step) -> None:
        self._logs = place.logs
        self._job = job
        self._step = step
        self._stream: str | None = None
        self._token: str | None = None
        self._last: Round | None = None

    def read(self) -> None:
        for message in self._new_messages():
            trained = read_round(message)
            if trained:
                self._last = trained
                self._step.reach(trained.number + 1)
                self._step.note(self._errors())

    def summary(self) -> str:
        return f"{self._last.number + 1} trees, {self._errors()}" if self._last else ""

    def _errors(self) -> str:
        metrics = self._last.metrics if self._last else {}
        if "validation-error" not in metrics:
            return ""
        return f"{1 - metrics['validation-error']:.1%} of the validation reviews right"

    def _new_messages(self) -> Iterator[str]:
        try:
            self._stream = self._stream or self._find_stream()
            if self._stream is None:
                return
            while True:
                page = self._page(self._stream)
                for event in page["events"]:
                    yield event.get("message", "")
                if page["nextForwardToken"] == self._token:
                    return
                self._token = page["nextForwardToken"]
        except self._logs.exceptions.ResourceNotFoundException:
            return  # nothing has been logged yet

    def _find_stream(self) -> str | None:
        page = self._logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{self._job}/")
        return next((stream.get("logStreamName") for stream in page["logStreams"]), None)

    def _page(self, stream: str) -> GetLogEventsResponseTypeDef:
        """The next events; the first page has no token, and tokens are never empty."""
        if self._token is None:
            return self._logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True)
        return self._logs.get_log_events(
            logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, nextToken=self._token
        )
