"""Training jobs on several instances, their input modes, checkpoints and outputs, through an unmodified boto3 client."""

import gzip
import io
import json
import tarfile
from typing import Any

import numpy as np
import pytest
import xgboost
from services.job_clients import Desk, as_csv, rows, waited

from stagedoor.testing import Server

GROUP = "/aws/sagemaker/TrainingJobs"
HYPERPARAMETERS = {"num_round": "10", "objective": "binary:logistic", "max_depth": "3", "eval_metric": "auc"}


@pytest.fixture
def desk(stagedoor: Server) -> Desk:
    desk = Desk(stagedoor)
    features, labels = rows(600, 6)
    for part in range(4):
        mine = slice(part, 400, 4)
        desk.put(f"train/part-{part}.csv", as_csv(features[mine], labels[mine]))
    desk.put("validation/data.csv", as_csv(features[400:], labels[400:]))
    return desk


def channels(desk: Desk, **members: Any) -> list[dict[str, Any]]:
    return [desk.channel("train", "train/") | members, desk.channel("validation", "validation/")]


def resources(count: int) -> dict[str, Any]:
    return {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 5}


def sharded(channel: dict[str, Any]) -> dict[str, Any]:
    channel["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    return channel


def archived(desk: Desk, name: str, file: str = "model.tar.gz") -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(desk.read(f"models/{name}/output/{file}"))) as archive:
        return {member: archive.extractfile(member).read() for member in archive.getnames()}  # type: ignore[union-attr]


def auc(job: dict[str, Any]) -> float:
    return {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}["validation:auc"]


def test_xgboost_trains_on_several_instances_as_well_as_on_one(desk: Desk) -> None:
    alone = desk.trained("alone", HyperParameters=HYPERPARAMETERS, InputDataConfig=channels(desk))
    data = channels(desk)
    sharded(data[0])
    done = desk.trained(
        "three", HyperParameters=HYPERPARAMETERS, InputDataConfig=data, ResourceConfig=resources(3)
    )
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    assert abs(auc(done) - auc(alone)) < 0.02
    name = desk.name("three")
    streams = desk.log_lines(GROUP, f"{name}/")
    assert sorted(stream.rpartition("-")[0] for stream in streams) == [f"{name}/algo-{n}" for n in (1, 2, 3)]
    sizes = [
        next(int(line.split("has ")[1].split()[0]) for line in lines if "Train matrix has" in line)
        for lines in streams.values()
    ]
    assert sorted(sizes) == [100, 100, 200]
    assert all(any(line.startswith("[9]#011train-auc") for line in lines) for lines in streams.values())
    files = archived(desk, name)
    assert list(files) == ["xgboost-model"]
    booster = xgboost.Booster()
    booster.load_model(bytearray(files["xgboost-model"]))
    features, labels = rows(600, 6)
    assert np.mean((booster.predict(xgboost.DMatrix(features)) > 0.5) == labels) > 0.97
    assert booster.num_boosted_rounds() == 10


def test_hosts_without_data_take_no_part(desk: Desk) -> None:
    desk.put("one/data.csv", desk.read("train/part-0.csv"))
    done = desk.trained(
        "idle",
        HyperParameters={"num_round": "2"},
        InputDataConfig=[sharded(desk.channel("train", "one/"))],
        ResourceConfig=resources(2),
    )
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    lines = desk.log_lines(GROUP, f"{desk.name('idle')}/algo-2")
    assert "takes no part" in next(iter(lines.values()))[-1]


def test_one_host_that_fails_fails_the_job(desk: Desk) -> None:
    desk.put("odd/a.csv", desk.read("train/part-0.csv"))
    desk.put("odd/b.csv", "words,are,no,numbers,at,all,here\n")
    done = desk.trained(
        "odd",
        HyperParameters=HYPERPARAMETERS | {"num_round": "100000000"},
        InputDataConfig=[sharded(desk.channel("train", "odd/"))],
        ResourceConfig=resources(2),
    )
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("ClientError: ")
    assert desk.keys(f"models/{desk.name('odd')}/") == []


def test_a_distributed_job_stops_on_all_hosts_with_the_same_round(desk: Desk) -> None:
    endless = HYPERPARAMETERS | {"num_round": "100000000", "save_model_on_termination": "true"}
    desk.trained("before", HyperParameters={"num_round": "1"})  # so that there are logs
    name = desk.name("together")
    request = desk.training_request(
        "together", HyperParameters=endless, InputDataConfig=channels(desk), ResourceConfig=resources(2)
    )
    desk.sagemaker.create_training_job(**request)
    waited(
        lambda: desk.sagemaker.describe_training_job(TrainingJobName=name),
        lambda answer: answer["SecondaryStatus"] == "Training",
    )
    waited(
        lambda: desk.log_lines(GROUP, f"{name}/"),
        lambda streams: any(len(lines) > 20 for lines in streams.values()),
    )
    desk.sagemaker.stop_training_job(TrainingJobName=name)
    done = desk.ended_training(name)
    assert done["TrainingJobStatus"] == "Stopped"
    booster = xgboost.Booster()
    booster.load_model(bytearray(archived(desk, name)["xgboost-model"]))
    rounds = {
        [line for line in lines if line.startswith("[")][-1].split("]")[0]
        for lines in desk.log_lines(GROUP, f"{name}/").values()
    }
    assert len(rounds) <= 2  # a page of a log may end before the last line


@pytest.mark.parametrize("mode", ["Pipe", "FastFile"])
def test_every_input_mode_gives_the_same_model(desk: Desk, mode: str) -> None:
    models: list[bytes] = []
    for stem, chosen in (("file", "File"), ("other", mode)):
        done = desk.trained(
            stem,
            HyperParameters=HYPERPARAMETERS,
            InputDataConfig=[each | {"InputMode": chosen} for each in channels(desk)],
        )
        assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
        models.append(archived(desk, desk.name(stem))["xgboost-model"])
    assert models[0] == models[1]


