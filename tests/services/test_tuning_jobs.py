"""Hyperparameter tuning through an unmodified boto3 client, on a running server with real job processes."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.job_clients import IMAGE, Desk, as_csv, rows, waited

from stagedoor.testing import Server

RANGES = {
    "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "1", "MaxValue": "6"}],
    "ContinuousParameterRanges": [
        {"Name": "eta", "MinValue": "0.01", "MaxValue": "0.9", "ScalingType": "Logarithmic"},
        {"Name": "subsample", "MinValue": "0.5", "MaxValue": "1.0", "ScalingType": "Linear"},
    ],
    "CategoricalParameterRanges": [{"Name": "gamma", "Values": ["0", "0.5"]}],
}
METRIC = "validation:rmse"


@pytest.fixture
def desk(stagedoor: Server) -> Desk:
    return furnished(stagedoor)


def furnished(server: Server) -> Desk:
    desk = Desk(server)
    features, labels = rows(200)
    desk.put("train/data.csv", as_csv(features[:150], labels[:150]))
    desk.put("validation/data.csv", as_csv(features[150:], labels[150:]))
    return desk


def tuning_name(desk: Desk, stem: str) -> str:
    return f"{stem}-{desk.unique}"


def tuning_request(desk: Desk, stem: str, jobs: int = 3, parallel: int = 2, **members: Any) -> dict[str, Any]:
    """``members`` beginning with a capital go into the tuning job's config, ``definition`` into the training job's."""
    definition = {
        "StaticHyperParameters": {"num_round": "4", "objective": "binary:logistic"},
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": desk.role_arn,
        "InputDataConfig": [desk.channel("train", "train/"), desk.channel("validation", "validation/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{desk.bucket}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    } | members.pop("definition", {})
    request = {
        "HyperParameterTuningJobName": tuning_name(desk, stem),
        "TrainingJobDefinition": {name: value for name, value in definition.items() if value is not None},
    }
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": METRIC},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": parallel},
        "ParameterRanges": RANGES,
        "RandomSeed": 7,
    } | members.pop("config", {})
    request["HyperParameterTuningJobConfig"] = {
        name: value for name, value in config.items() if value is not None
    }
    request |= members
    return {name: value for name, value in request.items() if value is not None}


def described(desk: Desk, stem: str) -> dict[str, Any]:
    return desk.sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning_name(desk, stem)
    )


def ended(desk: Desk, stem: str) -> dict[str, Any]:
    return waited(
        lambda: described(desk, stem),
        lambda answer: answer["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped"),
    )


def tuned(desk: Desk, stem: str, **members: Any) -> dict[str, Any]:
    desk.sagemaker.create_hyper_parameter_tuning_job(**tuning_request(desk, stem, **members))
    return ended(desk, stem)


def trials(desk: Desk, stem: str, **parameters: Any) -> list[dict[str, Any]]:
    return desk.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning_name(desk, stem), **{"MaxResults": 100} | parameters
    )["TrainingJobSummaries"]


def values(summaries: list[dict[str, Any]]) -> list[float]:
    return [each["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for each in summaries]


def test_a_tuning_job_tries_and_names_the_best(desk: Desk) -> None:
    done = tuned(desk, "first", jobs=4, Tags=[{"Key": "team", "Value": "reviews"}])
    name = tuning_name(desk, "first")
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert (
        done["HyperParameterTuningJobArn"]
        == f"arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/{name}"
    )
    assert done["TrainingJobStatusCounters"] == {
        "Completed": 4,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    found = trials(desk, "first")
    assert [
        bool(re.fullmatch(rf"{name}-00{n}-[0-9a-f]{{8}}", each["TrainingJobName"]))
        for n, each in enumerate(found, 1)
    ] == [True] * 4
    best = done["BestTrainingJob"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {
        "Type": "Minimize",
        "MetricName": METRIC,
        "Value": min(values(found)),
    }
    assert (best["ObjectiveStatus"], best["TrainingJobStatus"]) == ("Succeeded", "Completed")
    for trial in found:
        tuned_values = trial["TunedHyperParameters"]
        assert set(tuned_values) == {"max_depth", "eta", "subsample", "gamma"}
        assert 1 <= int(tuned_values["max_depth"]) <= 6
        assert 0.01 <= float(tuned_values["eta"]) <= 0.9
        assert tuned_values["gamma"] in ("0", "0.5")
        job = desk.sagemaker.describe_training_job(TrainingJobName=trial["TrainingJobName"])
        assert job["TuningJobArn"] == done["HyperParameterTuningJobArn"]
        assert job["HyperParameters"] == tuned_values | {
            "num_round": "4",
            "objective": "binary:logistic",
            "_tuning_objective_metric": METRIC,
        }
        metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
        assert metrics[METRIC] == trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        assert desk.keys(f"models/{trial['TrainingJobName']}/") == [
            f"models/{trial['TrainingJobName']}/output/model.tar.gz"
        ]
        assert desk.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == [
            {"Key": "team", "Value": "reviews"}
        ]
    assert len({tuple(each["TunedHyperParameters"].items()) for each in found}) == 4
    assert "FailureReason" not in done and "OverallBestTrainingJob" not in done
    config = done["HyperParameterTuningJobConfig"]
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    assert config["ParameterRanges"]["IntegerParameterRanges"][0]["ScalingType"] == "Auto"
    assert done["TrainingJobDefinition"]["StaticHyperParameters"]["_tuning_objective_metric"] == METRIC
    assert done["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]


def test_training_jobs_of_a_tuning_job_are_listed_sorted_and_by_pages(desk: Desk) -> None:
    tuned(desk, "sorted", jobs=3)
    by_value = trials(desk, "sorted", SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    assert values(by_value) == sorted(values(by_value), reverse=True)
    assert len(by_value) == 3
    assert trials(desk, "sorted", StatusEquals="Failed") == []
    pages = desk.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=tuning_name(desk, "sorted"),
        SortBy="FinalObjectiveMetricValue",
        PaginationConfig={"PageSize": 1},
    )
    paged = [each for page in pages for each in page["TrainingJobSummaries"]]
    assert [each["TrainingJobName"] for each in paged] == [each["TrainingJobName"] for each in by_value][::-1]
    [listed] = desk.sagemaker.list_hyper_parameter_tuning_jobs(NameContains=desk.unique)[
        "HyperParameterTuningJobSummaries"
    ]
    assert listed["HyperParameterTuningJobStatus"] == "Completed"
    assert listed["Strategy"] == "Random"
    assert listed["TrainingJobStatusCounters"]["Completed"] == 3


def test_bayesian_search_learns_from_what_it_saw(desk: Desk) -> None:
    ranges = {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.001", "MaxValue": "1"}]}
    done = tuned(desk, "bayes", jobs=8, config={"Strategy": "Bayesian", "ParameterRanges": ranges})
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["ObjectiveStatusCounters"]["Succeeded"] == 8
    again = tuned(
        desk, "again", jobs=8, parallel=1, config={"Strategy": "Bayesian", "ParameterRanges": ranges}
    )
    more = tuned(desk, "more", jobs=8, parallel=1, config={"Strategy": "Bayesian", "ParameterRanges": ranges})
    assert [each["TunedHyperParameters"] for each in trials(desk, "again")] == [
        each["TunedHyperParameters"] for each in trials(desk, "more")
    ]
    assert again["BestTrainingJob"]["TunedHyperParameters"] == more["BestTrainingJob"]["TunedHyperParameters"]


def test_grid_search_tries_every_combination_once(desk: Desk) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "max_depth", "Values": ["1", "2"]},
            {"Name": "gamma", "Values": ["0", "0.5"]},
        ]
    }
    limits = {"MaxParallelTrainingJobs": 3}
    done = tuned(
        desk, "grid", config={"Strategy": "Grid", "ParameterRanges": ranges, "ResourceLimits": limits}
    )
    assert done["TrainingJobStatusCounters"]["Completed"] == 4
    tried = [tuple(each["TunedHyperParameters"].values()) for each in trials(desk, "grid")]
    assert sorted(tried) == [("1", "0"), ("1", "0.5"), ("2", "0"), ("2", "0.5")]


def test_hyperband_ends_what_is_not_among_the_best(desk: Desk) -> None:
    ranges = {
        "ContinuousParameterRanges": [
            {"Name": "eta", "MinValue": "0.00001", "MaxValue": "0.3", "ScalingType": "Logarithmic"}
        ]
    }
    static = {"num_round": "100000000", "objective": "binary:logistic"}
    done = tuned(
        desk,
        "band",
        jobs=4,
        parallel=2,
        config={
            "Strategy": "Hyperband",
            "ParameterRanges": ranges,
            "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 30}},
        },
        definition={"StaticHyperParameters": static},
    )
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["TrainingJobStatusCounters"]["Stopped"] == 4
    assert done["ObjectiveStatusCounters"]["Succeeded"] == 4


def test_a_target_ends_the_tuning_job(desk: Desk) -> None:
    done = tuned(
        desk,
        "target",
        jobs=50,
        parallel=1,
        config={"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.6}},
    )
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert 1 <= done["TrainingJobStatusCounters"]["Completed"] < 50


def test_a_tuning_job_is_stopped_with_its_training_jobs(desk: Desk) -> None:
    static = {"num_round": "100000000", "objective": "binary:logistic"}
    desk.sagemaker.create_hyper_parameter_tuning_job(
        **tuning_request(desk, "endless", definition={"StaticHyperParameters": static})
    )
    name = {"HyperParameterTuningJobName": tuning_name(desk, "endless")}
    waited(
        lambda: described(desk, "endless"),
        lambda answer: answer["TrainingJobStatusCounters"]["InProgress"] == 2,
    )
    with pytest.raises(ClientError, match="only jobs that have ended can be deleted"):
        desk.sagemaker.delete_hyper_parameter_tuning_job(**name)
    desk.sagemaker.stop_hyper_parameter_tuning_job(**name)
    done = ended(desk, "endless")
    assert done["HyperParameterTuningJobStatus"] == "Stopped"
    assert done["TrainingJobStatusCounters"]["Stopped"] == 2
    with pytest.raises(ClientError, match="is in status Stopped"):
        desk.sagemaker.stop_hyper_parameter_tuning_job(**name)
    desk.sagemaker.delete_hyper_parameter_tuning_job(**name)
    with pytest.raises(
        desk.sagemaker.exceptions.ResourceNotFound, match="can't find a tuning job with the name"
    ):
        desk.sagemaker.describe_hyper_parameter_tuning_job(**name)


def test_it_gives_up_when_every_training_job_fails(desk: Desk) -> None:
    static = {"num_round": "none", "objective": "binary:logistic"}
    done = tuned(desk, "hopeless", jobs=20, parallel=2, definition={"StaticHyperParameters": static})
    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert re.match(r"No training job succeeded after [56] attempts\.", done["FailureReason"])
    assert done["ObjectiveStatusCounters"]["Failed"] in (5, 6)
    assert "BestTrainingJob" not in done
    assert "FailureReason" in trials(desk, "hopeless")[0]


def test_a_warm_start_knows_the_parents_best(desk: Desk) -> None:
    parent = tuned(desk, "parent", jobs=3)
    warm = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": tuning_name(desk, "parent")}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    child = tuned(
        desk, "child", jobs=2, config={"Strategy": "Bayesian", "RandomSeed": 8}, WarmStartConfig=warm
    )
    candidates = [parent["BestTrainingJob"], child["BestTrainingJob"]]
    assert child["OverallBestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(
        values(candidates)
    )
    assert child["OverallBestTrainingJob"]["TuningJobName"] in (
        tuning_name(desk, "parent"),
        tuning_name(desk, "child"),
    )
    other = {"StaticHyperParameters": {"num_round": "4", "objective": "binary:logistic", "alpha": "1"}}
    with pytest.raises(ClientError, match="the number of hyperparameters must be that of the parent"):
        desk.sagemaker.create_hyper_parameter_tuning_job(
            **tuning_request(desk, "odd", definition=other, WarmStartConfig=warm)
        )
    transfer = warm | {"WarmStartType": "TransferLearning"}
    done = tuned(desk, "transfer", jobs=1, parallel=1, definition=other, WarmStartConfig=transfer)
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert "OverallBestTrainingJob" not in done


def test_several_definitions_take_turns(desk: Desk) -> None:
    request = tuning_request(desk, "several", jobs=4)
    one = request.pop("TrainingJobDefinition")
    config = request["HyperParameterTuningJobConfig"]
    objective, ranges = config.pop("HyperParameterTuningJobObjective"), config.pop("ParameterRanges")
    request["TrainingJobDefinitions"] = [
        one | {"DefinitionName": name, "TuningObjective": objective, "HyperParameterRanges": ranges}
        for name in ("left", "right")
    ]
    desk.sagemaker.create_hyper_parameter_tuning_job(**request)
    done = ended(desk, "several")
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert [each["TrainingJobDefinitionName"] for each in trials(desk, "several")] == ["left", "right"] * 2
    assert [each["DefinitionName"] for each in done["TrainingJobDefinitions"]] == ["left", "right"]
    assert done["BestTrainingJob"]["TrainingJobDefinitionName"] in ("left", "right")


def test_the_resources_of_v2_clients_are_taken(desk: Desk) -> None:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
    definition = {"ResourceConfig": None, "HyperParameterTuningResourceConfig": resources}
    done = tuned(desk, "two", jobs=1, parallel=1, definition=definition)
    assert done["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] == resources
    assert done["TrainingJobDefinition"]["ResourceConfig"] == resources
    job = desk.sagemaker.describe_training_job(TrainingJobName=done["BestTrainingJob"]["TrainingJobName"])
    assert job["ResourceConfig"] == resources


def number(low: str, high: str, **members: Any) -> dict[str, Any]:
    return {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": low, "MaxValue": high} | members]}


def choices(name: str, *values: str) -> dict[str, Any]:
    return {"CategoricalParameterRanges": [{"Name": name, "Values": list(values)}]}


def test_each_trial_has_a_trial_component_like_every_training_job(desk: Desk) -> None:
    tuned(desk, "tracked", jobs=2)
    for trial in trials(desk, "tracked"):
        name = f"{trial['TrainingJobName']}-aws-training-job"
        component = desk.sagemaker.describe_trial_component(TrialComponentName=name)
        assert component["Source"] == {
            "SourceArn": trial["TrainingJobArn"],
            "SourceType": "SageMakerTrainingJob",
        }
        assert component["Status"]["PrimaryStatus"] == "Completed"
        depth = float(trial["TunedHyperParameters"]["max_depth"])
        assert component["Parameters"]["max_depth"] == {"NumberValue": depth}
        assert component["CreatedBy"]["IamIdentity"]["Arn"]
        found = desk.sagemaker.list_trial_components(SourceArn=trial["TrainingJobArn"])
        assert [each["TrialComponentName"] for each in found["TrialComponentSummaries"]] == [name]


def test_requests_that_are_refused_name_what_is_wrong(desk: Desk) -> None:
    objective = {"Type": "Minimize", "MetricName": "validation:beauty"}
    trained = {"Type": "Minimize", "MetricName": "train:rmse"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"Autotune": {"Mode": "Enabled"}}, "Autotune is not supported"),
        ({"config": {"HyperParameterTuningJobObjective": objective}}, "[validation:beauty], isn't valid"),
        ({"config": {"HyperParameterTuningJobObjective": trained}}, "[train:rmse], isn't valid"),
        (
            {"config": {"HyperParameterTuningJobObjective": None}},
            "HyperParameterTuningJobObjective is required",
        ),
        ({"config": {"ParameterRanges": {}}}, "at least one hyperparameter"),
        (
            {"config": {"ParameterRanges": number("a", "1")}},
            "eta has a MinValue that is no continuous number",
        ),
        ({"config": {"ParameterRanges": number("1", "0")}}, "eta has a MinValue above its MaxValue"),
        ({"config": {"ParameterRanges": number("nan", "0")}}, "not finite"),
        (
            {"config": {"ParameterRanges": number("0", "1", ScalingType="Logarithmic")}},
            "needs a MinValue above 0",
        ),
        (
            {"config": {"ParameterRanges": number("0", "1", ScalingType="ReverseLogarithmic")}},
            "within [0, 1)",
        ),
        ({"config": {"Strategy": "Grid"}}, "categorical hyperparameters only"),
        (
            {"config": {"ParameterRanges": number("0", "1.5")}},
            "hyperparameter eta isn't allowed by the algorithm",
        ),
        ({"config": {"ParameterRanges": number("0", "1", Name="etta")}}, "no hyperparameter of that name"),
        (
            {"config": {"ParameterRanges": number("0", "1", Name="base_score")}},
            "base_score of the XGBoost algorithm isn't tunable",
        ),
        ({"config": {"ParameterRanges": number("1", "9", Name="max_depth")}}, "max_depth is a whole number"),
        (
            {"config": {"ParameterRanges": choices("max_depth", "3", "deep")}},
            "max_depth isn't allowed by the algorithm",
        ),
        (
            {"jobs": 10, "config": {"ParameterRanges": choices("max_depth", "3", "4", "5")}},
            "combinations for the provided ranges [3.0] must be equal or greater than the value of MaxNumberOfJobs, [10]",
        ),
        ({"config": {"Strategy": "Hyperband"}}, "MaxResource is required"),
        (
            {"config": {"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}},
            "TrainingJobEarlyStoppingType must be Off",
        ),
        (
            {"config": {"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 2}}}},
            "StrategyConfig is for the Hyperband strategy",
        ),
        ({"parallel": 9}, "MaxParallelTrainingJobs (9) can't be greater"),
        ({"definition": {"StaticHyperParameters": {"eta": "1"}}}, "eta is static and has a range"),
        (
            {"definition": {"ResourceConfig": None}},
            "either ResourceConfig or HyperParameterTuningResourceConfig",
        ),
        ({"definition": {"RoleArn": "arn:aws:iam::000000000000:role/nobody"}}, "Could not assume role"),
        ({"definition": {"InputDataConfig": [desk.channel("train", "none/")]}}, "No S3 objects found"),
        ({"TrainingJobDefinition": None}, "either TrainingJobDefinition or TrainingJobDefinitions"),
        (
            {
                "WarmStartConfig": {
                    "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "nobody"}],
                    "WarmStartType": "TransferLearning",
                }
            },
            'could not find the parent hyperparameter tuning job "nobody"',
        ),
    ]
    for members, text in cases:
        with pytest.raises(ClientError) as error:
            desk.sagemaker.create_hyper_parameter_tuning_job(**tuning_request(desk, "refused", **members))
        assert error.value.response["Error"]["Code"] == "ValidationException", members
        assert text in error.value.response["Error"]["Message"], members
    assert (
        desk.sagemaker.list_hyper_parameter_tuning_jobs(NameContains=desk.unique)[
            "HyperParameterTuningJobSummaries"
        ]
        == []
    )


def test_a_name_is_used_once(desk: Desk) -> None:
    tuned(desk, "twice", jobs=1, parallel=1)
    with pytest.raises(desk.sagemaker.exceptions.ResourceInUse, match="must be unique"):
        desk.sagemaker.create_hyper_parameter_tuning_job(**tuning_request(desk, "Twice"))


def test_tuning_goes_on_after_a_kill_of_the_server(stagedoor_server: Any) -> None:
    server = stagedoor_server()
    desk = furnished(server)
    static = {"num_round": "300", "objective": "binary:logistic"}
    desk.sagemaker.create_hyper_parameter_tuning_job(
        **tuning_request(desk, "kill", jobs=5, definition={"StaticHyperParameters": static})
    )
    waited(
        lambda: described(desk, "kill"), lambda answer: answer["TrainingJobStatusCounters"]["Completed"] >= 1
    )
    before = [each["TrainingJobName"] for each in trials(desk, "kill")]
    server.kill()
    server.start()
    done = ended(desk, "kill")
    found = trials(desk, "kill")
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert [each["TrainingJobName"] for each in found][: len(before)] == before
    assert done["TrainingJobStatusCounters"]["Completed"] == len(found) == 5
    assert [each["TrainingJobName"].split("-")[-2] for each in found] == ["001", "002", "003", "004", "005"]
