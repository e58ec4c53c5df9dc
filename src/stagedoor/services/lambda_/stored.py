"""Functions, versions and aliases as they lie in the store, and as they are answered.

A function's document: ``Configuration`` (of ``$LATEST``, in the members of the answer), ``Tags``, ``lastVersion`` (the
highest number published), ``publishedRevision`` (what ``$LATEST`` was when that was published), ``reservedConcurrency``,
``policies`` (qualifier, ``""`` for none, to ``{"statements": […], "revision": …}``). A version's document:
``Configuration``. An alias' document: the members of AliasConfiguration. Both lie beside the function, as
``NAME:VERSION`` and ``NAME:ALIAS``.
"""

import uuid

from stagedoor.domain.clock import as_datetime
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.lambda_.naming import LATEST, FunctionRef
from stagedoor.store.function_packages import FunctionPackages
from stagedoor.store.records import Document, Reader


def packages(call: Call) -> FunctionPackages:
    """Where the zip files are."""
    return FunctionPackages(call.house.settings.data / "functions")


def existing(reader: Reader, ref: FunctionRef) -> Document:
    """The function's document, whatever the qualifier; ResourceNotFoundException without one."""
    record = reader.get(ref.key)
    if record is None:
        raise ref.not_found()
    return record.document


def is_version(qualifier: str) -> bool:
    """Whether a qualifier names a version and no alias."""
    return qualifier == LATEST or qualifier.isdigit()


def alias(reader: Reader, ref: FunctionRef) -> Document | None:
    """The document of the alias that the qualifier names."""
    record = reader.get(ref.alias_key(ref.qualifier))
    return record.document if record is not None else None


def configuration(reader: Reader, ref: FunctionRef) -> Document:
    """The configuration that a qualifier means (an alias: its main version); ResourceNotFoundException without one."""
    document = existing(reader, ref)
    version = ref.qualifier or LATEST
    if not is_version(version):
        found = alias(reader, ref)
        if found is None:
            raise ref.not_found()
        version = found["FunctionVersion"]
    if version == LATEST:
        return document["Configuration"]
    record = reader.get(ref.version_key(version))
    if record is None:
        raise ref.not_found()
    return record.document["Configuration"]


def answered(configured: Document, ref: FunctionRef, *, qualified: bool) -> Document:
    """A configuration as an answer: with the qualified ARN when the request (or the operation) has a qualifier."""
    answer = dict(configured)
    qualifier = (ref.qualifier or answer["Version"]) if qualified else ""
    answer["FunctionArn"] = ref.at(qualifier).arn
    return answer


def new_revision() -> str:
    """A new RevisionId."""
    return str(uuid.uuid4())


def last_modified(now: float) -> str:
    """``2024-05-01T12:00:00.123+0000``, as LastModified is written."""
    return as_datetime(now).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(now * 1000) % 1000:03d}+0000"


def check_revision(expected: str | None, found: str, source: str = "GetFunction/GetAlias") -> None:
    """PreconditionFailedException when a request insists on another RevisionId than the stored one."""
    if expected is not None and expected != found:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {source} API to retrieve the latest Revision Id",
            status=412,
        )
