"""How a job's data gets to its hosts: shards, shuffles, pipes, records; and what is collected when they are gone."""

import asyncio
import gzip
import io
import os
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reconcile.job_house import BUCKET, House
from reconcile.test_training_act import MODEL, channel, document, ended, leaves, make, resources

from stagedoor.engine.fake import Behaviour
from stagedoor.engine.interface import Workload
from stagedoor.reconcile.jobs.left_files import left_files, open_folder
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.training import pipes
from stagedoor.reconcile.training.channel_data import Channel, channels
from stagedoor.reconcile.training.pipes import Feed
from stagedoor.store.records import Document
from stagedoor.worker.algorithms.recordio import MAGIC


def one(**members: Any) -> Channel:
    given_channel = channel("train", f"s3://{BUCKET}/in/") | {"InputMode": "Pipe"}
    source = given_channel["DataSource"]["S3DataSource"]
    source |= {name: members.pop(name) for name in list(members) if name.startswith(("S3", "Attribute"))}
    [found] = channels({"InputDataConfig": [given_channel | members]})
    return found


@given(
    st.integers(0, 40), st.integers(1, 7), st.booleans(), st.none() | st.integers(0, 99), st.integers(0, 3)
)
def test_shards_are_a_partition_and_every_epoch_has_all(
    count: int, hosts: int, sharded: bool, seed: int | None, epoch: int
) -> None:
    data = one(
        S3DataDistributionType="ShardedByS3Key" if sharded else "FullyReplicated",
        **({} if seed is None else {"ShuffleConfig": {"Seed": seed}}),
    )
    items = list(range(count))
    ordered = data.ordered(items, epoch)
    assert sorted(ordered) == items
    assert ordered == data.ordered(items, epoch)
    if seed is None:
        assert ordered == items
    shares = [list(data.share(ordered, host, hosts)) for host in range(hosts)]
    if sharded:
        assert sorted(item for share in shares for item in share) == items
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        assert shares == [ordered] * hosts


def test_epochs_are_shuffled_differently() -> None:
    data = one(ShuffleConfig={"Seed": 5})
    assert data.ordered(range(50), 0) != data.ordered(range(50), 1)


def records(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while data:
        assert int.from_bytes(data[:4], "little") == MAGIC
        length = int.from_bytes(data[4:8], "little")
        found.append(data[8 : 8 + length])
        data = data[8 + length + -length % 4 :]
    return found


def epochs(house: House, tmp_path: Path, data: Channel, count: int) -> list[bytes]:
    """What a process that reads so many epochs gets."""
    scratch = tmp_path / "scratch"
    folder = scratch / "opt/ml/input/data"
    folder.mkdir(parents=True)
    os.mkfifo(scratch / pipes.first_pipe(data))
    over = threading.Event()
    source = Feed(data, 0, 1, house.objects, house.contents, over.is_set)
    thread = threading.Thread(target=pipes.feed, args=(source, scratch))
    thread.start()
    found = [(folder / f"train_{epoch}").read_bytes() for epoch in range(count)]
    deadline = time.monotonic() + 10
    while not (folder / f"train_{count}").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (folder / f"train_{count}").is_fifo()  # the next epoch is there already
    over.set()
    thread.join(10)
    assert not thread.is_alive()
    return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path / "house", lambda _: Behaviour())
    house.put("in/a", b"first\n")
    house.put("in/b", b"second\n" * 100_000)
    return house