def test_pipe_mode_unzips_on_the_way(desk: Desk) -> None:
    for part in range(4):
        desk.put(f"zipped/part-{part}.csv.gz", gzip.compress(desk.read(f"train/part-{part}.csv")))
    done = desk.trained(
        "zipped",
        HyperParameters={"num_round": "2"},
        InputDataConfig=[desk.channel("train", "zipped/") | {"InputMode": "Pipe", "CompressionType": "Gzip"}],
    )
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    [lines] = desk.log_lines(GROUP, f"{desk.name('zipped')}/").values()
    assert any("Train matrix has 400 rows" in line for line in lines)
    bad = desk.channel("train", "train/") | {"InputMode": "Pipe", "CompressionType": "Gzip"}
    done = desk.trained("unzipped", HyperParameters={"num_round": "2"}, InputDataConfig=[bad])
    assert done["TrainingJobStatus"] == "Failed"
    assert "is not in gzip format" in done["FailureReason"]


def test_an_augmented_manifest_flows_attribute_by_attribute(desk: Desk) -> None:
    lines = [
        {"row": line, "note": "left out"} for line in desk.read("train/part-0.csv").decode().splitlines()
    ]
    desk.put("lines.csv", "".join(f"{line['row']}\n" for line in lines[:50]))
    desk.put(
        "list.manifest",
        json.dumps({"data-ref": f"s3://{desk.bucket}/lines.csv"})
        + "\n"
        + json.dumps({"data-ref": f"s3://{desk.bucket}/train/part-1.csv"})
        + "\n",
    )
    channel = desk.channel("train", "list.manifest") | {"InputMode": "Pipe"}
    channel["DataSource"]["S3DataSource"] |= {
        "S3DataType": "AugmentedManifestFile",
        "AttributeNames": ["data-ref"],
    }
    done = desk.trained("augmented", HyperParameters={"num_round": "2"}, InputDataConfig=[channel])
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    [printed] = desk.log_lines(GROUP, f"{desk.name('augmented')}/").values()
    assert any("Train matrix has 150 rows" in line for line in printed)
    channel["DataSource"]["S3DataSource"]["AttributeNames"] = ["absent"]
    done = desk.trained("absent", HyperParameters={"num_round": "2"}, InputDataConfig=[channel])
    assert "has no attribute absent" in done["FailureReason"]


def test_uncompressed_output(desk: Desk) -> None:
    output = {"S3OutputPath": f"s3://{desk.bucket}/models", "CompressionType": "NONE"}
    done = desk.trained("plain", HyperParameters={"num_round": "2"}, OutputDataConfig=output)
    name = desk.name("plain")
    assert done["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{desk.bucket}/models/{name}/output/model/"
    assert desk.keys("models/") == [f"models/{name}/output/model/xgboost-model"]
    assert done["OutputDataConfig"]["CompressionType"] == "NONE"


def test_checkpoints_go_to_s3_and_a_later_job_goes_on_from_them(desk: Desk) -> None:
    config = {"S3Uri": f"s3://{desk.bucket}/kept/"}
    first = desk.trained("before", HyperParameters=HYPERPARAMETERS, CheckpointConfig=config)
    assert first["CheckpointConfig"] == config
    assert desk.keys("kept/") == [f"kept/xgboost-checkpoint.{n}" for n in (0, 9)]
    more = HYPERPARAMETERS | {"num_round": "12"}
    desk.trained("after", HyperParameters=more, CheckpointConfig=config)
    [lines] = desk.log_lines(GROUP, f"{desk.name('after')}/").values()
    rounds = [line.split("]")[0] for line in lines if "#011" in line]
    assert rounds == ["[10", "[11"]
    booster = xgboost.Booster()
    booster.load_model(bytearray(archived(desk, desk.name("after"))["xgboost-model"]))
    assert booster.num_boosted_rounds() == 12


def test_what_changes_nothing_here_is_described_as_it_was_sent(desk: Desk) -> None:
    settings: dict[str, Any] = {
        "ResourceConfig": resources(1) | {"KeepAlivePeriodInSeconds": 60},
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
        "RetryStrategy": {"MaximumRetryAttempts": 3},
    }
    done = desk.trained("recorded", HyperParameters={"num_round": "2"}, **settings)
    assert {member: done[member] for member in settings} == settings
    assert done["BillableTimeInSeconds"] == done["TrainingTimeInSeconds"]


def test_a_killed_server_goes_on_from_the_checkpoints(stagedoor_server: Any) -> None:
    server = stagedoor_server()
    desk = Desk(server)
    features, labels = rows()
    desk.put("train/data.csv", as_csv(features, labels))
    endless = {"num_round": "100000000", "save_model_on_termination": "true"}
    name = desk.name("again")
    desk.sagemaker.create_training_job(
        **desk.training_request(
            "again", HyperParameters=endless, CheckpointConfig={"S3Uri": f"s3://{desk.bucket}/kept"}
        )
    )
    waited(lambda: {"keys": desk.keys("kept/")}, lambda answer: len(answer["keys"]) > 0)
    server.kill()
    server.start()
    waited(
        lambda: desk.log_lines(GROUP, f"{name}/"),
        lambda streams: any("training goes on after" in line for lines in streams.values() for line in lines),
    )
    desk.sagemaker.stop_training_job(TrainingJobName=name)
    assert desk.ended_training(name)["TrainingJobStatus"] == "Stopped"
