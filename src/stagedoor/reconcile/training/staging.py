"""A training job's inputs as files, and the configuration that an algorithm finds beside them.

Place in the flow: ``act`` calls ``stage`` in a thread while the job is Downloading; the engine links the files into the job's
directory. The layout is that of SageMaker's training containers: ``input/data/CHANNEL/NAME``.
"""

import gzip
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from stagedoor.store import job_inputs, objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.job_inputs import InputError, InputObject
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.objects_io import ObjectChangedError
from stagedoor.store.records import Document

_ROOT = "opt/ml"


class DownloadError(Exception):
    """An input cannot be had; the text is a FailureReason without its ``ClientError:``."""


def stage(
    document: Document,
    directory: Path,
    objects: ObjectRows,
    contents: Contents,
    check_stop: Callable[[], None],
) -> dict[str, Path]:
    """Copy all channels' objects below ``directory``: name in the job's directory -> file.

    DownloadError says which object cannot be used. ``check_stop`` is called between objects and may raise. What the
    job's role may read is to be checked here as well, object by object.
    """
    files: dict[str, Path] = {}
    for channel in document.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        name = channel["ChannelName"]
        found = False
        try:
            for one in job_inputs.inputs(objects, contents, source["S3DataType"], source["S3Uri"]):
                check_stop()
                found = True
                path = _fetch(one, directory / name, channel["CompressionType"] == "Gzip", objects, contents)
                files[f"{_ROOT}/input/data/{name}/{path.relative_to(directory / name)}"] = path
        except InputError as error:
            raise DownloadError(f"Data download failed:{error}") from error
        if not found:
            raise DownloadError(f'Data download failed:No S3 objects found under S3 URL "{source["S3Uri"]}"')
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


def configuration(document: Document) -> dict[str, Any]:
    """The files of ``input/config``, by name."""
    return {
        "hyperparameters": document.get("HyperParameters", {}),
        "inputdataconfig": {
            channel["ChannelName"]: _channel(channel) for channel in document.get("InputDataConfig", [])
        },
        "resourceconfig": {
            "current_host": "algo-1",
            "current_instance_type": document["ResourceConfig"]["InstanceType"],
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {
                    "instance_group_name": "homogeneousCluster",
                    "instance_type": document["ResourceConfig"]["InstanceType"],
                    "hosts": ["algo-1"],
                }
            ],
            "network_interface_name": "lo",
        },
    }


def _channel(channel: Mapping[str, Any]) -> dict[str, str]:
    config = {
        "TrainingInputMode": "File",
        "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"],
        "RecordWrapperType": "None",
    }
    if channel.get("ContentType"):
        config["ContentType"] = channel["ContentType"]
    return config
