"""A server that is attacked: what a test needs of it from outside, and ways to run code within."""

import io
import json
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from isolation import attempts

from stagedoor.testing import Server

HANDLER = (
    attempts.SOURCE
    + """
def handler(event, context):
    names = dict(globals())
    exec(event["code"], names)
    return names["result"]
"""
)


@dataclass
class Target:
    """A running server, seen from outside and from within a function."""

    server: Server
    role: str
    pid: int
    rungs: list[str]

    @property
    def data(self) -> Path:
        return self.server.data

    def port(self, listener: str) -> int:
        return int(getattr(self.server, listener).rpartition(":")[2])

    def create(self, name: str, source: str, **members: Any) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.py", source)
        client = self.server.client("lambda")
        client.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=self.role,
            Handler="app.handler",
            Code={"ZipFile": packed.getvalue()},
            **({"Timeout": 60, "MemorySize": 512} | members),
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    def invoke(self, name: str, event: Any) -> Any:
        answer = self.server.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise FunctionFailedError(payload)
        return payload

    def run(self, code: str, name: str = "anything") -> Any:
        """Run code in a function; what it calls ``result`` is the answer."""
        return self.invoke(name, {"code": textwrap.dedent(code)})

    def rss_bytes(self) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) * 1024


class FunctionFailedError(Exception):
    """The function's own error payload."""

    def __init__(self, payload: dict[str, Any]) -> None:
        super().__init__(payload.get("errorMessage"))
        self.payload = payload


def needs(target: Target, *rungs: str) -> None:
    """Skip when none of the rungs that would keep the attack out is in force here, and say which are missing."""
    if not set(rungs) & set(target.rungs):
        missing = json.loads((target.data / "stagedoor.json").read_text())["isolation"]["missing"]
        pytest.skip("; ".join(f"{rung}: {missing.get(rung, 'not in force')}" for rung in rungs))
