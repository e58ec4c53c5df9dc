"""Hostile functions on a real server: what they try to reach, and that the server goes on."""

import socket
import threading
import time
from pathlib import Path

import pytest
from isolation.attempts import failed
from isolation.target import FunctionFailedError, Target, needs
from living import paths_under


def test_the_data_directory_cannot_be_read_or_listed(target: Target) -> None:
    needs(target, "private-root", "landlock-files")
    files = [str(path) for path in paths_under(target.data) if path.is_file() and "scratch" not in path.parts]
    assert any(path.endswith("keys.json") for path in files)
    assert any(path.endswith("state.sqlite") for path in files)
    outcomes = target.run(f"result = {{path: attempt(lambda: read(path)) for path in {files!r}}}")
    own_package = [path for path, outcome in outcomes.items() if not failed(outcome)]
    assert all("/functions/" in path for path in own_package)
    assert len(own_package) <= 1
    listed = target.run(f"result = attempt(lambda: os.listdir({str(target.data)!r}))")
    # Where there is a private root, the way to its own package is there, and empty but for that.
    assert failed(listed) or listed in ("done: ['functions', 'scratch']", "done: ['scratch', 'functions']")


def test_no_other_scratch_directory_can_be_seen(target: Target) -> None:
    needs(target, "private-root", "landlock-files")
    for name in ("anything", "outgoing-anything"):  # a neighbour is there
        target.invoke(name, {"code": "result = 1"})
    scratches = [
        str(path) for path in (target.data / "scratch").iterdir() if path.is_dir() and path.name[0] != "."
    ]
    assert len(scratches) >= 2
    outcomes = target.run(f"result = [attempt(lambda: os.listdir(path)) for path in {scratches!r}]")
    assert sum(not failed(outcome) for outcome in outcomes) == 1


def test_nothing_of_the_server_is_in_proc(target: Target) -> None:
    needs(target, "own-process-numbers", "landlock-files")
    target.invoke("outgoing-anything", {"code": "result = 1"})
    pids = [target.pid, *descendants(target.pid)]
    assert len(pids) > 3
    code = f"""
    result = []
    for pid in {pids!r}:
        for name in ("environ", "maps", "mem", "cmdline", "root/etc/shadow", "cwd/x", "fd"):
            path = f"/proc/{{pid}}/{{name}}"
            shown = attempt(lambda: os.listdir(path) if name == "fd" else read(path))
            if pid != os.getpid() and shown.startswith("done"):
                result.append((path, shown))
    """
    assert target.run(code) == []
    seen = target.run("result = attempt(lambda: sorted(int(n) for n in os.listdir('/proc') if n.isdigit()))")
    assert failed(seen) or seen == "done: [1, 2]"


def test_number_one_of_its_process_space_shows_nothing(target: Target) -> None:
    needs(target, "own-process-numbers")
    code = """
    paths = ["environ", "mem", "root", "cwd", "exe", "fd/0", "map_files"]
    result = [attempt(lambda: os.readlink(f"/proc/1/{p}") if p in ("root", "cwd", "exe") else read(f"/proc/1/{p}")) for p in paths]
    """
    assert all(map(failed, target.run(code)))


def test_the_environment_holds_the_roles_credentials_and_no_others(target: Target) -> None:
    secret, key = target.server.secret_access_key, target.server.access_key_id
    code = f"""
    texts = [repr(dict(os.environ))]
    for pid in ("self", "1", str(os.getppid())):
        try:
            texts.append(open(f"/proc/{{pid}}/environ").read())
        except OSError:
            pass
    result = [{secret!r} in text or {key!r} in text for text in texts]
    """
    assert not any(target.run(code))
    who = target.run("import boto3; result = boto3.client('sts').get_caller_identity()['Arn']")
    assert ":assumed-role/r/" in who


def test_the_memory_of_the_server_and_of_its_parent_cannot_be_traced(target: Target) -> None:
    needs(target, "own-process-numbers", "landlock-signals", "syscall-filter")
    code = f"""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    result = [libc.ptrace(16, pid, 0, 0) for pid in ({target.pid}, 1, os.getppid() or 1)]
    """
    assert target.run(code) == [-1, -1, -1]


def test_sockets_of_other_workers_cannot_be_reached(target: Target) -> None:
    for name in ("anything", "outgoing-anything"):
        target.invoke(name, {"code": "result = 1"})
    sockets = sorted(str(path) for path in (target.data / "scratch/.sockets").readlink().glob("*.sock"))
    assert len(sockets) >= 2
    assert all(
        map(failed, target.run(f"result = [attempt(lambda: connect_unix(path)) for path in {sockets!r}]"))
    )
    abstract = socket.socket(socket.AF_UNIX)
    with abstract:
        abstract.bind("\0stagedoor-test-abstract")
        abstract.listen()
        if "landlock-signals" in target.rungs:
            assert failed(target.run("result = attempt(lambda: connect_unix('\\0stagedoor-test-abstract'))"))


def test_only_the_signed_listener_can_be_connected_to(target: Target) -> None:
    needs(target, "landlock-tcp")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code = f"result = [attempt(lambda: connect_tcp(port)) for port in ({port}, {target.port('public')}, {target.port('api')})]"
        elsewhere, public, signed = target.run(code)
        assert failed(elsewhere)
        assert failed(public)
        assert not failed(signed)
        # The one that is allowed out gets there.
        assert not failed(target.run(f"result = attempt(lambda: connect_tcp({port}))", "outgoing-anything"))
    assert failed(target.run("result = attempt(lambda: socket.create_server(('127.0.0.1', 0)))"))


