"""Batch transform jobs through their reconciler: real stores, real frames, a fake worker that adds up CSV rows."""

import asyncio
import gzip
import hashlib
import itertools
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from reconcile.job_house import ACCOUNT, BUCKET, REGION, House

from stagedoor.engine.fake import Answer, Behaviour, CallFault
from stagedoor.engine.interface import Workload
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.model_files import ModelFiles
from stagedoor.reconcile.transform.act import LOG_GROUP, TransformJobs, TransformStores
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.store import objects_io
from stagedoor.store.records import Document, Key

KIND = "sagemaker.transform_job"


def add_up(meta: Mapping[str, Any], body: bytes) -> Answer:
    """One sum for each line; a line with a word is a client's mistake."""
    try:
        sums = [sum(int(field) for field in line.split(b",")) for line in body.splitlines()]
    except ValueError as error:
        raise CallFault({"reason": f"not a number: {error}", "status": 415}) from error
    return {"content_type": "text/csv"}, "".join(f"{each}\n" for each in sums).encode()


SUMS = Behaviour(output=b"model loaded\n", answer=add_up)


def document(house: House, name: str = "job", **members: Any) -> Document:
    row = house.objects.get(BUCKET, "model.tar.gz")
    assert row is not None
    artifact = {
        "bucket": BUCKET,
        "key": "model.tar.gz",
        "versionId": row.version_id,
        "etag": row.etag,
        "sizeBytes": row.size_bytes,
        "sha256": hashlib.sha256(objects_io.read_bytes(house.objects, house.contents, row)).hexdigest(),
    }
    model = {"algorithm": "xgboost", "artifact": artifact, "container": {"Environment": {"COLOUR": "green"}}}
    return {
        "TransformJobName": name,
        "TransformJobStatus": "InProgress",
        "ModelName": "sums",
        "TransformInput": source(),
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/out", "AssembleWith": "Line"},
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"},
        "CreationTime": house.clock.now(),
        "lastModifiedTime": house.clock.now(),
        "model": model,
    } | members


def source(uri: str = f"s3://{BUCKET}/in/", data_type: str = "S3Prefix", **members: str) -> dict[str, Any]:
    return {
        "DataSource": {"S3DataSource": {"S3DataType": data_type, "S3Uri": uri}},
        "ContentType": "text/csv",
        "CompressionType": "None",
        "SplitType": "Line",
    } | members


def make(house: House, logs: WorkerLogs) -> TransformJobs:
    files = ModelFiles(house.root / "models", house.objects, house.contents)
    stores = TransformStores(house.records, house.objects, house.contents, files)
    return TransformJobs(stores, house.engine, logs, house.slots, house.clock, house.root / "jobs")


Story = Callable[[House], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., House]:
    def run(story: Story, behaviour: Behaviour | Callable[[Workload], Behaviour] = SUMS) -> House:
        house = House(tmp_path, behaviour if callable(behaviour) else lambda _: behaviour, JobSlots(1))
        house.put("model.tar.gz", b"not looked into by the fake")

        async def whole() -> None:
            async with house.running(make):
                await story(house)

        asyncio.run(whole())
        assert not list((house.root / "jobs").glob("*"))
        return house

    return run


def outputs(house: House) -> dict[str, bytes | None]:
    return {row.key: house.read(row.key) for row in house.objects.list(BUCKET, "out/")}


async def finished(house: House, **members: Any) -> Document:
    key = house.insert(KIND, "job", document(house, **members))
    await house.until(ended(house, key))
    assert await house.engine.list() == []
    return house.document(key)


def ended(house: House, key: Key) -> Callable[[], bool]:
    return lambda: house.document(key)["TransformJobStatus"] in ("Completed", "Failed", "Stopped")


