"""Batch transform in every combination of how objects are cut, sent, processed and put together, against a plain model of it."""

import asyncio
import gzip
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from reconcile.job_house import BUCKET, House
from reconcile.test_transform_act import KIND, document, make, source

from stagedoor.engine.fake import Answer, Behaviour
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.transform.splitting import _masked_crc as masked_crc

MEGABYTE = 1024 * 1024
# Some of them fill a payload of 1 MB together; one is empty, one has the bytes of a frame's head in it.
RECORDS = [
    b"1,2",
    b"x" * 400_000,
    b"",
    b"y" * 500_000,
    b"z" * 300_000,
    b"\xed\xce magic: \x0a\x23\xd7\xce",
    b"last",
]


def recordio(content: bytes) -> bytes:
    head = (0xCED7230A).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    return head + content + b"\0" * (-len(content) % 4)


def tfrecord(content: bytes) -> bytes:
    length = len(content).to_bytes(8, "little")
    crcs = [masked_crc(part).to_bytes(4, "little") for part in (length, content)]
    return length + crcs[0] + content + crcs[1]


def line(content: bytes) -> bytes:
    return content + b"\n"


FRAMES: dict[str, Callable[[bytes], bytes]] = {"Line": line, "RecordIO": recordio, "TFRecord": tfrecord}


def records_of(split: str) -> list[bytes]:
    return [record for record in RECORDS if split != "Line" or (record and b"\n" not in record)]


def content_of(split: str) -> bytes:
    frame = FRAMES.get(split, line)
    return b"".join(frame(record) for record in records_of(split))


def expected_payloads(split: str, strategy: str, limit: int) -> list[bytes]:
    """What the model is sent: as AWS says, padding goes for single records and stays for many."""
    if split == "None":
        return [content_of(split)]
    if strategy == "SingleRecord":
        return [line(record) if split == "Line" else record for record in records_of(split)]
    payloads, current = [], b""
    for record in records_of(split):
        framed = FRAMES[split](record)
        if current and len(current) + len(framed) > limit:
            payloads.append(current)
            current = b""
        current += framed
    return [*payloads, current]


def digest(body: bytes) -> bytes:
    """An answer that tells of every byte of its request, and of its ends."""
    return b"%d:%d:%s:%s" % (len(body), sum(body) % 997, body[:3].hex().encode(), body[-3:].hex().encode())


ECHO = Behaviour(answer=lambda meta, body: ({"content_type": "text/plain"}, digest(body)))


async def all_ended(house: House, jobs: Sequence[Any]) -> None:
    await house.until(lambda: all(house.document(key)["TransformJobStatus"] != "InProgress" for key in jobs))


def play(tmp_path: Path, behaviour: Behaviour, story: Callable[[House], Any]) -> None:
    house = House(tmp_path, lambda _: behaviour, JobSlots(4))
    house.put("model.tar.gz", b"not looked into by the fake")

    async def whole() -> None:
        async with house.running(make):
            await story(house)

    asyncio.run(whole())


@pytest.mark.parametrize("split", ["None", "Line", "RecordIO", "TFRecord"])
def test_every_way_to_cut_send_and_assemble(tmp_path: Path, split: str) -> None:
    ways = list(
        itertools.product(
            ("SingleRecord", "MultiRecord", None),
            ("None", "Line"),
            (0, 1, 2, None),
            ("None", "Gzip"),
            ("S3Prefix", "ManifestFile"),
        )
    )

    async def story(house: House) -> None:
        house.put("in/plain/data", content_of(split))
        house.put("in/zipped/data", gzip.compress(content_of(split)))
        for folder in ("plain", "zipped"):
            manifest = [{"prefix": f"s3://{BUCKET}/in/{folder}/"}, "data"]
            house.put(f"manifests/{folder}", json.dumps(manifest).encode())
        keys = []
        for number, (strategy, assemble, payload_mb, compression, data_type) in enumerate(ways):
            folder = "plain" if compression == "None" else "zipped"
            place = f"manifests/{folder}" if data_type == "ManifestFile" else f"in/{folder}/"
            members: dict[str, Any] = {
                "TransformInput": source(
                    f"s3://{BUCKET}/{place}", data_type, CompressionType=compression, SplitType=split
                ),
                "TransformOutput": {
                    "S3OutputPath": f"s3://{BUCKET}/out/{number}",
                    "AssembleWith": assemble,
                },
            }
            members |= {"BatchStrategy": strategy} if strategy is not None else {}
            members |= {"MaxPayloadInMB": payload_mb} if payload_mb is not None else {}
            keys.append(house.insert(KIND, f"job-{number}", document(house, f"job-{number}", **members)))
        await all_ended(house, keys)
        for number, (strategy, assemble, payload_mb, *_) in enumerate(ways):
            done = house.document(keys[number])
            limit = {0: 1 << 40, None: 6 * MEGABYTE}.get(payload_mb, (payload_mb or 0) * MEGABYTE)
            if split == "None" and len(content_of(split)) > limit:
                assert done["TransformJobStatus"] == "Failed", ways[number]
                assert "Too much data for max payload size" in done["FailureReason"]
                continue
            assert done["TransformJobStatus"] == "Completed", (ways[number], done)
            end = b"\n" if assemble == "Line" else b""
            payloads = expected_payloads(split, strategy or "MultiRecord", limit)
            expected = b"".join(digest(payload) + end for payload in payloads)
            assert house.read(f"out/{number}/data.out") == expected, ways[number]

    play(tmp_path, ECHO, story)


