"""Decoding of query strings, form bodies and path segments: exactly once, and refused when it is not UTF-8."""

from urllib.parse import unquote_to_bytes

# More parameters than any operation has (a form of 1,000 list items with several fields each fits).
MAX_PARAMETERS = 20_000


def unquote(text: str) -> str:
    """Percent-decodes once; ValueError when the result is not UTF-8 or an escape is broken."""
    if "%" not in text:
        return text
    for start in _escapes(text):
        digits = text[start + 1 : start + 3]
        if len(digits) != 2 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise ValueError(f"broken percent-encoding: {text[start : start + 3]!r}")
    return unquote_to_bytes(text).decode("utf-8")


def _escapes(text: str) -> list[int]:
    return [index for index, character in enumerate(text) if character == "%"]


def pairs(text: str) -> list[tuple[str, str]]:
    """The parameters of a query string or form body in their order; ``+`` is a space; a name alone has value ``""``.

    ValueError for broken encoding or for more than ``MAX_PARAMETERS``.
    """
    if not text:
        return []
    parts = text.split("&")
    if len(parts) > MAX_PARAMETERS:
        raise ValueError(f"more than {MAX_PARAMETERS} parameters")
    result: list[tuple[str, str]] = []
    for part in parts:
        if part:
            name, _, value = part.partition("=")
            result.append((unquote(name.replace("+", " ")), unquote(value.replace("+", " "))))
    return result


def grouped(text: str) -> dict[str, list[str]]:
    """The parameters by name, each with all its values."""
    result: dict[str, list[str]] = {}
    for name, value in pairs(text):
        result.setdefault(name, []).append(value)
    return result
