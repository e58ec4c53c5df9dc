"""Training jobs through their reconciler: real stores and logs, a fake engine in place of processes."""

import asyncio
import gzip
import io
import itertools
import json
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from reconcile.job_house import BUCKET, House

from stagedoor.domain.instance_types import vcpus
from stagedoor.engine.fake import Behaviour
from stagedoor.engine.interface import Workload
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.training.act import LOG_GROUP, TrainingJobs, TrainingStores
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store.records import Document, Key
from stagedoor.worker.algorithms.specification import specification

ROUNDS = b"[0]#011train-logloss:0.60000#011validation-logloss:0.61000\n[1]#011train-logloss:0.50000#011validation-logloss:0.51000\n"


def document(name: str, house: House, **members: Any) -> Document:
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [
            {
                "Status": "Starting",
                "StartTime": house.clock.now(),
                "StatusMessage": "Starting the training job",
            }
        ],
        "AlgorithmSpecification": {"MetricDefinitions": specification("xgboost").metric_definitions},
        "HyperParameters": {"num_round": "2"},
        "InputDataConfig": [channel("train", f"s3://{BUCKET}/in/train")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/", "KmsKeyId": ""},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Environment": {"COLOUR": "green"},
        "CreationTime": house.clock.now(),
        "LastModifiedTime": house.clock.now(),
        "algorithm": "xgboost",
    } | members


def channel(name: str, uri: str, data_type: str = "S3Prefix", compression: str = "None") -> dict[str, Any]:
    source = {"S3DataType": data_type, "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {
        "ChannelName": name,
        "ContentType": "text/csv",
        "CompressionType": compression,
        "DataSource": {"S3DataSource": source},
    }


def make(house: House, logs: WorkerLogs) -> TrainingJobs:
    stores = TrainingStores(
        house.records, house.objects, house.contents, house.log_events, house.metric_points
    )
    return TrainingJobs(
        stores,
        house.engine,
        logs,
        house.slots,
        house.clock,
        house.root / "jobs",
        stop_grace_s=0.2,
        retry_pause_s=0.01,
    )


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as target:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def leaves(**files: bytes) -> Callable[[Path], None]:
    def work(scratch: Path) -> None:
        output = scratch / "opt/ml/output"
        output.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (output / name.replace("__", ".")).write_bytes(content)

    return work


MODEL = archive(model=b"trees")
SUCCESS = Behaviour(output=ROUNDS, exits_after_s=0.0, work=leaves(model__tar__gz=MODEL))

Story = Callable[[House], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., House]:
    def run(
        story: Story, behaviour: Callable[[Workload], Behaviour] | Behaviour = SUCCESS, cores: int = 1
    ) -> House:
        behave = behaviour if callable(behaviour) else lambda _workload: behaviour
        house = House(tmp_path, behave, JobSlots(cores))

        async def whole() -> None:
            async with house.running(make):
                await story(house)

        asyncio.run(whole())
        assert not list(house.root.joinpath("jobs").glob("*")) if (house.root / "jobs").exists() else True
        return house

    return run


def ended(house: House, key: Key) -> Callable[[], bool]:
    return lambda: house.document(key)["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")


async def finished(house: House, **members: Any) -> Document:
    house.put("in/train/a.csv", b"1,2\n")
    key = house.insert("sagemaker.training_job", "job", document("job", house, **members))
    await house.until(ended(house, key))
    return house.document(key)


