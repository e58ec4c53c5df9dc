"""The input channels of a training job: which files they have and in which format.

Place in the flow: the job's ``inputdataconfig`` and the files staged under ``input/data/CHANNEL`` -> ``read_channels``,
then ``examples`` reads the rows. What an algorithm takes is data (``ChannelRules``); refusals as SageMaker's own have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.pipes import spool

Format = Literal["csv", "libsvm", "parquet", "recordio-protobuf", "text"]

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
    "text/plain": "text",
}


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """The channels that an algorithm takes. ``default`` is the format of a channel that names none.

    ``labelled``: those whose rows must have a label. ``label_sizes``: what ``text/csv;label_size=N`` may say; the first is the
    default. ``same_format``: all channels must have the format of the first.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    formats: tuple[Format, ...]
    default: Format
    labelled: tuple[str, ...]
    label_sizes: tuple[int, ...]
    same_format: bool

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """From the table ``channels`` of an algorithm's data file."""
        return cls(
            required=tuple(row["required"]),
            optional=tuple(row.get("optional", ())),
            formats=tuple(row["formats"]),
            default=row["default"],
            labelled=tuple(row.get("labelled", ())),
            label_sizes=tuple(row.get("label_sizes", (1,))),
            same_format=row.get("same_format", False),
        )

    @property
    def content_types(self) -> list[str]:
        """Every name of every format."""
        return [name for name, found in _FORMATS.items() if found in self.formats]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: ``files`` in the order of their names, hidden ones and empty ones left out.

    ``label_size`` is how many columns of CSV data, at its front, are the label. ``labelled``: rows must have one.
    """

    name: str
    format: Format
    files: tuple[Path, ...]
    label_size: int = 1
    labelled: bool = True


def read_channels(
    configuration: Mapping[str, Mapping[str, Any]], data: Path, rules: ChannelRules
) -> dict[str, Channel]:
    """The channels of ``inputdataconfig.json``; ClientError for a missing, foreign or empty one."""
    for name in rules.required:
        if name not in configuration:
            raise ClientError(f"Missing required channel: {name}")
    for name in configuration:
        if name not in rules.required + rules.optional:
            raise ClientError(f"Extraneous channel found: {name}")
    for name, channel in configuration.items():
        if channel.get("RecordWrapperType", "None") != "None":
            raise ClientError(
                f"Channel configuration for '{name}' channel is not supported: RecordWrapperType"
            )
    formats = {
        name: content_format(channel.get("ContentType"), rules) for name, channel in configuration.items()
    }
    if rules.same_format:
        _check_one_format({name: found for name, (found, _) in formats.items()}, rules.required[0])
    channels: dict[str, Channel] = {}
    for name in rules.required + rules.optional:
        if name in configuration:
            found, label_size = formats[name]
            labelled = name in rules.labelled
            if found == "csv" and labelled and label_size == 0:
                raise ClientError(
                    f"The '{name}' channel needs labels, and its ContentType says label_size=0. "
                    "Use text/csv;label_size=1, with the label in the first column."
                )
            channels[name] = Channel(name, found, _data_files(name, data / name), label_size, labelled)
    return channels


def _check_one_format(formats: Mapping[str, Format], first: str) -> None:
    for name, found in formats.items():
        if found != formats[first]:
            raise ClientError(
                f"Channel configuration for '{name}' channel is not supported: its content type is "
                f"{found}, that of the {first} channel is {formats[first]}; they must be the same"
            )


def content_format(content_type: str | None, rules: ChannelRules) -> tuple[Format, int]:
    """The format behind a channel's ContentType, and the label size. ClientError for others."""
    label_size = rules.label_sizes[0]
    if content_type is None:
        return rules.default, label_size
    main, *parameters = (part.strip() for part in content_type.lower().split(";"))
    found = _FORMATS.get(main)
    if found is None or found not in rules.formats:
        raise ClientError(f"{content_type} is not an accepted ContentType: {', '.join(rules.content_types)}.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if found == "csv" and name.strip() == "label_size":
            sizes = {str(size): size for size in rules.label_sizes}
            if value.strip(' "') not in sizes:
                accepted = " or ".join(sizes)
                raise ClientError(
                    f"{content_type} is not an accepted csv ContentType. "
                    f"Optional parameter label_size must be equal to {accepted}"
                )
            label_size = sizes[value.strip(' "')]
    return found, label_size


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
