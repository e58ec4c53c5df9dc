"""State survives the server: after stop, and after kill -9, what was deployed answers as before."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from journeys import made
from journeys.deployed import INVOKE, PAGE, Deployed, all_end, descendants, numbers
from services.hosting_house import IMAGE

from stagedoor.testing import Server

MANY_ROUNDS = {"objective": "binary:logistic", "num_round": "3000", "max_depth": "6"}
Make = Callable[..., Server]


def answers(app: Deployed) -> dict[str, Any]:
    """What each part of the app answers to an unmodified client, right now."""
    s3 = app.server.client("s3")
    status, body = app.call_api()
    return {
        "endpoint": app.invoke_endpoint(),
        "function": numbers(app.invoke_function()["body"]),
        "api": (status, numbers(body) if status == 200 else body),
        "page": app.page(),
        "object": s3.get_object(Bucket=app.name, Key="model.tar.gz")["Body"].read(),
        "roles": sorted(r["RoleName"] for r in app.server.client("iam").list_roles()["Roles"]),
    }


@pytest.mark.journey
@pytest.mark.crash
def test_the_web_app_answers_the_same_after_a_stop_and_after_a_kill(stagedoor_server: Make) -> None:
    server = stagedoor_server()
    app = Deployed(server, "reviews").bucket().model().endpoint().function(INVOKE).rest_api().website()
    before = answers(app)
    assert before["endpoint"] == pytest.approx(app.expected, abs=1e-6)
    assert before["function"] == before["endpoint"]
    assert before["api"] == (200, before["endpoint"])
    assert before["page"] == (200, PAGE)

    workers = descendants(server.pid)
    assert workers
    assert server.stop() == 0
    assert all_end(workers, within_s=0), "workers outlived a server that was stopped"
    server.start()
    app.in_service()
    assert answers(app) == before

    workers = descendants(server.pid)
    server.kill()
    assert all_end(workers, within_s=5), "workers outlived a server that was killed"
    server.start()
    app.in_service()
    assert answers(app) == before
    assert server.client("sagemaker").describe_endpoint(EndpointName="reviews").get("FailureReason") is None


@pytest.mark.crash
def test_an_endpoint_that_was_creating_at_a_kill_comes_in_service(stagedoor_server: Make) -> None:
    server = stagedoor_server()
    app = Deployed(server, "reviews").bucket().model().endpoint(wait=False)
    server.kill()
    server.start()
    app.in_service()
    assert app.invoke_endpoint() == pytest.approx(app.expected, abs=1e-6)


@pytest.mark.crash
def test_an_endpoint_is_deleted_in_each_state(stagedoor_server: Make) -> None:
    server = stagedoor_server()
    sagemaker = server.client("sagemaker")
    app = Deployed(server, "reviews").bucket().model().endpoint(wait=False)
    # Creating, right after the server was killed while it was being created.
    server.kill()
    server.start()
    sagemaker.delete_endpoint(EndpointName=app.name)
    app.wait("endpoint_deleted")
    # Deleting, when the server is killed: it is gone after the restart.
    again = {"EndpointName": app.name, "EndpointConfigName": app.name}
    sagemaker.create_endpoint(**again)
    app.in_service()
    sagemaker.delete_endpoint(EndpointName=app.name)
    workers = descendants(server.pid)
    server.kill()
    server.start()
    app.wait("endpoint_deleted")
    assert all_end(workers, within_s=5)
    # InService again after a kill.
    sagemaker.create_endpoint(**again)
    app.in_service()
    server.kill()
    server.start()
    app.in_service()
    sagemaker.delete_endpoint(EndpointName=app.name)
    app.wait("endpoint_deleted")
    assert sagemaker.list_endpoints()["Endpoints"] == []


def start_training(server: Server, name: str, **hyperparameters: str) -> None:
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    s3.create_bucket(Bucket=name)
    rows = "".join(f"{n % 2},{n % 7},{n % 11},{n % 5}\n" for n in range(2_000))
    s3.put_object(Bucket=name, Key="train/rows.csv", Body=rows.encode())
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/train/"}
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=made.role(server, f"{name}-training", "sagemaker", "AmazonS3FullAccess"),
        InputDataConfig=[
            {"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{name}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        HyperParameters=MANY_ROUNDS | hyperparameters,
    )


def until_training(server: Server, name: str, secondary_status: str) -> None:
    """Wait until the job says so; it must not have ended before."""
    sagemaker = server.client("sagemaker")
    while True:
        job = sagemaker.describe_training_job(TrainingJobName=name)
        if job["SecondaryStatus"] == secondary_status:
            return
        assert job["TrainingJobStatus"] == "InProgress", job


@pytest.mark.crash
def test_a_training_job_that_ran_at_a_kill_completes(stagedoor_server: Make) -> None:
    server = stagedoor_server()
    sagemaker = server.client("sagemaker")
    start_training(server, "reviews")
    until_training(server, "reviews", "Training")
    workers = descendants(server.pid)
    server.kill()
    assert all_end(workers, within_s=5), "the job outlived the server"
    server.start()
    config = {"Delay": 0.2, "MaxAttempts": 500}
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName="reviews", WaiterConfig=config)
    job = sagemaker.describe_training_job(TrainingJobName="reviews")
    assert job["TrainingJobStatus"] == "Completed", json.dumps(job, default=str)
    bucket, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    assert server.client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 0


@pytest.mark.crash
def test_a_training_job_is_stopped_after_a_kill(stagedoor_server: Make) -> None:
    server = stagedoor_server()
    sagemaker = server.client("sagemaker")
    start_training(server, "endless", num_round="1000000")
    until_training(server, "endless", "Training")
    server.kill()
    server.start()
    sagemaker.stop_training_job(TrainingJobName="endless")
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName="endless", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    assert sagemaker.describe_training_job(TrainingJobName="endless")["TrainingJobStatus"] == "Stopped"