@pytest.fixture(autouse=True)
def house_folder(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()


def test_epochs_flow_one_after_the_other(house: House, tmp_path: Path) -> None:
    assert epochs(house, tmp_path, one(), 3) == [b"first\n" + b"second\n" * 100_000] * 3


def test_objects_become_records(house: House, tmp_path: Path) -> None:
    [data] = epochs(house, tmp_path, one(RecordWrapperType="RecordIO"), 1)
    assert records(data) == [b"first\n", b"second\n" * 100_000]


def test_zipped_objects_become_records_of_what_is_in_them(house: House, tmp_path: Path) -> None:
    house.put("zipped/a.gz", gzip.compress(b"unzipped"))
    data = one(RecordWrapperType="RecordIO", CompressionType="Gzip", S3Uri=f"s3://{BUCKET}/zipped/")
    [found] = epochs(house, tmp_path, data, 1)
    assert records(found) == [b"unzipped"]


def test_lines_of_an_augmented_manifest_become_their_attributes(house: House, tmp_path: Path) -> None:
    house.put(
        "list",
        b'{"a-ref": "s3://data/in/a", "label": 3, "x": "y"}\n{"a-ref": "s3://data/in/a", "label": "n"}\n',
    )
    data = one(
        RecordWrapperType="RecordIO",
        S3DataType="AugmentedManifestFile",
        S3Uri=f"s3://{BUCKET}/list",
        AttributeNames=["label", "a-ref"],
    )
    [found] = epochs(house, tmp_path, data, 1)
    assert records(found) == [b"3", b"first\n", b"n", b"first\n"]


def test_a_reader_that_has_enough_gets_the_next_epoch(house: House, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    folder = scratch / "opt/ml/input/data"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "train_0")
    over = threading.Event()
    source = Feed(one(), 0, 1, house.objects, house.contents, over.is_set)
    thread = threading.Thread(target=pipes.feed, args=(source, scratch))
    thread.start()
    with (folder / "train_0").open("rb") as pipe:
        assert pipe.read(5) == b"first"
    deadline = time.monotonic() + 10
    while not (folder / "train_1").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (folder / "train_1").read_bytes().startswith(b"first\nsecond")
    over.set()
    thread.join(10)
    assert not thread.is_alive()


def test_very_large_objects_become_records_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_LONGEST_PART", 4)
    data = b"".join(pipes.record(io.BytesIO(b"0123456789"), 10))
    parts = [
        (int.from_bytes(data[at + 4 : at + 8], "little") >> 29, data[at + 8 : at + 12]) for at in (0, 12, 24)
    ]
    assert parts == [(1, b"0123"), (2, b"4567"), (3, b"89\0\0")]


def test_links_are_never_followed_when_files_are_collected(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    model = tmp_path / "scratch/opt/ml/model"
    (model / "inner").mkdir(parents=True)
    (model / "inner/b").write_text("b")
    (model / "a").write_text("a")
    (model / "link").symlink_to(secret)
    (model / "folder").symlink_to(tmp_path)
    os.mkfifo(model / "pipe")
    assert [left.name for left in left_files(tmp_path / "scratch", "opt/ml/model")] == ["a", "inner/b"]
    (tmp_path / "scratch/opt/else").symlink_to(tmp_path)
    assert open_folder(tmp_path / "scratch", "opt/else") is None
    assert list(left_files(tmp_path / "scratch", "opt/ml/nothing")) == []


# Through the reconciler --------------------------------------------------------------------------------------------------


def play(house: House, **members: Any) -> Document:
    async def whole() -> Document:
        async with house.running(make):
            house.put("in/train/a.csv", b"1,2\n")
            house.put("in/train/b.csv", b"3,4\n")
            house.put("in/train/c.csv", b"5,6\n")
            key = house.insert("sagemaker.training_job", "job", document("job", house, **members))
            await house.until(ended(house, key))
            return house.document(key)

    done = asyncio.run(whole())
    assert not list((house.root / "jobs").glob("*"))
    return done


def at(tmp_path: Path, behave: Callable[[Workload], Behaviour]) -> House:
    return House(tmp_path / "house", behave, JobSlots(4))


def model_of(**files: bytes) -> Callable[[Path], None]:
    def work(scratch: Path) -> None:
        for name, content in files.items():
            (scratch / "opt/ml/model").mkdir(parents=True, exist_ok=True)
            (scratch / "opt/ml/model" / name).write_bytes(content)

    return work


def test_hosts_get_their_shards_and_their_models_are_put_together(tmp_path: Path) -> None:
    def behave(workload: Workload) -> Behaviour:
        host = workload.spec["config"]["resourceconfig"]["current_host"]
        return Behaviour(
            output=f"I am {host}\n".encode(),
            exits_after_s=0.0,
            work=model_of(**{"same": host.encode(), f"of-{host}": b"x"}),
        )

    house = at(tmp_path, behave)
    train = channel("train", f"s3://{BUCKET}/in/train")
    train["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    other = channel("other", f"s3://{BUCKET}/in/train/a.csv")
    done = play(house, ResourceConfig=resources("ml.m5.large", 2), InputDataConfig=[train, other])
    assert done["TrainingJobStatus"] == "Completed"
    first, second = house.engine.started
    assert sorted(first.files) == [
        "opt/ml/input/data/other/a.csv",
        "opt/ml/input/data/train/a.csv",
        "opt/ml/input/data/train/c.csv",
    ]
    assert sorted(second.files) == ["opt/ml/input/data/other/a.csv", "opt/ml/input/data/train/b.csv"]
    config = second.spec["config"]["resourceconfig"]
    assert (config["current_host"], config["hosts"]) == ("algo-2", ["algo-1", "algo-2"])
    assert first.spec["options"] == second.spec["options"]
    assert first.threads == second.threads == 2
    with tarfile.open(fileobj=io.BytesIO(house.read("out/job/output/model.tar.gz") or b"")) as archive:
        assert archive.getnames() == ["of-algo-1", "same", "of-algo-2"]
        same = archive.extractfile("same")
        assert same is not None and same.read() == b"algo-1"
    lines = house.log_lines("/aws/sagemaker/TrainingJobs")
    assert {stream.split("/")[1].rpartition("-")[0]: text for stream, text in lines.items()} == {
        "algo-1": ["I am algo-1"],
        "algo-2": ["I am algo-2"],
    }


def test_the_host_that_failed_says_why_and_the_others_are_killed(tmp_path: Path) -> None:
    def behave(workload: Workload) -> Behaviour:
        if workload.spec["config"]["resourceconfig"]["current_host"] == "algo-2":
            return Behaviour(exits_after_s=0.0, exit_code=1, work=leaves(failure=b"ClientError: mine"))
        return Behaviour(ignores_sigterm=True)

    done = play(at(tmp_path, behave), ResourceConfig=resources("ml.m5.large", 3))
    assert (done["TrainingJobStatus"], done["FailureReason"]) == ("Failed", "ClientError: mine")


def test_what_a_killed_job_has_saved_is_kept(tmp_path: Path) -> None:
    house = at(tmp_path, lambda _: Behaviour(ignores_sigterm=True))

    async def whole() -> Document:
        async with house.running(make):
            house.put("in/train/a.csv", b"1,2\n")
            key = house.insert("sagemaker.training_job", "job", document("job", house))
            await house.until(lambda: len(house.engine.started) == 1)
            [placement] = await house.engine.list()
            model_of(half=b"done")(Path(placement.scratch))
            house.change(key, TrainingJobStatus="Stopping", SecondaryStatus="Stopping")
            await house.until(ended(house, key))
            return house.document(key)

    done = asyncio.run(whole())
    assert done["TrainingJobStatus"] == "Stopped"
    assert done["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/out/job/output/model.tar.gz"}
    with tarfile.open(fileobj=io.BytesIO(house.read("out/job/output/model.tar.gz") or b"")) as archive:
        assert archive.getnames() == ["half"]


def test_what_went_wrong_on_this_side_is_tried_again(tmp_path: Path) -> None:
    attempts: list[str] = []

    def behave(workload: Workload) -> Behaviour:
        attempts.append(workload.id)
        if len(attempts) < 3:
            return Behaviour(refused="no room")
        return Behaviour(exits_after_s=0.0, work=leaves(model__tar__gz=MODEL))

    done = play(at(tmp_path, behave), RetryStrategy={"MaximumRetryAttempts": 2})
    assert done["TrainingJobStatus"] == "Completed"
    statuses = [each["Status"] for each in done["SecondaryStatusTransitions"]]
    assert statuses.count("Restarting") == 2
    assert "FailureReason" not in done


def test_retries_have_an_end(tmp_path: Path) -> None:
    done = play(
        at(tmp_path, lambda _: Behaviour(refused="no room")), RetryStrategy={"MaximumRetryAttempts": 1}
    )
    assert done["FailureReason"].startswith("InternalServerError: ")
    assert [each["Status"] for each in done["SecondaryStatusTransitions"]].count("Restarting") == 1


def test_checkpoints_are_there_at_the_start_and_kept_at_the_end(tmp_path: Path) -> None:
    seen: list[dict[str, bytes]] = []

    def work(scratch: Path) -> None:
        folder = scratch / "opt/ml/checkpoints"
        seen.append(
            {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        )
        (folder / "old").write_bytes(b"newer")
        (folder / "new").mkdir()
        (folder / "new/one").write_bytes(b"1")

    house = at(tmp_path, lambda _: Behaviour(exits_after_s=0.0, work=work))
    house.put("kept/old", b"old")
    house.put("kept-not/other", b"")
    done = play(house, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/kept"})
    assert done["TrainingJobStatus"] == "Completed"
    assert seen == [{"old": b"old"}]
    assert (house.read("kept/old"), house.read("kept/new/one")) == (b"newer", b"1")