def test_every_object_gets_an_output_beside_its_name(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/a.csv", b"1,2\n3,4")
        house.put("in/more/b.csv", b"5,6\n")
        house.put("in/empty.csv", b"")
        house.put("in/folder/", b"")
        done = await finished(house)
        assert done["TransformJobStatus"] == "Completed"
        assert "FailureReason" not in done
        assert done["TransformStartTime"] <= done["TransformEndTime"]
        assert outputs(house) == {
            "out/a.csv.out": b"3\n7\n",
            "out/empty.csv.out": b"",
            "out/more/b.csv.out": b"11\n",
        }
        [workload] = house.engine.started
        assert (workload.kind, workload.runtime) == ("model", "xgboost")
        assert workload.spec["algorithm"] == "xgboost_serving"
        assert workload.environment["COLOUR"] == "green"
        assert workload.environment["SAGEMAKER_BATCH"] == "true"
        assert workload.files["model.tar.gz"].read_bytes() == b"not looked into by the fake"

    house = play(story)
    lines = house.log_lines(LOG_GROUP)
    worker, data_log = sorted(lines)
    assert re.fullmatch(r"job/i-[0-9a-f]{17}-\d+", worker)
    assert lines[worker] == ["model loaded"]
    assert data_log == f"{worker}/data-log"
    [head] = lines[data_log]
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}:\[sagemaker logs\]: "
        r"MaxConcurrentTransforms=\d+, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD",
        head,
    )


@pytest.mark.parametrize(
    ("uri", "name"), [("in/exact.csv", "out/exact.csv.out"), ("in/exa", "out/exact.csv.out")]
)
def test_an_exact_key_or_part_of_one_names_the_output_by_the_file(
    play: Callable[..., House], uri: str, name: str
) -> None:
    async def story(house: House) -> None:
        house.put("in/exact.csv", b"1\n")
        await finished(house, TransformInput=source(f"s3://{BUCKET}/{uri}"))
        assert outputs(house) == {name: b"1\n"}

    play(story)


