"""Functions: create, read, change, delete, and their reserved concurrency."""

import contextlib
import io
from collections.abc import Generator
from typing import IO, Any

from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.lambda_ import code_links, code_objects, configuration, roles, stored
from stagedoor.services.lambda_.naming import (
    ALIAS_KIND,
    FUNCTION_KIND,
    LATEST,
    VERSION_KIND,
    FunctionRef,
    invalid,
    requested_function,
    unqualified_function,
)
from stagedoor.services.lambda_.pages import marker, page, page_size
from stagedoor.services.lambda_.tags import check_tags
from stagedoor.services.lambda_.versions import publish
from stagedoor.store.function_packages import Package, PackageError
from stagedoor.store.records import AlreadyExistsError, Document, Key, Record, Transaction

_MAX_ZIP_BYTES = 52_428_800


def create_function(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Make a function; it can be invoked when this returns."""
    ref = requested_function(call, request["FunctionName"])
    if ref.qualifier not in ("", LATEST):
        raise invalid(
            "A version or alias cannot be created with CreateFunction; give the function's name alone."
        )
    given = configuration.settled(request)
    if not given.get("Runtime") or not given.get("Handler"):
        raise invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    tags = check_tags(request.get("Tags") or {})
    roles.check(call, given["Role"])
    if call.house.records.get(ref.key) is not None:
        raise _exists(ref)
    package = _package(call, request["Code"])
    configured = _merged(configuration.defaults(ref.name), given, ref.name)
    configured |= {
        "FunctionArn": ref.unqualified_arn,
        "Version": LATEST,
        "CodeSha256": package.code_sha256,
        "CodeSize": package.size_bytes,
        "LastModified": stored.last_modified(call.now),
        "RevisionId": stored.new_revision(),
    }
    document: Document = {"Configuration": configured, "Tags": tags, "lastVersion": 0, "policies": {}}
    try:
        with call.house.records.transaction() as transaction:
            transaction.insert(ref.key, document)
            if request.get("Publish"):
                configured = publish(call, transaction, ref, document, None)
    except AlreadyExistsError as error:
        raise _exists(ref) from error
    return stored.answered(configured, ref.at(""), qualified=False)


def _exists(ref: FunctionRef) -> AwsError:
    return AwsError("ResourceConflictException", f"Function already exist: {ref.name}", status=409)


def _merged(configured: Document, given: Document, name: str) -> Document:
    merged = {**configured, **given}
    if "LoggingConfig" in given:
        merged["LoggingConfig"] = {"LogGroup": f"/aws/lambda/{name}", **given["LoggingConfig"]}
    return merged


def _package(call: Call, code: dict[str, Any]) -> Package:
    """Store the package that a request brings or names."""
    for member in ("ImageUri", "SourceKMSKeyArn"):
        if code.get(member):
            raise invalid(f"stagedoor does not support {member}; upload a .zip package.")
    if code.get("S3ObjectStorageMode", "COPY") != "COPY":
        raise invalid("stagedoor does not support S3ObjectStorageMode REFERENCE; packages are copied.")
    with _source(call, code) as source:
        try:
            return stored.packages(call).put(source)
        except PackageError as error:
            raise invalid(str(error)) from error


@contextlib.contextmanager
def _source(call: Call, code: dict[str, Any]) -> Generator[IO[bytes]]:
    zip_file: bytes | None = code.get("ZipFile")
    from_s3 = code.get("S3Bucket") or code.get("S3Key")
    if zip_file is not None and from_s3:
        raise invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
    if zip_file is not None:
        if len(zip_file) > _MAX_ZIP_BYTES:
            raise AwsError(
                "RequestEntityTooLargeException",
                f"Zipped size must be smaller than {_MAX_ZIP_BYTES} bytes",
                status=413,
            )
        yield io.BytesIO(zip_file)
    elif code.get("S3Bucket") and code.get("S3Key"):
        with code_objects.open_object(
            call, code["S3Bucket"], code["S3Key"], code.get("S3ObjectVersion")
        ) as source:
            yield source
    else:
        raise invalid("Please provide a source for function code.")


def get_function(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A function, a link to its package, its tags and its reserved concurrency."""
    ref = requested_function(call, request["FunctionName"], request.get("Qualifier"))
    records = call.house.records
    document = stored.existing(records, ref)
    configured = stored.configuration(records, ref)
    answer: dict[str, Any] = {
        "Configuration": stored.answered(configured, ref, qualified=bool(ref.qualifier)),
        "Code": {
            "RepositoryType": "S3",
            "Location": code_links.location(call, stored.packages(call), configured["CodeSha256"]),
        },
    }
    if document["Tags"] and not ref.qualifier:
        answer["Tags"] = document["Tags"]
    if "reservedConcurrency" in document:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": document["reservedConcurrency"]}
    return answer


def get_function_configuration(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a function, a version, or of what an alias points to."""
    ref = requested_function(call, request["FunctionName"], request.get("Qualifier"))
    return stored.answered(stored.configuration(call.house.records, ref), ref, qualified=bool(ref.qualifier))


def get_function_code_signing_config(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Nothing: no function here has one. Terraform asks for every function it reads."""
    ref = unqualified_function(call, request["FunctionName"])
    stored.existing(call.house.records, ref)
    return {}


def list_functions(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Functions by name; with ``FunctionVersion`` ALL every version of each."""
    if request.get("MasterRegion", "ALL") not in ("ALL", call.region):
        return {"Functions": []}
    records = call.house.records
    every_version = request.get("FunctionVersion") == "ALL"
    found: list[Document] = []
    for record in _page_of_functions(call, request, every_version):
        ref = FunctionRef(call.account_id, call.region, record.name)
        configured = [record.document["Configuration"]]
        if every_version:
            versions = records.list(VERSION_KIND, call.account_id, call.region, prefix=f"{record.name}:")
            configured += sorted(
                (v.document["Configuration"] for v in versions), key=lambda c: int(c["Version"])
            )
        found += [stored.answered(one, ref, qualified=every_version) for one in configured]
    return page("Functions", found, request)


def _page_of_functions(call: Call, request: dict[str, Any], every_version: bool) -> list[Record]:
    """What a page can show, and one more. With all versions it may begin among those of the last function before it."""
    last = marker(request)
    name = last.partition(":function:")[2].partition(":")[0]
    records = call.house.records
    found = records.list(
        FUNCTION_KIND, call.account_id, call.region, after=name, limit=page_size(request) + 1
    )
    if name and every_version:
        begun = records.get(Key(FUNCTION_KIND, call.account_id, call.region, name))
        found = [begun, *found] if begun is not None else found
    return found


def update_function_code(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Give ``$LATEST`` another package. Events that run now end on the old one; later ones run on the new one."""
    ref = _latest(requested_function(call, request["FunctionName"]))
    if request.get("PublishTo"):
        raise invalid("stagedoor does not support PublishTo for functions.")
    configuration.check_architectures(request)
    found = stored.existing(call.house.records, ref)
    stored.check_revision(request.get("RevisionId"), found["Configuration"]["RevisionId"])
    package = _package(call, request)
    changes = {"CodeSha256": package.code_sha256, "CodeSize": package.size_bytes}
    if request.get("DryRun"):
        return stored.answered(found["Configuration"] | changes, ref.at(""), qualified=False)
    with call.house.records.transaction() as transaction:
        configured = _change(call, transaction, ref, changes, request.get("RevisionId"))
        if request.get("Publish"):
            configured = publish(call, transaction, ref, stored.existing(transaction, ref), None)
    return stored.answered(configured, ref.at(""), qualified=bool(request.get("Publish")))


def update_function_configuration(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Change the members of ``$LATEST`` that the request has."""
    ref = _latest(requested_function(call, request["FunctionName"]))
    given = configuration.settled(request)
    stored.existing(call.house.records, ref)
    if "Role" in given:
        roles.check(call, given["Role"])
    with call.house.records.transaction() as transaction:
        configured = _change(call, transaction, ref, given, request.get("RevisionId"))
    return stored.answered(configured, ref.at(""), qualified=False)


def _latest(ref: FunctionRef) -> FunctionRef:
    if ref.qualifier not in ("", LATEST):
        raise invalid("Only $LATEST can be changed: published versions stay as they are.")
    return ref.at("")


def _change(
    call: Call, transaction: Transaction, ref: FunctionRef, changes: Document, revision: str | None
) -> Document:
    document = stored.existing(transaction, ref)
    stored.check_revision(revision, document["Configuration"]["RevisionId"])
    configured = _merged(document["Configuration"], changes, ref.name)
    configured |= {"LastModified": stored.last_modified(call.now), "RevisionId": stored.new_revision()}
    transaction.put(ref.key, {**document, "Configuration": configured})
    return configured


def delete_function(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove a function with all its versions and aliases, or one version of it."""
    ref = requested_function(call, request["FunctionName"], request.get("Qualifier"))
    if ref.qualifier == LATEST:
        raise invalid("$LATEST version cannot be deleted without deleting the function.")
    if ref.qualifier and not ref.qualifier.isdigit():
        raise invalid("Deletion of aliases is not currently supported.")
    with call.house.records.transaction() as transaction:
        stored.existing(transaction, ref.at("") if not ref.qualifier else ref)
        if ref.qualifier:
            _delete_version(transaction, ref)
        else:
            for kind in (VERSION_KIND, ALIAS_KIND):
                for record in transaction.list(kind, ref.account_id, ref.region, prefix=f"{ref.name}:"):
                    transaction.delete(record.key)
            transaction.delete(ref.key)
    return {"StatusCode": 204}


def _delete_version(transaction: Transaction, ref: FunctionRef) -> None:
    aliases = [
        record.document["Name"]
        for record in transaction.list(ALIAS_KIND, ref.account_id, ref.region, prefix=f"{ref.name}:")
        if ref.qualifier == record.document["FunctionVersion"]
        or ref.qualifier in record.document.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    ]
    if aliases:
        raise AwsError(
            "ResourceConflictException",
            f"{ref.arn} cannot be deleted: it is referenced by alias(es): {', '.join(aliases)}. "
            "Point them to another version first.",
            status=409,
        )
    if not transaction.delete(ref.version_key(ref.qualifier)):
        raise ref.not_found()
    document = stored.existing(transaction, ref)
    policies = {
        qualifier: policy for qualifier, policy in document["policies"].items() if qualifier != ref.qualifier
    }
    transaction.put(ref.key, {**document, "policies": policies})


# Reserved concurrency --------------------------------------------------------------------------------------------


def put_function_concurrency(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Bound how many events of a function run at once; 0 stops it."""
    ref = unqualified_function(call, request["FunctionName"])
    reserved: int = request["ReservedConcurrentExecutions"]
    most = call.house.settings.function_concurrency
    if reserved > most:
        raise invalid(
            f"Specified ReservedConcurrentExecutions for function is greater than what this server has: {most}. "
            "Raise the setting function_concurrency, or reserve less."
        )
    with call.house.records.transaction() as transaction:
        document = stored.existing(transaction, ref)
        transaction.put(ref.key, {**document, "reservedConcurrency": reserved})
    return {"ReservedConcurrentExecutions": reserved}


def get_function_concurrency(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The reserved concurrency; nothing when there is none."""
    document = stored.existing(call.house.records, unqualified_function(call, request["FunctionName"]))
    if "reservedConcurrency" not in document:
        return {}
    return {"ReservedConcurrentExecutions": document["reservedConcurrency"]}


def delete_function_concurrency(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Let the function have what is free again."""
    ref = unqualified_function(call, request["FunctionName"])
    with call.house.records.transaction() as transaction:
        document = dict(stored.existing(transaction, ref))
        document.pop("reservedConcurrency", None)
        transaction.put(ref.key, document)
    return {}
