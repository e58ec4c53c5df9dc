"""Training jobs through an unmodified boto3 client, on a running server with real job processes."""

import io
import re
import tarfile
from typing import Any

import pytest
import xgboost
from botocore.exceptions import ClientError
from services.job_clients import IMAGE, Desk, as_csv, rows, waited

from stagedoor.testing import Server

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def desk(stagedoor: Server) -> Desk:
    desk = Desk(stagedoor)
    features, labels = rows()
    desk.put("train/data.csv", as_csv(features, labels))
    return desk


def refusal(desk: Desk, stem: str = "refused", **members: Any) -> tuple[str, str, int]:
    """The error of a CreateTrainingJob; nothing may be left of it."""
    request = desk.training_request(stem, **members)
    with pytest.raises(ClientError) as error:
        desk.sagemaker.create_training_job(**request)
    with pytest.raises(ClientError, match=re.escape("Requested resource not found.")):
        desk.sagemaker.describe_training_job(TrainingJobName=request["TrainingJobName"])
    response = error.value.response
    return (
        response["Error"]["Code"],
        response["Error"]["Message"],
        response["ResponseMetadata"]["HTTPStatusCode"],
    )


def test_a_job_trains_and_leaves_a_model_that_xgboost_opens(desk: Desk) -> None:
    features, labels = rows()
    desk.put("validation/data.csv", as_csv(features, labels))
    done = desk.trained(
        "first",
        InputDataConfig=[desk.channel("train", "train/"), desk.channel("validation", "validation/")],
        HyperParameters={"num_round": "4", "objective": "binary:logistic", "eval_metric": "logloss,auc"},
        Tags=[{"Key": "team", "Value": "reviews"}],
    )
    name = desk.name("first")
    assert done["TrainingJobStatus"] == "Completed"
    assert done["TrainingJobArn"] == f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}"
    assert [each["Status"] for each in done["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    uri = f"s3://{desk.bucket}/models/{name}/output/model.tar.gz"
    assert done["ModelArtifacts"] == {"S3ModelArtifacts": uri}
    assert done["OutputDataConfig"]["KmsKeyId"] == ""
    assert done["BillableTimeInSeconds"] >= 1
    assert done["TrainingStartTime"] <= done["TrainingEndTime"]
    assert {each["MetricName"] for each in done["FinalMetricDataList"]} == {
        "train:logloss",
        "train:auc",
        "validation:logloss",
        "validation:auc",
    }
    absent = {
        "FailureReason",
        "VpcConfig",
        "CheckpointConfig",
        "Environment",
        "DebugHookConfig",
        "WarmPoolStatus",
    }
    assert not absent & set(done)
    assert desk.keys("models/") == [f"models/{name}/output/model.tar.gz"]
    with tarfile.open(fileobj=io.BytesIO(desk.read(f"models/{name}/output/model.tar.gz"))) as archive:
        assert archive.getnames() == ["xgboost-model"]
        file = archive.extractfile("xgboost-model")
        assert file is not None
        booster = xgboost.Booster()
        booster.load_model(bytearray(file.read()))
    assert booster.num_boosted_rounds() == 4
    assert ((booster.predict(xgboost.DMatrix(features)) > 0.5) == labels).all()
    [(stream, lines)] = desk.log_lines(GROUP, f"{name}/").items()
    assert re.fullmatch(rf"{name}/algo-1-\d+", stream)
    assert [line for line in lines if line.startswith("[3]#011train-logloss:")]
    tags = desk.sagemaker.list_tags(ResourceArn=done["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "reviews"}]


def test_what_was_sent_is_described(desk: Desk) -> None:
    settings: dict[str, Any] = {
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        "Environment": {"COLOUR": "green"},
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        "ProfilerConfig": {"DisableProfiler": True, "S3OutputPath": f"s3://{desk.bucket}/profile"},
        "DebugHookConfig": {"S3OutputPath": f"s3://{desk.bucket}/debug", "CollectionConfigurations": []},
    }
    done = desk.trained("echo", **settings)
    assert done["TrainingJobStatus"] == "Completed"
    for member, value in settings.items():
        assert done[member] == value, member
    [described] = done["InputDataConfig"]
    assert described["CompressionType"] == described["RecordWrapperType"] == "None"
    assert described["DataSource"]["S3DataSource"]["S3DataDistributionType"] == "FullyReplicated"
    assert done["HyperParameters"] == {"num_round": "3", "objective": "binary:logistic"}
    names = [each["Name"] for each in done["AlgorithmSpecification"]["MetricDefinitions"]]
    assert "validation:auc" in names


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"objective": "binary:logistic"}, "ClientError: Missing required hyperparameter: num_round"),
        ({"num_round": "2", "colour": "red"}, "ClientError: Extraneous hyperparameter found: colour"),
    ],
)
def test_wrong_hyperparameters_fail_the_job(desk: Desk, hyperparameters: dict[str, str], reason: str) -> None:
    done = desk.trained("hyper", HyperParameters=hyperparameters)
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Failed", "Failed")
    assert done["FailureReason"] == reason
    assert desk.keys("models/") == []
    [lines] = desk.log_lines(GROUP, f"{desk.name('hyper')}/").values()
    assert lines[-1] == reason


