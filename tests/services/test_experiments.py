"""Experiments through an unmodified boto3 client: trials, components, and what jobs contribute by themselves."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.job_clients import IMAGE, Desk, as_csv, rows

from stagedoor.testing import Server

ARNS = "arn:aws:sagemaker:us-east-1:000000000000"


@pytest.fixture
def desk(stagedoor: Server) -> Desk:
    return Desk(stagedoor)


@pytest.fixture
def experiment(desk: Desk) -> str:
    name = desk.name("Experiment")
    desk.sagemaker.create_experiment(
        ExperimentName=name, Description="words", Tags=[{"Key": "k", "Value": "v"}]
    )
    desk.sagemaker.create_trial(ExperimentName=name, TrialName=desk.name("trial"))
    return name


def test_experiments_trials_and_components_are_described_and_changed(desk: Desk, experiment: str) -> None:
    client = desk.sagemaker
    shown = client.describe_experiment(ExperimentName=experiment)
    assert shown["ExperimentArn"] == f"{ARNS}:experiment/{experiment.lower()}"
    assert (shown["DisplayName"], shown["Description"]) == (experiment, "words")
    assert client.list_tags(ResourceArn=shown["ExperimentArn"])["Tags"] == [{"Key": "k", "Value": "v"}]
    client.update_experiment(ExperimentName=experiment, DisplayName="Better", Description="other words")
    changed = client.describe_experiment(ExperimentName=experiment)
    assert (changed["DisplayName"], changed["Description"]) == ("Better", "other words")
    trial = desk.name("trial")
    assert client.describe_trial(TrialName=trial)["ExperimentName"] == experiment
    client.update_trial(TrialName=trial, DisplayName="First")
    assert client.describe_trial(TrialName=trial)["DisplayName"] == "First"
    component = desk.name("component")
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    client.create_trial_component(
        TrialComponentName=component,
        DisplayName="Prepared",
        Status={"PrimaryStatus": "InProgress"},
        StartTime=moment,
        Parameters={"rate": {"NumberValue": 0.5}, "kind": {"StringValue": "sgd"}},
        InputArtifacts={"data": {"MediaType": "text/csv", "Value": "s3://b/d.csv"}},
    )
    client.update_trial_component(
        TrialComponentName=component,
        Status={"PrimaryStatus": "Completed"},
        EndTime=moment,
        Parameters={"rate": {"NumberValue": 0.25}, "depth": {"NumberValue": 3}},
        ParametersToRemove=["kind"],
        OutputArtifacts={"model": {"Value": "s3://b/m"}},
        InputArtifactsToRemove=["data"],
    )
    shown = client.describe_trial_component(TrialComponentName=component)
    assert shown["Parameters"] == {"rate": {"NumberValue": 0.25}, "depth": {"NumberValue": 3}}
    assert shown["OutputArtifacts"] == {"model": {"Value": "s3://b/m"}}
    assert "InputArtifacts" not in shown
    assert shown["Status"] == {"PrimaryStatus": "Completed"}
    assert (shown["StartTime"], shown["EndTime"]) == (moment, moment)
    by_arn = client.describe_trial_component(TrialComponentName=shown["TrialComponentArn"])
    assert by_arn["TrialComponentName"] == component


def test_components_belong_to_trials_until_they_are_taken_out(desk: Desk, experiment: str) -> None:
    client, trial = desk.sagemaker, desk.name("trial")
    for stem in ("a", "b"):
        client.create_trial_component(TrialComponentName=desk.name(stem))
    client.create_trial(ExperimentName=experiment, TrialName=desk.name("second"))
    for _ in range(2):
        answer = client.associate_trial_component(TrialName=trial, TrialComponentName=desk.name("a"))
    assert answer["TrialArn"] == f"{ARNS}:experiment-trial/{trial}"

    def components(**filters: Any) -> list[str]:
        found = client.list_trial_components(SortBy="Name", SortOrder="Ascending", **filters)
        return [one["TrialComponentName"] for one in found["TrialComponentSummaries"]]

    assert components(TrialName=trial) == [desk.name("a")]
    assert components(ExperimentName=experiment) == [desk.name("a")]
    trials = client.list_trials(TrialComponentName=desk.name("a"))["TrialSummaries"]
    assert [one["TrialName"] for one in trials] == [trial]
    everything = client.list_trials(ExperimentName=experiment)["TrialSummaries"]
    assert [one["TrialName"] for one in everything] == [desk.name("second"), trial], "newest first"
    with pytest.raises(ClientError, match="cannot be deleted because it has components"):
        client.delete_trial(TrialName=trial)
    with pytest.raises(ClientError, match="belongs to the trial"):
        client.delete_trial_component(TrialComponentName=desk.name("a"))
    with pytest.raises(ClientError, match="still has trials"):
        client.delete_experiment(ExperimentName=experiment)
    client.disassociate_trial_component(TrialName=trial, TrialComponentName=desk.name("a"))
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.disassociate_trial_component(TrialName=trial, TrialComponentName=desk.name("a"))
    for stem in ("a", "b"):
        client.delete_trial_component(TrialComponentName=desk.name(stem))
    for stem in ("trial", "second"):
        client.delete_trial(TrialName=desk.name(stem))
    client.delete_experiment(ExperimentName=experiment)
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.describe_experiment(ExperimentName=experiment)


def test_lists_are_paged_and_bounded_by_time(desk: Desk, experiment: str) -> None:
    client = desk.sagemaker
    for number in range(12):
        client.create_trial(ExperimentName=experiment, TrialName=f"{desk.name('t')}-{number:02}")
    pages = client.get_paginator("list_trials").paginate(
        ExperimentName=experiment, SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 5}
    )
    found = [one["TrialName"] for page in pages for one in page["TrialSummaries"]]
    assert found == [*(f"{desk.name('t')}-{number:02}" for number in range(12)), desk.name("trial")]
    future = datetime(2100, 1, 1, tzinfo=UTC)
    assert client.list_trials(ExperimentName=experiment, CreatedAfter=future)["TrialSummaries"] == []
    assert len(client.list_experiments(CreatedBefore=future)["ExperimentSummaries"]) >= 1


def test_taken_and_missing_names_are_said_in_the_words_that_sdks_look_for(
    desk: Desk, experiment: str
) -> None:
    client = desk.sagemaker
    with pytest.raises(ClientError, match="already exists") as error:
        client.create_experiment(ExperimentName=experiment.upper())
    assert error.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError, match="already exists"):
        client.create_trial(ExperimentName=experiment, TrialName=desk.name("trial"))
    for call in (
        lambda: client.create_trial(ExperimentName="nothing", TrialName="t"),
        lambda: client.describe_trial(TrialName=desk.name("nothing")),
        lambda: client.describe_trial_component(TrialComponentName=desk.name("nothing")),
        lambda: client.list_trial_components(TrialName=desk.name("nothing")),
        lambda: client.associate_trial_component(TrialName=desk.name("trial"), TrialComponentName="nothing"),
    ):
        with pytest.raises(client.exceptions.ResourceNotFound, match="does not exist"):
            call()
    with pytest.raises(ClientError, match=r"Parameters.x needs either"):
        client.create_trial_component(TrialComponentName="c", Parameters={"x": {}})
    with pytest.raises(ClientError, match="not both"):
        client.list_trials(ExperimentName=experiment, TrialComponentName="c")


def trained(desk: Desk, stem: str, config: dict[str, str] | None = None) -> dict[str, Any]:
    features, labels = rows()
    desk.put("train/rows.csv", as_csv(features, labels))
    return desk.trained(stem, **({"ExperimentConfig": config} if config is not None else {}))


def test_a_training_job_is_a_component_of_its_trial(desk: Desk, experiment: str) -> None:
    client, trial = desk.sagemaker, desk.name("trial")
    config = {"ExperimentName": experiment, "TrialName": trial, "TrialComponentDisplayName": "Training"}
    job = trained(desk, "job", config)
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["ExperimentConfig"] == config
    [summary] = client.list_trial_components(TrialName=trial)["TrialComponentSummaries"]
    assert summary["TrialComponentName"] == f"{desk.name('job')}-aws-training-job"
    source = {"SourceArn": job["TrainingJobArn"], "SourceType": "SageMakerTrainingJob"}
    assert summary["TrialComponentSource"] == source
    shown = client.describe_trial_component(TrialComponentName=summary["TrialComponentName"])
    assert (shown["DisplayName"], shown["Source"]) == ("Training", source)
    assert shown["Status"]["PrimaryStatus"] == "Completed"
    assert shown["Parameters"]["num_round"] == {"NumberValue": 3.0}
    assert shown["Parameters"]["objective"] == {"StringValue": "binary:logistic"}
    assert shown["Parameters"]["SageMaker.InstanceType"] == {"StringValue": "ml.m5.large"}
    assert shown["Parameters"]["SageMaker.ImageUri"] == {"StringValue": IMAGE}
    assert shown["InputArtifacts"]["train"] == {
        "MediaType": "text/csv",
        "Value": f"s3://{desk.bucket}/train/",
    }
    model = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert shown["OutputArtifacts"]["SageMaker.ModelArtifact"] == {"Value": model}
    metrics = {metric["MetricName"]: metric for metric in shown["Metrics"]}
    final = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert {name: metric["Last"] for name, metric in metrics.items()} == pytest.approx(final)
    found = client.list_trial_components(SourceArn=job["TrainingJobArn"])["TrialComponentSummaries"]
    assert [one["TrialComponentName"] for one in found] == [summary["TrialComponentName"]]
    client.update_trial_component(
        TrialComponentName=summary["TrialComponentName"],
        Parameters={"note": {"StringValue": "mine"}},
        ParametersToRemove=["objective"],
    )
    client.delete_training_job(TrainingJobName=desk.name("job"))
    kept = client.describe_trial_component(TrialComponentName=summary["TrialComponentName"])
    assert kept["Status"] == shown["Status"]
    expected = {name: value for name, value in shown["Parameters"].items() if name != "objective"}
    assert kept["Parameters"] == expected | {"note": {"StringValue": "mine"}}


def test_a_job_without_a_trial_gets_one_and_without_an_experiment_stands_alone(
    desk: Desk, experiment: str
) -> None:
    client = desk.sagemaker
    trained(desk, "own", {"ExperimentName": experiment})
    [trial] = client.list_trials(TrialComponentName=f"{desk.name('own')}-aws-training-job")["TrialSummaries"]
    assert client.describe_trial(TrialName=trial["TrialName"])["ExperimentName"] == experiment
    trained(desk, "alone")
    name = f"{desk.name('alone')}-aws-training-job"
    assert client.describe_trial_component(TrialComponentName=name)["Status"]["PrimaryStatus"] == "Completed"
    assert client.list_trials(TrialComponentName=name)["TrialSummaries"] == []


def test_a_job_of_an_unknown_experiment_is_refused_and_leaves_nothing(desk: Desk, experiment: str) -> None:
    features, labels = rows()
    desk.put("train/rows.csv", as_csv(features, labels))
    client = desk.sagemaker
    client.create_experiment(ExperimentName=desk.name("other"))
    cases = [
        ({"ExperimentName": desk.name("nothing")}, "does not exist"),
        ({"ExperimentName": experiment, "TrialName": desk.name("nothing")}, "does not exist"),
        (
            {"ExperimentName": desk.name("other"), "TrialName": desk.name("trial")},
            "belongs to the experiment",
        ),
    ]
    for config, text in cases:
        with pytest.raises(ClientError, match=text):
            client.create_training_job(**desk.training_request("refused", ExperimentConfig=config))
    with pytest.raises(ClientError):
        client.describe_training_job(TrainingJobName=desk.name("refused"))


def test_what_a_run_measures_step_by_step_is_kept_and_summed_up(desk: Desk) -> None:
    client, name = desk.sagemaker, desk.name("run")
    metrics = desk.server.client("sagemaker-metrics")
    client.create_trial_component(TrialComponentName=name)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    data = [
        {"MetricName": "loss", "Timestamp": moment, "Step": step, "Value": value}
        for step, value in enumerate([4.0, 2.0, 3.0])
    ]
    assert metrics.batch_put_metrics(TrialComponentName=name, MetricData=data).get("Errors", []) == []
    [shown] = client.describe_trial_component(TrialComponentName=name)["Metrics"]
    assert (shown["MetricName"], shown["TimeStamp"], shown["Count"]) == ("loss", moment, 3)
    assert (shown["Last"], shown["Min"], shown["Max"], shown["Avg"]) == (3.0, 2.0, 4.0, 3.0)
    assert shown["StdDev"] == pytest.approx(0.8165, abs=1e-4)
    arn = client.describe_trial_component(TrialComponentName=name)["TrialComponentArn"]
    query = {"MetricName": "loss", "ResourceArn": arn, "MetricStat": "Last"}
    by_step = query | {"Period": "IterationNumber", "XAxisType": "IterationNumber", "Start": 1}
    by_time = query | {"Period": "OneHour", "XAxisType": "Timestamp", "MetricStat": "Avg"}
    job = by_step | {"ResourceArn": f"{ARNS}:training-job/x"}
    found = metrics.batch_get_metrics(MetricQueries=[by_step, by_time, job])["MetricQueryResults"]
    assert [(one["Status"], one["XAxisValues"], one["MetricValues"]) for one in found] == [
        ("Complete", [1, 2], [2.0, 3.0]),
        ("Complete", [int(moment.replace(minute=0, second=0).timestamp())], [3.0]),
        ("ValidationError", [], []),
    ]
    with pytest.raises(ClientError, match="does not exist"):
        metrics.batch_put_metrics(TrialComponentName="nothing", MetricData=data)
    client.delete_trial_component(TrialComponentName=name)
    client.create_trial_component(TrialComponentName=name)
    assert "Metrics" not in client.describe_trial_component(TrialComponentName=name)
