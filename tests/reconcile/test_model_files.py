"""The copies of model archives that workers load."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from stagedoor.reconcile.model_files import ModelFiles
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.object_rows import Bucket, ObjectRows

ARCHIVE = b"archive" * 100_000
WORKERS = 4


class Store:
    """A bucket, and the model files that come from it."""

    def __init__(self, root: Path) -> None:
        self.contents = Contents(root / "contents")
        self.objects = ObjectRows(root / "objects.sqlite", self.contents)
        self.objects.create_bucket(Bucket("models", "000000000000", "us-east-1", 1.0))
        self.files = ModelFiles(root / "models", self.objects, self.contents)
        self.folder = root / "models"

    def artifact(self, key: str) -> dict[str, Any]:
        row = objects_io.put_bytes(self.objects, self.contents, "models", key, ARCHIVE, now=1.0)
        return {
            "bucket": "models",
            "key": key,
            "versionId": row.version_id,
            "sequence": row.sequence,
            "etag": row.etag,
            "sizeBytes": row.size_bytes,
            "sha256": hashlib.sha256(ARCHIVE).hexdigest(),
        }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.objects.close()


def test_workers_that_start_at_once_get_one_copy_that_nothing_takes_the_place_of(store: Store) -> None:
    # What is done to a file for one worker, as opening it to the worker's user, must hold when that worker opens it.
    artifacts = [store.artifact(f"model-{number}.tar.gz") for number in range(20)]
    together = Barrier(WORKERS)

    def inode(artifact: dict[str, Any]) -> int:
        together.wait(30)
        return store.files.path(artifact).stat().st_ino

    with ThreadPoolExecutor(WORKERS) as workers:
        for artifact in artifacts:
            assert len(set(workers.map(inode, [artifact] * WORKERS))) == 1
    copies = list(store.folder.iterdir())
    assert len(copies) == len(artifacts)
    assert all(copy.read_bytes() == ARCHIVE for copy in copies)


def test_a_copy_that_was_changed_is_made_anew(store: Store) -> None:
    artifact = store.artifact("model.tar.gz")
    path = store.files.path(artifact)
    path.write_bytes(b"changed")
    assert store.files.path(artifact) == path
    assert path.read_bytes() == ARCHIVE