def test_a_job_goes_through_all_states_and_leaves_its_model(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        done = await finished(house)
        assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Completed", "Completed")
        transitions = done["SecondaryStatusTransitions"]
        assert [(each["Status"], each["StatusMessage"]) for each in transitions] == [
            ("Starting", "Preparing the instances for training"),
            ("Downloading", "Downloading input data"),
            ("Training", "Training image download completed. Training in progress."),
            ("Uploading", "Uploading generated training model"),
            ("Completed", "Training job completed"),
        ]
        assert all(
            earlier["EndTime"] == later["StartTime"] for earlier, later in itertools.pairwise(transitions)
        )
        assert done["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/out/job/output/model.tar.gz"}
        assert house.read("out/job/output/model.tar.gz") == MODEL
        assert house.read("out/job/output/output.tar.gz") is None
        assert {metric["MetricName"]: metric["Value"] for metric in done["FinalMetricDataList"]} == {
            "train:logloss": 0.5,
            "validation:logloss": 0.51,
        }
        assert done["TrainingTimeInSeconds"] == done["BillableTimeInSeconds"] == 1
        assert done["TrainingStartTime"] <= done["TrainingEndTime"]
        assert await house.engine.list() == []

    house = play(story)
    [(stream, lines)] = house.log_lines(LOG_GROUP).items()
    assert stream.startswith("job/algo-1-")
    assert lines == ROUNDS.decode().splitlines()


def test_the_process_finds_its_inputs_as_in_a_container(play: Callable[..., House]) -> None:
    seen: dict[str, bytes] = {}

    def work(scratch: Path) -> None:
        data = scratch / "opt/ml/input/data"
        seen.update(
            {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}
        )

    async def story(house: House) -> None:
        house.put("in/train/more/b.csv", b"3,4\n")
        house.put("in/train/folder/", b"")
        house.put("in/trainees.csv", b"5,6\n")
        house.put("in/packed/c.csv.gz", gzip.compress(b"7,8\n"))
        house.put("in/list.json", json.dumps([{"prefix": f"s3://{BUCKET}/in/"}, "train/more/b.csv"]).encode())
        await finished(
            house,
            InputDataConfig=[
                channel("train", f"s3://{BUCKET}/in/train/"),
                channel("exact", f"s3://{BUCKET}/in/trainees.csv"),
                channel("partial", f"s3://{BUCKET}/in/trai"),
                channel("packed", f"s3://{BUCKET}/in/packed", compression="Gzip"),
                channel("listed", f"s3://{BUCKET}/in/list.json", "ManifestFile"),
            ],
        )
        [workload] = house.engine.started
        assert (workload.kind, workload.runtime) == ("job", "xgboost")
        assert workload.spec["entry"] == "xgboost_training:train"
        config = workload.spec["config"]
        assert config["hyperparameters"] == {"num_round": "2"}
        assert config["inputdataconfig"]["train"] == {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            "ContentType": "text/csv",
        }
        assert config["resourceconfig"]["hosts"] == ["algo-1"]
        assert workload.environment["COLOUR"] == "green"
        assert workload.environment["TRAINING_JOB_NAME"] == "job"

    play(story, Behaviour(exits_after_s=0.0, work=work))
    assert seen == {
        "train/a.csv": b"1,2\n",
        "train/more/b.csv": b"3,4\n",
        "exact/trainees.csv": b"5,6\n",
        "partial/train/a.csv": b"1,2\n",
        "partial/train/more/b.csv": b"3,4\n",
        "partial/trainees.csv": b"5,6\n",
        "packed/c.csv": b"7,8\n",
        "listed/train/more/b.csv": b"3,4\n",
    }


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (
            Behaviour(exits_after_s=0.0, exit_code=1, work=leaves(failure=b"ClientError: no label")),
            r"ClientError: no label",
        ),
        (
            Behaviour(
                exits_after_s=0.0,
                exit_code=1,
                work=leaves(failure=b"ValueError: x\n\nTraceback (most recent)"),
            ),
            r"AlgorithmError: ValueError: x\n\nTraceback \(most recent\), exit code: 1",
        ),
        (
            Behaviour(output=b"before\nlast words\n", exits_after_s=0.0, exit_code=-9),
            r"AlgorithmError: the algorithm was ended by SIGKILL \(often: out of memory\)\nbefore\nlast words, exit code: 137",
        ),
        (
            Behaviour(exits_after_s=0.0, exit_code=3),
            "AlgorithmError: the algorithm exited without saying why, exit code: 3",
        ),
        (
            Behaviour(refused="there is no runtime 'xgboost' here"),
            "InternalServerError: The training process could not be started: there is no runtime 'xgboost' here",
        ),
    ],
)
def test_failures_say_whose_mistake_it_was(
    play: Callable[..., House], behaviour: Behaviour, reason: str
) -> None:
    import re

    async def story(house: House) -> None:
        done = await finished(house)
        assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Failed", "Failed")
        assert re.fullmatch(reason, done["FailureReason"])
        assert done["SecondaryStatusTransitions"][-1]["StatusMessage"] == "Training job failed"
        assert "ModelArtifacts" not in done
        assert await house.engine.list() == []

    play(story, behaviour)


@pytest.mark.parametrize(
    ("key", "data", "compression", "text"),
    [
        ("in/train/../up.csv", b"1", "None", "illegal char sub-sequence '../'"),
        ("in/train//x.csv", b"1", "None", "illegal char sub-sequence '//'"),
        ("in/train/a.csv/b.csv", b"1", "None", "would be the same file or folder"),
        ("in/train/z.csv", b"plain", "Gzip", "is not in gzip format"),
    ],
)
def test_inputs_that_cannot_be_files_fail_the_job(
    play: Callable[..., House], key: str, data: bytes, compression: str, text: str
) -> None:
    async def story(house: House) -> None:
        house.put(key, data)
        done = await finished(
            house, InputDataConfig=[channel("train", f"s3://{BUCKET}/in/train/", compression=compression)]
        )
        assert done["FailureReason"].startswith("ClientError: Data download failed:")
        assert text in done["FailureReason"]
        assert house.engine.started == []

    play(story)


