"""``stagedoor env``: the variables that point AWS clients at the running server."""

import json
import shlex
from pathlib import Path

import click

from stagedoor.cli.instance import data_option, require, settings_from


@click.command("env")
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of export lines.")
def command(data: Path | None, as_json: bool) -> None:
    """Print the shell variables that point AWS clients here: eval "$(stagedoor env)"."""
    variables = require(settings_from(data=data)).environment()
    if as_json:
        click.echo(json.dumps(variables, indent=2))
    else:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
