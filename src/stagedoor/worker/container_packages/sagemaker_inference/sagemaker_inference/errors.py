"""Errors that scripts raise, with the HTTP status that the client gets."""

from stagedoor.worker.script_codecs import UnsupportedFormatError

__all__ = ["BaseInferenceToolkitError", "GenericInferenceToolkitError", "UnsupportedFormatError"]


class BaseInferenceToolkitError(Exception):
    """An answer that is an error: its status and text."""

    def __init__(self, status_code: int, message: str, phrase: str = "") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.phrase = phrase or message


class GenericInferenceToolkitError(BaseInferenceToolkitError):
    """Any error of a script's own."""
