"""Model archives as files: copied out of the store once, linked into every worker that serves them.

Place in the flow: ``reconcile.endpoints`` (and batch transform) ask for the file behind a model record's ``artifact``. The
copy stays while an endpoint needs it, so an endpoint comes back after a restart although the object was replaced or deleted
in S3 meanwhile, and all its workers load the same bytes: each time a file is asked for, its SHA-256 is compared with the one that
CreateModel computed.
"""

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from stagedoor.store import objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.object_rows import ObjectRows

log = logging.getLogger(__name__)

_YOUNG_S = 3600.0


class ModelDataError(Exception):
    """The model data cannot be had; the text is fit for a FailureReason."""


class ModelFiles:
    """A directory of model archives. Thread-safe; every method blocks."""

    def __init__(self, directory: Path, objects: ObjectRows, contents: Contents) -> None:
        self._directory = directory
        self._objects = objects
        self._contents = contents
        self._guard = threading.Lock()
        self._copying: WeakValueDictionary[Path, threading.Lock] = WeakValueDictionary()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, artifact: Mapping[str, Any]) -> Path:
        """The file of an artifact (``bucket``, ``key``, ``versionId``, ``sequence``, ``etag``, ``sha256``). ModelDataError.

        A copy whose bytes are not those that CreateModel saw is made anew; when the object has changed as well, nothing is loaded.
        Who asks while a copy is made waits for it: a second one would take the place of a file that a worker was given already.
        """
        path = self._directory / _file_name(artifact)
        if not _is_whole(path, artifact):
            with self._copying_of(path):
                if not _is_whole(path, artifact):
                    self._copy(artifact, path)
        return path

    def _copying_of(self, path: Path) -> threading.Lock:
        with self._guard:
            return self._copying.setdefault(path, threading.Lock())

    def _copy(self, artifact: Mapping[str, Any], path: Path) -> None:
        url = f"s3://{artifact['bucket']}/{artifact['key']}"
        row = self._objects.find_version(artifact["bucket"], artifact["key"], artifact["versionId"])
        if row is None or row.delete_marker:
            raise ModelDataError(f"there is no object at {url} any more")
        if (row.etag, row.size_bytes) != (artifact["etag"], artifact["sizeBytes"]):
            raise ModelDataError(
                f"the object at {url} was replaced after CreateModel (ETag {artifact['etag']} then, {row.etag} now): "
                "create a new model for it"
            )
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            objects_io.read_to(self._objects, self._contents, row, temporary)
            if (found := _sha256(temporary)) != artifact["sha256"]:
                raise ModelDataError(
                    f"the object at {url} is not the one that CreateModel saw (SHA-256 {artifact['sha256']} then, {found} now): "
                    "create a new model for it"
                )
            temporary.replace(path)
        except (objects_io.ObjectChangedError, ContentDamagedError, OSError) as error:
            raise ModelDataError(f"{url} cannot be read: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def sweep(self, needed: Iterable[Mapping[str, Any]]) -> None:
        """Remove the files of artifacts that nobody needs, unless they were used within the last hour."""
        keep = {_file_name(artifact) for artifact in needed}
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.name not in keep and time.time() - path.stat().st_mtime > _YOUNG_S:
                    path.unlink()


def _is_whole(path: Path, artifact: Mapping[str, Any]) -> bool:
    try:
        os.utime(path)
        is_whole = _sha256(path) == artifact["sha256"]
    except FileNotFoundError:
        return False
    if not is_whole:
        log.error("a copy of model data was changed and is made anew", extra={"file": path.name})
    return is_whole


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_name(artifact: Mapping[str, Any]) -> str:
    """Keys never become paths: a digest of what makes the object's version this one."""
    identity = "\0".join(str(artifact[name]) for name in ("bucket", "key", "etag", "sizeBytes", "sha256"))
    return hashlib.sha256(identity.encode()).hexdigest() + ".tar.gz"