def test_wrong_data_fails_the_job(desk: Desk) -> None:
    desk.put("words/data.csv", "label,a,b\n1,2,3\n")
    done = desk.trained("words", InputDataConfig=[desk.channel("train", "words/")])
    assert done["FailureReason"].startswith(
        "ClientError: Non-numeric value found in the header line 'label,a,b...'"
    )
    done = desk.trained("missing", InputDataConfig=[desk.channel("validation", "train/")])
    assert done["FailureReason"] == "ClientError: Missing required channel: train"


def test_a_name_is_used_once(desk: Desk) -> None:
    desk.trained("twice")
    for name in (desk.name("twice"), desk.name("Twice")):
        with pytest.raises(desk.sagemaker.exceptions.ResourceInUse) as error:
            desk.sagemaker.create_training_job(**desk.training_request("twice") | {"TrainingJobName": name})
        assert error.value.response["Error"]["Message"] == (
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            f"already exists (arn:aws:sagemaker:us-east-1:000000000000:training-job/{desk.name('twice')})"
        )


def source(desk: Desk, **members: Any) -> list[dict[str, Any]]:
    channel = desk.channel("train", "train/")
    channel["DataSource"]["S3DataSource"] |= members
    return [channel]


def test_requests_that_are_refused_name_what_is_wrong(desk: Desk) -> None:
    image = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"CheckpointConfig": {"S3Uri": "s3://nobody-has-this/c"}}, 'the bucket "nobody-has-this"'),
        (
            {"CheckpointConfig": {"S3Uri": f"s3://{desk.bucket}/c", "LocalPath": "/opt/ml/model/x"}},
            "CheckpointConfig.LocalPath /opt/ml/model/x cannot be used",
        ),
        (
            {"CheckpointConfig": {"S3Uri": f"s3://{desk.bucket}/c", "LocalPath": "/opt/ml/a/../../etc"}},
            "cannot be used",
        ),
        (
            {"TensorBoardOutputConfig": {"S3OutputPath": "s3://not-there/t"}},
            'TensorBoardOutputConfig.S3OutputPath: the bucket "not-there"',
        ),
        (
            {"DebugHookConfig": {"S3OutputPath": f"s3://{desk.bucket}/d", "LocalPath": "/opt/ml/model"}},
            "DebugHookConfig.LocalPath /opt/ml/model cannot be used",
        ),
        (
            {"RemoteDebugConfig": {"EnableRemoteDebug": True}},
            "RemoteDebugConfig.EnableRemoteDebug is not supported",
        ),
        (
            {"AlgorithmSpecification": image | {"ContainerArguments": ["-c"]}},
            "ContainerEntrypoint, which is not given",
        ),
        (
            {"AlgorithmSpecification": image | {"MetricDefinitions": [{"Name": "a", "Regex": "b"}]}},
            "You can't override the metric definitions for Amazon SageMaker algorithms.",
        ),
        ({"AlgorithmSpecification": image | {"TrainingImage": "python:3"}}, "is not an Amazon ECR image URI"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "TrainingImage is required"),
        (
            {"ResourceConfig": resources | {"InstanceCount": 0}},
            "ResourceConfig.InstanceCount must be between 1 and",
        ),
        ({"OutputDataConfig": {"S3OutputPath": "s3://nobody-has-this/x"}}, 'the bucket "nobody-has-this"'),
        (
            {"InputDataConfig": source(desk, AttributeNames=["a"])},
            "S3DataSource.AttributeNames can be given only for AugmentedManifestFile",
        ),
        (
            {"InputDataConfig": source(desk, S3DataType="AugmentedManifestFile")},
            "S3DataType AugmentedManifestFile is not",
        ),
        ({"InputDataConfig": source(desk) * 2}, "Channel names must be unique; train occurs more than once."),
        (
            {"InputDataConfig": [source(desk, S3DataType="ManifestFile")[0] | {"InputMode": "FastFile"}]},
            "S3DataType ManifestFile is not supported by this release of stagedoor. Use S3Prefix.",
        ),
        (
            {
                "InputDataConfig": [
                    source(desk, S3DataType="AugmentedManifestFile")[0] | {"InputMode": "Pipe"}
                ]
            },
            "S3DataSource.AttributeNames is required for AugmentedManifestFile",
        ),
        (
            {"InputDataConfig": [desk.channel("train", "train/") | {"RecordWrapperType": "RecordIO"}]},
            "RecordWrapperType RecordIO can be used only in Pipe mode",
        ),
        (
            {
                "InputDataConfig": [
                    desk.channel("train", "train/") | {"InputMode": "FastFile", "CompressionType": "Gzip"}
                ]
            },
            "CompressionType Gzip cannot be used in FastFile mode",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "MaxWaitTimeInSeconds can be set only when EnableManagedSpotTraining is true",
        ),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        ({"RoleArn": "arn:aws:iam::000000000000:role/nobody"}, "Could not assume role"),
        ({"Tags": [{"Key": "aws:x", "Value": "y"}]}, "reserved for AWS"),
    ]
    for members, text in cases:
        code, message, status = refusal(desk, **members)
        assert (code, status) == ("ValidationException", 400), members
        assert text in message, members


