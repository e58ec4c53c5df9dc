"""SageMaker's jobs: which of them to use again. Their names are taken for ever, whatever became of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from botocore.exceptions import ClientError


class JobFailed(Exception):
    """A job ended without success; the message carries the service's reason."""


def find(name: str, status_of: Callable[[str], str], has_output: Callable[[str], bool]) -> tuple[str, bool]:
    """The job to use, and whether it exists.

    That is the first of ``name``, ``name-2``, ``name-3``, … that is under way, that is complete with its output still
    in S3, or that nobody has made yet.
    """
    candidates = itertools.chain([name], (f"{name}-{attempt}" for attempt in itertools.count(2)))
    for candidate in candidates:
        try:
            status = status_of(candidate)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in {"ValidationException", "ResourceNotFound"}:
                raise
            return candidate, False
        if status == "InProgress" or (status == "Completed" and has_output(candidate)):
            return candidate, True
    raise AssertionError("unreachable: there is always another name")
