"""Values of scalar shapes to the text of a header or an XML element."""

import json
import math
from base64 import b64encode
from typing import Any

from stagedoor.wire import timestamps


def text_of(shape: Any, value: Any, timestamp_format: str, iso8601_fraction: str) -> str:
    """The text form; ``timestamp_format`` is the place's default where the model has none."""
    match shape.type_name:
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            form = shape.serialization.get("timestampFormat", timestamp_format)
            return timestamps.render(value, form, iso8601_fraction=iso8601_fraction)
        case "blob":
            return b64encode(value.encode("utf-8") if isinstance(value, str) else value).decode("ascii")
        case "float" | "double":
            return _number(value)
        case _:
            if shape.serialization.get("jsonvalue"):
                return b64encode(json.dumps(value, separators=(",", ":")).encode("utf-8")).decode("ascii")
            return str(value)


def header_of(shape: Any, value: Any, iso8601_fraction: str) -> str:
    """A header's value; lists are joined with commas, values that hold one are quoted."""
    if shape.type_name != "list":
        return text_of(shape, value, "rfc822", iso8601_fraction)
    return ", ".join(
        _listed(text_of(shape.member, item, "rfc822", iso8601_fraction), shape.member.type_name)
        for item in value
        if item is not None
    )


def _listed(text: str, type_name: str) -> str:
    if type_name == "string" and ("," in text or '"' in text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(value)
