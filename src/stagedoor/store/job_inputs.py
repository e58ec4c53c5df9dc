"""The objects that are a job's input: all under a prefix, or those that a manifest lists, with the names the job sees.

Place in the flow: CreateTrainingJob and CreateTransformJob ask whether there are any; ``reconcile.training`` stages them
as files, ``reconcile.transform`` sends them through a model. Keys never become paths unchecked.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from stagedoor.store.contents import Contents
from stagedoor.store.object_listing import ObjectRow
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.objects_io import read_bytes

_MANIFEST_BYTES = 64 * 1024 * 1024


class InputError(Exception):
    """The input cannot be used: a URI that is none, a broken manifest, a key that cannot be a file name. For a person."""


@dataclass(frozen=True, slots=True)
class Location:
    """``s3://bucket/key``; ``key`` may be a prefix, also an empty one."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Read an S3 URI; InputError for anything else."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise InputError(f"{uri} is not an Amazon S3 location: write s3://BUCKET/PREFIX.")
        return cls(bucket, key)

    def under(self, *names: str) -> "Location":
        """A location below this one."""
        parts = [self.key.strip("/"), *names]
        return Location(self.bucket, "/".join(part for part in parts if part))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class InputObject:
    """One object and its name relative to the input: checked, with ``/`` between folders, below every folder it is put in."""

    row: ObjectRow
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.row.bucket}/{self.row.key}"


def inputs(objects: ObjectRows, contents: Contents, data_type: str, uri: str) -> Iterator[InputObject]:
    """The objects of an S3DataSource (``S3Prefix`` or ``ManifestFile``) in order; none for a bucket that does not exist.

    Keys that end with ``/`` (folders of S3 consoles) are left out. InputError while reading says what is wrong.
    """
    location = Location.parse(uri)
    if objects.find_bucket(location.bucket) is None:
        return iter(())
    if data_type == "ManifestFile":
        return _manifest(objects, contents, location)
    return _prefix(objects, location)


def _prefix(objects: ObjectRows, location: Location) -> Iterator[InputObject]:
    for row in objects.list(location.bucket, location.key):
        if not row.key.endswith("/"):
            yield InputObject(row, _checked(row, _name_below(location.key, row.key)))


def _name_below(prefix: str, key: str) -> str:
    """``data/train`` and ``data/train/a/b.csv``: ``a/b.csv``; a prefix that ends inside a name keeps that name."""
    rest = key[len(prefix) :]
    if prefix.endswith("/"):
        return rest
    if rest.startswith("/"):
        return rest[1:]
    return key[prefix.rfind("/") + 1 :]


_NO_FOLDER_NAMES = {"": "//", ".": "./", "..": "../"}


def _checked(row: ObjectRow, name: str) -> str:
    """The name, if it can be put below a folder without leaving it."""
    for part in name.split("/"):
        if part in _NO_FOLDER_NAMES:
            bad = _NO_FOLDER_NAMES[part]
            raise InputError(
                f"S3 key: s3://{row.bucket}/{row.key} has an illegal char sub-sequence '{bad}' in it"
            )
        if "\0" in part or len(part.encode()) > 255:
            raise InputError(f"S3 key: s3://{row.bucket}/{row.key} cannot be the name of a file")
    return name


def _manifest(objects: ObjectRows, contents: Contents, location: Location) -> Iterator[InputObject]:
    row = objects.get(location.bucket, location.key)
    if row is None:
        return
    if row.size_bytes > _MANIFEST_BYTES:
        raise InputError(f"The manifest {location} is larger than {_MANIFEST_BYTES} bytes")
    prefix, names = _entries(location, read_bytes(objects, contents, row))
    base = Location.parse(prefix)
    for name in names:
        listed = objects.get(base.bucket, base.key + name)
        if listed is None:
            raise InputError(f"The manifest {location} lists {prefix}{name}, which does not exist")
        yield InputObject(listed, _checked(listed, name.lstrip("/")))


def _entries(location: Location, text: bytes) -> tuple[str, list[str]]:
    try:
        entries: Any = json.loads(text)
    except (ValueError, RecursionError):
        entries = None
    if isinstance(entries, list) and entries:
        first, *names = cast("list[Any]", entries)
        prefix: Any = cast("dict[str, Any]", first).get("prefix") if isinstance(first, dict) else None
        if isinstance(prefix, str) and names and all(isinstance(name, str) for name in names):
            return prefix, names
    raise InputError(
        f"The manifest {location} is not one: it must be a JSON array of an object with a prefix, then names of objects"
    )
