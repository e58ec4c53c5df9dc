"""A transform job's inputs as one stream of parts: the payloads of each object, then its end.

Place in the flow: ``pipeline`` takes parts in small batches, in a thread, since reading, unzipping, splitting and filtering
block. At most one batch is read ahead.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from stagedoor.reconcile.transform.data_processing import DataProcessing, RecordError
from stagedoor.reconcile.transform.splitting import InputError as SplitError
from stagedoor.reconcile.transform.splitting import Payload, payloads
from stagedoor.store import job_inputs, objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.job_inputs import InputObject
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.objects_io import ObjectChangedError
from stagedoor.store.records import Document
from stagedoor.worker.frames import MAX_FRAME_BYTES

MEGABYTE = 1024 * 1024
DEFAULT_PAYLOAD_MB = 6
UNLIMITED_PAYLOAD_BYTES = MAX_FRAME_BYTES - MEGABYTE
"""What MaxPayloadInMB 0 (no limit) comes to: what one invocation can carry."""

_BATCH_PARTS = 64


@dataclass(eq=False, slots=True)
class Source:
    """One input object. ``failure`` is set by whoever finds out that it cannot be transformed; the rest is skipped then."""

    object: InputObject
    failure: str | None = None

    @property
    def place(self) -> str:
        """``bucket/key``, as the data log names it."""
        return f"{self.object.row.bucket}/{self.object.row.key}"


@dataclass(frozen=True, slots=True)
class Part:
    """A payload of an object, or with None its end."""

    source: Source
    payload: Payload | None


def parts(
    document: Document, processing: DataProcessing, objects: ObjectRows, contents: Contents
) -> Iterator[Part]:
    """All parts of all input objects. ``store.job_inputs.InputError`` when the list of objects itself is broken."""
    data = document["TransformInput"]["DataSource"]["S3DataSource"]
    for one in job_inputs.inputs(objects, contents, data["S3DataType"], data["S3Uri"]):
        source = Source(one)
        try:
            yield from _payloads(source, document, processing, objects, contents)
        except (SplitError, RecordError) as error:
            source.failure = str(error)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            source.failure = f"The object is not in gzip format: {error}"
        except ObjectChangedError:
            source.failure = "The object was deleted while it was read"
        except ContentDamagedError as error:
            source.failure = f"The object is damaged: {error}"
        yield Part(source, None)


def _payloads(
    source: Source, document: Document, processing: DataProcessing, objects: ObjectRows, contents: Contents
) -> Iterator[Part]:
    settings = document["TransformInput"]
    limit_bytes = payload_limit_bytes(document)
    strategy = document.get("BatchStrategy", "MultiRecord")
    with objects_io.open_row(objects, contents, source.object.row) as raw:
        file = raw
        if settings["CompressionType"] == "Gzip":
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb"))
        for payload in payloads(file, settings["SplitType"], strategy, limit_bytes, processing.prepare):
            yield Part(source, payload)
            if source.failure is not None:
                return


def payload_limit_bytes(document: Document) -> int:
    """The largest payload of a job."""
    payload_mb: int = document.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB)
    return payload_mb * MEGABYTE if payload_mb else UNLIMITED_PAYLOAD_BYTES


def take(stream: Iterator[Part]) -> list[Part]:
    """The next few parts, about one payload's worth of bytes; none at the end. Blocks."""
    batch: list[Part] = []
    size_bytes = 0
    for part in stream:
        batch.append(part)
        size_bytes += len(part.payload.body) if part.payload else 0
        if len(batch) >= _BATCH_PARTS or size_bytes >= MEGABYTE:
            break
    return batch
