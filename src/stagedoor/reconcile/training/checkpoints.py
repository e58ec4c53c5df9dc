"""Checkpoints: what is at CheckpointConfig's S3Uri is there when a job starts, and what it writes goes to S3 while it runs.

Place in the flow: ``act`` fetches before the start (so a job that begins anew goes on from there) and runs ``keep`` beside the
hosts' processes.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from stagedoor.domain.clock import Clock
from stagedoor.reconcile.jobs.downloads import DownloadError, fetch
from stagedoor.reconcile.jobs.uploads import Uploads
from stagedoor.store import job_inputs
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import InputError, Location
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document

_DEFAULT_PATH = "/opt/ml/checkpoints"


def folder(document: Document) -> str:
    """Where they are in a host's directory."""
    return document.get("CheckpointConfig", {}).get("LocalPath", _DEFAULT_PATH).strip("/")


class Checkpoints:
    """Those of one job. Without a CheckpointConfig there is nothing to do."""

    def __init__(self, document: Document, objects: ObjectRows, contents: Contents, clock: Clock) -> None:
        self._uploads: Uploads | None = None
        if config := document.get("CheckpointConfig"):
            target = Location.parse(config["S3Uri"])
            self._uploads = Uploads(folder(document), target, objects, contents, clock)

    def fetch(self, directory: Path) -> dict[str, Path]:
        """Copy what is there below ``directory``: name in a host's directory -> file. Blocks. DownloadError."""
        if self._uploads is None:
            return {}
        files: dict[str, Path] = {}
        objects, contents = self._uploads.objects, self._uploads.contents
        prefix = f"{self._uploads.target}".rstrip("/") + "/"
        try:
            for one in job_inputs.inputs(objects, contents, "S3Prefix", prefix):
                files[f"{self._uploads.folder}/{one.name}"] = fetch(one, directory, objects, contents)
        except (InputError, DownloadError) as error:
            raise DownloadError(f"Checkpoint download failed:{error}") from error
        return files

    @contextlib.asynccontextmanager
    async def keep(self, scratches: Sequence[Path]) -> AsyncGenerator[None]:
        """Store what the hosts write, until the end of the block, and then once more."""
        if self._uploads is None:
            yield
            return
        async with self._uploads.kept(scratches):
            yield
