"""Where the server may not make namespaces, bubblewrap does: the same attacks, on a function, a model and jobs, come to nothing."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.commands import stagedoor
from isolation import attempts, conftest, test_functions, test_models
from isolation.attempts import failed
from isolation.target import Target
from services import test_serve_program as serving
from services.frameworks import XGBOOST, Workbench

import stagedoor as package
from stagedoor.testing import Server

HERE = Path(__file__).parent
REFUSED = HERE / "refused"
SOURCES = os.pathsep.join(str(path) for path in (Path(package.__file__).parent.parent, HERE.parent))
GIVEN = {"bubblewrap", "own-process-numbers", "private-root", "no-network"}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap is not installed"),
]


def bwrap_works() -> bool:
    command = ["bwrap", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that is refused namespaces, where bwrap is not."""
    if not bwrap_works():
        pytest.skip("bwrap may not make namespaces here either")
    yield from conftest.targets(tmp_path_factory.mktemp("refused") / "data", {"PYTHONPATH": str(REFUSED)})


def test_the_start_line_the_status_and_health_name_the_rung(target: Target) -> None:
    assert set(target.rungs) >= GIVEN
    started = target.data.with_name("data.output").read_text()
    told = stagedoor("status", "--data", str(target.data))
    for text in (started, told.stdout):
        assert ", bubblewrap, own-process-numbers, private-root" in text
        assert "missing" not in text
    with urllib.request.urlopen(f"{target.server.api}/_stagedoor/health", timeout=30) as answer:
        assert set(json.load(answer)["isolation"]["rungs"]) >= GIVEN


@pytest.mark.parametrize(
    "attack",
    [
        test_functions.test_the_data_directory_cannot_be_read_or_listed,
        test_functions.test_no_other_scratch_directory_can_be_seen,
        test_functions.test_number_one_of_its_process_space_shows_nothing,
        test_functions.test_the_environment_holds_the_roles_credentials_and_no_others,
        test_functions.test_sockets_of_other_workers_cannot_be_reached,
        test_functions.test_only_the_signed_listener_can_be_connected_to,
        test_functions.test_signals_reach_nobody_else,
        test_functions.test_nothing_can_be_written_but_the_scratch_directory,
        test_functions.test_namespaces_mounts_and_keys_are_closed,
        test_functions.test_a_fork_bomb_ends_in_its_worker,
        test_functions.test_a_memory_hog_is_ended_also_when_a_child_is_the_hog,
    ],
    ids=lambda attack: attack.__name__,
)
def test_a_hostile_function(target: Target, attack: Callable[[Target], None]) -> None:
    attack(target)


def test_a_function_sees_its_own_processes_files_and_folders_alone(target: Target, tmp_path: Path) -> None:
    test_functions.test_tmp_is_private(target, tmp_path)
    pids = [target.pid, *test_functions.descendants(target.pid)]
    outcomes = target.run(
        f"result = [attempt(lambda: os.listdir(f'/proc/{{pid}}/fd')) for pid in {pids!r} if pid > 100]"
    )
    assert len(outcomes) >= 3
    assert all(map(failed, outcomes))
    seen = target.run("result = attempt(lambda: len([n for n in os.listdir('/proc') if n.isdigit()]))")
    assert failed(seen) or seen == "done: 2"


@pytest.mark.parametrize(
    "attack",
    [
        test_models.test_case_30_a_pickle_runs_only_where_nothing_can_be_reached,
        test_models.test_case_30_a_pickle_sees_no_secret_and_no_other_process,
    ],
    ids=lambda attack: attack.__name__,
)
def test_a_hostile_model(target: Target, attack: Callable[[Target], None]) -> None:
    attack(target)


def test_a_hostile_job(target: Target) -> None:
    bench = Workbench(target.server)
    code = f"""
result = [attempt(action) for action in (
    lambda: read({str(target.data / "keys.json")!r}), lambda: read({str(target.data / "state.sqlite")!r}),
    lambda: os.listdir({str(target.data / "contents")!r}), lambda: os.listdir({str(target.data / "logs")!r}),
    lambda: read("/proc/{target.pid}/environ"), lambda: os.kill({target.pid}, 9), lambda: write("/usr/x"),
    lambda: os.listdir("/opt/ml/../../home"), lambda: write("/opt/x"),
    lambda: connect_tcp({target.port("public")}),
    lambda: write("/opt/ml/processing/output/found/x"), lambda: write("/tmp/x"),
)]
processes = len([name for name in os.listdir("/proc") if name.isdigit()]) if os.access("/proc", os.R_OK) else 0
import json
json.dump([result, processes], open("/opt/ml/processing/output/found/result", "w"))
"""
    request = bench.python_request(
        "hostile",
        attempts.SOURCE + code,
        ProcessingOutputConfig={"Outputs": [bench.processing_output("found")]},
    )
    request["AppSpecification"]["ImageUri"] = XGBOOST
    bench.sagemaker.create_processing_job(**request)
    job = bench.ended_processing("hostile")
    assert job["ProcessingJobStatus"] == "Completed", (job, bench.processing_log("hostile"))
    outcomes, processes = json.loads(bench.read("out/found/result"))
    assert all(map(failed, outcomes[:-2])), outcomes
    assert not any(map(failed, outcomes[-2:])), outcomes
    assert processes <= 4
    assert list(target.data.glob("scratch/*/opt/ml/processing")) == []  # it is gone with its job