def test_inputs_and_outputs_that_vanished_fail_the_job(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        done = await finished(house, InputDataConfig=[channel("train", f"s3://{BUCKET}/gone")])
        assert "No S3 objects found under S3 URL" in done["FailureReason"]
        key = house.insert(
            "sagemaker.training_job",
            "other",
            document("other", house, OutputDataConfig={"S3OutputPath": "s3://nowhere/out", "KmsKeyId": ""}),
        )
        await house.until(ended(house, key))
        assert house.document(key)["FailureReason"] == (
            "ClientError: The bucket of s3://nowhere/out does not exist any more"
        )

    play(story)


def test_links_of_the_process_are_not_followed(play: Callable[..., House]) -> None:
    def work(scratch: Path) -> None:
        output = scratch / "opt/ml/output"
        output.mkdir(parents=True)
        (output / "model.tar.gz").symlink_to("/etc/hostname")

    async def story(house: House) -> None:
        done = await finished(house)
        assert done["TrainingJobStatus"] == "Completed"
        assert "ModelArtifacts" not in done
        assert house.read("out/job/output/model.tar.gz") is None

    play(story, Behaviour(exits_after_s=0.0, work=work))


@pytest.mark.parametrize("saves", [True, False])
def test_a_stopped_job_keeps_what_the_algorithm_saved(play: Callable[..., House], saves: bool) -> None:
    behaviour = Behaviour(work=leaves(model__tar__gz=MODEL)) if saves else Behaviour()

    async def story(house: House) -> None:
        house.put("in/train/a.csv", b"1,2\n")
        key = house.insert("sagemaker.training_job", "job", document("job", house))
        await house.until(lambda: house.document(key)["SecondaryStatus"] == "Training")
        await house.until(lambda: bool(house.engine.started))
        house.change(key, TrainingJobStatus="Stopping", SecondaryStatus="Stopping")
        await house.until(ended(house, key))
        done = house.document(key)
        assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "Stopped")
        assert ("ModelArtifacts" in done) is saves
        assert house.read("out/job/output/model.tar.gz") == (MODEL if saves else None)
        assert "FailureReason" not in done
        assert await house.engine.list() == []

    play(story, behaviour)


