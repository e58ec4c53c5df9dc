"""``stagedoor stop``: end the running server and wait until it is gone."""

import os
import signal
import time
from pathlib import Path

import click

from stagedoor.cli.instance import data_option, is_locked, running, settings_from

WAIT_S = 30.0


@click.command("stop")
@data_option
def command(data: Path | None) -> None:
    """Stop the server: answers under way are finished, workers end, the state is kept."""
    settings = settings_from(data=data)
    instance = running(settings)
    if instance is None:
        click.echo(f"No stagedoor is running on {settings.data}.")
        return
    os.kill(instance.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + WAIT_S
    while is_locked(settings.data):
        if time.monotonic() > deadline_s:
            raise click.ClickException(
                f"The server (pid {instance.pid}) has not ended in {WAIT_S:.0f} s. "
                f"Look at {settings.data / 'logs'}; `kill -9 {instance.pid}` loses nothing that was acknowledged."
            )
        time.sleep(0.02)
    click.echo("stagedoor has stopped; its state is kept.")
