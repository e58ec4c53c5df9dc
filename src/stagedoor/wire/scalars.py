"""Text of a header, label, query parameter, form field or XML element to the value of a scalar shape."""

import base64
import binascii
import json
import math
import re
from typing import TYPE_CHECKING, Any

from stagedoor.wire import timestamps
from stagedoor.wire.requests import UnreadableError

if TYPE_CHECKING:
    from botocore.model import Shape

_INTEGER = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,6})?", re.ASCII)
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BITS = {"integer": 31, "long": 63}


def from_text(shape: "Shape", text: str, path: str) -> Any:
    """The value of a scalar shape from its text form. UnreadableError when the text is not of the type."""
    match shape.type_name:
        case "string" | "character":
            return from_json_header(text, path) if shape.serialization.get("jsonvalue") else text
        case "integer" | "long":
            stripped = text.strip()
            if not _INTEGER.fullmatch(stripped):
                raise UnreadableError(f"{_shown(text)} is not a whole number", path)
            return in_range(int(stripped), shape.type_name, path)
        case "boolean":
            return _boolean(text, path)
        case "timestamp":
            return timestamp(text, path)
        case "float" | "double":
            return _float(text, path)
        case "blob":
            return blob(text, path)
        case other:
            raise UnreadableError(f"a {other} cannot be given as text", path)


def _boolean(text: str, path: str) -> bool:
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise UnreadableError(f"{_shown(text)} is neither true nor false", path)


def _float(text: str, path: str) -> float:
    stripped = text.strip()
    if stripped in _NOT_FINITE:
        return _NOT_FINITE[stripped]
    if not _FLOAT.fullmatch(stripped):
        raise UnreadableError(f"{_shown(text)} is not a number", path)
    value = float(stripped)
    if math.isinf(value):
        raise UnreadableError("the number is too large", path)
    return value


def not_finite(text: str) -> float | None:
    """The three numbers that JSON has only as text; None for any other text."""
    return _NOT_FINITE.get(text)


def in_range(value: int, type_name: str, path: str) -> int:
    """The value, when it fits the 32 or 64 bits of its type."""
    limit = 1 << _BITS[type_name]
    if not -limit <= value < limit:
        raise UnreadableError(f"the number does not fit a {type_name}", path)
    return value


def timestamp(value: object, path: str) -> Any:
    try:
        return timestamps.parse(value)
    except ValueError as error:
        raise UnreadableError(f"{_shown(value)} is not a timestamp: {error}", path) from error


def blob(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableError(f"not base64: {error}", path) from error


def from_json_header(text: str, path: str) -> Any:
    """A JSON document that travels in a header as base64."""
    try:
        return json.loads(blob(text, path))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not a base64-encoded JSON document: {error}", path) from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
