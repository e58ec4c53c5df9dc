"""Saying no to what is not built yet: members of requests that would otherwise be ignored without a word.

AWS answers a ValidationException for values that cannot be used; the text here names the member.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stagedoor.services.sagemaker.names import validation


def refuse(value: Mapping[str, Any], members: Iterable[str], path: str = "") -> None:
    """ValidationException naming the first of ``members`` that ``value`` sets to something.

    ``path`` says where ``value`` stands in the request (``ProductionVariants.1.``). Absent, empty and false members ask
    for nothing and pass.
    """
    for member in members:
        if value.get(member) not in (None, False, "", [], {}):
            raise unsupported(path + member)


def unsupported(member: str, instead: str = "") -> Exception:
    """The error for one member. ``instead`` is what to do (a sentence)."""
    advice = instead or "Leave it out; docs/operations.md lists what is supported."
    return validation(f"{member} is not supported by this release of stagedoor. {advice}")
