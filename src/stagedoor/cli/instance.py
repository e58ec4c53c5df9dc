"""The server that runs on a data directory, as the other commands find it: ``DIR/stagedoor.json`` and its keys."""

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from stagedoor.settings import FILE_NAME, SettingError, Settings, load


@dataclass(frozen=True, slots=True)
class Instance:
    """One running server. ``local`` is its signed listener for this machine, without TLS; ``ca`` the file with the
    certificate of its local authority, empty when its listeners do not use one.
    """

    api: str
    public: str
    local: str
    ca: str
    pid: int
    region: str
    account: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    proxy_password: str = field(repr=False)
    isolation: dict[str, Any]

    @property
    def proxy_url(self) -> str:
        """The proxy for AWS's names, as ``HTTPS_PROXY`` takes it."""
        return self.local.replace("://", f"://stagedoor:{self.proxy_password}@", 1)

    def environment(self) -> dict[str, str]:
        """The variables that point any AWS client at it."""
        variables = {
            "AWS_ENDPOINT_URL": self.api,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
        }
        return variables | ({"AWS_CA_BUNDLE": self.ca} if self.ca else {})

    def client(self, service: str) -> Any:
        """A boto3 client with the root key."""
        import boto3

        make: Any = boto3.client  # typed for each service by its name; here it is any
        return make(
            service,
            endpoint_url=self.local,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=None,
            region_name=self.region,
        )


def settings_from(**flags: Any) -> Settings:
    """The settings for a command's flags; a wrong one ends the command with a sentence."""
    try:
        return load(flags, os.environ, Path(FILE_NAME))
    except SettingError as error:
        raise click.ClickException(str(error)) from error


def is_locked(data: Path) -> bool:
    """Whether a server holds the data directory now."""
    try:
        with (data / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def running(settings: Settings) -> Instance | None:
    """The server on this data directory, or None. What a killed server left behind does not count."""
    if not is_locked(settings.data):
        return None
    try:
        written = json.loads((settings.data / "stagedoor.json").read_text())
        keys = json.loads((settings.data / "keys.json").read_text())
        return Instance(
            written["api"],
            written["public"],
            written["local"],
            written["ca"],
            written["pid"],
            written["region"],
            written["account"],
            keys["root_access_key_id"],
            keys["root_secret_access_key"],
            keys["proxy_password"],
            written["isolation"],
        )
    except (OSError, ValueError, KeyError):
        return None


def require(settings: Settings) -> Instance:
    """The running server; the command ends with what to do when there is none."""
    instance = running(settings)
    if instance is None:
        raise click.ClickException(
            f"No stagedoor is running on {settings.data}. Start one with `stagedoor up` (another directory: --data DIR)."
        )
    return instance


def isolation_lines(isolation: dict[str, Any]) -> list[str]:
    """Which rungs of isolation are in force for user code, and why others are not: for people."""
    rungs = ", ".join(isolation["rungs"]) or "none"
    lines = [f"isolation ({isolation['mode']})   {rungs}"]
    if isolation["mode"] == "strict" and isolation["missing"]:
        lines.append("no function, model or job will start: isolation is strict, and rungs are missing")
    if isolation["mode"] != "none":
        lines += [f"  missing: {rung} ({reason})" for rung, reason in isolation["missing"].items()]
    return lines


data_option = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory of the server."
)
