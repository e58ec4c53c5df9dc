"""Job entries for the tests."""

import os
import subprocess
import sys
import time
from pathlib import Path

from stagedoor.worker.job import Job, JobFailed


def succeed(job: Job) -> None:
    print("first")
    print("second", file=sys.stderr)
    os.write(1, b"third\n")
    (job.model_dir / "weights").write_text(str(job.config("hyperparameters")))
    (job.model_dir / "empty").mkdir()
    (job.output_data_dir / "report.txt").write_text("fine")


def look(job: Job) -> None:
    print(sorted(str(path.relative_to(job.root)) for path in job.root.rglob("*")))
    for channel in job.channels:
        for path in sorted(job.channel(channel).iterdir()):
            print(channel, path.name, path.read_text())
    print((job.root / "input/config/hyperparameters.json").read_text())
    print("threads", job.threads, os.environ["OMP_NUM_THREADS"], "cwd", Path.cwd() == job.root.parent.parent)


def blame_the_user(_job: Job) -> None:
    raise JobFailed("Hyperparameter max_depth: expected a number, found 'deep'")


def break_down(_job: Job) -> None:
    raise KeyError("label")


def exit_with(job: Job) -> None:
    print("about to leave")
    sys.exit(job.options["code"])


def run_until_stopped(job: Job) -> None:
    print("running")
    while not job.is_stopping():
        time.sleep(0.01)
    (job.model_dir / "partial").write_text("saved at the stop")


def never_stop(_job: Job) -> None:
    print("running")
    while True:
        time.sleep(1)


def leave_family(job: Job) -> None:
    """Starts a child, a grandchild and a daemon; writes their process numbers; stays, or goes without them when a file
    appears.
    """
    sleeper = [sys.executable, "-I", "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleeper)
    shell = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
    assert shell.stdout is not None
    grandchild = int(shell.stdout.readline())
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            os.close(1)
            os.close(2)
            os.execv(sleeper[0], sleeper)
        os.write(writing, str(daemon).encode())
        os._exit(0)
    os.wait()
    print("family", child.pid, shell.pid, grandchild, int(os.read(reading, 20)), flush=True)
    if job.options.get("stay"):
        time.sleep(600)
    while not Path(job.options["wait_for"]).exists():
        time.sleep(0.01)


def take_memory(job: Job) -> None:
    taken = b"x" * job.options["bytes"]
    print("got", len(taken), flush=True)
    time.sleep(job.options["hold_s"])


def many_threads(_job: Job) -> None:
    import threading

    gate = threading.Event()
    threads = [threading.Thread(target=gate.wait) for _ in range(40)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()


def numbers(_job: Job) -> None:
    import random

    print("drawn", random.random())