ROWS = [["a", 1, 2], ["b", 3, 4], ["c", 5, 6]]


def sums(meta: Mapping[str, Any], body: bytes) -> Answer:
    """The sum of a row's numbers, in the format of the rows."""
    kind = str(meta["content_type"])
    if kind == "text/csv":
        found = [sum(int(f) for f in row.split(",") if f.isdigit()) for row in body.decode().splitlines()]
        return {"content_type": kind}, "".join(f"{each},ok\n" for each in found).encode()
    values = [json.loads(row) for row in body.splitlines() if row.strip()]
    answers = [{"sum": _total(value)} for value in values]
    return {"content_type": kind}, "".join(json.dumps(each) + "\n" for each in answers).encode()


def _total(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_total(each) for each in value.values())
    if isinstance(value, list):
        return sum(_total(each) for each in value)
    return value if isinstance(value, int) else 0


def csv_ways() -> Iterator[tuple[Any, ...]]:
    yield from itertools.product(
        ("$", "$[1:]", "$[2]"), ("$", "$[0,-1]", "$[-2:]"), ("None", "Input"), ("SingleRecord", "MultiRecord")
    )


def expected_csv(input_filter: str, output_filter: str, join: str) -> bytes:
    chosen = {"$": slice(None), "$[1:]": slice(1, None), "$[2]": slice(2, 3)}[input_filter]
    lines: list[str] = []
    for row in ROWS:
        answer = [sum(each for each in row[chosen] if isinstance(each, int)), "ok"]
        joined = [*row, *answer] if join == "Input" else answer
        picked = {"$": joined, "$[0,-1]": [joined[0], joined[-1]], "$[-2:]": joined[-2:]}[output_filter]
        lines.append(",".join(map(str, picked)))
    return "".join(f"{each}\n" for each in lines).encode()


def test_every_way_to_filter_and_join_csv(tmp_path: Path) -> None:
    ways = [*itertools.product(csv_ways(), ("None", "Line"), ("None", "Line"))]

    async def story(house: House) -> None:
        house.put("in/rows.csv", "".join(",".join(map(str, row)) + "\n" for row in ROWS).encode())
        keys = []
        for number, ((inputs, outputs, join, strategy), assemble, split) in enumerate(ways):
            members = {
                "TransformInput": source(SplitType=split),
                "TransformOutput": {
                    "S3OutputPath": f"s3://{BUCKET}/out/{number}",
                    "AssembleWith": assemble,
                },
                "DataProcessing": {"InputFilter": inputs, "OutputFilter": outputs, "JoinSource": join},
                "BatchStrategy": strategy,
            }
            keys.append(house.insert(KIND, f"job-{number}", document(house, f"job-{number}", **members)))
        await all_ended(house, keys)
        for number, ((inputs, outputs, join, _), *_) in enumerate(ways):
            done = house.document(keys[number])
            assert done["TransformJobStatus"] == "Completed", (ways[number], done)
            written = house.read(f"out/{number}/rows.csv.out")
            assert written == expected_csv(inputs, outputs, join), ways[number]

    play(tmp_path, Behaviour(answer=sums), story)


