"""Policy documents: read one into statements, say what is wrong with one. Pure; read documents are kept by their text.

Place in the flow: ``policy`` decides over what ``compiled`` makes of a stored document; ``services.iam``, ``services.s3`` and
``services.apigateway`` ask ``validate`` before they store one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeGuard, cast

from stagedoor.authz.conditions import Condition, is_operator

PolicyKind = Literal["identity", "resource", "trust"]

_TOP_LEVEL: Final = {"Version", "Id", "Statement"}
_STATEMENT: Final = {
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}
_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_SYNTAX: Final = "Syntax errors in policy."
_SID: Final = re.compile(r"[0-9A-Za-z]*").fullmatch
_VENDOR: Final = re.compile(r"[A-Za-z0-9\-*?]+").fullmatch
_PARTITION: Final = re.compile(r"aws[a-z\-]*|\*").fullmatch
_PRINCIPAL_ARN: Final = re.compile(
    r"arn:aws[a-z\-]*:(iam|sts)::\d{12}:(root|(user|role|assumed-role|federated-user)/[^*?]+)"
).fullmatch
VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_ACCOUNT: Final = re.compile(r"\d{12}").fullmatch


class PolicyError(Exception):
    """A document that is no policy. The text is AWS's for ``MalformedPolicyDocument`` (S3: ``MalformedPolicy``)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One read statement. Names of actions are lower case. ``number`` counts from 1, ``label`` is its Sid or that number."""

    label: str
    number: int
    allows: bool
    actions: tuple[str, ...]
    not_action: bool
    resources: tuple[str, ...]
    not_resource: bool
    principals: Mapping[str, tuple[str, ...]] | None
    not_principal: bool
    conditions: tuple[Condition, ...]
    variables: bool

    @property
    def contextual(self) -> bool:
        return bool(self.conditions) or self.variables


# --- Reading ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def compiled(document: str) -> tuple[Statement, ...]:
    """The statements of a stored document. PolicyError when it cannot be read."""
    parsed = _load(document)
    with_variables = parsed.get("Version") == "2012-10-17"
    return tuple(
        _statement(statement, number, with_variables)
        for number, statement in enumerate(_as_list(parsed.get("Statement", [])), start=1)
    )


def variables_of(statement: Statement) -> set[str]:
    """The names of the condition keys that a statement uses as variables."""
    if not statement.variables:
        return set()
    texts = (*statement.resources, *(value for one in statement.conditions for value in one.values))
    names = {name.partition(",")[0].strip() for text in texts for name in VARIABLE.findall(text)}
    return names - {"*", "?", "$"}


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """JSON objects have no other keys than texts."""
    return isinstance(value, dict)


