"""The input channels of a training job: which files they have and in which format.

Place in the flow: the job's ``inputdataconfig`` and the files staged under ``input/data/CHANNEL`` -> ``read_channels``,
then ``examples`` reads the rows. Formats and refusals as SageMaker's XGBoost algorithm has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.pipes import spool

Format = Literal["csv", "libsvm", "parquet", "recordio-protobuf"]

_FORMATS: dict[str, Format] = {
    "csv": "csv",
    "libsvm": "libsvm",
    "parquet": "parquet",
    "recordio-protobuf": "recordio-protobuf",
    "text/csv": "csv",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "application/x-parquet": "parquet",
    "application/x-recordio-protobuf": "recordio-protobuf",
}
_NAMES = ("train", "validation")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: ``files`` in the order of their names, hidden ones and empty ones left out."""

    name: str
    format: Format
    files: tuple[Path, ...]


def read_channels(configuration: Mapping[str, Mapping[str, Any]], data: Path) -> dict[str, Channel]:
    """The channels of ``inputdataconfig.json``; ClientError for a missing, foreign or empty one.

    All channels of a job have the format of ``train``, as with SageMaker's own algorithm.
    """
    if "train" not in configuration:
        raise ClientError("Missing required channel: train")
    for name in configuration:
        if name not in _NAMES:
            raise ClientError(f"Extraneous channel found: {name}")
    for name, channel in configuration.items():
        if channel.get("RecordWrapperType", "None") != "None":
            raise ClientError(
                f"Channel configuration for '{name}' channel is not supported: RecordWrapperType"
            )
    formats: dict[str, Format] = {
        name: content_format(channel.get("ContentType")) for name, channel in configuration.items()
    }
    if len(set(formats.values())) > 1:
        raise ClientError(
            f"Channel configuration for 'validation' channel is not supported: its content type is "
            f"{formats['validation']}, that of the train channel is {formats['train']}; they must be the same"
        )
    return {
        name: Channel(name, formats[name], _data_files(name, data / name))
        for name in _NAMES
        if name in configuration
    }


def content_format(content_type: str | None) -> Format:
    """The format behind a channel's ContentType; LIBSVM where none is given. ClientError for others."""
    if content_type is None:
        return "libsvm"
    main, *parameters = (part.strip() for part in content_type.lower().split(";"))
    found = _FORMATS.get(main)
    if found is None:
        accepted = ", ".join(_FORMATS)
        raise ClientError(f"{content_type} is not an accepted ContentType: {accepted}.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if found == "csv" and name.strip() == "label_size" and value.strip(' "') != "1":
            raise ClientError(
                f"{content_type} is not an accepted csv ContentType. "
                "Optional parameter label_size must be equal to 1"
            )
    return found


def _data_files(name: str, directory: Path) -> tuple[Path, ...]:
    spool(directory)
    found = sorted(path for path in directory.rglob("*") if path.is_file()) if directory.is_dir() else []
    if any(path.name.startswith(".") for path in found):
        raise ClientError("Hidden file found in the data path! Remove that before training.")
    # Names with an underscore in front are marks of the program that wrote the data (_SUCCESS), not data.
    files = tuple(path for path in found if not path.name.startswith("_") and path.stat().st_size > 0)
    if not files:
        kind = "training" if name == "train" else name
        raise ClientError(f"No data in {kind} channel path /opt/ml/input/data/{name}")
    return files
