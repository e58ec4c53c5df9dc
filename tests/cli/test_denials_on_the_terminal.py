"""Who runs `stagedoor up` on a terminal sees there who was refused what, and the command that explains it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cli.commands import Up, stagedoor

from stagedoor.domain.clock import ManualClock
from stagedoor.services.denial_notices import LINES_AT_MOST, SAME_AGAIN_S, WINDOW_S, DenialNotices, Selection


def entry(number: int, resource: str = "*") -> dict[str, str]:
    return {
        "principal": f"arn:aws:iam::1:user/u{number}",
        "action": "s3:ListBucket",
        "resource": resource,
        "request_id": f"id-{number}",
    }


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Any]:
    made: list[Up] = []

    def start(*, on_terminal: bool) -> Up:
        made.append(Up(tmp_path / f"data-{len(made)}", on_terminal=on_terminal))
        return made[-1].ready()

    yield start
    for one in made:
        if one.process.poll() is None:
            one.end()


def refused_user(up: Up) -> tuple[Any, str]:
    """A client of a user who may do nothing, and the user's ARN."""
    written = json.loads((up.data / "stagedoor.json").read_text())
    keys = json.loads((up.data / "keys.json").read_text())
    place: dict[str, Any] = {"endpoint_url": written["api"], "region_name": "us-east-1"}
    make: Any = boto3.client
    iam = make(
        "iam",
        **place,
        aws_access_key_id=keys["root_access_key_id"],
        aws_secret_access_key=keys["root_secret_access_key"],
    )
    arn = iam.create_user(UserName="nobody")["User"]["Arn"]
    own = iam.create_access_key(UserName="nobody")["AccessKey"]
    client = make(
        "sagemaker",
        **place,
        aws_access_key_id=own["AccessKeyId"],
        aws_secret_access_key=own["SecretAccessKey"],
    )
    return client, arn


def refuse(client: Any) -> str:
    with pytest.raises(ClientError) as raised:
        client.list_models()
    return raised.value.response["ResponseMetadata"]["RequestId"]


def test_a_refusal_is_one_line_with_the_command_that_explains_it(servers: Any) -> None:
    up = servers(on_terminal=True)
    client, arn = refused_user(up)
    request_id = refuse(client)
    command = f"stagedoor why-denied --data {up.data} {request_id}"
    deadline_s = time.monotonic() + 20
    while command not in up.printed and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert f"denied: {arn} may not sagemaker:ListModels on *. Why: {command}\n" in up.printed
    explained = stagedoor(*command.split()[1:])
    assert "Missing: an Allow in" in explained.stdout
    for _ in range(20):
        refuse(client)
    assert up.end() == 0
    assert up.printed.count("denied:") == 2
    assert "denied: 20 more, repetitions among them." in up.printed
    whole = [json.loads(line) for line in (up.data / "logs" / "denials.jsonl").read_text().splitlines()]
    assert len(whole) == 21
    assert whole[0]["request_id"] == request_id
    assert whole[0]["needed"]


def test_without_a_terminal_refusals_are_in_the_log_alone(servers: Any) -> None:
    up = servers(on_terminal=False)
    client, _ = refused_user(up)
    refuse(client)
    assert up.end() == 0
    assert "denied:" not in up.printed
    assert (up.data / "logs" / "denials.jsonl").read_text().count("\n") == 1


def test_a_flood_is_some_lines_and_a_count() -> None:
    clock = ManualClock()
    selection = Selection("explain", clock)
    shown = [line for number in range(1000) for line in selection.lines(entry(number))]
    assert len(shown) == LINES_AT_MOST
    assert list(selection.due()) == []
    clock.advance(WINDOW_S)
    assert list(selection.due()) == [
        f"denied: {1000 - LINES_AT_MOST} more, repetitions among them. All are in logs/denials.jsonl."
    ]
    assert list(selection.due()) == []
    assert len(list(selection.lines(entry(2000)))) == 1


def test_the_same_refusal_comes_again_after_a_minute() -> None:
    clock = ManualClock()
    selection = Selection("explain", clock)
    assert len(list(selection.lines(entry(1)))) == 1
    clock.advance(WINDOW_S)
    assert list(selection.lines(entry(1))) == []
    clock.advance(SAME_AGAIN_S)
    (count, again) = selection.lines(entry(1))
    assert count.startswith("denied: 1 more")
    assert again.endswith("explain id-1")


def test_a_name_cannot_drive_the_terminal() -> None:
    (line,) = Selection("explain", ManualClock()).lines(entry(1, "\x1b[2J\ndenied: forged" + "x" * 10_000))
    assert "\x1b" not in line
    assert "\n" not in line
    assert len(line) < 600


def test_a_stopped_terminal_stops_nobody_else() -> None:
    def never_ends(_line: str) -> None:
        time.sleep(3600)

    notices = DenialNotices(never_ends, Selection("explain", ManualClock()))
    for number in range(5000):
        notices.show(entry(number))
    notices.close()
