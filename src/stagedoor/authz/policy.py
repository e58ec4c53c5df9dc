"""IAM policies: read a document, say what is wrong with it, decide what it allows. Pure; documents are cached by text.

Place in the flow: ``front.authorise`` asks ``decide`` with the caller's policies; ``services.iam`` and ``services.s3`` ask
``validate`` before they store a document; ``services.sts`` asks about trust policies.

The order of a decision: an explicit Deny anywhere wins; within one account an Allow by an identity or a resource policy
is enough; across accounts both must allow; session policies only narrow. Everything else is denied.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeGuard, cast

from stagedoor.authz import wildcards
from stagedoor.authz.caller import Caller
from stagedoor.authz.conditions import Condition, Context, is_known

PolicyKind = Literal["identity", "resource", "trust"]
PolicySource = Literal["identity-based", "session", "resource-based"]

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
_ACCOUNT: Final = re.compile(r"\d{12}").fullmatch
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_LITERALS: Final = {"*": "*", "?": "?", "$": "$"}
_STS_ACTIONS: Final = (
    "sts:assumerole",
    "sts:tagsession",
    "sts:setsourceidentity",
    "sts:setcontext",
    "sts:assumerole*",
)


class PolicyError(Exception):
    """A document that is no policy. The text is AWS's for ``MalformedPolicyDocument`` (S3: ``MalformedPolicy``)."""


class Question(NamedTuple):
    """May ``caller`` do ``action`` on ``resource``? ``context`` has lower-case condition keys."""

    caller: Caller
    action: str
    resource: str
    context: Context = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. ``statement`` is the Sid or number of the statement that decided, if one did.

    ``by`` is the kind of policy that decided: the one with the Allow or the Deny, or the one that lacks an Allow.
    ``contextual`` says that conditions or variables were looked at, so the decision holds for this request only.
    """

    allowed: bool
    explicit_deny: bool = False
    statement: str | None = None
    by: PolicySource = "identity-based"
    contextual: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One compiled statement. Names of actions are lower case."""

    label: str
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


@dataclass(slots=True)
class _Outcome:
    """What a set of policies says: the first Allow, the first Deny."""

    allow: str | None = None
    deny: str | None = None
    contextual: bool = False
    # For resource policies: the Allow names the caller's account only, so the account's own policies decide.
    delegated: bool = False
    # For resource policies: the Allow names this very session, which session policies do not narrow.
    names_session: bool = False


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
    _conditions(statement.get("Condition", {}))


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
            or re.fullmatch(
                r"arn:aws[a-z\-]*:(iam|sts)::\d{12}:(root|(user|role|assumed-role|federated-user)/[^*?]+)",
                value,
            )
            is not None
        )
    if name == "Service":
        return (
            re.fullmatch(
                r"[a-z0-9\-.]+\.(amazonaws\.com|amazonaws\.com\.cn|aws\.internal|amazon\.com)", value
            )
            is not None
        )
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


# --- Deciding ---------------------------------------------------------------------------------------------------


def decide(
    question: Question,
    *,
    resource_policies: Sequence[str] = (),
    resource_account_id: str = "",
    identity_policies: tuple[str, ...] | None = None,
    resource_must_allow: bool = False,
) -> Decision:
    """Whether the caller may. Root may do everything in its own account that no resource policy denies.

    ``resource_policies`` are those of the resource itself; ``resource_account_id`` is whose it is (empty: the caller's).
    ``identity_policies`` replaces the caller's own ones (SimulateCustomPolicy and the like). ``resource_must_allow`` is for
    trust policies: the caller's own policies are never enough.
    """
    caller = question.caller
    same_account = not resource_account_id or caller.account_id == resource_account_id
    own_policies = caller.policies if identity_policies is None else identity_policies
    identity = _evaluate(own_policies, question, with_principal=False)
    session = _evaluate(caller.session_policies, question, with_principal=False)
    resource = _evaluate(resource_policies, question, with_principal=True)
    contextual = identity.contextual or session.contextual or resource.contextual
    deciding: tuple[tuple[PolicySource, _Outcome], ...] = (
        ("identity-based", identity),
        ("session", session),
        ("resource-based", resource),
    )
    for source, outcome in deciding:
        if outcome.deny is not None:
            return Decision(False, True, outcome.deny, source, contextual)
    identity_allows = caller.kind == "root" or identity.allow is not None
    session_allows = not caller.session_policies or session.allow is not None
    own_allow = identity_allows and session_allows
    resource_allows = resource.allow is not None and (session_allows or resource.names_session)
    if same_account and resource_must_allow:
        allowed = resource_allows and (own_allow or not resource.delegated)
    elif same_account:
        allowed = own_allow or (resource_allows and not resource.delegated)
    else:
        allowed = resource_allows and (own_allow or caller.kind in {"anonymous", "service"})
    if allowed:
        own = own_allow and same_account
        allow = identity.allow if own else resource.allow
        return Decision(True, False, allow, "identity-based" if own else "resource-based", contextual)
    if (resource_must_allow or not same_account) and resource.allow is None:
        return Decision(False, False, None, "resource-based", contextual)
    narrowed = not session_allows and (identity_allows or resource.allow is not None)
    return Decision(False, False, None, "session" if narrowed else "identity-based", contextual)


