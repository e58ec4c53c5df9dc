"""The pytest plugin: fixture ``stagedoor`` is a running server on free ports, with clients.

    def test_bucket(stagedoor):
        stagedoor.client("s3").create_bucket(Bucket="words")

One server per test session (per xdist worker); tests keep apart by names. ``stagedoor_server`` makes servers of one's
own, to stop, kill and start again.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_CLIENT_VARIABLES = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_CONFIG_FILE",
    "STAGEDOOR_DATA",
)


class Server:
    """A stagedoor server in a process of its own on a data directory; it can be started again on the same one."""

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None, *flags: str) -> None:
        self.data = data
        self._environment = dict(environment or {})
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._addresses = ("127.0.0.1:0", "127.0.0.1:0")
        self.api = ""
        self.public = ""
        self.ca: str | None = None
        self.access_key_id = ""
        self.secret_access_key = ""
        self.region = "us-east-1"
        self.account_id = "000000000000"

    def start(self) -> "Server":
        """Start it and wait until it is ready. RuntimeError with its output when it is not."""
        command = [sys.executable, "-m", "stagedoor", "up", "--data", str(self.data)]
        command += ["--api", self._addresses[0], "--public", self._addresses[1], *self._flags]
        environment = {k: v for k, v in os.environ.items() if k not in _CLIENT_VARIABLES}
        ready = self.data / "stagedoor.json"
        ready.unlink(missing_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        output_path = self.data.parent / f"{self.data.name}.output"
        with output_path.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment | self._environment,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"stagedoor did not start:\n{output_path.read_text(errors='replace')}")
            time.sleep(0.02)
        written = json.loads(ready.read_text())
        keys = json.loads((self.data / "keys.json").read_text())
        self.api, self.public, self.ca = written["api"], written["public"], written["ca"] or None
        # The same ports again after a restart: what clients hold stays true.
        self._addresses = (self.api.partition("://")[2], self.public.partition("://")[2])
        self.region, self.account_id = written["region"], written["account"]
        self.access_key_id = keys["root_access_key_id"]
        self.secret_access_key = keys["root_secret_access_key"]
        return self

    @property
    def pid(self) -> int:
        """The server's process id. RuntimeError when it is not running."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def stop(self) -> int:
        """SIGTERM, as `stagedoor stop` sends; returns the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: the server has no chance to tidy up."""
        return self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    def close(self) -> None:
        """SIGKILL, and remove what a killed server leaves outside of its data directory: the folder of its sockets."""
        self.kill()
        sockets = self.data / "scratch" / ".sockets"
        if sockets.is_symlink():
            shutil.rmtree(sockets.readlink(), ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What `stagedoor env` prints: for clients in processes of their own."""
        variables = {
            "AWS_ENDPOINT_URL": self.api,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
        }
        return variables | ({"AWS_CA_BUNDLE": self.ca} if self.ca else {})

    def client(self, service: str, *, credentials: Mapping[str, str] | None = None, **options: Any) -> Any:
        """An unmodified boto3 client; ``credentials`` as STS answers them, the root key otherwise."""
        import boto3

        keys = credentials or {}
        make: Any = boto3.client  # typed for each service by its name; here it is any
        return make(
            service,
            endpoint_url=self.api,
            region_name=options.pop("region_name", self.region),
            aws_access_key_id=keys.get("AccessKeyId", self.access_key_id),
            aws_secret_access_key=keys.get("SecretAccessKey", self.secret_access_key),
            aws_session_token=keys.get("SessionToken"),
            verify=self.ca,
            **options,
        )


@pytest.fixture(scope="session")
def stagedoor() -> Iterator[Server]:
    """A running server, shared by the tests of this process."""
    with tempfile.TemporaryDirectory(prefix="stagedoor-", ignore_cleanup_errors=True) as directory:
        server = Server(Path(directory) / "data").start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def stagedoor_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers of one's own: ``stagedoor_server(environment, *flags)``; all are ended after the test."""
    made: list[Server] = []

    def make(environment: Mapping[str, str] | None = None, *flags: str) -> Server:
        server = Server(tmp_path / f"server-{len(made)}" / "data", environment, *flags)
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.close()
