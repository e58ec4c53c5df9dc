"""Asks for proposals: what is quick in a thread, what takes Optuna in a process of its own.

Place in the flow: ``tuning.act`` asks once for each trial. The process is started when a tuning job first needs it, ends when nobody
has asked for a while, and dies with the server, as its input ends then.
"""

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from stagedoor.engine.warm_parent import inherited_environment
from stagedoor.worker.threads import VARIABLES
from stagedoor.worker.tuning.proposals import Question, needs_model, propose

_MODULE = "stagedoor.worker.tuning.proposer"
_ANSWER_S = 120.0
_IDLE_S = 60.0
_LONGEST_ANSWER_BYTES = 1024 * 1024


class ProposalError(Exception):
    """There is no proposal; the text is fit for a FailureReason."""


class Proposer:
    """One at a time. Used on one event loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def propose(self, question: Question) -> dict[str, str]:
        """The hyperparameters of the next trial. ProposalError when there are none."""
        if not await asyncio.to_thread(needs_model, question):
            return await asyncio.to_thread(propose, question)
        async with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            answer = await self._ask(question)
            self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._end)
        if "proposal" not in answer:
            raise ProposalError(f"no hyperparameters could be proposed: {answer.get('error')}")
        return dict(answer["proposal"])

    async def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        process = self._process
        self._end()
        if process is not None:
            await process.wait()

    async def _ask(self, question: Question) -> Mapping[str, Any]:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(orjson.dumps(question) + b"\n")
            async with asyncio.timeout(_ANSWER_S):
                await process.stdin.drain()
                return orjson.loads(await process.stdout.readline())
        except (OSError, TimeoutError, ValueError) as error:
            self._end(kill=True)
            raise ProposalError(f"the process that proposes hyperparameters broke: {error}") from error
        except BaseException:
            self._end(kill=True)  # its answer would be taken for that to the next question
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=inherited_environment() | dict.fromkeys(VARIABLES, "1"),
                limit=_LONGEST_ANSWER_BYTES,
            )
        except OSError as error:
            raise ProposalError(
                f"the process that proposes hyperparameters cannot be started: {error}"
            ) from error

    def _end(self, *, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, OSError):
            if kill:
                process.kill()
            elif process.stdin is not None:
                process.stdin.close()
