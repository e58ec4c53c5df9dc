"""A data scientist who uses nothing but the AWS CLI: train, look on, search, tag, measure, transform, deploy, invoke, stop."""

import json
from pathlib import Path

import pytest
from journeys.aws_cli import SERVICE_ERROR, Cli
from services.job_clients import IMAGE, Desk, as_csv, rows

from stagedoor.testing import Server

pytestmark = pytest.mark.journey
LOGS = "/aws/sagemaker/TrainingJobs"


class Work(Desk):
    """A bucket with rows to train on, a role, and a name for all that is made."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server)
        self.folder = folder
        features, labels = rows()
        self.put("train/rows.csv", as_csv(features, labels))
        self.put("in/in.csv", as_csv(features))
        (folder / "in.csv").write_text(as_csv(features))

    def written(self, name: str, **hyperparameters: str) -> str:
        """A training job's request in a file; gives what to write for it."""
        given = {"objective": "binary:logistic", "num_round": "5"} | hyperparameters
        request = self.training_request(name, HyperParameters=given)
        request["Tags"] = [{"Key": "team", "Value": self.unique}]
        (self.folder / f"{name}.json").write_text(json.dumps(request))
        return f"file://{name}.json"


@pytest.fixture
def work(stagedoor: Server, tmp_path: Path) -> Work:
    return Work(stagedoor, tmp_path)


def test_a_training_job_from_its_creation_to_its_model(either_aws: Cli, work: Work) -> None:
    aws, name, team = either_aws, work.name("job"), work.unique
    request = ("--cli-input-json", work.written("job"))
    arn = aws.json("sagemaker", "create-training-job", *request)["TrainingJobArn"]
    job = ("--training-job-name", name)
    aws("sagemaker", "wait", "training-job-completed-or-stopped", *job)
    described = aws.json("sagemaker", "describe-training-job", *job)
    assert described["TrainingJobStatus"] == "Completed"
    model = described["ModelArtifacts"]["S3ModelArtifacts"]
    aws("s3", "cp", model, "model.tar.gz")
    listed = ("sagemaker", "list-training-jobs", "--name-contains", name, "--status-equals", "Completed")
    assert (
        aws(*listed, "--query", "TrainingJobSummaries[].TrainingJobName", "--output", "text") == f"{name}\n"
    )

    aws("sagemaker", "add-tags", "--resource-arn", arn, "--tags", "Key=stage,Value=test")
    tags = aws.json("sagemaker", "list-tags", "--resource-arn", arn)["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": team, "stage": "test"}
    aws("sagemaker", "delete-tags", "--resource-arn", arn, "--tag-keys", "stage")
    tagged = {"Filters": [{"Name": "Tags.team", "Operator": "Equals", "Value": team}]}
    found = aws.json(
        "sagemaker", "search", "--resource", "TrainingJob", "--search-expression", json.dumps(tagged)
    )
    assert [each["TrainingJob"]["TrainingJobName"] for each in found["Results"]] == [name]

    if aws.is_version_2:  # version 1 has no `logs tail`
        told = aws(
            "logs", "tail", LOGS, "--log-stream-name-prefix", f"{name}/", "--since", "1h", "--format", "short"
        )
        assert "[4]#011train-logloss:" in told
    measured = aws.json(
        *("cloudwatch", "get-metric-statistics", "--namespace", "/aws/sagemaker/TrainingJobs"),
        *("--metric-name", "train:logloss", "--dimensions", f"Name=TrainingJobName,Value={name}"),
        *("--start-time", "2020-01-01T00:00:00Z", "--end-time", "2099-01-01T00:00:00Z"),
        *("--period", "315360000", "--statistics", "Minimum", "SampleCount"),
    )
    [point] = measured["Datapoints"]
    assert point["SampleCount"] >= 1
    assert 0 < point["Minimum"] < 0.7

    deployed(aws, work, name, model)


def deployed(aws: Cli, work: Work, name: str, model: str) -> None:
    """Transform with the model, and ask it at an endpoint."""
    container = f"Image={IMAGE},ModelDataUrl={model}"
    aws(
        *("sagemaker", "create-model", "--model-name", name, "--execution-role-arn", work.role_arn),
        *("--primary-container", container),
    )
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{work.bucket}/in/"}}}
    aws(
        *("sagemaker", "create-transform-job", "--transform-job-name", name, "--model-name", name),
        *("--transform-input", json.dumps(source | {"ContentType": "text/csv", "SplitType": "Line"})),
        *("--transform-output", f"S3OutputPath=s3://{work.bucket}/out,AssembleWith=Line,Accept=text/csv"),
        *("--transform-resources", "InstanceType=ml.m5.large,InstanceCount=1"),
    )
    aws("sagemaker", "wait", "transform-job-completed-or-stopped", "--transform-job-name", name)
    transformed = [float(line) for line in aws("s3", "cp", f"s3://{work.bucket}/out/in.csv.out", "-").split()]

    variant = f"VariantName=one,ModelName={name},InstanceType=ml.m5.large,InitialInstanceCount=1"
    config = ("--endpoint-config-name", name)
    aws("sagemaker", "create-endpoint-config", *config, "--production-variants", variant)
    endpoint = ("--endpoint-name", name)
    aws("sagemaker", "create-endpoint", *endpoint, *config)
    aws("sagemaker", "wait", "endpoint-in-service", *endpoint)
    asked = ("--content-type", "text/csv", "--accept", "text/csv", "--body", "fileb://in.csv")
    aws("sagemaker-runtime", "invoke-endpoint", *endpoint, *asked, "answer.csv")
    answer = [float(value) for value in (aws.folder / "answer.csv").read_text().split(",")]
    assert answer == pytest.approx(transformed, abs=1e-6)
    aws("sagemaker", "delete-endpoint", *endpoint)
    aws("sagemaker", "wait", "endpoint-deleted", *endpoint)


def test_a_job_that_is_stopped_and_one_that_fails(aws: Cli, work: Work) -> None:
    name = work.name("long")
    job = ("--training-job-name", name)
    request = ("--cli-input-json", work.written("long", num_round="10000000"))
    aws("sagemaker", "create-training-job", *request)
    aws("sagemaker", "stop-training-job", *job)
    aws("sagemaker", "wait", "training-job-completed-or-stopped", *job)
    status = ("--query", "[TrainingJobStatus,FailureReason]", "--output", "json")
    assert json.loads(aws("sagemaker", "describe-training-job", *job, *status)) == ["Stopped", None]

    aws("sagemaker", "create-training-job", "--cli-input-json", work.written("wrong", max_dept="3"))
    job = ("--training-job-name", work.name("wrong"))
    code, said = aws.fails("sagemaker", "wait", "training-job-completed-or-stopped", *job)
    assert code == SERVICE_ERROR
    assert "Waiter TrainingJobCompletedOrStopped failed" in said
    why = "ClientError: Extraneous hyperparameter found: max_dept"
    assert json.loads(aws("sagemaker", "describe-training-job", *job, *status)) == ["Failed", why]