def test_a_process_that_ignores_the_stop_is_killed(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/train/a.csv", b"1,2\n")
        key = house.insert("sagemaker.training_job", "job", document("job", house))
        await house.until(lambda: bool(house.engine.started))
        house.change(key, TrainingJobStatus="Stopping", SecondaryStatus="Stopping")
        await house.until(ended(house, key))
        assert house.document(key)["TrainingJobStatus"] == "Stopped"
        assert await house.engine.list() == []

    play(story, Behaviour(ignores_sigterm=True))


def test_the_time_limit_ends_a_job_as_stopped(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/train/a.csv", b"1,2\n")
        key = house.insert(
            "sagemaker.training_job",
            "job",
            document("job", house, StoppingCondition={"MaxRuntimeInSeconds": 1}),
        )
        await house.until(ended(house, key))
        done = house.document(key)
        assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
        assert done["SecondaryStatusTransitions"][-1]["StatusMessage"] == (
            "Training job runtime exceeded MaxRuntimeInSeconds provided"
        )

    play(story, Behaviour())


def test_jobs_wait_for_cores_and_can_be_stopped_meanwhile(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/train/a.csv", b"1,2\n")
        keys = [
            house.insert("sagemaker.training_job", name, document(name, house, CreationTime=float(number)))
            for number, name in enumerate(["first", "second", "third"])
        ]
        await house.until(lambda: len(house.engine.started) == 1)
        house.change(keys[1], TrainingJobStatus="Stopping", SecondaryStatus="Stopping")
        await house.until(ended(house, keys[1]))
        stopped = house.document(keys[1])
        assert stopped["TrainingJobStatus"] == "Stopped"
        assert "TrainingStartTime" not in stopped
        assert house.document(keys[2])["SecondaryStatus"] == "Starting"
        await house.engine.finish(house.engine.started[0].id)
        await house.until(lambda: len(house.engine.started) == 2)
        await house.engine.finish(house.engine.started[1].id)
        await house.until(ended(house, keys[2]))
        assert [workload.spec["name"] for workload in house.engine.started] == ["first", "third"]

    play(story, Behaviour(work=leaves(model__tar__gz=MODEL)))


def resources(instance_type: str, count: int = 1) -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": count}


def test_a_job_has_as_many_cores_as_its_instance_and_the_others_wait(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/train/a.csv", b"1,2\n")
        types = ["ml.m5.large", "ml.m5.24xlarge", "ml.m5.large"]
        for number, instance_type in enumerate(types):
            name = f"job{number}"
            members = {"CreationTime": float(number), "ResourceConfig": resources(instance_type)}
            house.insert("sagemaker.training_job", name, document(name, house, **members))
        await house.until(lambda: len(house.engine.started) == 1)
        assert house.slots.free == 3  # the second one needs all cores, and the third one does not overtake it
        await house.engine.finish(house.engine.started[0].id)
        await house.until(lambda: len(house.engine.started) == 2)
        assert house.slots.free == 0
        await house.engine.finish(house.engine.started[1].id)
        await house.until(lambda: len(house.engine.started) == 3)
        assert [workload.threads for workload in house.engine.started] == [2, 5, 2]
        await house.engine.finish(house.engine.started[2].id)
        await house.until(lambda: house.slots.free == 5)

    play(story, Behaviour(work=leaves(model__tar__gz=MODEL)), cores=5)


def test_a_spot_job_that_waited_too_long_is_given_up(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/train/a.csv", b"1,2\n")
        house.insert("sagemaker.training_job", "first", document("first", house, CreationTime=0.0))
        await house.until(lambda: len(house.engine.started) == 1)
        spot = {"EnableManagedSpotTraining": True}
        spot["StoppingCondition"] = {"MaxRuntimeInSeconds": 50, "MaxWaitTimeInSeconds": 50}
        key = house.insert("sagemaker.training_job", "spot", document("spot", house, **spot))
        await asyncio.sleep(0.05)
        assert house.document(key)["SecondaryStatus"] == "Starting"
        house.clock.ahead_s = 60
        house.change(key)  # wakes
        await house.until(ended(house, key))
        done = house.document(key)
        assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
        assert "TrainingStartTime" not in done
        assert len(house.engine.started) == 1
        await house.engine.finish(house.engine.started[0].id)

    play(story, Behaviour(work=leaves(model__tar__gz=MODEL)))


def test_kinds_of_jobs_do_not_overtake_each_other() -> None:
    slots = JobSlots(2)
    woken: list[str] = []
    slots.on_free(lambda: woken.append("woken"))
    slots.take("a", 2)
    slots.wait("training", 5.0)
    slots.wait("transform", 7.0)
    assert (slots.others_wait_since("transform"), slots.others_wait_since("training")) == (5.0, 7.0)
    assert woken == []
    slots.release("a")
    assert woken == ["woken"]
    slots.wait("training", None)
    assert woken == ["woken"] * 2
    assert slots.others_wait_since("transform") is None


@pytest.mark.parametrize(
    ("instance_type", "count"),
    [
        ("ml.t3.medium", 2),
        ("ml.m5.large", 2),
        ("ml.m4.xlarge", 4),
        ("ml.c5.9xlarge", 36),
        ("ml.m7i-flex.2xlarge", 8),
    ],
)
def test_instance_types_say_how_many_cores_they_have(instance_type: str, count: int) -> None:
    assert vcpus(instance_type) == count


def test_a_job_of_a_crashed_server_runs_again_from_its_beginning(play: Callable[..., House]) -> None:
    async def crash(house: House) -> None:
        house.put("in/train/a.csv", b"1,2\n")
        house.insert("sagemaker.training_job", "job", document("job", house))
        await house.until(lambda: bool(house.engine.started))

    first = play(crash, Behaviour())
    key = Key("sagemaker.training_job", "000000000000", "us-east-1", "job")
    assert first.document(key)["TrainingJobStatus"] == "InProgress"
    (first.root / "jobs" / "left").mkdir(parents=True)

    async def again(house: House) -> None:
        await house.until(ended(house, key))
        done = house.document(key)
        assert done["TrainingJobStatus"] == "Completed"
        assert [each["Status"] for each in done["SecondaryStatusTransitions"]][-5:] == [
            "Starting",
            "Downloading",
            "Training",
            "Uploading",
            "Completed",
        ]
        assert house.read("out/job/output/model.tar.gz") == MODEL

    play(again)
