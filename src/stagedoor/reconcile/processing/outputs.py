"""What a processing job's programs leave, as objects in S3: at their end, or while they run (``Continuous``).

Place in the flow: ``act`` has ``keep`` go on beside the hosts' processes, and calls ``store`` when they have ended.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.reconcile.jobs.uploads import Uploads
from stagedoor.reconcile.processing.instances import inside, outputs
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document


class Outputs:
    """Those of one job."""

    def __init__(self, document: Document, objects: ObjectRows, contents: Contents, clock: Clock) -> None:
        self._continuous: list[Uploads] = []
        self._at_end: list[Uploads] = []
        for output in outputs(document):
            kind = self._continuous if output["S3UploadMode"] == "Continuous" else self._at_end
            folder, target = f"opt/ml/{inside(output['LocalPath'])}", Location.parse(output["S3Uri"])
            kind.append(Uploads(folder, target, objects, contents, clock))

    @contextlib.asynccontextmanager
    async def keep(self, scratches: Sequence[Path]) -> AsyncGenerator[None]:
        """Store what is ``Continuous`` now and then while the block runs."""
        async with contextlib.AsyncExitStack() as flowing:
            for uploads in self._continuous:
                await flowing.enter_async_context(uploads.flowing(scratches))
            yield

    def store(self, scratches: Sequence[Path], *, succeeded: Sequence[Path]) -> None:
        """Store what all hosts left that was to be seen while they ran, and all else of those that ``succeeded``. Blocks.

        NoSuchBucketError, OSError.
        """
        for uploads in self._continuous:
            uploads.store(scratches)
        for uploads in self._at_end:
            uploads.store(succeeded)
