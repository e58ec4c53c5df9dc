"""`stagedoor env`, `status`, `logs`, `stop`: what they say about a running server, and without one."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.commands import COMMAND, Up, environment
from cli.commands import stagedoor as stagedoor_command
from journeys.deployed import INVOKE, Deployed
from services.identities import unique

from stagedoor.testing import Server

VARIABLES = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}


@pytest.fixture(scope="module")
def app(stagedoor: Server) -> Deployed:
    """A deployed app that has been used once."""
    app = Deployed(stagedoor, unique("shown")).bucket().model().endpoint().function(INVOKE).rest_api()
    app.invoke_function()
    return app


class TestEnv:
    def test_a_shell_takes_it(self, stagedoor: Server) -> None:
        said = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
        line = f'eval "$({shlex.join([*COMMAND, "env", "--data", str(stagedoor.data)])})"; {shlex.join([sys.executable, "-c", said])}'
        done = subprocess.run(["sh", "-ec", line], env=environment(), capture_output=True, text=True)
        assert done.stdout == f"arn:aws:iam::{stagedoor.account_id}:root\n", done.stderr

    def test_lines_and_json_say_the_same(self, stagedoor: Server) -> None:
        lines = run("env", "--data", str(stagedoor.data)).splitlines()
        found = re.findall(r"^export (\w+)=(.*)$", "\n".join(lines), re.MULTILINE)
        assert len(found) == len(lines)
        printed = json.loads(run("env", "--json", "--data", str(stagedoor.data)))
        assert {name: shlex.split(value)[0] for name, value in found} == printed
        assert printed == stagedoor.environment
        assert set(printed) == VARIABLES

    def test_the_data_directory_may_come_from_a_variable(self, stagedoor: Server) -> None:
        done = run("env", "--json", variables={"STAGEDOOR_DATA": str(stagedoor.data)})
        assert json.loads(done) == stagedoor.environment


class TestStatus:
    def test_it_shows_what_is_there(self, stagedoor: Server, app: Deployed) -> None:
        shown = run("status", "--data", str(stagedoor.data))
        assert f"stagedoor, pid {stagedoor.pid}" in shown
        assert stagedoor.api in shown
        assert stagedoor.public in shown
        assert re.search(rf"^endpoints \(\d+\)\n(?:  .*\n)*  {app.name} +InService$", shown, re.MULTILINE)
        assert re.search(rf"^functions \(\d+\)\n(?:  .*\n)*  {app.name} +Active$", shown, re.MULTILINE)
        assert re.search(rf"^rest apis \(\d+\)\n(?:  .*\n)*  {app.name} +{app.api_id}$", shown, re.MULTILINE)
        assert stagedoor.secret_access_key not in shown
        total, measure = re.search(r"^memory (\d+) MB \((.+)\)$", shown, re.MULTILINE).groups()  # type: ignore[union-attr]
        assert 30 < int(total) < 3_000
        assert measure.startswith(
            "PSS" if sys.platform == "linux" and os.geteuid() == 0 else ("own", "without", "PSS", "RSS")
        )
        assert re.search(r"^  server +\d+ MB$", shown, re.MULTILINE)
        assert re.search(r"^  warm xgboost +\d+ MB", shown, re.MULTILINE)

    def test_json_has_the_same(self, stagedoor: Server, app: Deployed) -> None:
        found = json.loads(run("status", "--json", "--data", str(stagedoor.data)))
        assert (found["api"], found["public"], found["pid"]) == (
            stagedoor.api,
            stagedoor.public,
            stagedoor.pid,
        )
        assert {"name": app.name, "state": "InService"} in found["endpoints"]
        assert app.name in [bucket["name"] for bucket in found["buckets"]]
        processes = found["memory"]["processes"]
        assert found["memory"]["total_bytes"] == sum(each["bytes"] for each in processes)
        assert (processes[0]["pid"], processes[0]["name"]) == (stagedoor.pid, "server")


class TestLogs:
    def test_groups(self, stagedoor: Server, app: Deployed) -> None:
        groups = run("logs", "--groups", "--data", str(stagedoor.data)).splitlines()
        assert {f"/aws/lambda/{app.name}", f"/aws/sagemaker/Endpoints/{app.name}"} <= set(groups)

    def test_a_group(self, stagedoor: Server, app: Deployed) -> None:
        group = f"/aws/lambda/{app.name}"
        arguments = ("logs", group, "--data", str(stagedoor.data))
        until(lambda: "REPORT RequestId" in run(*arguments))
        lines = run(*arguments).splitlines()
        assert [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line).split()[0] for line in lines] == [
            "START",
            "END",
            "REPORT",
        ]
        assert run("logs", group, "-n", "1", "--data", str(stagedoor.data)).splitlines() == lines[-1:]

    def test_what_drives_a_terminal_is_shown_not_sent(self, stagedoor: Server) -> None:
        logs, group = stagedoor.client("logs"), unique("/terminal/")
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        message = "red \x1b[31m bell \x07 back\r\n two \u202e \x9b31m tab\t end"
        event = {"timestamp": int(time.time() * 1000), "message": message}
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])
        shown = run("logs", group, "--data", str(stagedoor.data))
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
        assert "red \\x1b[31m bell \\x07" in shown
        assert shown.count("\n") == 1

    def test_the_servers_own_log(self, stagedoor: Server) -> None:
        shown = run("logs", "--data", str(stagedoor.data))
        assert all(json.loads(line)["level"] for line in shown.splitlines())

    def test_an_unknown_group(self, stagedoor: Server) -> None:
        done = stagedoor_command("logs", "/no/such", "--data", str(stagedoor.data))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "Error: There is no log group /no/such. `stagedoor logs --groups` lists them.\n"

    def test_following_goes_on_until_control_c(self, stagedoor: Server) -> None:
        logs, group = stagedoor.client("logs"), unique("/followed/")
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")

        def put(message: str) -> None:
            event = {"timestamp": int(time.time() * 1000), "message": message}
            logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])

        put("one")
        following = subprocess.Popen(
            [*COMMAND, "logs", group, "-f", "--data", str(stagedoor.data)],
            env=environment({"PYTHONUNBUFFERED": "1"}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert following.stdout is not None
        assert following.stdout.readline().endswith(" one\n")
        put("two")
        put("three")
        assert following.stdout.readline().endswith(" two\n")
        assert following.stdout.readline().endswith(" three\n")
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=30)
        assert "Traceback" not in errors


class TestStop:
    def test_it_waits_until_the_server_is_gone(self, tmp_path: Path) -> None:
        server = Up(tmp_path / "data").ready()
        said = run("stop", "--data", str(server.data))
        assert said == "stagedoor has stopped; its state is kept.\n"
        assert not (server.data / "stagedoor.json").exists()
        assert server.process.wait(10) == 0
        server.end()
        assert run("stop", "--data", str(server.data)) == f"No stagedoor is running on {server.data}.\n"

    def test_a_pid_that_was_given_to_another_process_is_left_alone(self, tmp_path: Path) -> None:
        """After kill -9 the file stays, and its pid may be anybody's by now."""
        server = Up(tmp_path / "data").ready()
        server.end(signal.SIGKILL)
        file = server.data / "stagedoor.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"pid": os.getpid()}))
        assert "No stagedoor is running" in run("stop", "--data", str(server.data))


@pytest.mark.parametrize("command", ["env", "status", "logs --groups", "logs /aws/lambda/x", "logs"])
def test_without_a_server_each_says_so_and_makes_nothing(tmp_path: Path, command: str) -> None:
    data = tmp_path / "none"
    done = stagedoor_command(*command.split(), "--data", str(data))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert str(data) in done.stderr
    assert not data.exists()


def test_an_unknown_command_and_help() -> None:
    done = stagedoor_command("serve")
    assert (done.returncode, "No such command 'serve'" in done.stderr) == (2, True)
    shown = run("--help")
    for name in ("up", "demo", "env", "status", "logs", "stop"):
        assert f"  {name} " in shown
        assert run(name, "--help").startswith("Usage: ")
    assert run("--version").startswith("stagedoor, version ")


def run(*arguments: str, variables: dict[str, str] | None = None) -> str:
    done = stagedoor_command(*arguments, variables=variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_s
