"""``get_dmatrix``: a channel's files as the library's matrix."""

from stagedoor.worker.xgboost_decoding import get_dmatrix, get_size

__all__ = ["get_dmatrix", "get_size"]
