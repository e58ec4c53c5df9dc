"""The one exception that becomes an answer on the wire. Raised anywhere, serialised by ``wire.errors``."""

from collections.abc import Mapping


class AwsError(Exception):
    """An error as AWS answers it.

    ``code`` is AWS's error code (the error shape's name or its ``error.code``), ``message`` tells a person what,
    which resource, and what to do next. ``status`` is the HTTP status; None means the service model's status for
    that code, else 400. ``members`` are further modelled members of the error shape (``OriginalStatusCode``, …).
    ``headers`` go out with the answer besides those (S3 tells of a delete marker that way).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members: Mapping[str, object] = members or {}
        self.headers: Mapping[str, str] = headers or {}


def not_implemented(service: str, operation: str) -> AwsError:
    """The answer for an operation that AWS has and nobody built here (501, with its name)."""
    return AwsError(
        "NotImplementedException",
        f"stagedoor does not implement {service}:{operation}. See docs/operations.md for what is supported.",
        status=501,
    )