def test_inputs_must_exist_when_the_job_is_created(desk: Desk) -> None:
    for uri in (f"s3://{desk.bucket}/nothing/", "s3://no-such-bucket-anywhere/train/"):
        _, message, _ = refusal(desk, InputDataConfig=source(desk, S3Uri=uri))
        bucket = uri.split("/")[2]
        assert message == (
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in '
            f'the selected region (us-east-1), that objects exist under that S3 prefix, and that the role "{desk.role_arn}" '
            f'has "s3:ListBucket" permissions on bucket "{bucket}".'
        )


def test_a_running_job_can_be_stopped(desk: Desk) -> None:
    desk.trained("before")  # so that there are logs
    name = desk.name("endless")
    desk.sagemaker.create_training_job(
        **desk.training_request("endless", HyperParameters={"num_round": "100000000"})
    )
    with pytest.raises(
        desk.sagemaker.exceptions.ResourceInUse, match="only jobs that have ended can be deleted"
    ):
        desk.sagemaker.delete_training_job(TrainingJobName=name)
    waited(
        lambda: desk.sagemaker.describe_training_job(TrainingJobName=name),
        lambda answer: answer["SecondaryStatus"] == "Training",
    )
    waited(
        lambda: desk.log_lines(GROUP, f"{name}/"),
        lambda streams: any(len(lines) > 9 for lines in streams.values()),
    )
    desk.sagemaker.stop_training_job(TrainingJobName=name)
    done = desk.ended_training(name)
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert [each["Status"] for each in done["SecondaryStatusTransitions"]][-1] == "Stopped"
    assert "Stopping" in [each["Status"] for each in done["SecondaryStatusTransitions"]]
    with pytest.raises(
        ClientError, match="The request was rejected because the training job is in status Stopped"
    ):
        desk.sagemaker.stop_training_job(TrainingJobName=name)
    assert desk.keys(f"models/{name}/") == []


