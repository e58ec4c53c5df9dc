"""A training job's inputs as files, and the configuration that an algorithm finds beside them.

Place in the flow: ``act`` calls ``stage`` in a thread while the job is Downloading; the engine links the files into the hosts'
directories. The layout is that of SageMaker's training containers: ``input/data/CHANNEL/NAME``.
"""

import gzip
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from stagedoor.reconcile.training.channel_data import Channel, channels
from stagedoor.store import objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.job_inputs import InputError, InputObject
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.objects_io import ObjectChangedError
from stagedoor.store.records import Document

ROOT = "opt/ml"
_GROUP = "homogeneousCluster"


class DownloadError(Exception):
    """An input cannot be had; the text is a FailureReason without its ``ClientError:``."""


def hosts(count: int) -> list[str]:
    """The names of a job's hosts."""
    return [f"algo-{number}" for number in range(1, count + 1)]


def stage(
    document: Document,
    directory: Path,
    host_count: int,
    objects: ObjectRows,
    contents: Contents,
    check_stop: Callable[[], None],
) -> list[dict[str, Path]]:
    """Copy the objects of all channels but those in Pipe mode below ``directory``; for each host: name in its directory -> file.

    What several hosts get lies there once. DownloadError says which object cannot be used. ``check_stop`` is called between
    objects and may raise. What the job's role may read is to be checked here as well, object by object.
    """
    files: list[dict[str, Path]] = [{} for _ in range(host_count)]
    for channel in channels(document):
        if channel.mode == "Pipe":
            continue
        folder = directory / channel.name
        staged: list[Path] = []
        try:
            for one in channel.objects(objects, contents):
                check_stop()
                staged.append(_fetch(one, folder, channel.is_zipped, objects, contents))
        except InputError as error:
            raise DownloadError(f"Data download failed:{error}") from error
        if not staged:
            raise DownloadError(f'Data download failed:No S3 objects found under S3 URL "{channel.uri}"')
        for number, mine in enumerate(files):
            for path in channel.share(staged, number, host_count):
                mine[f"{ROOT}/input/data/{channel.name}/{path.relative_to(folder)}"] = path
    return files


def _fetch(one: InputObject, folder: Path, zipped: bool, objects: ObjectRows, contents: Contents) -> Path:
    path = folder / (one.name.removesuffix(".gz") if zipped else one.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not zipped:
            objects_io.read_to(objects, contents, one.row, path)
        else:
            with objects_io.open_row(objects, contents, one.row) as packed, path.open("xb") as file:
                _unzip(packed, file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DownloadError(
            f"Data download failed:{one.uri} and another object of its channel would be the same file or folder"
        ) from error
    except ObjectChangedError as error:
        raise DownloadError(f"Data download failed:{one.uri} was deleted while it was read") from error
    except ContentDamagedError as error:
        raise DownloadError(f"Data download failed:{one.uri} is damaged: {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DownloadError(f"Data download failed:{one.uri} is not in gzip format: {error}") from error
    except OSError as error:
        raise DownloadError(f"Data download failed:{one.uri} cannot be stored: {error.strerror}") from error
    return path


def _unzip(packed: BinaryIO, file: BinaryIO) -> None:
    with gzip.GzipFile(fileobj=packed, mode="rb") as unpacked:
        shutil.copyfileobj(unpacked, file, 1024 * 1024)


def configuration(document: Document, names: Sequence[str], current: str) -> dict[str, Any]:
    """The files of one host's ``input/config``, by name."""
    instance_type = document["ResourceConfig"]["InstanceType"]
    return {
        "hyperparameters": document.get("HyperParameters", {}),
        "inputdataconfig": {channel.name: _described(channel) for channel in channels(document)},
        "resourceconfig": {
            "current_host": current,
            "current_instance_type": instance_type,
            "current_group_name": _GROUP,
            "hosts": list(names),
            "instance_groups": [
                {"instance_group_name": _GROUP, "instance_type": instance_type, "hosts": list(names)}
            ],
            "network_interface_name": "lo",
        },
    }


def _described(channel: Channel) -> dict[str, str]:
    config = {
        "TrainingInputMode": channel.mode,
        "S3DistributionType": "ShardedByS3Key" if channel.is_sharded else "FullyReplicated",
        "RecordWrapperType": channel.record_wrapper,
    }
    if channel.content_type:
        config["ContentType"] = channel.content_type
    return config
