"""``stagedoor least-privilege``: the policy that covers exactly what a role was seen doing."""

import json
from pathlib import Path

import click

from stagedoor.cli.instance import data_option, settings_from
from stagedoor.services import role_activity

_SHOWN_AT_MOST = 20


@click.command("least-privilege")
@data_option
@click.argument("role")
def command(data: Path | None, role: str) -> None:
    """Write the policy for ROLE (its name or ARN) that allows what it did so far, and nothing else.

    What was allowed counts, up to a second ago; what was refused does not.
    """
    directory = settings_from(data=data).data / "logs"
    seen = list(role_activity.read(directory))
    arns = sorted({one.role_arn for one in seen if role in {one.role_arn, one.role_arn.rpartition("/")[2]}})
    if not arns:
        known = sorted({one.role_arn.rpartition("/")[2] for one in seen})
        others = f" These were: {', '.join(known[:_SHOWN_AT_MOST])}." if known else ""
        raise click.ClickException(f"No role {role} was seen doing anything yet ({directory}).{others}")
    if len(arns) > 1:
        raise click.ClickException(
            f"Several roles are called {role}. Name one by its ARN: {', '.join(arns)}."
        )
    policy = role_activity.least_policy([one for one in seen if one.role_arn == arns[0]])
    click.echo(json.dumps(policy, indent=2))