def _as_list(value: object) -> list[Any]:
    """What a document may write as one value or as a list of them."""
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _load(document: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise PolicyError(_SYNTAX)
        return found

    try:
        parsed: object = json.loads(document, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise PolicyError("This policy contains invalid Json") from None
    if not _is_object(parsed):
        raise PolicyError(_SYNTAX)
    return parsed


def _texts(value: object) -> tuple[str, ...]:
    """A text or a list of texts; PolicyError for anything else."""
    items = _as_list(value)
    if not all(isinstance(item, str) for item in items):
        raise PolicyError(_SYNTAX)
    return tuple(items)


def _values(value: object) -> tuple[str, ...]:
    """Condition values: texts, numbers, booleans."""
    found: list[str] = []
    for item in _as_list(value):
        if isinstance(item, bool):
            found.append("true" if item else "false")
        elif isinstance(item, str | int | float):
            found.append(str(item))
        else:
            raise PolicyError(_SYNTAX)
    return tuple(found)


def _statement(source: object, number: int, with_variables: bool) -> Statement:
    if not _is_object(source) or source.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(_SYNTAX)
    not_action, not_resource = "NotAction" in source, "NotResource" in source
    actions = _texts(source.get("NotAction" if not_action else "Action", []))
    resources = _texts(source.get("NotResource" if not_resource else "Resource", "*"))
    conditions = _conditions(source.get("Condition", {}))
    not_principal = "NotPrincipal" in source
    stated = source.get("NotPrincipal" if not_principal else "Principal")
    variables = with_variables and any(
        "${" in text for text in (*resources, *(value for one in conditions for value in one.values))
    )
    return Statement(
        str(source.get("Sid") or number),
        number,
        source["Effect"] == "Allow",
        tuple(action.lower() for action in actions),
        not_action,
        resources,
        not_resource,
        None if stated is None else _principals(stated),
        not_principal,
        conditions,
        variables,
    )


def _conditions(block: object) -> tuple[Condition, ...]:
    if not _is_object(block):
        raise PolicyError(_SYNTAX)
    found: list[Condition] = []
    for operator, keys in block.items():
        if not _is_object(keys):
            raise PolicyError(_SYNTAX)
        found.extend(Condition(operator, key, _values(values)) for key, values in keys.items())
    return tuple(found)


def _principals(stated: object) -> dict[str, tuple[str, ...]]:
    if stated == "*":
        return {"AWS": ("*",)}
    if not _is_object(stated) or not stated:
        raise PolicyError(_SYNTAX)
    return {kind: _texts(value) for kind, value in stated.items()}


# --- Validating -------------------------------------------------------------------------------------------------


def validate(document: str, kind: PolicyKind) -> None:
    """PolicyError, with AWS's text, unless ``document`` may be stored as a policy of this kind."""
    parsed = _load(document)
    if set(parsed) - _TOP_LEVEL or "Statement" not in parsed:
        raise PolicyError(_SYNTAX)
    if parsed.get("Version", _VERSIONS[1]) not in _VERSIONS:
        raise PolicyError(_SYNTAX)
    if kind == "identity" and parsed.get("Version") != _VERSIONS[0]:
        raise PolicyError("Policy document must be version 2012-10-17 or greater.")
    if not isinstance(parsed.get("Id", ""), str):
        raise PolicyError(_SYNTAX)
    statements = _as_list(parsed["Statement"])
    if not statements:
        raise PolicyError(_SYNTAX)
    sids: set[str] = set()
    for statement in statements:
        if not _is_object(statement) or set(statement) - _STATEMENT:
            raise PolicyError(_SYNTAX)
        _validate_statement(statement, kind)
        sid: str = statement.get("Sid", "")
        if kind == "identity" and not _SID(sid):
            raise PolicyError(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular "
                "expression [0-9A-Za-z]*"
            )
        if sid and sid in sids:
            raise PolicyError("Statement IDs (SID) in a single policy must be unique.")
        sids.add(sid)
    compiled(document)


def _validate_statement(statement: Mapping[str, Any], kind: PolicyKind) -> None:
    if not isinstance(statement.get("Sid", ""), str) or statement.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(_SYNTAX)
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")):
        if one in statement and other in statement:
            raise PolicyError(_SYNTAX)
    _validate_principal(statement, kind)
    actions = _texts(statement.get("Action", statement.get("NotAction", [])))
    if not actions:
        raise PolicyError("Policy statement must contain actions.")
    for action in actions:
        _validate_action(action)
    if kind == "trust":
        if "Resource" in statement or "NotResource" in statement:
            raise PolicyError("Has prohibited field Resource")
        if not all(action.lower().startswith("sts:") or action == "*" for action in actions):
            raise PolicyError("AssumeRole policy may only specify STS AssumeRole actions.")
    else:
        resources = _texts(statement.get("Resource", statement.get("NotResource", [])))
        if not resources:
            raise PolicyError("Policy statement must contain resources.")
        for resource in resources:
            _validate_resource(resource)
    for condition in _conditions(statement.get("Condition", {})):
        if not is_operator(condition.operator):
            raise PolicyError(f"Invalid Condition type : {condition.operator}")
        if not condition.key or not condition.values:
            raise PolicyError(_SYNTAX)


def _validate_principal(statement: Mapping[str, Any], kind: PolicyKind) -> None:
    stated = statement.get("Principal", statement.get("NotPrincipal"))
    if kind == "identity":
        if stated is not None:
            raise PolicyError("Policy document should not specify a principal.")
        return
    if stated is None:
        raise PolicyError(
            "Missing required field Principal" + (" cannot be empty!" if kind == "trust" else "")
        )
    for name, values in _principals(stated).items():
        if name not in {"AWS", "Service", "Federated", "CanonicalUser"} or not values:
            raise PolicyError(f'Invalid principal in policy: "{name}"')
        for value in values:
            if not _is_principal(name, value):
                raise PolicyError(f'Invalid principal in policy: "{name}":"{value}"')


def _is_principal(name: str, value: str) -> bool:
    if name == "AWS":
        return (
            value == "*"
            or _ACCOUNT(value) is not None
            or re.fullmatch(r"A[A-Z0-9]{15,30}", value) is not None
            or _PRINCIPAL_ARN(value) is not None
        )
    if name == "Service":
        return (
            re.fullmatch(
                r"[a-z0-9\-.]+\.(amazonaws\.com|amazonaws\.com\.cn|aws\.internal|amazon\.com)", value
            )
            is not None
        )
    if name == "CanonicalUser":
        return re.fullmatch(r"[0-9a-f]{64}|\*", value) is not None
    return bool(value)


def _validate_action(action: str) -> None:
    if action == "*":
        return
    vendor, colon, name = action.partition(":")
    if not colon:
        raise PolicyError("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    if not _VENDOR(vendor):
        raise PolicyError(f"Vendor {vendor} is not valid")
    if not re.fullmatch(r"[A-Za-z0-9*?\-]+", name):
        raise PolicyError("Actions/Condition can contain only one colon." if ":" in name else _SYNTAX)


def _validate_resource(resource: str) -> None:
    if resource == "*":
        return
    parts = resource.split(":", 5)
    if parts[0] != "arn":
        raise PolicyError(f'Resource {resource} must be in ARN format or "*".')
    if len(parts) < 6 and "*" not in parts[-1]:
        raise PolicyError(f'Resource {resource} must be in ARN format or "*".')
    if len(parts) > 1 and not _PARTITION(parts[1]):
        raise PolicyError(f'Partition "{parts[1]}" is not valid for resource "{resource}".')
    if len(parts) == 6 and not parts[5]:
        raise PolicyError("The policy failed legacy parsing")
