"""``worker.Response``: an answer with its content type, for output_fn and transform_fn."""

from typing import Any


class Response:
    """The body of an answer, and what it is."""

    def __init__(
        self,
        response: Any = None,
        accept: str | None = None,
        status: int = 200,
        headers: Any = None,
        mimetype: str | None = None,
        content_type: str | None = None,
        **_others: Any,
    ) -> None:
        self.response = "" if response is None else response
        self.mimetype = mimetype or content_type or accept
        self.status_code = status
        self.headers: dict[str, str] = dict(headers or {})
