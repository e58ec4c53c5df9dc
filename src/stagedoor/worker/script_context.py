"""The context that a script's functions may take as one more argument: the model server's view of model and request.

Place in the flow: ``script_serving`` makes one for each model and hands it to functions that have room for it, as the containers for
PyTorch and Hugging Face do.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


class Context:
    """``system_properties`` are the model's; the headers are those of the request that is answered now."""

    def __init__(self, model_dir: str) -> None:
        self.system_properties: dict[str, Any] = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1}
        self.request_processor = [self]
        self._headers: dict[str, str] = {}

    def enter(self, meta: Mapping[str, Any]) -> None:
        """A request begins."""
        names = {
            "content_type": "Content-Type",
            "accept": "Accept",
            "custom_attributes": "X-Amzn-SageMaker-Custom-Attributes",
        }
        self._headers = {header: str(meta[name]) for name, header in names.items() if meta.get(name)}

    def get_request_properties(self) -> dict[str, str]:
        """The request's headers."""
        return dict(self._headers)

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        """The request's headers."""
        return dict(self._headers)

    def get_request_header(self, idx: int, key: str) -> str | None:
        """One header, in whatever case it is asked for."""
        return next((value for name, value in self._headers.items() if name.lower() == key.lower()), None)


def bound(function: Callable[..., Any], arguments: int, context: Context) -> Callable[..., Any]:
    """The function for so many arguments; with the context as the last one where it has a parameter for that."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function
    places = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if len(places) != arguments + 1:
        return function
    return lambda *given: function(*given, context)
