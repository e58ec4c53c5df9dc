"""``stagedoor status``: what is running, asked of the server through its own APIs, and what memory it takes, asked of the system."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from stagedoor.cli.instance import Instance, data_option, isolation_lines, require, settings_from
from stagedoor.domain.terminal import printable
from stagedoor.engine import process_memory
from stagedoor.engine.process_memory import Measure, ProcessMemory


@click.command("status")
@data_option
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def command(data: Path | None, as_json: bool) -> None:
    """Show the server's addresses, memory, endpoints, functions, APIs, jobs and buckets."""
    settings = settings_from(data=data)
    instance = require(settings)
    processes = process_memory.of_server(instance.pid)
    found = _collect(instance)
    fronts = _fronts(settings.data)
    if as_json:
        about = {"api": instance.api, "public": instance.public, "pid": instance.pid}
        memory = _memory(processes)
        more = {"fronts": fronts, "isolation": instance.isolation, "memory": memory}
        click.echo(json.dumps({**about, **more, **found}))
        return
    click.echo(f"stagedoor, pid {instance.pid}")
    click.echo(f"  AWS APIs, signed   {instance.api}")
    click.echo(f"  public APIs, web   {instance.public}")
    for front in fronts:
        click.echo(f"  front process      pid {front}")
    for line in isolation_lines(instance.isolation):
        click.echo(f"  {line}")
    for line in memory_lines(processes):
        click.echo(line)
    for title, rows in found.items():
        click.echo(f"{title.replace('_', ' ')} ({len(rows)})")
        names = [printable(str(row["name"])) for row in rows]
        width = max(map(len, names), default=0)
        for name, row in zip(names, rows, strict=True):
            click.echo(f"  {name:<{width}}  {row['state']}")


def _fronts(data: Path) -> list[int]:
    """The process numbers of the front processes."""
    path = data / "fronts.json"
    return json.loads(path.read_text()) if path.exists() else []


def _memory(processes: Sequence[ProcessMemory]) -> dict[str, Any]:
    return {
        "total_bytes": sum(each.size_bytes for each in processes),
        "processes": [
            {"pid": each.pid, "name": each.name, "bytes": each.size_bytes, "measure": each.measure}
            for each in processes
        ],
    }


_MEASURES: dict[Measure, str] = {
    "PSS": "PSS: what is shared counts once",
    "own": "without what it shares with its warm parent",
    "RSS": "RSS: what is shared counts for each process again",
}


def memory_lines(processes: Sequence[ProcessMemory]) -> list[str]:
    """Megabytes in all and for each kind of process, for people; how they were measured is said."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for each in processes:
        name = "keepers of workers" if each.name.startswith("keeper of ") else each.name
        sizes[name] += each.size_bytes
        counts[name] += 1
    measures = [
        _MEASURES[measure] for measure in _MEASURES if any(each.measure == measure for each in processes)
    ]
    lines = [f"memory {sum(sizes.values()) / 1e6:.0f} MB ({'; or '.join(measures)})"]
    width = max(map(len, sizes), default=0)
    for name, size_bytes in sizes.most_common():
        processes_text = f"  in {counts[name]} processes" if counts[name] > 1 else ""
        lines.append(f"  {printable(name):<{width}}  {size_bytes / 1e6:5.0f} MB{processes_text}")
    return lines


def _pages(client: Any, operation: str, member: str) -> list[Any]:
    return [item for page in client.get_paginator(operation).paginate() for item in page.get(member, [])]


def _collect(instance: Instance) -> dict[str, list[dict[str, object]]]:
    sagemaker = instance.client("sagemaker")
    return {
        "endpoints": [
            {"name": e["EndpointName"], "state": e["EndpointStatus"]}
            for e in _pages(sagemaker, "list_endpoints", "Endpoints")
        ],
        "training_jobs": [
            {"name": j["TrainingJobName"], "state": j["TrainingJobStatus"]}
            for j in _pages(sagemaker, "list_training_jobs", "TrainingJobSummaries")
        ],
        "transform_jobs": [
            {"name": j["TransformJobName"], "state": j["TransformJobStatus"]}
            for j in _pages(sagemaker, "list_transform_jobs", "TransformJobSummaries")
        ],
        "functions": [
            {"name": f["FunctionName"], "state": f.get("State", "Active")}
            for f in _pages(instance.client("lambda"), "list_functions", "Functions")
        ],
        "rest_apis": [
            {"name": a["name"], "state": a["id"]}
            for a in _pages(instance.client("apigateway"), "get_rest_apis", "items")
        ],
        "buckets": [
            {"name": b["Name"], "state": ""} for b in instance.client("s3").list_buckets()["Buckets"]
        ],
    }
