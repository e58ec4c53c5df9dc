"""What a training job measures is in CloudWatch, through unmodified boto3 clients."""

from datetime import timedelta
from typing import Any

import pytest
from services.job_clients import Desk, as_csv, rows

from stagedoor.testing import Server

NAMESPACE = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def desk(stagedoor: Server) -> Desk:
    desk = Desk(stagedoor)
    features, labels = rows()
    desk.put("train/rows.csv", as_csv(features, labels))
    return desk


def test_the_metrics_of_an_algorithm_are_in_cloudwatch(desk: Desk) -> None:
    job = desk.trained("metrics", HyperParameters={"num_round": "5", "objective": "binary:logistic"})
    assert job["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"] is True
    [final] = job["FinalMetricDataList"]
    assert final["MetricName"] == "train:logloss"
    cloudwatch = desk.server.client("cloudwatch")
    dimensions = [{"Name": "TrainingJobName", "Value": desk.name("metrics")}]
    listed = cloudwatch.list_metrics(Namespace=NAMESPACE, Dimensions=dimensions)["Metrics"]
    assert [metric["MetricName"] for metric in listed] == ["train:logloss"]
    # As the SDK's TrainingJobAnalytics asks.
    asked: dict[str, Any] = {
        "Namespace": NAMESPACE,
        "MetricName": "train:logloss",
        "Dimensions": dimensions,
        "StartTime": job["TrainingStartTime"],
        "EndTime": job["TrainingEndTime"] + timedelta(minutes=1),
        "Period": 60,
        "Statistics": ["Average", "SampleCount", "Minimum"],
    }
    points = cloudwatch.get_metric_statistics(**asked)["Datapoints"]
    assert sum(point["SampleCount"] for point in points) == 5
    assert min(point["Minimum"] for point in points) == pytest.approx(final["Value"], abs=1e-5)


def test_a_component_tells_how_a_metric_developed(desk: Desk) -> None:
    desk.trained("developed", HyperParameters={"num_round": "5", "objective": "binary:logistic"})
    name = f"{desk.name('developed')}-aws-training-job"
    [metric] = desk.sagemaker.describe_trial_component(TrialComponentName=name)["Metrics"]
    assert metric["Count"] == 5
    assert metric["Min"] == pytest.approx(metric["Last"])
    assert metric["Min"] < metric["Avg"] < metric["Max"]
    assert metric["StdDev"] > 0
