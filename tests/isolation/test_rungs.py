"""Each rung of the ladder on its own, in a fresh process; a skip names what this machine lacks."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isolation import attempts
from isolation.attempts import failed

import stagedoor
from stagedoor.worker import syscall_filter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these rungs are Linux's")

SOURCE_ROOT = Path(stagedoor.__file__).parent.parent
PRELUDE = (
    attempts.SOURCE
    + """
import json
from pathlib import Path
from stagedoor.worker import confine, division, grants, landlock, linux, private_root, syscall_filter
from stagedoor.worker.assignment import Assignment

def climb(*names, divided=False, **members):
    values = dict(id="x", kind="job", spec={}, environment={}, scratch=os.getcwd(), address="", read_only=[],
                  memory_limit_bytes=None, threads=1, tag=0, isolation="auto", connect_ports=[])
    assignment = Assignment(**(values | members))
    standing = confine.Standing(assignment, division.divide(None) if divided else division.undivided(None))
    for name, rung in confine._RUNGS:
        if name in names:
            try:
                rung(standing)
            except (confine.Unavailable, OSError) as error:
                print("unavailable", name, error, flush=True)
                os._exit(0)
            standing.rungs.append(name)
    return standing
"""
)
Child = Callable[..., Any]


@pytest.fixture
def child(tmp_path: Path) -> Child:
    """Runs code in a process whose scratch directory is ``tmp_path/scratch``; its ``result`` comes back."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    (tmp_path / "secret").write_text("secret")

    def run(code: str, python: str = sys.executable, **options: Any) -> Any:
        program = f"{PRELUDE}\n{textwrap.dedent(code)}\nprint('result', json.dumps(result), flush=True)\n"
        done = subprocess.run(
            [python, "-c", program],
            cwd=scratch,
            env={"PYTHONPATH": str(SOURCE_ROOT), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,
            **options,
        )
        kind, _, rest = done.stdout.strip().rpartition("\n")[2].partition(" ")
        if kind == "unavailable":
            pytest.skip(rest)
        assert kind == "result", (done.stdout, done.stderr)
        return json.loads(rest)

    return run


def test_landlock_grants_the_runtime_and_the_scratch_directory_alone(child: Child, tmp_path: Path) -> None:
    outcomes = child(f"""
        climb("no-new-privileges", "landlock-files")
        result = [attempt(action) for action in (
            lambda: read("{tmp_path}/secret"), lambda: os.listdir("{tmp_path}"), lambda: os.listdir("/"),
            lambda: read("/proc/1/status"), lambda: read("/proc/{os.getpid()}/status"), lambda: read("/etc/shadow"),
            lambda: write("/tmp/x-landlock"), lambda: write("{tmp_path}/x"), lambda: os.rename("{tmp_path}/secret", "s"),
            lambda: os.symlink("{tmp_path}/secret", "link") or read("link"),
        )]
        result += [[attempt(action) for action in (
            lambda: write("mine"), lambda: os.mkdir("folder"), lambda: os.rename("mine", "folder/mine"),
            lambda: read("/proc/self/status"), lambda: __import__("xml.dom.minidom"), lambda: read("/dev/urandom"),
            lambda: subprocess.run(["true"], check=True),
        )]]
    """)
    *outside, inside = outcomes
    assert all(map(failed, outside)), outside
    assert not any(map(failed, inside)), inside


def test_landlock_tcp_allows_one_port(child: Child) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
        outcomes = child(f"""
            climb("no-new-privileges", "landlock-files", "landlock-tcp", connect_ports=[{ports[0]}])
            result = [attempt(lambda: connect_tcp(port)) for port in {ports}]
            result.append(attempt(lambda: socket.create_server(("127.0.0.1", 0))))
        """)
    assert [failed(outcome) for outcome in outcomes] == [False, True, True]


def test_landlock_signals_reach_only_those_confined_together(child: Child) -> None:
    outcomes = child(f"""
        climb("no-new-privileges", "landlock-files", "landlock-signals")
        mine = subprocess.Popen(["sleep", "60"])
        result = [attempt(lambda: os.kill({os.getpid()}, 0)), attempt(mine.kill)]
    """)
    assert [failed(outcome) for outcome in outcomes] == [True, False]


def test_a_private_root_holds_what_is_granted_and_nothing_else(child: Child, tmp_path: Path) -> None:
    found = child(f"""
        climb("own-process-numbers", "private-root", divided=True, kind="function")
        Path("/tmp/inside").write_text("x")
        result = {{
            "root": sorted(os.listdir("/")), "secret": os.path.exists("{tmp_path}/secret"),
            "numbers": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
            "user": __import__("pwd").getpwuid(os.getuid()).pw_name, "etc": attempt(lambda: write("/etc/passwd")),
            "usr": attempt(lambda: write("/usr/x")), "root_write": attempt(lambda: write("/x")),
            "devices": sorted(name for name in os.listdir("/dev") if not os.path.islink("/dev/" + name)),
        }}
    """)
    assert {"home", "root", "srv", "boot", "run", "mnt"} & set(found["root"]) <= {
        "root",
        "home",
    }  # of the runtime
    assert found["secret"] is False
    assert found["numbers"] == [1, 2]
    assert found["user"] in ("worker", "root")
    assert all(failed(found[name]) for name in ("usr", "root_write", "etc"))
    assert set(found["devices"]) >= {"null", "urandom", "zero"}
    assert not {"mem", "kmsg", "vda", "sda"} & set(found["devices"])
    assert (tmp_path / "scratch/tmp/inside").read_text() == "x"


def test_no_network_leaves_a_loopback_of_its_own(child: Child) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        outcomes = child(f"""
            climb("own-process-numbers", "no-network", divided=True)
            server = socket.create_server(("127.0.0.1", 0))
            result = [attempt(lambda: connect_tcp({other.getsockname()[1]})), attempt(lambda: connect_tcp(server.getsockname()[1])),
                      socket.if_nameindex()]
        """)
    assert failed(outcomes[0])
    assert not failed(outcomes[1])
    assert [name for _, name in outcomes[2]] == ["lo"]


def test_what_a_workload_starts_ends_with_it_also_daemons(child: Child, tmp_path: Path) -> None:
    outside = child("""
        climb("own-process-numbers", divided=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 100)
                os.execvp("sleep", ["sleep", "61.0625"])
            os._exit(0)
        os.wait()
        result = [os.getpid(), os.getppid()]
    """)
    assert outside == [2, 0]
    running = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if _reads(path, b"61.0625")]
    assert running == []


