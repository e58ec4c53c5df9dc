"""``stagedoor env``: the variables that point AWS clients at the running server."""

import json
import os
import shlex
from pathlib import Path

import click

from stagedoor.cli import notebook as notebook_role
from stagedoor.cli.instance import Instance, data_option, require, settings_from
from stagedoor.settings import Settings

NOT_PROXIED = ("localhost", ".localhost", "127.0.0.1", "::1")


@click.command("env")
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of export lines.")
@click.option(
    "--proxy",
    is_flag=True,
    help="Also the proxy for AWS's own host names, for clients that hard-code them (the SageMaker SDKs).",
)
@click.option(
    "--notebook",
    is_flag=True,
    help="As a SageMaker notebook has them: the keys of an execution role (made when missing), and --proxy.",
)
def command(data: Path | None, as_json: bool, proxy: bool, notebook: bool) -> None:
    """Print the shell variables that point AWS clients here: eval "$(stagedoor env)"."""
    settings = settings_from(data=data)
    instance = require(settings)
    variables = instance.environment()
    if notebook:
        variables |= notebook_role.variables(instance, settings)
    if proxy or notebook:
        variables |= _proxy_variables(instance, settings)
    if as_json:
        click.echo(json.dumps(variables, indent=2))
    else:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")


def _proxy_variables(instance: Instance, settings: Settings) -> dict[str, str]:
    """What sends clients through the proxy, and makes them trust who answers there."""
    from stagedoor.http.local_ca import CertificateError, LocalCa

    ca = LocalCa(settings.data / "tls")
    try:
        ca.open()
    except CertificateError as error:
        raise click.ClickException(str(error)) from error
    earlier = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or ""
    if earlier and earlier != instance.proxy_url:
        click.echo(
            "stagedoor: HTTPS_PROXY was set; the proxy printed here takes its place and connects directly.",
            err=True,
        )
    excepted = [name for name in os.environ.get("NO_PROXY", "").split(",") if name]
    return {
        "HTTPS_PROXY": instance.proxy_url,
        "NO_PROXY": ",".join(dict.fromkeys([*excepted, *NOT_PROXIED])),
        "AWS_CA_BUNDLE": str(ca.bundle_path.absolute()),
    }
