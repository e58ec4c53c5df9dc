"""Request bodies as the library's matrix, answers as text."""

from typing import Any

from stagedoor.worker import xgboost_decoding
from stagedoor.worker.script_codecs import encode
from stagedoor.worker.xgboost_decoding import decode


def csv_to_dmatrix(string_like: Any, dtype: Any = None) -> Any:
    """From lines of CSV without labels."""
    return xgboost_decoding.decode(string_like, "text/csv")


def libsvm_to_dmatrix(string_like: Any) -> Any:
    """From LIBSVM text."""
    return xgboost_decoding.decode(string_like, "text/libsvm")


def recordio_protobuf_to_dmatrix(string_like: Any) -> Any:
    """From RecordIO-protobuf records."""
    return xgboost_decoding.decode(string_like, "application/x-recordio-protobuf")


__all__ = ["csv_to_dmatrix", "decode", "encode", "libsvm_to_dmatrix", "recordio_protobuf_to_dmatrix"]
