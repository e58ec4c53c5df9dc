"""``stagedoor logs``: the server's own log, or a CloudWatch log group of the running server."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from stagedoor.cli.instance import Instance, data_option, require, settings_from
from stagedoor.domain.terminal import printable

POLL_S = 0.5
SERVER_LOG = "server.jsonl"


@click.command("logs")
@data_option
@click.argument("group", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on printing as lines come.")
@click.option("-n", "--lines", default=50, show_default=True, help="How many of the last lines.")
@click.option("--groups", is_flag=True, help="List the log groups.")
def command(data: Path | None, group: str | None, follow: bool, lines: int, groups: bool) -> None:
    """Show the server's own log, or with GROUP (e.g. /aws/lambda/NAME) a CloudWatch log group."""
    settings = settings_from(data=data)
    if groups:
        for page in require(settings).client("logs").get_paginator("describe_log_groups").paginate():
            for found in page["logGroups"]:
                click.echo(found["logGroupName"])
    elif group:
        for line in _group_lines(require(settings), group, lines, follow):
            click.echo(line)
    else:
        for line in _file_lines(settings.data / "logs" / SERVER_LOG, lines, follow):
            click.echo(line)


def _line(text: str) -> str:
    return printable(text.rstrip("\n"))


def _group_lines(instance: Instance, group: str, lines: int, follow: bool) -> Iterator[str]:
    logs = instance.client("logs")
    seen: set[str] = set()
    since_ms = 0
    first = True
    while True:
        events: list[dict[str, object]] = []
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since_ms)
            for page in pages:
                events += page["events"]
        except logs.exceptions.ResourceNotFoundException as error:
            raise click.ClickException(
                f"There is no log group {group}. `stagedoor logs --groups` lists them."
            ) from error
        fresh = [event for event in events if event["eventId"] not in seen]
        for event in fresh[-lines:] if first else fresh:
            when = datetime.fromtimestamp(int(str(event["timestamp"])) / 1000, UTC).strftime("%H:%M:%S.%f")[
                :-3
            ]
            yield f"{when} {_line(str(event['message']))}"
        if not follow:
            return
        if events:
            since_ms = max(int(str(event["timestamp"])) for event in events)
            seen = {str(event["eventId"]) for event in events if int(str(event["timestamp"])) >= since_ms}
        first = False
        time.sleep(POLL_S)


def _file_lines(path: Path, lines: int, follow: bool) -> Iterator[str]:
    if not path.exists():
        raise click.ClickException(f"{path} does not exist: no server has run on this data directory yet.")
    with path.open(errors="replace") as file:
        last = file.readlines()[-lines:]
        for line in last:
            yield _line(line)
        while follow:
            line = file.readline()
            if line:
                yield _line(line)
            else:
                time.sleep(POLL_S)
