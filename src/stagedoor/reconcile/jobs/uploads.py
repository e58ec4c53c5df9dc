"""A folder that a job's hosts write to, kept in S3: what is new or has changed there, now and then while they run, or at the end.

Place in the flow: checkpoints of training jobs and outputs of processing jobs. The program is not trusted (see ``left_files``), and
may be writing meanwhile: a file is stored as it is then, and anew at the next look; what is deleted stays in S3.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.reconcile.jobs.left_files import left_files
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.object_rows import NoSuchBucketError, ObjectRows

log = logging.getLogger(__name__)

_LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class _State:
    size_bytes: int
    modified_ns: int


@dataclass(slots=True)
class Uploads:
    """One folder (``opt/ml/checkpoints``) of all hosts, and where in S3 its files go."""

    folder: str
    target: Location
    objects: ObjectRows
    contents: Contents
    clock: Clock
    _stored: dict[tuple[Path, str], _State] = field(default_factory=dict[tuple[Path, str], _State])
    _storing: threading.Lock = field(default_factory=threading.Lock)

    def store(self, scratches: Sequence[Path]) -> None:
        """Store every file of these hosts that is new or has changed. Blocks. NoSuchBucketError, OSError."""
        with self._storing:  # the last look may come while another one's thread goes on
            for scratch in scratches:
                self._store_changes(scratch)

    def _store_changes(self, scratch: Path) -> None:
        for left in left_files(scratch, self.folder):
            key, state = (scratch, left.name), _State(left.size_bytes, left.modified_ns)
            if self._stored.get(key) == state:
                continue
            try:
                file = left.open()
            except OSError:
                continue  # gone meanwhile, or something else by now
            place = self.target.under(left.name)
            with file:
                objects_io.put_stream(
                    self.objects, self.contents, place.bucket, place.key, file, now=self.clock.now()
                )
            self._stored[key] = state

    @contextlib.asynccontextmanager
    async def flowing(self, scratches: Sequence[Path]) -> AsyncGenerator[None]:
        """Store now and then while the block runs; what is left then is for the caller to ``store``."""
        looking = asyncio.create_task(self._look_again_and_again(scratches))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def kept(self, scratches: Sequence[Path]) -> AsyncGenerator[None]:
        """As ``flowing``, and once more after the block; without its bucket nothing is stored, and nobody fails."""
        async with self.flowing(scratches):
            yield
        with contextlib.suppress(NoSuchBucketError):  # the model may well be stored elsewhere
            await asyncio.to_thread(self.store, scratches)

    async def _look_again_and_again(self, scratches: Sequence[Path]) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await asyncio.to_thread(self.store, scratches)
            except (OSError, NoSuchBucketError):
                # The end tells what is still wrong then.
                log.exception("a job's files could not be stored", extra={"target": str(self.target)})
