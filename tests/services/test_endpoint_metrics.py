"""What CloudWatch says of an endpoint's invocations."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from front.line import eventually
from journeys.deployed import CSV, Deployed

from stagedoor.testing import Server

GOOD, BAD = 7, 2
INVOCATIONS = GOOD + BAD


@pytest.fixture(scope="module", params=["0", "1"], ids=["one process", "front process"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    server = Server(tmp_path_factory.mktemp("metrics") / "data", None, "--fronts", request.param).start()
    try:
        yield Deployed(server, "measured").bucket().model().endpoint()
    finally:
        server.close()


def statistics(app: Deployed, metric: str, *names: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    found = app.server.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[
            {"Name": "EndpointName", "Value": app.name},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=7200,
        Statistics=list(names or ("Sum",)),
    )
    return found["Datapoints"][0] if found["Datapoints"] else {}


def test_invocations_are_in_cloudwatch_within_seconds_and_after_a_restart(app: Deployed) -> None:
    runtime = app.server.client("sagemaker-runtime")
    for number in range(GOOD):
        # With and without what takes the way of every operation.
        more = {"CustomAttributes": "trace"} if number % 2 else {}
        runtime.invoke_endpoint(EndpointName=app.name, Body=CSV, ContentType="text/csv", **more)
    for _ in range(BAD):
        with pytest.raises(ClientError, match="ModelError"):
            runtime.invoke_endpoint(EndpointName=app.name, Body=b"no,number", ContentType="text/csv")
    stranger = {"AccessKeyId": "AKIAUNKNOWN", "SecretAccessKey": "made-up"}
    with pytest.raises(ClientError, match="UnrecognizedClient"):
        app.server.client("sagemaker-runtime", credentials=stranger).invoke_endpoint(
            EndpointName=app.name, Body=CSV
        )
    eventually(lambda: statistics(app, "Invocations").get("Sum") == INVOCATIONS, within_s=30)
    runtime.invoke_endpoint(EndpointName=app.name, Body=CSV, ContentType="text/csv")
    app.server.stop()
    app.server.start()
    assert statistics(app, "Invocations")["Sum"] == INVOCATIONS + 1
    assert statistics(app, "InvocationsPerInstance")["Sum"] == INVOCATIONS + 1
    errors = statistics(app, "Invocation4XXErrors", "Sum", "SampleCount")
    assert (errors["Sum"], errors["SampleCount"]) == (BAD, INVOCATIONS + 1)
    assert statistics(app, "Invocation5XXErrors")["Sum"] == 0
    assert statistics(app, "InvocationModelErrors")["Sum"] == BAD
    for metric in ("ModelLatency", "OverheadLatency"):
        found = statistics(app, metric, "Minimum", "Average", "Maximum", "SampleCount")
        assert found["Unit"] == "Microseconds"
        assert found["SampleCount"] == INVOCATIONS + 1
        assert 0 < found["Minimum"] <= found["Average"] <= found["Maximum"] < 60e6
    listed = app.server.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker")["Metrics"]
    assert {metric["MetricName"] for metric in listed} == {
        "Invocations",
        "InvocationsPerInstance",
        "Invocation4XXErrors",
        "Invocation5XXErrors",
        "InvocationModelErrors",
        "ModelLatency",
        "OverheadLatency",
    }
