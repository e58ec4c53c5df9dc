"""What a job writes for its debugger and for TensorBoard goes to S3 while it runs.

Place in the flow: ``act`` keeps these folders beside the hosts' processes, as it keeps checkpoints. The places are AWS's: below the
configured path ``JOB/debug-output`` and ``JOB/tensorboard-output``, where the SDKs look for them.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from stagedoor.domain.clock import Clock
from stagedoor.reconcile.jobs.uploads import Uploads
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document

# Member of the request -> where the job writes unless it says so, and the folder in S3.
_KINDS: Final = {
    "DebugHookConfig": ("/opt/ml/output/tensors", "debug-output"),
    "TensorBoardOutputConfig": ("/opt/ml/output/tensorboard", "tensorboard-output"),
}


def kept_folders(document: Document) -> list[tuple[str, Location]]:
    """Folders of a host's directory, and where their files go."""
    found: list[tuple[str, Location]] = []
    for member, (default, name) in _KINDS.items():
        config = document.get(member)
        if config is not None:
            target = Location.parse(config["S3OutputPath"]).under(f"{document['TrainingJobName']}/{name}")
            found.append((config.get("LocalPath", default).strip("/"), target))
    return found


@contextlib.asynccontextmanager
async def kept(
    document: Document, scratches: Sequence[Path], objects: ObjectRows, contents: Contents, clock: Clock
) -> AsyncGenerator[None]:
    """Store what the hosts write there, until the end of the block, and then once more."""
    async with contextlib.AsyncExitStack() as keeping:
        for folder, target in kept_folders(document):
            uploads = Uploads(folder, target, objects, contents, clock)
            await keeping.enter_async_context(uploads.kept(scratches))
        yield
