"""How requests name functions: a name, part of an ARN or a whole ARN, with or without a version or alias."""

import re
from dataclasses import dataclass

from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.store.records import Key

LATEST = "$LATEST"

FUNCTION_KIND = "lambda.function"
VERSION_KIND = "lambda.version"
ALIAS_KIND = "lambda.alias"
EVENT_KIND = "lambda.event"
PAYLOAD_KIND = "lambda.payload"

_REFERENCE = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?"
    r"(?:function:)?(?P<name>[a-zA-Z0-9_-]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?"
)
_MAX_NAME_LENGTH = 64


def invalid(message: str) -> AwsError:
    """The service's answer to most wrong values."""
    return AwsError("InvalidParameterValueException", message, status=400)


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """A function, perhaps at a qualifier (a version number, ``$LATEST`` or an alias; ``""`` for none)."""

    account_id: str
    region: str
    name: str
    qualifier: str = ""

    @property
    def unqualified_arn(self) -> str:
        return str(Arn("lambda", self.region, self.account_id, f"function:{self.name}"))

    @property
    def arn(self) -> str:
        return f"{self.unqualified_arn}:{self.qualifier}" if self.qualifier else self.unqualified_arn

    def at(self, qualifier: str) -> "FunctionRef":
        """The same function at another qualifier."""
        return FunctionRef(self.account_id, self.region, self.name, qualifier)

    @property
    def key(self) -> Key:
        """Where the function's record is."""
        return Key(FUNCTION_KIND, self.account_id, self.region, self.name)

    def version_key(self, version: str) -> Key:
        """Where the record of a published version is."""
        return Key(VERSION_KIND, self.account_id, self.region, f"{self.name}:{version}")

    def alias_key(self, alias: str) -> Key:
        """Where the record of an alias is."""
        return Key(ALIAS_KIND, self.account_id, self.region, f"{self.name}:{alias}")

    def not_found(self) -> AwsError:
        """The answer when there is no such function, version or alias."""
        return AwsError("ResourceNotFoundException", f"Function not found: {self.arn}", status=404)


def parse_reference(text: str, account_id: str, region: str, qualifier: str | None = None) -> FunctionRef:
    """Read a function's name or ARN; what it leaves out is taken from the other arguments.

    InvalidParameterValueException when two qualifiers disagree; ResourceNotFoundException for another region.
    """
    matched = _REFERENCE.fullmatch(text)
    if matched is None:
        raise invalid(f"{text!r} is not the name or the ARN of a function.")
    if len(matched["name"]) > _MAX_NAME_LENGTH:
        raise invalid(
            f"1 validation error detected: Value '{matched['name']}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_MAX_NAME_LENGTH}"
        )
    if matched["qualifier"] and qualifier and matched["qualifier"] != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    if matched["region"] and matched["region"] != region:
        raise AwsError(
            "ResourceNotFoundException",
            f"Functions from '{matched['region']}' are not reachable in this region ('{region}')",
            status=404,
        )
    return FunctionRef(
        matched["account"] or account_id, region, matched["name"], matched["qualifier"] or qualifier or ""
    )


def requested_function(call: Call, text: str, qualifier: str | None = None) -> FunctionRef:
    """The function a request names; AccessDeniedException when it is another account's."""
    ref = parse_reference(text, call.account_id, call.region, qualifier)
    if ref.account_id != call.account_id:
        raise AwsError(
            "AccessDeniedException",
            f"User: {call.caller.arn} is not authorized to perform: lambda:{call.operation} on resource: {ref.arn} "
            f"because the function belongs to another account",
            status=403,
        )
    return ref


def unqualified_function(call: Call, text: str) -> FunctionRef:
    """The function a request names, for operations that know no versions or aliases."""
    ref = requested_function(call, text)
    if ref.qualifier:
        raise invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
    return ref
