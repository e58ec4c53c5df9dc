"""Arrays from and to the bodies of requests and answers."""

from typing import Any

from stagedoor.worker import script_codecs
from stagedoor.worker.script_codecs import decode, encode


def array_to_npy(array_like: Any) -> Any:
    """As the bytes of an NPY file."""
    return script_codecs.encode(array_like, script_codecs.NPY)


def npy_to_numpy(npy_array: bytes) -> Any:
    """From the bytes of an NPY file."""
    return script_codecs.decode(npy_array, script_codecs.NPY)


def array_to_json(array_like: Any) -> Any:
    """As JSON text."""
    return script_codecs.encode(array_like, script_codecs.JSON)


def json_to_numpy(string_like: str, dtype: Any = None) -> Any:
    """From JSON text."""
    return script_codecs.decode(string_like, script_codecs.JSON, dtype)


def array_to_csv(array_like: Any) -> Any:
    """As lines of CSV."""
    return script_codecs.encode(array_like, script_codecs.CSV)


def csv_to_numpy(string_like: str, dtype: Any = None) -> Any:
    """From lines of CSV."""
    return script_codecs.decode(string_like, script_codecs.CSV, dtype)


__all__ = [
    "array_to_csv",
    "array_to_json",
    "array_to_npy",
    "csv_to_numpy",
    "decode",
    "encode",
    "json_to_numpy",
    "npy_to_numpy",
]
