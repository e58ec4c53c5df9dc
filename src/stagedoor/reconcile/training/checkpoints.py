"""Checkpoints: what is at CheckpointConfig's S3Uri is there when a job starts, and what it writes goes to S3 while it runs.

Place in the flow: ``act`` fetches before the start (so a job that begins anew goes on from there) and runs ``keep`` beside the
hosts' processes. A file that changes is stored anew at the next look, as it is then; what the job deletes stays in S3.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.reconcile.training.left_files import left_files
from stagedoor.reconcile.training.staging import DownloadError
from stagedoor.store import job_inputs, objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import InputError, Location
from stagedoor.store.object_rows import NoSuchBucketError, ObjectRows
from stagedoor.store.records import Document

_DEFAULT_PATH = "/opt/ml/checkpoints"
_LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class _State:
    size_bytes: int
    modified_ns: int


def folder(document: Document) -> str:
    """Where they are in a host's directory."""
    return document.get("CheckpointConfig", {}).get("LocalPath", _DEFAULT_PATH).strip("/")


class Checkpoints:
    """Those of one job. Without a CheckpointConfig there is nothing to do."""

    def __init__(self, document: Document, objects: ObjectRows, contents: Contents, clock: Clock) -> None:
        config = document.get("CheckpointConfig", {})
        self._target = Location.parse(config["S3Uri"]) if config else None
        self._folder = folder(document)
        self._objects = objects
        self._contents = contents
        self._clock = clock
        self._stored: dict[tuple[Path, str], _State] = {}
        self._looking = threading.Lock()

    def fetch(self, directory: Path) -> dict[str, Path]:
        """Copy what is there below ``directory``: name in a host's directory -> file. Blocks. DownloadError."""
        if self._target is None:
            return {}
        files: dict[str, Path] = {}
        prefix = f"{self._target}".rstrip("/") + "/"
        try:
            for one in job_inputs.inputs(self._objects, self._contents, "S3Prefix", prefix):
                path = directory / one.name
                path.parent.mkdir(parents=True, exist_ok=True)
                objects_io.read_to(self._objects, self._contents, one.row, path)
                files[f"{self._folder}/{one.name}"] = path
        except (InputError, OSError, objects_io.ObjectChangedError) as error:
            raise DownloadError(f"Checkpoint download failed:{error}") from error
        return files

    @contextlib.asynccontextmanager
    async def keep(self, scratches: Sequence[Path]) -> AsyncGenerator[None]:
        """Store what the hosts write, until the end of the block, and then once more."""
        if self._target is None:
            yield
            return
        looking = asyncio.create_task(self._look_again_and_again(scratches))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await asyncio.to_thread(self._look, scratches)

    async def _look_again_and_again(self, scratches: Sequence[Path]) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self._look, scratches)

    def _look(self, scratches: Sequence[Path]) -> None:
        assert self._target is not None
        with self._looking:  # the last look may come while another one's thread goes on
            self._store_changes(self._target, scratches)

    def _store_changes(self, target: Location, scratches: Sequence[Path]) -> None:
        for scratch in scratches:
            for left in left_files(scratch, self._folder):
                key = (scratch, left.name)
                state = _State(left.size_bytes, left.modified_ns)
                if self._stored.get(key) == state:
                    continue
                place = target.under(left.name)
                with contextlib.suppress(FileNotFoundError, NoSuchBucketError), left.open() as file:
                    objects_io.put_stream(
                        self._objects, self._contents, place.bucket, place.key, file, now=self._clock.now()
                    )
                    self._stored[key] = state
