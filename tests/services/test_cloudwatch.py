"""CloudWatch metrics through unmodified boto3 clients, in each of the three protocols that clients of different ages speak."""

import gzip
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
from botocore.exceptions import ClientError

from stagedoor.testing import Server

PROTOCOLS = ("json", "query", "smithy-rpc-v2-cbor")
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


@pytest.fixture(scope="module")
def client_of(stagedoor: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A client whose service model knows one protocol only, as those of older and newer releases do."""
    found = Path(botocore.__file__).parent / "data" / "cloudwatch" / "2010-08-01" / "service-2.json.gz"
    model = json.loads(gzip.decompress(found.read_bytes()))

    def make(protocol: str) -> Any:
        folder = tmp_path_factory.mktemp(protocol)
        model["metadata"] |= {"protocol": protocol, "protocols": [protocol]}
        if protocol == "query":
            model["metadata"].pop("awsQueryCompatible", None)
        place = folder / "cloudwatch" / "2010-08-01" / "service-2.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(model))
        session: Any = boto3.Session(
            stagedoor.access_key_id, stagedoor.secret_access_key, region_name=stagedoor.region
        )
        session._loader.search_paths.insert(0, str(folder))
        return session.client("cloudwatch", endpoint_url=stagedoor.api)

    return make


@pytest.fixture(scope="module")
def clients(client_of: Callable[[str], Any]) -> dict[str, Any]:
    return {protocol: client_of(protocol) for protocol in PROTOCOLS}


@pytest.fixture
def namespace() -> str:
    return f"tests/{uuid.uuid4().hex}"


@pytest.fixture
def cloudwatch(stagedoor: Server) -> Any:
    return stagedoor.client("cloudwatch")


def datum(number: float, minutes: float = 0, name: str = "loss", **members: Any) -> dict[str, Any]:
    return {"MetricName": name, "Timestamp": HOUR + timedelta(minutes=minutes), "Value": number} | members


def statistics(client: Any, namespace: str, **members: Any) -> list[dict[str, Any]]:
    asked = {
        "Namespace": namespace,
        "MetricName": "loss",
        "StartTime": HOUR,
        "EndTime": HOUR + timedelta(hours=1),
        "Period": 60,
        "Statistics": ["Average"],
    }
    given = {name: value for name, value in (asked | members).items() if value is not None}
    return client.get_metric_statistics(**given)["Datapoints"]


def query(namespace: str, stat: str = "Average", period_s: int = 60, **members: Any) -> dict[str, Any]:
    metric = {"Namespace": namespace, "MetricName": "loss"}
    return {"Id": "q1", "MetricStat": {"Metric": metric, "Period": period_s, "Stat": stat}} | members


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_put_is_listed_and_read_back_in_every_protocol(
    clients: dict[str, Any], namespace: str, protocol: str
) -> None:
    client = clients[protocol]
    dimensions = [{"Name": "TrainingJobName", "Value": "job"}, {"Name": "Host", "Value": "algo-1"}]
    client.put_metric_data(
        Namespace=namespace,
        MetricData=[
            datum(1.5, 1, Dimensions=dimensions),
            datum(2.5, 1, Dimensions=dimensions[::-1]),
            datum(8, 2, Dimensions=dimensions, Unit="Seconds"),
        ],
    )
    [listed] = client.list_metrics(Namespace=namespace)["Metrics"]
    assert (listed["Namespace"], listed["MetricName"]) == (namespace, "loss")
    assert sorted(listed["Dimensions"], key=str) == sorted(dimensions, key=str)
    asked = ["Average", "Sum", "SampleCount", "Minimum", "Maximum"]
    points = statistics(client, namespace, Dimensions=dimensions, Statistics=asked)
    assert points == [
        {
            "Timestamp": HOUR + timedelta(minutes=1),
            "Average": 2.0,
            "Sum": 4.0,
            "SampleCount": 2.0,
            "Minimum": 1.5,
            "Maximum": 2.5,
            "Unit": "None",
        },
        {
            "Timestamp": HOUR + timedelta(minutes=2),
            "Average": 8.0,
            "Sum": 8.0,
            "SampleCount": 1.0,
            "Minimum": 8.0,
            "Maximum": 8.0,
            "Unit": "Seconds",
        },
    ]
    metric = {"Namespace": namespace, "MetricName": "loss", "Dimensions": dimensions}
    answer = client.get_metric_data(
        MetricDataQueries=[
            {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}, "Label": "worst"}
        ],
        StartTime=HOUR,
        EndTime=HOUR + timedelta(hours=1),
    )
    [result] = answer["MetricDataResults"]
    assert (result["Id"], result["Label"], result["StatusCode"]) == ("a", "worst", "Complete")
    assert result["Values"] == [8.0, 2.5], "newest first by default"
    assert result["Timestamps"] == [HOUR + timedelta(minutes=2), HOUR + timedelta(minutes=1)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors_have_the_codes_that_clients_look_for(
    clients: dict[str, Any], namespace: str, protocol: str
) -> None:
    client = clients[protocol]
    with pytest.raises(ClientError) as error:
        statistics(client, namespace, StartTime=HOUR, EndTime=HOUR)
    assert error.value.response["Error"]["Code"] == "InvalidParameterCombination"
    with pytest.raises(ClientError) as error:
        client.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "loss"}])
    assert error.value.response["Error"]["Code"] == "MissingParameter"
    with pytest.raises(ClientError, match="Namespace is invalid") as error:
        client.put_metric_data(Namespace="AWS/SageMaker", MetricData=[datum(1)])
    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"
    with pytest.raises(ClientError) as error:
        client.put_dashboard(DashboardName="d", DashboardBody="{}")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_periods_follow_one_another_from_the_start(cloudwatch: Any, namespace: str) -> None:
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum(n, n) for n in range(1, 11)])
    points = statistics(
        cloudwatch, namespace, StartTime=HOUR + timedelta(minutes=2), Period=240, Statistics=["Sum"]
    )
    assert [(point["Timestamp"], point["Sum"]) for point in points] == [
        (HOUR + timedelta(minutes=2), 2 + 3 + 4 + 5),
        (HOUR + timedelta(minutes=6), 6 + 7 + 8 + 9),
        (HOUR + timedelta(minutes=10), 10),
    ]
    ended = statistics(cloudwatch, namespace, EndTime=HOUR + timedelta(minutes=3), Statistics=["Sum"])
    assert [point["Sum"] for point in ended] == [1, 2], "the end is not part of the span"
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[query(namespace, "Sum", 240)],
        StartTime=HOUR + timedelta(minutes=2),
        EndTime=HOUR + timedelta(minutes=12),
        ScanBy="TimestampAscending",
    )
    assert answer["MetricDataResults"][0]["Values"] == [1 + 2 + 3, 4 + 5 + 6 + 7, 8 + 9 + 10]


def test_values_counts_and_statistic_sets_weigh_what_they_say(cloudwatch: Any, namespace: str) -> None:
    plain = {"MetricName": "loss", "Timestamp": HOUR}
    ready_made = {"SampleCount": 4, "Sum": 40, "Minimum": 5, "Maximum": 20}
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[plain | {"Values": [1, 2], "Counts": [3, 1]}, plain | {"StatisticValues": ready_made}],
    )
    asked = ["Average", "SampleCount", "Maximum", "Minimum"]
    [point] = statistics(cloudwatch, namespace, Statistics=asked)
    assert (point["SampleCount"], point["Maximum"], point["Minimum"]) == (8, 20, 1)
    assert point["Average"] == pytest.approx((3 * 1 + 2 + 40) / 8)


def test_percentiles_and_trimmed_statistics(cloudwatch: Any, namespace: str) -> None:
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum(n) for n in range(1, 101)])
    asked = ["p50", "p99.5", "tm90", "TM(10%:90%)", "PR(:10)", "TC(90:)", "TS(90%:)", "IQM", "wm98"]
    [point] = statistics(cloudwatch, namespace, Statistics=None, ExtendedStatistics=asked)
    found = point["ExtendedStatistics"]
    assert found["p50"] == 50
    assert found["p99.5"] == 100
    assert found["tm90"] == pytest.approx(sum(range(1, 91)) / 90)
    assert found["TM(10%:90%)"] == pytest.approx(sum(range(11, 91)) / 80)
    assert found["PR(:10)"] == 10
    assert found["TC(90:)"] == 10
    assert found["TS(90%:)"] == sum(range(91, 101))
    assert found["IQM"] == pytest.approx(sum(range(26, 76)) / 50)
    assert found["wm98"] == pytest.approx((sum(range(1, 99)) + 98 + 98) / 100)
    for wrong in ("p101", "TM(90%:10%)", "TM(5%:7)", "PR(10%:)", "median"):
        with pytest.raises(ClientError, match="for parameter ExtendedStatistics is invalid"):
            statistics(cloudwatch, namespace, Statistics=None, ExtendedStatistics=[wrong])


def test_units_are_kept_apart_and_can_be_asked_for(cloudwatch: Any, namespace: str) -> None:
    data = [datum(1, Unit="Seconds"), datum(2, Unit="Bytes")]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    found = {point["Unit"]: point["Average"] for point in statistics(cloudwatch, namespace)}
    assert found == {"Seconds": 1, "Bytes": 2}
    [point] = statistics(cloudwatch, namespace, Unit="Bytes")
    assert point["Average"] == 2
    assert statistics(cloudwatch, namespace, Unit="Percent") == []


def test_high_resolution_is_read_by_seconds_and_standard_resolution_by_minutes(
    cloudwatch: Any, namespace: str
) -> None:
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            datum(1, 0.1, StorageResolution=1),
            datum(3, 0.3, StorageResolution=1),
            datum(5, 0.3, name="slow"),
        ],
    )
    points = statistics(cloudwatch, namespace, Period=1, EndTime=HOUR + timedelta(minutes=5))
    assert [(point["Timestamp"], point["Average"]) for point in points] == [
        (HOUR + timedelta(seconds=6), 1),
        (HOUR + timedelta(seconds=18), 3),
    ]
    [slow] = statistics(cloudwatch, namespace, MetricName="slow", Period=10)
    assert slow["Timestamp"] == HOUR


def test_metrics_are_found_by_name_and_dimension(cloudwatch: Any, namespace: str) -> None:
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            datum(1, name="a", Dimensions=[{"Name": "Host", "Value": "one"}]),
            datum(1, name="b", Dimensions=[{"Name": "Host", "Value": "two"}, {"Name": "Job", "Value": "x"}]),
            datum(1, name="c"),
        ],
    )

    def names(**filters: Any) -> list[str]:
        answer = cloudwatch.list_metrics(Namespace=namespace, **filters)
        return [each["MetricName"] for each in answer["Metrics"]]

    assert names() == ["a", "b", "c"]
    assert names(MetricName="c") == ["c"]
    assert names(Dimensions=[{"Name": "Host"}]) == ["a", "b"]
    assert names(Dimensions=[{"Name": "Host", "Value": "two"}]) == ["b"]
    assert names(Dimensions=[{"Name": "Host"}, {"Name": "Job", "Value": "y"}]) == []
    assert names(RecentlyActive="PT3H") == ["a", "b", "c"]
    assert statistics(cloudwatch, namespace, MetricName="b") == [], "dimensions are part of a metric's name"


def test_lists_and_data_come_in_pages(cloudwatch: Any, namespace: str) -> None:
    for start in (0, 400):
        data = [datum(n, name=f"m{n:03}") for n in range(start, start + 400)]
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace))
    assert [len(page["Metrics"]) for page in pages] == [500, 300]
    names = [each["MetricName"] for page in pages for each in page["Metrics"]]
    assert names == [f"m{n:03}" for n in range(800)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum(n, n) for n in range(10)])
    asked = {
        "MetricDataQueries": [query(namespace), query(namespace, "Sum", Id="q2")],
        "StartTime": HOUR,
        "EndTime": HOUR + timedelta(hours=1),
        "ScanBy": "TimestampAscending",
        "MaxDatapoints": 7,
    }
    found: dict[str, list[float]] = {}
    statuses: list[str] = []
    while True:
        answer = cloudwatch.get_metric_data(**asked)
        for result in answer["MetricDataResults"]:
            found.setdefault(result["Id"], []).extend(result["Values"])
            statuses.append(result["StatusCode"])
        if "NextToken" not in answer:
            break
        asked["NextToken"] = answer["NextToken"]
    assert found == {"q1": list(range(10)), "q2": list(range(10))}
    assert statuses == ["PartialData", "Complete", "PartialData", "Complete"]
    with pytest.raises(ClientError, match="Invalid NextToken"):
        cloudwatch.get_metric_data(**asked | {"ScanBy": "TimestampDescending"})


def test_bad_data_stores_nothing(cloudwatch: Any, namespace: str) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        (datum(float("nan")), "The value nan for parameter MetricData.member.2.Value is invalid"),
        (datum(2.0**361), "MetricData.member.2.Value is invalid"),
        (datum(1, minutes=-60 * 24 * 15), "MetricData.member.2.Timestamp must specify a time"),
        (datum(1, minutes=60 * 5), "MetricData.member.2.Timestamp must specify a time"),
        (datum(1, StorageResolution=30), "MetricData.member.2.StorageResolution is invalid"),
        (datum(1, Values=[1]), "mutually exclusive"),
        ({"MetricName": "loss", "Values": [1, 2], "Counts": [1]}, "the same number of items"),
        (datum(1, Dimensions=[{"Name": "a", "Value": "1"}] * 2), "the same name more than once"),
    ]
    for wrong, text in bad:
        with pytest.raises(ClientError, match=text.replace("(", r"\(")):
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum(1), wrong])
    assert cloudwatch.list_metrics(Namespace=namespace)["Metrics"] == []


def test_questions_that_cannot_be_answered_are_refused_by_name(cloudwatch: Any, namespace: str) -> None:
    span = {"StartTime": HOUR, "EndTime": HOUR + timedelta(hours=1)}
    for wrong, text in [
        ({"Id": "e", "Expression": "SUM(METRICS())"}, "metric math"),
        (query(namespace, Id="Upper"), "not matching the expected pattern"),
        (query(namespace, "p101"), "The value p101 for parameter"),
        (query(namespace, period_s=45), "Period must be 1, 5, 10, 20, 30 or a multiple of 60"),
        (query(namespace, AccountId="111111111111"), "AccountId"),
        (query(namespace, ReturnData=False), "ReturnData true"),
    ]:
        with pytest.raises(ClientError, match=text):
            cloudwatch.get_metric_data(MetricDataQueries=[wrong], **span)
    with pytest.raises(ClientError, match="are not unique"):
        cloudwatch.get_metric_data(MetricDataQueries=[query(namespace)] * 2, **span)
    with pytest.raises(ClientError, match="exceeds the limit of 1,440"):
        statistics(cloudwatch, namespace, StartTime=HOUR - timedelta(days=2))
    with pytest.raises(ClientError, match="Period must be"):
        statistics(cloudwatch, namespace, Period=90)


def test_metrics_survive_a_killed_server(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server()
    server.client("cloudwatch").put_metric_data(Namespace="kept", MetricData=[datum(7)])
    server.kill()
    server.start()
    [point] = statistics(server.client("cloudwatch"), "kept")
    assert point["Average"] == 7


def test_metrics_of_another_region_are_not_seen(stagedoor: Server, cloudwatch: Any, namespace: str) -> None:
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum(1)])
    elsewhere = stagedoor.client("cloudwatch", region_name="eu-west-1")
    assert elsewhere.list_metrics(Namespace=namespace)["Metrics"] == []
    assert statistics(elsewhere, namespace) == []


def test_a_policy_may_name_the_namespace(stagedoor: Server, cloudwatch: Any, namespace: str) -> None:
    iam, name = stagedoor.client("iam"), f"metrics-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    allowed = {
        "Effect": "Allow",
        "Action": "cloudwatch:PutMetricData",
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": namespace}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    client = stagedoor.client("cloudwatch", credentials=key | {"SessionToken": None})
    client.put_metric_data(Namespace=namespace, MetricData=[datum(1)])
    for call in (
        lambda: client.put_metric_data(Namespace="other", MetricData=[datum(1)]),
        client.list_metrics,
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert error.value.response["Error"]["Code"] == "AccessDenied"
