"""Batch transform through an unmodified boto3 client, on a running server with real models."""

import io
import json
import re
import tarfile
from typing import Any

import numpy as np
import pytest
import xgboost
from botocore.exceptions import ClientError
from services.job_clients import IMAGE, Desk, as_csv, rows, waited

from stagedoor.testing import Server

GROUP = "/aws/sagemaker/TransformJobs"


@pytest.fixture
def desk(stagedoor: Server) -> Desk:
    desk = Desk(stagedoor)
    features, labels = rows()
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(features, label=labels), 5)
    packed = io.BytesIO()
    content = bytes(booster.save_raw("ubj"))
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("xgboost-model")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    desk.put("model.tar.gz", packed.getvalue())
    desk.sagemaker.create_model(
        ModelName=desk.name("model"),
        ExecutionRoleArn=desk.role_arn,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{desk.bucket}/model.tar.gz"},
    )
    desk.put("in/rows.csv", as_csv(features))
    return desk


def predictions(desk: Desk) -> np.ndarray:
    with tarfile.open(fileobj=io.BytesIO(desk.read("model.tar.gz"))) as archive:
        file = archive.extractfile("xgboost-model")
        assert file is not None
        booster = xgboost.Booster()
        booster.load_model(bytearray(file.read()))
    return booster.inplace_predict(rows()[0].astype(np.float32))