def test_manifest_and_gzip_inputs(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/x/a.csv.gz", gzip.compress(b"1,1\n"))
        house.put("in/unlisted.csv.gz", b"")
        house.put("list", json.dumps([{"prefix": f"s3://{BUCKET}/in/"}, "x/a.csv.gz"]).encode())
        given = source(f"s3://{BUCKET}/list", "ManifestFile", CompressionType="Gzip")
        await finished(house, TransformInput=given)
        assert outputs(house) == {"out/x/a.csv.gz.out": b"2\n"}

    play(story)


def test_many_in_flight_are_written_in_the_order_of_the_input(play: Callable[..., House]) -> None:
    busy: list[int] = []
    pauses = itertools.cycle([0.02, 0.0, 0.01])

    async def answer(meta: Mapping[str, Any], body: bytes) -> Answer:
        busy.append(busy[-1] + 1 if busy else 1)
        await asyncio.sleep(next(pauses))
        busy.append(busy[-1] - 1)
        return add_up(meta, body)

    async def story(house: House) -> None:
        house.put("in/a.csv", b"".join(b"%d\n" % number for number in range(40)))
        house.put("in/b.csv", b"7\n")
        await finished(house, BatchStrategy="SingleRecord", MaxConcurrentTransforms=3)
        assert outputs(house)["out/a.csv.out"] == b"".join(b"%d\n" % number for number in range(40))
        assert outputs(house)["out/b.csv.out"] == b"7\n"
        assert max(busy) == 3

    play(story, Behaviour(answer=answer))


def test_payloads_hold_as_many_lines_as_fit(play: Callable[..., House]) -> None:
    sizes: list[int] = []

    def answer(meta: Mapping[str, Any], body: bytes) -> Answer:
        sizes.append(len(body))
        return add_up(meta, body)

    async def story(house: House) -> None:
        house.put("in/a.csv", b"1,2,3,4,5,6,7,8,9\n" * 150_000)
        await finished(house, MaxPayloadInMB=1)
        assert outputs(house)["out/a.csv.out"] == b"45\n" * 150_000

    play(story, Behaviour(answer=answer))
    assert len(sizes) == 3
    assert max(sizes) <= 1024 * 1024


def test_joined_and_filtered_output(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/a.csv", b"id-1,2,3\nid-2,4,5\n")
        processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
        await finished(house, DataProcessing=processing)
        assert outputs(house) == {"out/a.csv.out": b"id-1,5\nid-2,9\n"}

    play(story)


def test_a_bad_record_fails_the_job_but_not_the_other_objects(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/bad.csv", b"1,2\nx,4\n")
        house.put("in/good.csv", b"1,2\n")
        done = await finished(house, BatchStrategy="SingleRecord")
        assert done["TransformJobStatus"] == "Failed"
        assert done["FailureReason"].startswith(
            f"ClientError: See job logs for more information. s3://{BUCKET}/in/bad.csv: not a number:"
        )
        assert outputs(house) == {"out/good.csv.out": b"3\n"}

    house = play(story)
    [data_log] = [
        lines for stream, lines in house.log_lines(LOG_GROUP).items() if stream.endswith("data-log")
    ]
    said = [line.partition("[sagemaker logs]: ")[2] for line in data_log[1:]]
    assert said[:3] == [
        f"{BUCKET}/in/bad.csv: ClientError: 415",
        f"{BUCKET}/in/bad.csv: ",
        f"{BUCKET}/in/bad.csv: Message:",
    ]
    assert said[3].startswith(f"{BUCKET}/in/bad.csv: not a number:")


@pytest.mark.parametrize(
    ("data", "members", "text"),
    [
        (b"1" * 2_000_000, {"MaxPayloadInMB": 1}, "Too much data for max payload size"),
        (b"plain", {"TransformInput": source(CompressionType="Gzip")}, "not in gzip format"),
        (b"\x00" * 30, {"TransformInput": source(SplitType="RecordIO")}, "not in RecordIO format"),
        (
            b"1\n",
            {"DataProcessing": {"InputFilter": "$[3]"}},
            "selects a column that a row of 1 does not have",
        ),
        (b"1\n2\n", {"DataProcessing": {"OutputFilter": "$.x"}}, "does not select columns of CSV"),
    ],
)
def test_objects_that_cannot_be_cut_or_joined(
    play: Callable[..., House], data: bytes, members: dict[str, Any], text: str
) -> None:
    async def story(house: House) -> None:
        house.put("in/a.csv", data)
        done = await finished(house, **members)
        assert done["FailureReason"].startswith("ClientError: See job logs for more information")
        assert text in done["FailureReason"]
        assert outputs(house) == {}

    play(story)


@pytest.mark.parametrize(("retries", "status"), [(1, "Completed"), (0, "Failed")])
def test_what_the_model_got_wrong_is_tried_again(
    play: Callable[..., House], retries: int, status: str
) -> None:
    calls: list[bytes] = []

    def answer(meta: Mapping[str, Any], body: bytes) -> Answer:
        calls.append(body)
        if len(calls) == 1:
            raise CallFault({"reason": "out of luck", "status": 500})
        return add_up(meta, body)

    async def story(house: House) -> None:
        house.put("in/a.csv", b"1\n")
        done = await finished(house, ModelClientConfig={"InvocationsMaxRetries": retries})
        assert done["TransformJobStatus"] == status
        if retries == 0:
            assert done["FailureReason"].startswith("AlgorithmError: See job logs for more information")
            assert "out of luck" in done["FailureReason"]

    play(story, Behaviour(answer=answer))
    assert len(calls) == 1 + retries


def test_a_second_try_keeps_the_order_of_the_input(play: Callable[..., House]) -> None:
    failed: list[bytes] = []

    def answer(meta: Mapping[str, Any], body: bytes) -> Answer:
        if body in (b"3\n", b"4\n") and failed.count(body) < 2:
            failed.append(body)
            raise CallFault({"reason": "out of luck", "status": 500})
        return add_up(meta, body)

    async def story(house: House) -> None:
        house.put("in/a.csv", b"".join(b"%d\n" % number for number in range(12)))
        await finished(house, BatchStrategy="SingleRecord", MaxConcurrentTransforms=5)
        assert outputs(house)["out/a.csv.out"] == b"".join(b"%d\n" % number for number in range(12))

    play(story, Behaviour(answer=answer))
    assert len(failed) == 4


def test_small_answers_do_not_each_take_a_thread(
    play: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[object] = []
    to_thread = asyncio.to_thread

    async def counted(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        threads.append(call)
        return await to_thread(call, *arguments, **options)

    async def story(house: House) -> None:
        house.put("in/a.csv", b"1\n" * 640)
        monkeypatch.setattr(asyncio, "to_thread", counted)
        await finished(house, BatchStrategy="SingleRecord")
        assert outputs(house) == {"out/a.csv.out": b"1\n" * 640}

    play(story)
    assert len(threads) < 64  # a few for the job, and one for every 64 records that are read


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (
            Behaviour(fails_at_load="ModelFileError: no model"),
            "AlgorithmError: The model's container did not become ready",
        ),
        (Behaviour(refused="no runtime"), "did not become ready: no runtime"),
        (
            Behaviour(crashes_on_call=True, output=b"about to die\n"),
            "AlgorithmError: the worker exited by signal 11",
        ),
    ],
)
def test_a_worker_that_fails_fails_the_job(
    play: Callable[..., House], behaviour: Behaviour, text: str
) -> None:
    async def story(house: House) -> None:
        house.put("in/a.csv", b"1\n")
        done = await finished(house)
        assert done["TransformJobStatus"] == "Failed"
        assert text in done["FailureReason"]
        assert outputs(house) == {}

    play(story, behaviour)


def test_vanished_model_data_and_buckets_fail_the_job(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/a.csv", b"1\n")
        gone = await finished(
            house, TransformOutput={"S3OutputPath": "s3://nowhere/out", "AssembleWith": "None"}
        )
        assert gone["FailureReason"].startswith("ClientError: The output's bucket does not exist any more")
        replaced = document(house, "other")
        house.put("model.tar.gz", b"another model")
        for path in (house.root / "models").iterdir():
            path.unlink()
        key = house.insert(KIND, "other", replaced)
        await house.until(ended(house, key))
        assert "ClientError: Failed to download model data" in house.document(key)["FailureReason"]

    play(story)


def test_a_stop_ends_it_at_once_and_keeps_complete_outputs(play: Callable[..., House]) -> None:
    def answer(meta: Mapping[str, Any], body: bytes) -> Answer | Awaitable[Answer]:
        return add_up(meta, body) if body == b"1\n" else asyncio.Event().wait()  # type: ignore[return-value]

    async def story(house: House) -> None:
        house.put("in/a.csv", b"1\n")
        house.put("in/b.csv", b"2\n")
        house.put("in/c.csv", b"3\n")
        key = house.insert(KIND, "job", document(house, MaxConcurrentTransforms=1))
        await house.until(lambda: "out/a.csv.out" in outputs(house))
        house.change(key, TransformJobStatus="Stopping")
        await house.until(ended(house, key))
        assert house.document(key)["TransformJobStatus"] == "Stopped"
        assert outputs(house) == {"out/a.csv.out": b"1\n"}
        assert await house.engine.list() == []

    play(story, Behaviour(answer=answer))


def test_a_stop_while_the_worker_loads(play: Callable[..., House]) -> None:
    async def story(house: House) -> None:
        house.put("in/a.csv", b"1\n")
        key = house.insert(KIND, "job", document(house))
        await house.until(lambda: bool(house.engine.started))
        house.change(key, TransformJobStatus="Stopping")
        await house.until(ended(house, key))
        assert house.document(key)["TransformJobStatus"] == "Stopped"

    play(story, Behaviour(ready_after_s=1000))


def test_a_job_of_a_crashed_server_runs_again(play: Callable[..., House]) -> None:
    async def crash(house: House) -> None:
        house.put("in/a.csv", b"1\n")
        house.insert(KIND, "job", document(house))
        await house.until(lambda: bool(house.engine.started))

    play(crash, Behaviour(hangs_on_call=True))

    async def again(house: House) -> None:
        key = Key(KIND, ACCOUNT, REGION, "job")
        await house.until(ended(house, key))
        assert house.document(key)["TransformJobStatus"] == "Completed"
        assert outputs(house) == {"out/a.csv.out": b"1\n"}

    play(again)
