"""Service models: botocore's description of a service, loaded once per service, when first asked for.

Everything else in ``wire`` is driven by what this module returns. Importing ``botocore.model`` takes about a fifth of
a second, so it happens with the first ``service()`` call, not with the import of this package. The model file is read
directly: botocore's own loader would look into several folders and merge client-side extras. Those extras (they make
S3's ``Expires`` header a timestamp) are left out on purpose: S3 keeps that header as the text it was given.

Most shapes are never asked for. So each is kept as the JSON text it came as, without its documentation, and read when a request
first needs it: parsed, all of them together would be the largest part of a resting server's memory.
"""

import gzip
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

_SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


class _Shapes(Mapping[str, dict[str, Any]]):
    """The shapes of a service by name: one text, and where each begins and ends in it."""

    def __init__(self, shapes: Mapping[str, dict[str, Any]]) -> None:
        pieces: list[bytes] = []
        self._places: dict[str, tuple[int, int]] = {}
        begin = 0
        for name, shape in shapes.items():
            piece = orjson.dumps(_without_documentation(shape))
            pieces.append(piece)
            self._places[name] = (begin, begin + len(piece))
            begin += len(piece)
        self._text = b"".join(pieces)

    def __getitem__(self, name: str) -> dict[str, Any]:
        begin, end = self._places[name]
        return orjson.loads(memoryview(self._text)[begin:end])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _without_documentation(shape: dict[str, Any]) -> dict[str, Any]:
    """The shape itself, changed: nothing here reads what is for people."""
    shape.pop("documentation", None)
    for member in (
        *shape.get("members", {}).values(),
        *(shape.get(each) for each in ("member", "key", "value")),
    ):
        if member:
            member.pop("documentation", None)
    return shape


class Service:
    """One service: a thin wrapper of botocore's ``ServiceModel``.

    ``faults`` are the names of the error shapes that are the server's fault (a trait botocore leaves out), ``errors`` those of all.
    """

    def __init__(
        self, model: "ServiceModel", faults: frozenset[str] = frozenset(), errors: Sequence[str] = ()
    ) -> None:
        self.model = model
        self._errors = errors
        self.faults = faults
        self.name: str = model.service_name
        metadata = model.metadata
        self.protocols: tuple[str, ...] = tuple(metadata.get("protocols") or (metadata["protocol"],))
        self.api_version: str = metadata.get("apiVersion", "")
        self.target_prefix: str = metadata.get("targetPrefix", "")
        self.json_version: str = metadata.get("jsonVersion", "1.1")
        self.xml_namespace: str = metadata.get("xmlNamespace", "")
        self.query_compatible: bool = "awsQueryCompatible" in metadata

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """The names of all operations."""
        return tuple(self.model.operation_names)

    @cached_property
    def operation_names(self) -> frozenset[str]:
        return frozenset(self.operations)

    @cached_property
    def errors(self) -> dict[str, Any]:
        """The shapes of all errors by their codes, and by their names where those differ."""
        shapes: list[Any] = [self.model.shape_for(name) for name in self._errors]
        return {shape.name: shape for shape in shapes} | {shape.error_code: shape for shape in shapes}

    def operation(self, name: str) -> "OperationModel":
        """The operation called ``name`` (``CreateEndpoint``); KeyError when the service has none."""
        if name not in self.operation_names:
            raise KeyError(f"{self.name} has no operation {name}")
        return self.model.operation_model(name)

    def __repr__(self) -> str:
        return f"Service({self.name})"


def _data_folder() -> Path:
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("botocore is not installed: stagedoor reads the service models it ships")
    return Path(spec.submodule_search_locations[0]) / "data"


def _model_file(name: str) -> Path:
    """The newest version of the service's model (versions are dates, so they sort as text)."""
    if not _SERVICE_NAME.fullmatch(name):
        raise LookupError(f"{name!r} is not a service name")
    files = sorted((_data_folder() / name).glob("*/service-2.json*"))
    if not files:
        raise LookupError(f"the installed botocore has no service {name}")
    return files[-1]


@cache
def service(name: str) -> Service:
    """The service called ``name`` as boto3 calls it (``sagemaker-runtime``); LookupError when there is none."""
    return from_description(description(name), name)


def description(name: str) -> dict[str, Any]:
    """The contents of a service's model file. Takes nothing of botocore's code."""
    path = _model_file(name)
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    return orjson.loads(raw)


def from_description(contents: dict[str, Any], name: str) -> Service:
    """A service from the contents of a model file."""
    from botocore.model import ServiceModel

    shapes: dict[str, dict[str, Any]] = contents.get("shapes", {})
    faults = faults_of(contents)
    errors = [shape_name for shape_name, shape in shapes.items() if shape.get("exception")]
    operations: dict[str, dict[str, Any]] = contents.get("operations", {})
    for operation in operations.values():
        operation.pop("documentation", None)
    kept = {name: value for name, value in contents.items() if name not in ("shapes", "documentation")}
    return Service(ServiceModel(kept | {"shapes": _Shapes(shapes)}, name), faults, errors)


def faults_of(contents: dict[str, Any]) -> frozenset[str]:
    """The names of the error shapes that are the server's fault."""
    shapes: dict[str, dict[str, Any]] = contents.get("shapes", {})
    return frozenset(name for name, shape in shapes.items() if shape.get("fault"))
