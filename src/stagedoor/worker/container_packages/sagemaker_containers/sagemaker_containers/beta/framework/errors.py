"""Errors that scripts raise or catch."""

from stagedoor.worker.script_codecs import UnsupportedFormatError

__all__ = ["ClientError", "UnsupportedFormatError"]


class ClientError(Exception):
    """The user's mistake."""