def test_a_program_that_serves_listens_where_it_is_told(target: Target) -> None:
    bench = Workbench(target.server)
    endpoint = serving.served(bench, "told", text=serving.TOLD, image=XGBOOST)
    assert endpoint["EndpointStatus"] == "InService", endpoint.get("FailureReason")
    assert serving.invoked(bench, "told", b"open ")["Body"].read() == b"200"
    said = serving.invoked(bench, "told", f"open {target.server.public}/".encode())["Body"].read()
    assert b"denied" in said, said


def as_nobody(folder: Path, command: list[str], **variables: str) -> Any:
    """What ``unprivileged`` found, run by a user without rights."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": SOURCES,
        "PYTHONDONTWRITEBYTECODE": "1",
    } | variables
    program = [_python(), str(HERE / "unprivileged.py"), str(folder)]
    done = subprocess.run([*command, *program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["isolation"]["rungs"]) >= GIVEN, found
    assert isinstance(found["outcomes"], list), found
    *outside, weights, scratch, accounts = found["outcomes"]
    assert all(map(failed, outside)), outside
    assert not any(map(failed, (weights, scratch, accounts)))
    assert found["exits"] == {"j": 0, "aborts": -6, "neighbour": -9}
    return found


def _python() -> str:
    """A Python that every user may run."""
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("only root can be somebody else, with a Python that others can use")
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True
    )
    if version.stdout != b"True\n":
        pytest.skip("the system's Python is too old")
    if any(not part.stat().st_mode & 0o001 for part in (HERE, *HERE.parents)):
        pytest.skip("the sources lie where an ordinary user cannot read them")
    return python


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """Not below pytest's own folder, which is root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="stagedoor-test-", dir="/var/tmp"))
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    yield folder
    shutil.rmtree(folder)


def test_without_any_right_of_roots_it_is_the_same(nobodys_folder: Path) -> None:
    if not bwrap_works():
        pytest.skip("bwrap may not make namespaces here")
    nobody = pwd.getpwnam("nobody")
    drop = f"import os, sys; os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid}); os.execv(sys.argv[1], sys.argv[1:])"
    command = [_python(), "-I", "-c", drop]
    as_nobody(nobodys_folder, command, PYTHONPATH=f"{REFUSED}{os.pathsep}{SOURCES}")


def test_a_setuid_bwrap_serves_where_users_may_make_no_namespaces(nobodys_folder: Path) -> None:
    command = [_python(), "-I", str(HERE / "without_user_namespaces.py")]
    can = subprocess.run([*command, "true"], capture_output=True, text=True)
    if can.returncode != 0:
        pytest.skip(f"root may not make user namespaces here: {can.stderr}")
    with tempfile.TemporaryDirectory(prefix="stagedoor-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        setuid = shutil.copy(shutil.which("bwrap") or "", folder)
        Path(setuid).chmod(0o4755)
        works = subprocess.run(
            [*command, setuid, "--unshare-pid", "--ro-bind", "/", "/", "true"], capture_output=True
        )
        if works.returncode != 0:
            pytest.skip(f"a setuid bwrap does not work here: {works.stderr.decode()}")
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        as_nobody(nobodys_folder, command, PATH=path)


def test_strict_names_what_is_missing_where_bwrap_is_not_either(
    stagedoor_server: Callable[..., Server], tmp_path: Path
) -> None:
    """A bwrap that cannot do it is not used, and its own words are told."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    variables = {"PYTHONPATH": str(REFUSED), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    server = stagedoor_server(variables, "--isolation", "strict")
    isolation = json.loads((server.data / "stagedoor.json").read_text())["isolation"]
    assert not GIVEN & set(isolation["rungs"])
    assert set(isolation["missing"]) >= GIVEN
    assert isolation["missing"]["bubblewrap"].endswith("bwrap: setting up uid map: Permission denied")
