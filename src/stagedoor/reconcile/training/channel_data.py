"""The input channels of a training job: how each is delivered, and which objects which host gets, epoch by epoch.

Place in the flow: ``staging`` copies the objects of File and FastFile channels before the job runs, ``pipes`` feeds Pipe channels while
it does.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from stagedoor.store import job_inputs
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import InputObject
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel with all of AWS's defaults. ``shuffle_seed`` is None where nothing is shuffled."""

    name: str
    mode: str
    data_type: str
    uri: str
    is_zipped: bool
    is_sharded: bool
    record_wrapper: str
    content_type: str
    shuffle_seed: int | None
    attributes: tuple[str, ...]

    def ordered(self, items: Sequence[T], epoch: int) -> list[T]:
        """The items in the order of that epoch."""
        found = list(items)
        if self.shuffle_seed is not None:
            random.Random(f"{self.shuffle_seed}/{epoch}").shuffle(found)
        return found

    def share(self, items: Sequence[T], host: int, host_count: int) -> Sequence[T]:
        """What one of the hosts (from 0) gets of them."""
        return items[host::host_count] if self.is_sharded else items

    def objects(self, objects: ObjectRows, contents: Contents, epoch: int = 0) -> list[InputObject]:
        """All its objects in the order of an epoch. InputError says what is wrong."""
        found = list(job_inputs.inputs(objects, contents, self.data_type, self.uri))
        return self.ordered(found, epoch)


def channels(document: Document) -> list[Channel]:
    """A job's channels."""
    default = document.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    return [_channel(each, default) for each in document.get("InputDataConfig", [])]


def _channel(given: dict[str, Any], default_mode: str) -> Channel:
    source = given["DataSource"]["S3DataSource"]
    shuffle = given.get("ShuffleConfig")
    return Channel(
        name=given["ChannelName"],
        mode=given.get("InputMode", default_mode),
        data_type=source["S3DataType"],
        uri=source["S3Uri"],
        is_zipped=given.get("CompressionType") == "Gzip",
        is_sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
        record_wrapper=given.get("RecordWrapperType", "None"),
        content_type=given.get("ContentType", ""),
        shuffle_seed=shuffle["Seed"] if shuffle else None,
        attributes=tuple(source.get("AttributeNames", [])),
    )