def request(desk: Desk, stem: str, **members: Any) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{desk.bucket}/in/"}}
    given = {
        "TransformJobName": desk.name(stem),
        "ModelName": desk.name("model"),
        "TransformInput": {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        "TransformOutput": {
            "S3OutputPath": f"s3://{desk.bucket}/out",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    for member, value in members.items():
        given[member] = given[member] | value if member in given and isinstance(value, dict) else value
    return given


def transformed(desk: Desk, stem: str, **members: Any) -> dict[str, Any]:
    desk.sagemaker.create_transform_job(**request(desk, stem, **members))
    return desk.ended_transform(desk.name(stem))


def test_predictions_are_written_one_a_line_in_the_order_of_the_rows(desk: Desk) -> None:
    done = transformed(desk, "first", Tags=[{"Key": "team", "Value": "reviews"}], MaxConcurrentTransforms=2)
    assert done["TransformJobStatus"] == "Completed"
    assert desk.keys("out/") == ["out/rows.csv.out"]
    written = desk.read("out/rows.csv.out").decode()
    assert written.endswith("\n")
    np.testing.assert_allclose([float(line) for line in written.splitlines()], predictions(desk), atol=1e-6)
    assert done["TransformOutput"]["KmsKeyId"] == ""
    assert done["TransformInput"]["CompressionType"] == "None"
    assert done["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert done["TransformStartTime"] <= done["TransformEndTime"]
    assert "FailureReason" not in done
    name = desk.name("first")
    assert done["TransformJobArn"] == f"arn:aws:sagemaker:us-east-1:000000000000:transform-job/{name}"
    worker, data_log = sorted(desk.log_lines(GROUP, f"{name}/"))
    assert re.fullmatch(rf"{name}/i-[0-9a-f]{{17}}-\d+", worker)
    assert data_log == f"{worker}/data-log"
    tags = desk.sagemaker.list_tags(ResourceArn=done["TransformJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "reviews"}]


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_each_strategy_writes_the_same(desk: Desk, strategy: str) -> None:
    assert transformed(desk, "strategy", BatchStrategy=strategy)["TransformJobStatus"] == "Completed"
    written = desk.read("out/rows.csv.out").decode().splitlines()
    np.testing.assert_allclose([float(line) for line in written], predictions(desk), atol=1e-6)


def test_ids_stay_beside_their_predictions(desk: Desk) -> None:
    features, _ = rows()
    desk.put("in/rows.csv", "".join(f"id-{n},{','.join(map(str, row))}\n" for n, row in enumerate(features)))
    done = transformed(
        desk,
        "join",
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    assert done["TransformJobStatus"] == "Completed"
    lines = [line.split(",") for line in desk.read("out/rows.csv.out").decode().splitlines()]
    assert [line[0] for line in lines] == [f"id-{number}" for number in range(len(features))]
    np.testing.assert_allclose([float(line[1]) for line in lines], predictions(desk), atol=1e-6)


def test_json_lines_out_for_libsvm_in(desk: Desk) -> None:
    features, _ = rows()
    text = "\n".join("0 " + " ".join(f"{i}:{v}" for i, v in enumerate(row)) for row in features)
    desk.put("svm/rows.libsvm", text)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{desk.bucket}/svm/rows.libsvm"}}
    transformed(
        desk,
        "svm",
        TransformInput={"DataSource": source, "ContentType": "text/libsvm"},
        TransformOutput={"Accept": "application/jsonlines"},
    )
    lines = [json.loads(line) for line in desk.read("out/rows.libsvm.out").decode().splitlines()]
    np.testing.assert_allclose([line["score"] for line in lines], predictions(desk), atol=1e-6)


def test_a_bad_record_fails_the_job_and_is_found_in_the_data_log(desk: Desk) -> None:
    desk.put("in/words.csv", "these,are,not,numbers\n")
    done = transformed(desk, "bad")
    assert done["TransformJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("ClientError: See job logs for more information")
    assert f"s3://{desk.bucket}/in/words.csv" in done["FailureReason"]
    assert desk.keys("out/") == ["out/rows.csv.out"]
    logs = desk.log_lines(GROUP, f"{desk.name('bad')}/")
    [data_log] = [lines for stream, lines in logs.items() if stream.endswith("/data-log")]
    assert any(f"{desk.bucket}/in/words.csv: ClientError: 4" in line for line in data_log)


def test_a_model_that_cannot_be_loaded_fails_the_job(desk: Desk) -> None:
    desk.put("broken.tar.gz", b"this is no archive")
    desk.sagemaker.create_model(
        ModelName=desk.name("broken"),
        ExecutionRoleArn=desk.role_arn,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{desk.bucket}/broken.tar.gz"},
    )
    done = transformed(desk, "broken", ModelName=desk.name("broken"))
    assert done["TransformJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("AlgorithmError: The model's container did not become ready")
    assert desk.keys("out/") == []


def test_requests_that_are_refused_name_what_is_wrong(desk: Desk) -> None:
    elsewhere = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{desk.bucket}/nothing/"}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ModelName": desk.name("nobody")}, 'Could not find model "arn:aws:sagemaker:'),
        ({"TransformInput": {"DataSource": elsewhere}}, "No S3 objects found under S3 URL"),
        ({"TransformOutput": {"S3OutputPath": "s3://nobody-has-this/x"}}, 'the bucket "nobody-has-this"'),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "must not exceed 100 MB"),
        (
            {"DataProcessing": {"InputFilter": "a"}},
            "DataProcessing.InputFilter: the JSONPath 'a' must begin with $",
        ),
        ({"DataProcessing": {"OutputFilter": "$["}}, "DataProcessing.OutputFilter"),
        (
            {"TransformInput": {"ContentType": "text/libsvm"}, "DataProcessing": {"JoinSource": "Input"}},
            "DataProcessing needs records in text/csv",
        ),
        (
            {"DataCaptureConfig": {"DestinationS3Uri": "s3://nobody-has-this/x"}},
            'DataCaptureConfig.DestinationS3Uri: the bucket "nobody-has-this"',
        ),
    ]
    for members, text in cases:
        with pytest.raises(ClientError) as error:
            desk.sagemaker.create_transform_job(**request(desk, "refused", **members))
        assert error.value.response["Error"]["Code"] == "ValidationException", members
        assert text in error.value.response["Error"]["Message"], members
    with pytest.raises(ClientError, match="Could not find requested job with name"):
        desk.sagemaker.describe_transform_job(TransformJobName=desk.name("refused"))


def test_a_name_is_used_once_and_a_stop_comes_too_late_after_the_end(desk: Desk) -> None:
    transformed(desk, "twice")
    with pytest.raises(desk.sagemaker.exceptions.ResourceInUse, match="a job with this name already exists"):
        desk.sagemaker.create_transform_job(**request(desk, "twice"))
    with pytest.raises(
        ClientError, match="The request was rejected because the transform job is in status Completed"
    ):
        desk.sagemaker.stop_transform_job(TransformJobName=desk.name("twice"))
    with pytest.raises(ClientError, match="Could not find requested job with name"):
        desk.sagemaker.stop_transform_job(TransformJobName=desk.name("nothing"))


def test_a_running_job_can_be_stopped(desk: Desk) -> None:
    desk.put("in/rows.csv", as_csv(rows(200_000)[0]))
    name = desk.name("stopped")
    desk.sagemaker.create_transform_job(
        **request(desk, "stopped", BatchStrategy="SingleRecord", MaxConcurrentTransforms=1)
    )
    waited(
        lambda: desk.sagemaker.describe_transform_job(TransformJobName=name),
        lambda answer: "TransformStartTime" in answer,
    )
    desk.sagemaker.stop_transform_job(TransformJobName=name)
    assert desk.ended_transform(name)["TransformJobStatus"] == "Stopped"
    assert desk.keys("out/") == []


def test_lists_filter_and_sort(desk: Desk) -> None:
    for stem in ("b", "a"):
        transformed(desk, stem)

    def names(**parameters: Any) -> list[str]:
        answer = desk.sagemaker.list_transform_jobs(NameContains=desk.unique, **parameters)
        return [each["TransformJobName"].rpartition("-")[0] for each in answer["TransformJobSummaries"]]

    assert names() == ["a", "b"]
    assert names(SortOrder="Ascending") == ["b", "a"]
    assert names(SortBy="Name", SortOrder="Ascending") == ["a", "b"]
    assert names(StatusEquals="InProgress") == []
    assert names(MaxResults=1) == ["a"]


def test_a_whole_object_is_sent_when_payloads_have_no_limit(desk: Desk) -> None:
    capture = {"DestinationS3Uri": f"s3://{desk.bucket}/captured", "GenerateInferenceId": True}
    done = transformed(desk, "whole", MaxPayloadInMB=0, DataCaptureConfig=capture)
    assert done["TransformJobStatus"] == "Completed", done
    assert (done["MaxPayloadInMB"], done["DataCaptureConfig"]) == (0, capture)
    lines = [line.split(",") for line in desk.read("out/rows.csv.out").decode().splitlines()]
    np.testing.assert_allclose([float(line[0]) for line in lines], predictions(desk), atol=1e-6)
    assert len({line[1] for line in lines}) == len(lines)
    assert sorted(key.split("/")[1] for key in desk.keys("captured/")) == ["input", "output"]