def _reads(path: Path, text: bytes) -> bool:
    try:
        return text in path.read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("code", "ending"), [("os._exit(7)", 7), ("os.kill(os.getpid(), 11)", -11), ("os.abort()", -6)]
)
def test_a_keeper_ends_as_its_workload_ended(tmp_path: Path, code: str, ending: int) -> None:
    program = f"from stagedoor.worker import division\nimport os\ndivision.divide(None)\n{code}\n"
    environment = {"PYTHONPATH": str(SOURCE_ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, timeout=30, start_new_session=True
    )
    assert done.returncode == ending


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a workload a user of its own")
def test_a_separate_user_owns_its_scratch_directory_and_nothing_else(child: Child, tmp_path: Path) -> None:
    os.chown(tmp_path / "scratch", 1_999_999_999, 1_999_999_999)
    found = child("""
        standing = climb("own-process-numbers", "private-root", "separate-user", "no-capabilities", divided=True, uid=1_999_999_999)
        result = [os.getuid(), os.getgid(), os.getgroups(), attempt(lambda: os.setuid(0)), attempt(lambda: write("mine")),
                  __import__("pwd").getpwuid(os.getuid()).pw_name]
    """)
    assert found[:3] == [1_999_999_999, 1_999_999_999, []]
    assert failed(found[3])
    assert not failed(found[4])
    assert found[5] == "worker"


def test_capabilities_are_gone_for_good(child: Child) -> None:
    found = child("""
        climb("no-capabilities", "no-new-privileges")
        fields = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
        result = [fields["CapEff"], fields["CapPrm"], fields["NoNewPrivs"], attempt(lambda: os.chroot("/"))]
    """)
    assert found[:3] == ["0" * 16, "0" * 16, "1"]
    assert failed(found[3])


def test_hidden_memory_cannot_be_read_by_the_same_user(child: Child) -> None:
    found = child("""
        climb("no-capabilities", "hidden-memory")
        reader = "import os, sys; open(f'/proc/{os.getppid()}/' + sys.argv[1], 'rb').read(1)"
        environment = {"PATH": os.environ["PATH"]}
        result = [subprocess.run([sys.executable, "-c", reader, name], env=environment, capture_output=True).returncode
                  for name in ("environ", "maps", "mem", "status")]
    """)
    assert found == [1, 1, 1, 0]


def test_the_syscall_filter_refuses_and_leaves_ordinary_programs_alone(child: Child) -> None:
    found = child("""
        import ctypes, threading
        climb("no-new-privileges", "syscall-filter")
        libc = ctypes.CDLL(None, use_errno=True)
        errors = []
        for call in (lambda: libc.unshare(0x10000000), lambda: libc.ptrace(0, 0, 0, 0), lambda: libc.mount(b"", b"/", b"", 0, None)):
            errors.append([call(), ctypes.get_errno()])
        threading.Thread(target=errors.append, args=("a thread",)).start()
        result = [errors, subprocess.run(["sh", "-c", "echo fine"], capture_output=True, text=True).stdout,
                  attempt(lambda: socket.socketpair()), attempt(lambda: socket.socket()), attempt(lambda: send_udp(9)),
                  attempt(lambda: socket.getaddrinfo("localhost", 80))]
    """)
    assert found[0] == [[-1, 1], [-1, 1], [-1, 1], "a thread"]
    assert found[1] == "fine\n"
    assert not failed(found[2])
    assert not failed(found[3])
    assert failed(found[4])
    assert not failed(found[5])


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_is_a_whole_program_on_each_architecture(machine: str) -> None:
    program = syscall_filter.program(network=False, machine=machine)
    assert len(program) % 8 == 0
    instructions = [program[start : start + 8] for start in range(0, len(program), 8)]
    assert len(instructions) < 4096
    for place, (code, _, if_true, if_false) in enumerate(
        (int.from_bytes(each[:2], "little"), None, each[2], each[3]) for each in instructions
    ):
        if code & 0x07 == 0x05:  # jumps stay within the program, before its last return
            assert place + 1 + max(if_true, if_false) < len(instructions)
    assert instructions[-1][0] == 0x06


def test_a_filter_is_not_guessed_for_other_machines() -> None:
    with pytest.raises(OSError, match="no system call filter is known for riscv64"):
        syscall_filter.program(network=True, machine="riscv64")


def test_without_any_right_of_roots_the_ladder_is_as_high_but_for_the_user(tmp_path: Path) -> None:
    """The same code as an ordinary user, on the system's own Python, which that user can read."""
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip(
            "the other tests are those of an ordinary user already, or there is no Python that others can use"
        )
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True
    )
    if version.stdout != b"True\n":
        pytest.skip("the system's Python is too old")
    if any(not part.stat().st_mode & 0o001 for part in (SOURCE_ROOT, *SOURCE_ROOT.parents)):
        pytest.skip("the sources lie where an ordinary user cannot read them")
    user = pwd.getpwnam("nobody")
    # Not below pytest's own folder, which is root's alone.
    scratch = Path(
        subprocess.run(
            ["mktemp", "-d", "/tmp/stagedoor-test-XXXXXX"], capture_output=True, text=True
        ).stdout.strip()
    )
    try:
        os.chown(scratch, user.pw_uid, user.pw_gid)
        program = """
import asyncio, json, os
from pathlib import Path
from stagedoor.engine import isolation
from stagedoor.engine.runtimes import Runtime
found = asyncio.run(isolation.probe("auto", Runtime(), Path.cwd(), [], {"PATH": os.environ["PATH"]}, 1))
print(json.dumps(found.as_json()))
"""
        done = subprocess.run(
            [python, "-c", program],
            cwd=scratch,
            env={"PYTHONPATH": str(SOURCE_ROOT), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
    finally:
        shutil.rmtree(scratch)
    assert "no-new-privileges" in found["rungs"]
    assert "separate-user" not in found["rungs"]
    if found["missing"]:
        pytest.skip(str(found["missing"]))
    assert {"private-root", "process-limit", "no-network", "landlock-files", "syscall-filter"} <= set(
        found["rungs"]
    )
