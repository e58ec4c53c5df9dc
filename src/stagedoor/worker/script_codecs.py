"""The formats that AWS's framework containers read and write by themselves: CSV, JSON, NPY and NPZ.

Place in the flow: ``script_serving``'s default handlers use it, and so do the packages that scripts import (``sagemaker_containers``,
``sagemaker_inference``).
"""

import importlib
import io
import json
from collections.abc import Callable, Iterable
from typing import Any

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"
OCTET_STREAM, ANY = "application/octet-stream", "*/*"
UTF8_TYPES = (JSON, CSV)
"""Bodies of these types reach a script as text, all others as bytes."""


class UnsupportedFormatError(Exception):
    """No default handler reads or writes this content type."""

    def __init__(self, content_type: str) -> None:
        super().__init__(
            f"Content type {content_type} is not supported by this framework. Implement input_fn to read requests, or output_fn "
            "to write answers, of this type."
        )
        self.content_type = content_type


def main_type(content_type: str | None) -> str:
    """A content type without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def decode(body: Any, content_type: str, dtype: Any = None) -> Any:
    """An array of a request's body; a sparse matrix for NPZ. UnsupportedFormatError."""
    reader = _READERS.get(main_type(content_type))
    if reader is None:
        raise UnsupportedFormatError(content_type)
    return reader(body, dtype)


def encode(value: Any, content_type: str) -> str | bytes:
    """What an array (or list) is as a body. UnsupportedFormatError."""
    return _WRITERS[chosen(content_type, _WRITERS)](value)


def chosen(accept: str, writable: Iterable[str] | None = None) -> str:
    """The first content type of an Accept header that can be written, by default as an array. UnsupportedFormatError."""
    known = set(_WRITERS if writable is None else writable)
    for each in accept.split(","):
        kind = main_type(each)
        if kind in known or (kind == ANY and JSON in known):
            return kind if kind in known else JSON
    raise UnsupportedFormatError(accept)


def _text(body: Any) -> str:
    return body.decode("utf-8") if isinstance(body, bytes) else str(body)


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else bytes(body)


def _read_csv(body: Any, dtype: Any) -> Any:
    import numpy as np

    return np.genfromtxt(io.StringIO(_text(body)), dtype=dtype, delimiter=",")


def _read_json(body: Any, dtype: Any) -> Any:
    import numpy as np

    return np.array(json.loads(_text(body)), dtype=dtype)


def _read_npy(body: Any, dtype: Any) -> Any:
    import numpy as np

    # Arrays of objects are pickles: a client's bytes must not become code.
    array = np.load(io.BytesIO(_bytes(body)), allow_pickle=False)
    return array if dtype is None else array.astype(dtype)


def _read_npz(body: Any, _dtype: Any) -> Any:
    sparse: Any = importlib.import_module("scipy.sparse")
    return sparse.load_npz(io.BytesIO(_bytes(body)))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _write_json(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _write_csv(value: Any) -> str:
    import numpy as np

    stream = io.StringIO()
    np.savetxt(stream, np.atleast_1d(np.asarray(_plain(value))), delimiter=",", fmt="%s")
    return stream.getvalue()


def _write_npy(value: Any) -> bytes:
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.asarray(value), allow_pickle=False)
    return stream.getvalue()


_READERS: dict[str, Callable[[Any, Any], Any]] = {
    CSV: _read_csv,
    JSON: _read_json,
    NPY: _read_npy,
    NPZ: _read_npz,
}
_WRITERS: dict[str, Callable[[Any], str | bytes]] = {CSV: _write_csv, JSON: _write_json, NPY: _write_npy}
