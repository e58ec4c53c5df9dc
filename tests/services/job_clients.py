"""What tests of jobs need around them on a real server: a bucket, a role that SageMaker may assume, unique names."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from stagedoor.testing import Server

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
PATIENCE_S = 60.0
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


class Desk:
    """One test's bucket, role and clients."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sagemaker = server.client("sagemaker")
        self.s3 = server.client("s3")
        self.logs = server.client("logs")
        self.unique = uuid.uuid4().hex[:12]
        self.bucket = f"jobs-{self.unique}"
        self.s3.create_bucket(Bucket=self.bucket)
        name = f"jobs-{self.unique}"
        iam = server.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
        self.role_arn: str = role["Role"]["Arn"]

    def name(self, stem: str) -> str:
        return f"{stem}-{self.unique}"

    def put(self, key: str, body: bytes | str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        listing = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for each in listing.get("Contents", [])]

    def channel(self, name: str, prefix: str, content_type: str = "text/csv") -> dict[str, Any]:
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.bucket}/{prefix}"}
        return {"ChannelName": name, "ContentType": content_type, "DataSource": {"S3DataSource": source}}

    def training_request(self, stem: str, **members: Any) -> dict[str, Any]:
        return {
            "TrainingJobName": self.name(stem),
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": self.role_arn,
            "HyperParameters": {"num_round": "3", "objective": "binary:logistic"},
            "InputDataConfig": [self.channel("train", "train/")],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        } | members

    def trained(self, stem: str, **members: Any) -> dict[str, Any]:
        """Create a training job, wait for its end, describe it."""
        request = self.training_request(stem, **members)
        self.sagemaker.create_training_job(**request)
        return self.ended_training(request["TrainingJobName"])

    def ended_training(self, name: str) -> dict[str, Any]:
        return waited(
            lambda: self.sagemaker.describe_training_job(TrainingJobName=name),
            lambda answer: answer["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"),
        )

    def ended_transform(self, name: str) -> dict[str, Any]:
        return waited(
            lambda: self.sagemaker.describe_transform_job(TransformJobName=name),
            lambda answer: answer["TransformJobStatus"] in ("Completed", "Failed", "Stopped"),
        )

    def log_lines(self, group: str, prefix: str) -> dict[str, list[str]]:
        streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
        return {
            stream["logStreamName"]: [
                event["message"]
                for event in self.logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
                )["events"]
            ]
            for stream in streams
        }


def waited(look: Callable[[], dict[str, Any]], is_over: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = look()
        if is_over(answer):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


def rows(count: int = 40, columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell the label apart."""
    features = np.random.default_rng(3).integers(0, 9, (count, columns))
    return features, (features[:, 0] > 4).astype(int)


def as_csv(features: np.ndarray, labels: np.ndarray | None = None) -> str:
    table = features if labels is None else np.column_stack([labels, features])
    return "\n".join(",".join(map(str, row)) for row in table) + "\n"