def test_no_datagram_and_no_other_protocol_leaves(target: Target) -> None:
    needs(target, "syscall-filter")
    code = """
    kinds = [(2, 2, 0), (10, 2, 0), (2, 3, 1), (16, 3, 0), (17, 3, 0), (2, 1, 262), (2, 5, 132), (40, 1, 0), (38, 5, 0)]
    result = [attempt(lambda: socket.socket(*kind)) for kind in kinds]
    result.append(attempt(lambda: socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", 9))))
    """
    assert all(map(failed, target.run(code)))
    assert not failed(target.run("result = attempt(lambda: send_udp(9))", "outgoing-anything"))


def test_signals_reach_nobody_else(target: Target) -> None:
    needs(target, "own-process-numbers", "landlock-signals")
    pids = [target.pid, *descendants(target.pid)]
    code = f"""
    me = os.getpid()
    result = [attempt(lambda: os.kill(pid, 9)) for pid in {pids!r} if pid != me]
    result.append(attempt(lambda: os.kill(1, 9)))
    """
    assert all(map(failed, target.run(code)))
    assert target.run("result = 2") == 2


def test_nothing_can_be_written_but_the_scratch_directory(target: Target) -> None:
    needs(target, "private-root", "landlock-files")
    code = """
    import botocore
    places = ["/usr/x", "/etc/x", "/etc/passwd", "/x", "/var/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/home/x",
              os.path.dirname(botocore.__file__) + "/x", botocore.__file__, os.__file__, sys.executable,
              os.path.realpath(os.environ["HOME"] + "/package.zip"), "/proc/self/oom_score_adj_x"]
    result = [attempt(lambda: write(place)) for place in places]
    inside = [os.environ["HOME"] + "/x", "/tmp/x" if os.path.exists("/var/task") else os.environ["TMPDIR"] + "/x"]
    result.append([attempt(lambda: write(place)) for place in inside])
    """
    *outside, inside = target.run(code)
    assert all(map(failed, outside))
    assert not any(map(failed, inside))


def test_tmp_is_private(target: Target, tmp_path: Path) -> None:
    needs(target, "private-root")
    name = f"/tmp/stagedoor-test-{time.monotonic_ns()}"
    target.run(f"result = write({name!r})")
    assert not Path(name).exists()
    assert failed(target.run(f"result = attempt(lambda: read({name!r}))", "outgoing-anything"))
    (tmp_path / "outside").write_text("here")
    assert failed(target.run(f"result = attempt(lambda: read({str(tmp_path / 'outside')!r}))"))
    assert target.run("result = os.path.exists('/var/task/app.py')") is True


def test_namespaces_mounts_and_keys_are_closed(target: Target) -> None:
    needs(target, "syscall-filter")
    code = """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    result = [
        libc.unshare(0x10000000), libc.unshare(0x00020000), libc.mount(b"t", b"/tmp", b"tmpfs", 0, None),
        libc.chroot(b"/tmp"), libc.setns(0, 0), libc.syscall(425, 1, 0), libc.syscall(321, 0, 0, 0),
        libc.syscall(ctypes.c_long(56), ctypes.c_long(0x10000011), 0, 0, 0, 0),
    ]
    """
    assert target.run(code) == [-1] * 8
    status = target.run("result = open('/proc/self/status').read()")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    if "separate-user" in target.rungs:
        assert int(fields["Uid"].split()[0]) >= 1_900_000_000


def test_two_functions_are_two_users(target: Target) -> None:
    needs(target, "separate-user")
    code = "result = [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]"
    one, other = target.run(code), target.run(code, "outgoing-anything")
    assert one[0] == one[1] == one[2]
    assert one[0] != other[0]
    assert one[3] == other[3] == []


def test_a_fork_bomb_ends_in_its_worker(target: Target) -> None:
    needs(target, "process-limit")
    target.create(
        "bomb", "import os\ndef handler(event, context):\n    while True:\n        os.fork()\n", Timeout=5
    )
    before = len(descendants(target.pid))
    with pytest.raises(FunctionFailedError):
        target.invoke("bomb", {})
    assert target.run("result = 3") == 3
    deadline = time.monotonic() + 20
    while len(descendants(target.pid)) > before + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(descendants(target.pid)) <= before + 3


def test_a_memory_hog_is_ended_also_when_a_child_is_the_hog(target: Target) -> None:
    hog = "held = []\nfor _ in range(400):\n    held.append(b'x' * 2**20)\nimport time\ntime.sleep(50)\n"
    child = f"import subprocess, sys\ndef handler(event, context):\n    subprocess.run([sys.executable, '-c', {hog!r}])\n    return 'ended'\n"
    itself = "def handler(event, context):\n" + "".join(f"    {line}\n" for line in hog.splitlines())
    before = target.rss_bytes()
    for name, source in (("hog-child", child), ("hog-itself", itself)):
        target.create(name, source, MemorySize=128)
        with pytest.raises(FunctionFailedError) as raised:
            target.invoke(name, {})
        assert raised.value.payload["errorType"] in ("Runtime.ExitError", "MemoryError")
    assert target.rss_bytes() < before + 64 * 2**20
    assert target.run("result = 4") == 4


def test_much_output_does_not_stay_in_the_servers_memory(target: Target) -> None:
    source = "import os\ndef handler(event, context):\n    line = b'x' * 262_000 + b'\\n'\n    for _ in range(4_100):\n        os.write(1, line)\n    return 'printed'\n"
    target.create("loud", source, Timeout=300)
    peak, over = target.rss_bytes(), threading.Event()
    before = peak

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, target.rss_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert target.invoke("loud", {}) == "printed"
    finally:
        over.set()
        watcher.join()
    assert peak < before + 96 * 2**20
    target.server.client("logs").delete_log_group(logGroupName="/aws/lambda/loud")


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    found: list[int] = []
    try:
        children = [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return found
    for child in children:
        found += [child, *descendants(child)]
    return found
