"""What a job has made goes to S3: ``output/model.tar.gz`` and ``output/output.tar.gz``, or the files themselves.

Place in the flow: ``act`` calls ``upload`` when all hosts have ended. One host packs its own archives, so that the work is done in its
process; what several hosts left is put together here, and so is what a host left that had to be killed.
"""

import gzip
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stagedoor.reconcile.jobs.left_files import LeftFile, left_files
from stagedoor.reconcile.jobs.outcome import Outcome
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document

_MODEL, _OUTPUT = "opt/ml/model", "opt/ml/output/data"
_COMPRESSION_LEVEL = 6


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """Where artifacts go; ``now`` is when."""

    objects: ObjectRows
    contents: Contents
    now: float

    def put_file(self, place: Location, path: Path) -> None:
        objects_io.put_file(self.objects, self.contents, place.bucket, place.key, path, now=self.now)


def packs_itself(document: Document, host_count: int) -> bool:
    """Whether the job's process makes the archives."""
    return host_count == 1 and document["OutputDataConfig"].get("CompressionType", "GZIP") == "GZIP"


def upload(
    document: Document,
    scratches: Sequence[Path],
    outcomes: Sequence[Outcome],
    directory: Path,
    store: ArtifactStore,
    *,
    succeeded: bool,
) -> str:
    """Put everything to S3, in the order of the hosts; the model's URI, empty when there is none. Blocks.

    NoSuchBucketError when the output's bucket is gone. A job that has ``succeeded`` has a model, if an empty one.
    """
    target = Location.parse(document["OutputDataConfig"]["S3OutputPath"]).under(
        document["TrainingJobName"], "output"
    )
    if document["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        _upload_files(scratches, _OUTPUT, target.under("data"), store)
        found = _upload_files(scratches, _MODEL, target.under("model"), store)
        return f"{target.under('model')}/" if found or succeeded else ""
    output, model = outcomes[0].output_archive, outcomes[0].model_archive
    if not packs_itself(document, len(scratches)) or (model is None and not succeeded):
        output = output or _pack(scratches, _OUTPUT, directory / "output.tar.gz", even_empty=False)
        model = _pack(scratches, _MODEL, directory / "model.tar.gz", even_empty=succeeded)
    if output is not None:
        store.put_file(target.under("output.tar.gz"), output)
    if model is None:
        return ""
    store.put_file(target.under("model.tar.gz"), model)
    return str(target.under("model.tar.gz"))


def _upload_files(scratches: Sequence[Path], folder: str, target: Location, store: ArtifactStore) -> bool:
    """Whether there were any."""
    found = False
    for left in _together(scratches, folder):
        found = True
        place = target.under(left.name)
        with left.open() as file:
            objects_io.put_stream(store.objects, store.contents, place.bucket, place.key, file, now=store.now)
    return found


def _pack(scratches: Sequence[Path], folder: str, archive: Path, *, even_empty: bool) -> Path | None:
    """All hosts' files in one archive, the same bytes for the same files; None when there are none."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    found = False
    with (
        archive.open("wb") as file,
        gzip.GzipFile(
            filename="", mode="wb", compresslevel=_COMPRESSION_LEVEL, fileobj=file, mtime=0
        ) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for left in _together(scratches, folder):
            found = True
            entry = tarfile.TarInfo(left.name)
            entry.size, entry.mode = left.size_bytes, left.mode
            with left.open() as source:
                target.addfile(entry, source)
    return archive if found or even_empty else None


def _together(scratches: Sequence[Path], folder: str) -> Iterator[LeftFile]:
    """The files of a folder of all hosts. Where several left one of the same name, the first host's counts."""
    seen: set[str] = set()
    for scratch in scratches:
        for left in left_files(scratch, folder):
            if left.name not in seen:
                seen.add(left.name)
                yield left
