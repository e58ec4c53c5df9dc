"""The log of one execution of a method, line by line as API Gateway writes it: what TestInvokeMethod answers as ``log``.

It is for the owner of the API: callers of a deployed method never see it.
"""

from collections.abc import Iterable, Mapping

from stagedoor.domain.clock import Clock, as_datetime

_LONGEST = 1024


class ExecutionLog:
    """Collects the lines. ``note`` takes a text of any length and keeps the beginning."""

    def __init__(self, request_id: str, clock: Clock) -> None:
        self._clock = clock
        self._lines = [f"Execution log for request {request_id}"]
        self.note(f"Starting execution for request: {request_id}")

    def note(self, text: str) -> None:
        """One more line, with the time of now."""
        when = as_datetime(self._clock.now()).strftime("%a %b %d %H:%M:%S UTC %Y")
        shortened = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [TRUNCATED]"
        self._lines.append(f"{when} : {shortened}")

    def request(
        self,
        http_method: str,
        resource_path: str,
        path_parameters: Mapping[str, str],
        query: Mapping[str, list[str]],
        headers: Iterable[tuple[str, str]],
        body: bytes,
    ) -> None:
        """What came in."""
        self.note(f"HTTP Method: {http_method}, Resource Path: {resource_path}")
        self.note(f"Method request path: {_shown(path_parameters.items())}")
        self.note(
            f"Method request query string: {_shown((name, values[-1]) for name, values in query.items())}"
        )
        self.note(f"Method request headers: {_shown(headers)}")
        self.note(f"Method request body before transformations: {text_of(body)}")

    def response(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """What goes out when all went well."""
        self.note(f"Method response body after transformations: {text_of(body)}")
        self.note(f"Method response headers: {_shown(headers)}")
        self.note("Successfully completed execution")

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def text_of(body: bytes) -> str:
    """A body as a log shows it; of what is no text, its size."""
    try:
        return body[: _LONGEST * 4].decode()
    except UnicodeDecodeError as error:
        if error.start >= _LONGEST:
            return body[: error.start].decode()
        return f"[{len(body)} bytes of binary data]"


def _shown(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name}={value}" for name, value in pairs) + "}"
