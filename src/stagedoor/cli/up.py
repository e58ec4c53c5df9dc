"""``stagedoor up``: the server in the foreground."""

import gc
import time
from typing import Any

import click

from stagedoor.cli.instance import data_option, isolation_lines, settings_from


@click.command("up")
@data_option
@click.option(
    "--api", metavar="HOST:PORT", help="Signed listener (default 127.0.0.1:4566; :0 picks a free port)."
)
@click.option("--public", metavar="HOST:PORT", help="Public listener (default 127.0.0.1:8080).")
@click.option(
    "--tls", metavar="self-signed", help="TLS on both listeners, with a local authority's certificates."
)
@click.option("--tls-cert", metavar="FILE", help="TLS on both listeners with this certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="The certificate's key (PEM).")
@click.option(
    "--insecure", is_flag=True, default=None, help="Allow addresses that other machines reach, without TLS."
)
@click.option("--offline", is_flag=True, default=None, help="The proxy of `env --proxy` lets nothing out.")
@click.option("--fronts", metavar="N|auto", help="Front processes that answer invocations (default 0).")
@click.option("--engine", metavar="NAME", help="Where workers run: local.")
@click.option("--account", metavar="ID", help="Account id of the root key: 12 digits.")
@click.option("--region", metavar="NAME", help="Default region.")
@click.option(
    "--isolation",
    metavar="MODE",
    help="How far user code is kept apart: auto (what this machine can give), strict (that and nothing less), none.",
)
@click.option("--accounts", metavar="FILE", help="JSON file with further accounts and their root keys.")
def command(**flags: Any) -> None:
    """Start the server in the foreground. Ctrl-C ends it; its state stays in the data directory."""
    started_s = time.perf_counter()
    settings = settings_from(**flags)
    # Until ``app`` has warmed up: the collector would walk through all that is being loaded, again and again.
    gc.disable()
    from stagedoor import app

    def ready(server: app.Running) -> None:
        click.echo(f"stagedoor is ready ({time.perf_counter() - started_s:.1f} s)")
        click.echo(f"  AWS APIs, signed   {server.api}")
        click.echo(f"  public APIs, web   {server.public}")
        click.echo(f"  data               {settings.data}")
        for line in isolation_lines(server.isolation.as_json()):
            click.echo(f"  {line}")
        if server.made_root_key:
            click.echo("  root key, shown once (`stagedoor env` has it from now on):")
            click.echo(f"    AWS_ACCESS_KEY_ID={server.keys.root_access_key_id}")
            click.echo(f"    AWS_SECRET_ACCESS_KEY={server.keys.root_secret_access_key}")
        click.echo('In another terminal:  eval "$(stagedoor env)"')

    try:
        app.run(settings, ready)
    except app.StartError as error:
        raise click.ClickException(str(error)) from error
    click.echo("stagedoor has stopped; its state is kept.")
