"""Optional members of parsed requests and stored configurations, with their types: absent reads as empty."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]


def document(parent: Mapping[str, Any], name: str) -> Document:
    """A structure member."""
    return parent.get(name) or {}


def documents(parent: Mapping[str, Any], name: str) -> list[Document]:
    """A list of structures."""
    return parent.get(name) or []


def texts(parent: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts."""
    return parent.get(name) or []


def text(parent: Mapping[str, Any], name: str) -> str:
    """A text member."""
    return parent.get(name) or ""