def expected_json(record: dict[str, Any], inputs: str, outputs: str, join: str) -> Any:
    sent = {"$": record, "$.features": record["features"]}[inputs]
    answer: Any = {"sum": _total(sent)}
    joined = {**record, "SageMakerOutput": answer} if join == "Input" else answer
    if outputs == "$":
        return joined
    if outputs == "$['id','SageMakerOutput']":
        return {name: joined[name] for name in ("id", "SageMakerOutput")}
    return joined["sum"]


def test_every_way_to_filter_and_join_json_lines(tmp_path: Path) -> None:
    records = [{"id": row[0], "features": row[1:]} for row in ROWS]
    ways = [
        way
        for way in itertools.product(
            ("$", "$.features"),
            ("$", "$['id','SageMakerOutput']", "$.sum"),
            ("None", "Input"),
            ("SingleRecord", "MultiRecord"),
            ("None", "Line"),
        )
        if (way[2] == "Input") == ("SageMakerOutput" in way[1]) or way[1] == "$"
    ]

    async def story(house: House) -> None:
        house.put("in/rows.jsonl", "".join(json.dumps(record) + "\n" for record in records).encode())
        keys = []
        for number, (inputs, outputs, join, strategy, assemble) in enumerate(ways):
            members = {
                "TransformInput": source(ContentType="application/jsonlines"),
                "TransformOutput": {
                    "S3OutputPath": f"s3://{BUCKET}/out/{number}",
                    "AssembleWith": assemble,
                },
                "DataProcessing": {"InputFilter": inputs, "OutputFilter": outputs, "JoinSource": join},
                "BatchStrategy": strategy,
            }
            keys.append(house.insert(KIND, f"job-{number}", document(house, f"job-{number}", **members)))
        await all_ended(house, keys)
        for number, (inputs, outputs, join, *_) in enumerate(ways):
            done = house.document(keys[number])
            assert done["TransformJobStatus"] == "Completed", (ways[number], done)
            lines = (house.read(f"out/{number}/rows.jsonl.out") or b"").splitlines()
            expected = [expected_json(record, inputs, outputs, join) for record in records]
            assert [json.loads(each) for each in lines] == expected, ways[number]

    play(tmp_path, Behaviour(answer=sums), story)


def answer_in_what_is_asked_for(meta: Mapping[str, Any], body: bytes) -> Answer:
    """The sums of the rows in the format of Accept: rows, one JSON object for all, or a line of JSON for each."""
    if meta["content_type"] == "text/csv":
        found = [sum(int(each) for each in row.split(",")[1:]) for row in body.decode().splitlines()]
    else:
        found = [_total(json.loads(row)) for row in body.splitlines()]
    accept = str(meta["accept"])
    answers = {
        "text/csv": "".join(f"{each}\n" for each in found),
        "application/json": json.dumps({"sums": found}, indent=1),
        "application/json;bare": json.dumps(found),
        "application/jsonlines": "".join(json.dumps({"sum": each}) + "\n" for each in found),
    }
    return {"content_type": accept.partition(";")[0]}, answers[accept].encode()


def model_of_a_join(given: str, accept: str, strategy: str) -> list[Any] | str:
    """The lines of the output, or why there is none: what is joined to a record is read in the record's format."""
    sums = [sum(each for each in row if isinstance(each, int)) for row in ROWS]
    one_by_one = strategy == "SingleRecord"
    if given == "text/csv":
        if accept == "text/csv":
            return [f"{','.join(map(str, row))},{each}" for row, each in zip(ROWS, sums, strict=True)]
        if accept != "application/json;bare":
            return 'Failed to parse output from the algorithm as CSV: bare " in non quoted field'
        if one_by_one:
            return [f"{','.join(map(str, row))},[{each}]" for row, each in zip(ROWS, sums, strict=True)]
        return "the model gave 1 outputs for 3 records"
    if accept.startswith("application/json") and accept != "application/jsonlines" and not one_by_one:
        return "the model gave 1 outputs for 3 records"
    shapes: dict[str, Callable[[int], Any]] = {
        "text/csv": lambda each: each,
        "application/json": lambda each: {"sums": [each]},
        "application/json;bare": lambda each: [each],
        "application/jsonlines": lambda each: {"sum": each},
    }
    return [
        {"id": row[0], "features": row[1:], "SageMakerOutput": shapes[accept](each)}
        for row, each in zip(ROWS, sums, strict=True)
    ]