def _evaluate(policies: Iterable[str], question: Question, *, with_principal: bool) -> _Outcome:
    outcome = _Outcome()
    action = question.action.lower()
    for document in policies:
        for statement in compiled(document):
            _apply(statement, question, action, outcome, with_principal=with_principal)
    return outcome


def _apply(
    statement: Statement, question: Question, action: str, outcome: _Outcome, *, with_principal: bool
) -> None:
    grant = "principal"
    if with_principal:
        found = _principal_matches(statement, question.caller)
        if found is None:
            return
        grant = found
    if any(wildcards.matches(pattern, action) for pattern in statement.actions) == statement.not_action:
        return
    matched = _resource_matches(statement, question)
    if matched is False:
        outcome.contextual = outcome.contextual or statement.variables
        return
    if statement.contextual:
        outcome.contextual = True
    held = _conditions_hold(statement, question.context)
    if held is False:
        return
    # None means that it cannot be said: an Allow does not match then, and a Deny does.
    unclear = matched is None or held is None
    if statement.allows:
        if unclear:
            return
        if outcome.allow is None or (outcome.delegated and grant != "account"):
            outcome.allow, outcome.delegated = statement.label, grant == "account"
        outcome.names_session = outcome.names_session or grant == "session"
    elif outcome.deny is None:
        outcome.deny = statement.label


def _principal_matches(
    statement: Statement, caller: Caller
) -> Literal["account", "principal", "session"] | None:
    """How the statement names the caller; None when it does not."""
    if statement.principals is None:
        return None
    found: list[Literal["account", "principal", "session"]] = []
    unknown = False
    for kind, values in statement.principals.items():
        if kind == "AWS":
            found.extend(match for value in values if (match := _aws_principal(value, caller)) is not None)
        elif kind == "Service":
            found.extend("principal" for value in values if caller.kind == "service" and caller.arn == value)
        else:
            unknown = True
    if statement.not_principal:
        return None if found else "principal"
    if found:
        return "session" if "session" in found else "principal" if "principal" in found else "account"
    # Federated and canonical users are not told apart here: such a Deny holds for everybody.
    return "principal" if unknown and not statement.allows else None


def _aws_principal(value: str, caller: Caller) -> Literal["account", "principal", "session"] | None:
    if value == "*":
        return "principal"
    if caller.kind in {"anonymous", "service"}:
        return None
    if value in {caller.account_id, f"arn:aws:iam::{caller.account_id}:root"}:
        return "principal" if caller.kind == "root" else "account"
    if value == caller.arn:
        return "session" if caller.kind == "assumed-role" else "principal"
    if value in {caller.role_arn, caller.user_id.partition(":")[0]}:
        return "principal"
    return None


def _resource_matches(statement: Statement, question: Question) -> bool | None:
    unclear = False
    for pattern in statement.resources:
        filled: str | None = pattern
        if statement.variables and "${" in pattern:
            filled = _fill(pattern, question.context)
        if filled is None:
            unclear = unclear or not _variables_known(pattern)
        elif wildcards.matches(filled, question.resource):
            return not statement.not_resource
    if unclear:
        return None
    return statement.not_resource


def _conditions_hold(statement: Statement, context: Context) -> bool | None:
    unclear = False
    for condition in statement.conditions:
        values = condition.values
        if statement.variables:
            filled = [_fill(value, context) if "${" in value else value for value in values]
            if not all(_variables_known(value) for value in values):
                unclear = True
                continue
            values = tuple(value for value in filled if value is not None)
        held = condition.holds(values, context)
        if held is False:
            return False
        unclear = unclear or held is None
    return None if unclear else True


def _fill(pattern: str, context: Context) -> str | None:
    """``pattern`` with its variables' values; None when one has none in this request."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        name, comma, default = match[1].partition(",")
        if name in _LITERALS:
            return wildcards.escape(_LITERALS[name])
        found = context.get(name.strip().lower())
        if isinstance(found, str):
            return wildcards.escape(found)
        if comma:
            return wildcards.escape(default.strip().strip("'"))
        missing = True
        return ""

    filled = _VARIABLE.sub(value, pattern)
    return None if missing else filled


def _variables_known(pattern: str) -> bool:
    return all(
        name in _LITERALS or is_known(name.partition(",")[0].strip()) for name in _VARIABLE.findall(pattern)
    )


# --- Remembering ------------------------------------------------------------------------------------------------


class DecisionCache:
    """Decisions that depended on nothing but caller, action and resource: one look-up for the next same question."""

    def __init__(self, size: int = 16_384) -> None:
        self._size = size
        self._decisions: dict[tuple[Any, ...], Decision] = {}

    def recall(self, caller: Caller, action: str, resource: str) -> Decision | None:
        """What was decided before, if that holds for every such request."""
        return self._decisions.get((caller.kind, caller.policies, caller.session_policies, action, resource))

    def decide(self, question: Question) -> Decision:
        """As ``decide`` without resource policies, in the caller's own account."""
        caller = question.caller
        found = self.recall(caller, question.action, question.resource)
        if found is None:
            found = decide(question)
            if not found.contextual:
                if len(self._decisions) >= self._size:
                    self._decisions.clear()
                key = (
                    caller.kind,
                    caller.policies,
                    caller.session_policies,
                    question.action,
                    question.resource,
                )
                self._decisions[key] = found
        return found
