"""One object of a job's input, as a file for its process.

Place in the flow: training and processing jobs copy their inputs with it before they start, checkpoints included; Pipe mode
reads objects while a job runs.
"""

import contextlib
import errno
import gzip
import shutil
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from stagedoor.store import objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.job_inputs import InputObject
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.objects_io import ObjectChangedError


class DownloadError(Exception):
    """An input cannot be had; the text is a FailureReason without its ``ClientError:``."""


def fetch(
    one: InputObject, folder: Path, objects: ObjectRows, contents: Contents, *, is_zipped: bool = False
) -> Path:
    """Copy it below ``folder``, unzipped where ``is_zipped``; the file. Blocks. DownloadError."""
    path = folder / (one.name.removesuffix(".gz") if is_zipped else one.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with reading(one.uri):
            if not is_zipped:
                objects_io.read_to(objects, contents, one.row, path)
            else:
                with objects_io.open_row(objects, contents, one.row) as packed, path.open("xb") as file:
                    _unzip(packed, file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DownloadError(
            f"Data download failed:{one.uri} and another object of the same input would be the same file or folder"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the machine's, and none of the input's
        raise DownloadError(f"Data download failed:{one.uri} cannot be stored: {error.strerror}") from error
    return path


@contextlib.contextmanager
def reading(uri: str) -> Generator[None]:
    """DownloadError for what can be wrong with an object that is read in the block."""
    try:
        yield
    except ObjectChangedError as error:
        raise DownloadError(f"Data download failed:{uri} was deleted while it was read") from error
    except ContentDamagedError as error:
        raise DownloadError(f"Data download failed:{uri} is damaged: {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DownloadError(f"Data download failed:{uri} is not in gzip format: {error}") from error


def _unzip(packed: BinaryIO, file: BinaryIO) -> None:
    with gzip.GzipFile(fileobj=packed, mode="rb") as unpacked:
        shutil.copyfileobj(unpacked, file, 1024 * 1024)
