"""A web app that nobody uses costs nothing, and is there when somebody comes: boto3 and real processes."""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from journeys.deployed import CSV, INVOKE, Deployed, fetch, numbers

from stagedoor.engine import process_memory
from stagedoor.testing import Server

Make = Callable[..., Server]
IDLE = {"STAGEDOOR_ENDPOINT_IDLE_S": "0.5", "STAGEDOOR_FUNCTION_IDLE_S": "0.5"}


def workers(server: Server) -> list[str]:
    """The names of the processes that serve a model or a function."""
    found = [process.name for process in process_memory.of_server(server.pid)]
    return [name for name in found if name.startswith(("model ", "function "))]


def until_nothing_runs(server: Server) -> None:
    deadline_s = time.monotonic() + 30
    while workers(server):
        assert time.monotonic() < deadline_s, workers(server)
        time.sleep(0.05)


@pytest.mark.journey
def test_a_web_app_that_nobody_uses_has_no_processes_and_answers_the_next_visitors(
    stagedoor_server: Make,
) -> None:
    server = stagedoor_server(IDLE)
    app = Deployed(server, "sleepy").bucket().model().endpoint().function(INVOKE).rest_api()
    described = server.client("sagemaker").describe_endpoint(EndpointName=app.name)
    for _ in range(2):
        until_nothing_runs(server)
        now = server.client("sagemaker").describe_endpoint(EndpointName=app.name)
        for same in ("EndpointStatus", "ProductionVariants", "LastModifiedTime"):
            assert now[same] == described[same]
        with ThreadPoolExecutor(8) as visitors:
            answers = list(visitors.map(lambda _: app.call_api(), range(16)))
        for status, body in answers:
            assert status == 200
            assert numbers(body) == pytest.approx(app.expected, abs=1e-5)
        if sys.platform == "linux":
            assert workers(server).count(f"model {app.name}") == 1, "all wait for the same worker"


@pytest.mark.journey
def test_a_model_that_cannot_wake_says_why(stagedoor_server: Make) -> None:
    server = stagedoor_server(IDLE)
    app = Deployed(server, "broken").bucket().model().endpoint()
    sagemaker, runtime = server.client("sagemaker"), server.client("sagemaker-runtime")
    until_nothing_runs(server)
    server.client("s3").delete_object(Bucket=app.name, Key="model.tar.gz")
    (copy,) = Path(server.data, "models").iterdir()
    kept = copy.read_bytes()
    copy.unlink()
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName=app.name, ContentType="text/csv", Body=CSV)
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert "Failed to download model data" in caught.value.response["Error"]["Message"]
    deadline_s = time.monotonic() + 10
    while "FailureReason" not in (found := sagemaker.describe_endpoint(EndpointName=app.name)):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert found["EndpointStatus"] == "InService"
    assert "Failed to download model data" in found["FailureReason"]
    copy.write_bytes(kept)
    time.sleep(1)
    answer = runtime.invoke_endpoint(EndpointName=app.name, ContentType="text/csv", Body=CSV)["Body"].read()
    assert numbers(answer) == pytest.approx(app.expected, abs=1e-5)


@pytest.mark.journey
def test_an_idle_endpoint_is_updated_and_deleted_like_any_other(stagedoor_server: Make) -> None:
    server = stagedoor_server(IDLE)
    app = Deployed(server, "changed").bucket().model().endpoint()
    sagemaker, runtime = server.client("sagemaker"), server.client("sagemaker-runtime")
    until_nothing_runs(server)
    capacity = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=app.name, DesiredWeightsAndCapacities=[capacity]
    )
    app.in_service()
    until_nothing_runs(server)
    runtime.invoke_endpoint(EndpointName=app.name, ContentType="text/csv", Body=CSV)
    until_nothing_runs(server)
    sagemaker.delete_endpoint(EndpointName=app.name)
    app.wait("endpoint_deleted")
    with pytest.raises(ClientError, match="not found"):
        runtime.invoke_endpoint(EndpointName=app.name, ContentType="text/csv", Body=CSV)
    assert json.loads(fetch(f"{server.api}/_stagedoor/health")[1])["status"] == "ok"
