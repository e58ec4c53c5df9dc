"""What works where the kernel gives none of Linux's rungs, as far as that can be tried on Linux: see ``as_darwin``."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from isolation import conftest
from isolation.target import Target
from services.frameworks import Workbench

from stagedoor.testing import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="on macOS every other test is this one")
HERE = Path(__file__).parent
WRAPPER = """#!/bin/sh
# A Python as on macOS; it is called with `-I FILE ARGUMENTS`.
shift
exec {python} -I -c 'import runpy, sys
runpy.run_path(sys.argv[1])
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")' "{folder}/sitecustomize.py" "$@"
"""


def darwin(folder: Path) -> dict[str, str]:
    """Variables for a server that finds nothing of what macOS has not."""
    folder.mkdir()
    shutil.copy(HERE / "as_darwin.py", folder / "sitecustomize.py")
    (folder / "python").write_text(WRAPPER.format(python=sys.executable, folder=folder))
    (folder / "python").chmod(0o755)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("darwin")
    yield from conftest.targets(folder / "data", darwin(folder / "bin"))


def test_the_start_line_says_what_there_is_and_what_is_missing(target: Target) -> None:
    assert target.rungs == ["own-session", "no-core-dumps", "open-files-limit"]
    text = target.data.with_name("data.output").read_text()
    assert "own-session, no-core-dumps, open-files-limit" in text
    for rung in ("private-root", "landlock-files", "syscall-filter", "memory-limit"):
        assert f"missing: {rung} (only Linux has it)" in text


def test_a_function_runs_in_a_clean_environment_and_a_directory_of_its_own(target: Target) -> None:
    found = target.run("""
        import sys
        write("mine")
        result = [sys.platform, dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), os.umask(0)]
    """)
    platform, environment, folder, leads, umask = found
    assert platform == "darwin"
    assert target.server.secret_access_key not in json.dumps(environment)
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert Path(folder).parent == target.data / "scratch" or Path(folder).is_relative_to(
        target.data / "scratch"
    )
    assert leads
    assert umask == 0o077


def test_a_function_that_ends_itself_is_started_again(target: Target) -> None:
    with pytest.raises(Exception, match="exit"):
        target.run("os._exit(7)")
    assert target.run("result = 1") == 1


def test_a_job_that_needs_a_folder_at_the_root_says_so(target: Target) -> None:
    bench = Workbench(target.server)
    request = bench.python_request("folders", "print('here')")
    bench.sagemaker.create_processing_job(**request)
    job = bench.ended_processing("folders")
    assert job["ProcessingJobStatus"] == "Failed", job
    assert "this system has no mount namespaces" in job["FailureReason"]


def test_strict_says_at_the_start_that_nothing_will_run(
    stagedoor_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = stagedoor_server(darwin(tmp_path / "bin"), "--isolation", "strict")
    text = server.data.with_name(f"{server.data.name}.output").read_text()
    assert "no function, model or job will start: isolation is strict, and rungs are missing" in text


def test_what_a_server_started_ends_with_it(tmp_path: Path) -> None:
    for target in conftest.targets(tmp_path / "data", darwin(tmp_path / "bin")):
        pid = target.run("result = os.getpid()")
        assert _is_alive(pid)
        target.server.kill()
        for _ in range(500):
            if not _is_alive(pid):
                break
            subprocess.run(["sleep", "0.02"], check=True)
        assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
