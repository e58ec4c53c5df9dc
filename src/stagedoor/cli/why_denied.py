"""``stagedoor why-denied``: which policy refused a request, and the smallest one that would allow it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from stagedoor.cli.instance import data_option, settings_from
from stagedoor.domain.terminal import printable
from stagedoor.services import denials


@click.command("why-denied")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@click.argument("request_id")
def command(data: Path | None, as_json: bool, request_id: str) -> None:
    """Explain why REQUEST_ID was refused. Clients show the id with the error: `RequestId`, `x-amzn-RequestId`."""
    directory = settings_from(data=data).data / "logs"
    found = list(denials.find(directory, request_id))
    if not found:
        raise click.ClickException(
            f"No refusal with the request id {request_id} in {directory}. Policies refuse after the signature was accepted; "
            "what went wrong with a signature is in the answer itself."
        )
    for entry in found:
        if as_json:
            click.echo(json.dumps(entry, indent=2))
        else:
            for text in _told(entry):
                for line in text.split("\n"):
                    click.echo(printable(line))


def _told(entry: Mapping[str, Any]) -> Iterator[str]:
    yield f"{entry['time']}  {entry['service']}:{entry['operation']}"
    yield f"{entry['principal']}"
    yield f"  may not {entry['action']}"
    yield f"  on {printable(entry['resource'])}"
    yield f"{entry['decision']}, decided by: {entry['decided_by']}"
    if "denied_by" in entry:
        yield f"\nThe Deny is in {entry['denied_by']['policy']}:"
        yield json.dumps(entry["denied_by"]["statement"], indent=2)
    for miss in entry.get("near_misses", ()):
        yield f"\nNearly: {miss['policy']} allows the action, but {miss['because']}:"
        yield json.dumps(miss["statement"], indent=2)
    for need in entry.get("needed", ()):
        if "policy" in need:
            yield f"\nMissing: an Allow in {need['where']}. The smallest that would do:"
            yield json.dumps(need["policy"], indent=2)
        else:
            yield f"\n{need['what']}"