def test_a_stopped_job_saves_the_model_so_far_when_told_so(desk: Desk) -> None:
    name = desk.name("saved")
    endless = {"num_round": "100000000", "save_model_on_termination": "true"}
    desk.sagemaker.create_training_job(
        **desk.training_request(
            "saved", HyperParameters=endless, StoppingCondition={"MaxRuntimeInSeconds": 2}
        )
    )
    done = desk.ended_training(name)
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert desk.keys("models/") == [f"models/{name}/output/model.tar.gz"]
    assert done["ModelArtifacts"]["S3ModelArtifacts"].endswith("/output/model.tar.gz")


def test_unknown_jobs(desk: Desk) -> None:
    for operation in ("describe_training_job", "stop_training_job", "delete_training_job"):
        with pytest.raises(ClientError) as error:
            getattr(desk.sagemaker, operation)(TrainingJobName=desk.name("nothing"))
        assert error.value.response["Error"] == {
            "Code": "ValidationException",
            "Message": "Requested resource not found.",
        }


def test_a_deleted_job_is_forgotten_and_its_name_free(desk: Desk) -> None:
    desk.trained("gone")
    desk.sagemaker.delete_training_job(TrainingJobName=desk.name("gone"))
    with pytest.raises(ClientError, match=re.escape("Requested resource not found.")):
        desk.sagemaker.describe_training_job(TrainingJobName=desk.name("gone"))
    assert desk.keys("models/") == [f"models/{desk.name('gone')}/output/model.tar.gz"]
    assert desk.trained("gone")["TrainingJobStatus"] == "Completed"


def test_lists_filter_sort_and_page(desk: Desk) -> None:
    for stem in ("list-c", "list-a", "list-b"):
        desk.sagemaker.create_training_job(
            **desk.training_request(stem, HyperParameters={"num_round": "1" if stem != "list-b" else "zero"})
        )
    for stem in ("list-a", "list-b", "list-c"):
        desk.ended_training(desk.name(stem))

    def names(**parameters: Any) -> list[str]:
        answer = desk.sagemaker.list_training_jobs(NameContains=desk.unique, **parameters)
        return [each["TrainingJobName"].rpartition("-")[0] for each in answer["TrainingJobSummaries"]]

    assert names() == ["list-c", "list-a", "list-b"]
    assert names(SortOrder="Descending") == ["list-b", "list-a", "list-c"]
    assert names(SortBy="Name") == ["list-a", "list-b", "list-c"]
    assert names(StatusEquals="Failed") == ["list-b"]
    assert names(SortBy="Status", SortOrder="Descending") == ["list-b", "list-c", "list-a"]
    pages = desk.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=desk.unique, PaginationConfig={"PageSize": 1}
    )
    found = [each for page in pages for each in page["TrainingJobSummaries"]]
    assert [each["TrainingJobName"] for each in found] == [desk.name(f"list-{end}") for end in "cab"]
    assert {each["SecondaryStatus"] for each in found} == {"Completed", "Failed"}
    created = found[1]["CreationTime"]
    assert names(CreationTimeBefore=created) == ["list-c"]
    with pytest.raises(ClientError, match="WarmPoolStatusEquals is not supported"):
        names(WarmPoolStatusEquals="InUse")


def test_a_job_survives_a_kill_of_the_server(stagedoor_server: Any) -> None:
    server = stagedoor_server()
    desk = Desk(server)
    features, labels = rows()
    desk.put("train/data.csv", as_csv(features, labels))
    name = desk.name("again")
    desk.sagemaker.create_training_job(
        **desk.training_request(
            "again",
            HyperParameters={"num_round": "100000000", "save_model_on_termination": "true"},
            StoppingCondition={"MaxRuntimeInSeconds": 3},
        )
    )
    waited(
        lambda: desk.sagemaker.describe_training_job(TrainingJobName=name),
        lambda answer: answer["SecondaryStatus"] == "Training",
    )
    server.kill()
    server.start()
    done = desk.ended_training(name)
    assert done["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert [each["Status"] for each in done["SecondaryStatusTransitions"]].count("Training") == 2
    assert desk.keys("models/") == [f"models/{name}/output/model.tar.gz"]
    assert not list((server.data / "jobs" / "training").iterdir())