@pytest.mark.parametrize("given", ["text/csv", "application/json", "application/jsonlines"])
def test_every_format_of_records_joined_to_every_format_of_answers(tmp_path: Path, given: str) -> None:
    accepts = ("text/csv", "application/json", "application/json;bare", "application/jsonlines")
    ways = list(itertools.product(accepts, ("SingleRecord", "MultiRecord")))
    rows = [",".join(map(str, row)) for row in ROWS]
    if given != "text/csv":
        rows = [json.dumps({"id": row[0], "features": row[1:]}) for row in ROWS]

    async def story(house: House) -> None:
        house.put("in/rows", "".join(f"{row}\n" for row in rows).encode())
        keys = []
        for number, (accept, strategy) in enumerate(ways):
            place = f"s3://{BUCKET}/out/{number}"
            members = {
                "TransformInput": source(ContentType=given),
                "TransformOutput": {"S3OutputPath": place, "AssembleWith": "Line", "Accept": accept},
                "DataProcessing": {"JoinSource": "Input"},
                "BatchStrategy": strategy,
            }
            keys.append(house.insert(KIND, f"job-{number}", document(house, f"job-{number}", **members)))
        await all_ended(house, keys)
        for number, way in enumerate(ways):
            done, expected = house.document(keys[number]), model_of_a_join(given, *way)
            if isinstance(expected, str):
                assert done["TransformJobStatus"] == "Failed", way
                assert expected in done["FailureReason"], way
                assert house.read(f"out/{number}/rows.out") is None
                continue
            assert done["TransformJobStatus"] == "Completed", (way, done)
            lines = (house.read(f"out/{number}/rows.out") or b"").decode().splitlines()
            assert (lines if given == "text/csv" else [json.loads(line) for line in lines]) == expected, way

    play(tmp_path, Behaviour(answer=answer_in_what_is_asked_for), story)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tfrecord(b"abc")[:-1], "ends inside a frame"),
        (tfrecord(b"abc")[:5], "ends inside a frame"),
        (b"\x01" + tfrecord(b"abc")[1:], "the checksum of a length is wrong"),
        (tfrecord(b"abc").replace(b"abc", b"abd"), "the checksum of a record is wrong"),
    ],
)
def test_broken_tf_records_fail_the_job_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    async def story(house: House) -> None:
        house.put("in/data", tfrecord(b"whole") + content)
        key = house.insert(KIND, "job", document(house, TransformInput=source(SplitType="TFRecord")))
        await all_ended(house, [key])
        done = house.document(key)
        assert done["TransformJobStatus"] == "Failed"
        assert done["FailureReason"].startswith("ClientError: See job logs")
        assert reason in done["FailureReason"]
        assert house.read("out/data.out") is None

    play(tmp_path, ECHO, story)


def test_what_was_transformed_is_captured_and_each_record_gets_an_id(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for name in ("a.csv", "more/b.csv"):
            house.put(f"in/{name}", b"1,2\n3,4\n")
        capture = {"DestinationS3Uri": f"s3://{BUCKET}/captured", "GenerateInferenceId": True}
        key = house.insert(KIND, "job", document(house, DataCaptureConfig=capture))
        await all_ended(house, [key])
        done = house.document(key)
        assert done["TransformJobStatus"] == "Completed", done
        rows = [row.split(",") for row in (house.read("out/a.csv.out") or b"").decode().splitlines()]
        assert [row[:2] for row in rows] == [["3", "ok"], ["7", "ok"]]
        assert len({row[2] for row in rows}) == 2
        assert all(len(row[2]) == 36 and row[3].endswith("Z") for row in rows)
        found = {row.key for row in house.objects.list(BUCKET, "captured/")}
        assert len(found) == 2
        for manifest in found:
            folder, *hour = manifest.split("/")[1:6]
            assert [len(part) for part in hour] == [4, 2, 2, 2]
            suffix, place = (".out", "out") if folder == "output" else ("", "in")
            expected = [
                {"prefix": f"s3://{BUCKET}/{place}/"},
                *(f"{n}{suffix}" for n in ("a.csv", "more/b.csv")),
            ]
            assert json.loads(house.read(manifest) or b"") == expected

    play(tmp_path, Behaviour(answer=sums), story)
