"""Opens an engine as an ordinary user, runs a hostile job in it and prints what came of it: a program for the system's own Python.

python unprivileged.py FOLDER
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from isolation import attempts

from stagedoor.engine.interface import Workload
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import Runtime

PROBES = Path(__file__).parent.parent / "worker"


def hostile(name: str, code: str) -> Workload:
    spec = {"entry": "probes.hostile:run", "options": {"code": attempts.SOURCE + code}}
    return Workload(name, "job", "plain", spec, connect_ports=())


async def main(folder: Path) -> dict[str, Any]:
    (folder / "data").mkdir()
    (folder / "data" / "keys.json").write_text("secret")
    output: dict[str, bytes] = {}
    exits: dict[str, int] = {}
    changed = asyncio.Event()

    def heard(workload_id: str, data: bytes) -> None:
        output[workload_id] = output.get(workload_id, b"") + data

    def gone(workload_id: str, exit_code: int) -> None:
        exits[workload_id] = exit_code
        changed.set()

    async def exit_of(workload_id: str) -> None:
        while workload_id not in exits:
            changed.clear()
            await changed.wait()

    async def ended(workload: Workload) -> str:
        await engine.start(workload)
        await exit_of(workload.id)
        return output.get(workload.id, b"").decode()

    runtime = Runtime(path=(PROBES,))
    engine = LocalEngine(folder / "data" / "scratch", {"plain": runtime}, private=[folder / "data"])
    await engine.open(heard, gone)
    try:
        found = await engine.isolation()
        neighbour = await engine.start(hostile("neighbour", "import time\ntime.sleep(600)\nresult = 1"))
        code = f"""
result = [attempt(action) for action in (
    lambda: read("{folder}/data/keys.json"), lambda: os.listdir("{folder}/data"), lambda: os.listdir("{neighbour.scratch}"),
    lambda: read("/proc/{os.getpid()}/environ"), lambda: read("/proc/{neighbour.pid}/mem"), lambda: os.kill({neighbour.pid}, 9),
    lambda: connect_tcp(9), lambda: write("/usr/x"), lambda: write("{folder}/x"), lambda: os.listdir("/opt/ml/../../home"),
    lambda: write("/opt/ml/model/weights"), lambda: write("/tmp/x"), lambda: read("/etc/passwd"),
)]
"""
        told = await ended(hostile("j", code))
        ending = await ended(hostile("aborts", "os.abort()"))
        await engine.terminate("neighbour", kill=True)
        await exit_of("neighbour")
        return {
            "isolation": found.as_json(),
            "outcomes": json.loads(told.partition("result ")[2]) if "result " in told else told,
            "exits": exits,
            "aborted": ending,
        }
    finally:
        await engine.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
