"""``stagedoor status``: what is running, asked of the server through its own APIs."""

import json
from pathlib import Path
from typing import Any

import click

from stagedoor.cli.instance import Instance, data_option, isolation_lines, require, settings_from
from stagedoor.domain.terminal import printable


@click.command("status")
@data_option
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def command(data: Path | None, as_json: bool) -> None:
    """Show the server's addresses, endpoints, functions, APIs, jobs and buckets."""
    instance = require(settings_from(data=data))
    found = _collect(instance)
    if as_json:
        about = {"api": instance.api, "public": instance.public, "pid": instance.pid}
        click.echo(json.dumps({**about, "isolation": instance.isolation, **found}))
        return
    click.echo(f"stagedoor, pid {instance.pid}")
    click.echo(f"  AWS APIs, signed   {instance.api}")
    click.echo(f"  public APIs, web   {instance.public}")
    for line in isolation_lines(instance.isolation):
        click.echo(f"  {line}")
    for title, rows in found.items():
        click.echo(f"{title.replace('_', ' ')} ({len(rows)})")
        names = [printable(str(row["name"])) for row in rows]
        width = max(map(len, names), default=0)
        for name, row in zip(names, rows, strict=True):
            click.echo(f"  {name:<{width}}  {row['state']}")


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
