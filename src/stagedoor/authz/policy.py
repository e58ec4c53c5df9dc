"""What policies allow. Pure; ``policy_document`` reads them.

Place in the flow: ``front.authorise`` asks ``decide`` with the caller's policies through ``services.permissions``;
``services.sts`` and those that run something with a role ask about trust policies.

The order of a decision, as AWS publishes it: an explicit Deny in any policy wins. Then one Allow is needed. Within an account
an identity policy gives it, when the permissions boundary and the session policies (if there are any) allow as well; or a
resource policy gives it: to a user, a session or everybody it gives it directly, to a role (or to the user behind a
federated session) within boundary and session, and what it gives to the account is the account's own policies' to pass on.
Across accounts the resource policy and the caller's own policies must both allow. Everything else is denied.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from stagedoor.authz import wildcards
from stagedoor.authz.caller import Caller, canonical_user_id
from stagedoor.authz.conditions import Context, is_known
from stagedoor.authz.policy_document import VARIABLE, Statement, compiled
from stagedoor.authz.request_keys import UNSAID

PolicySource = Literal["identity-based", "permissions boundary", "session", "resource-based"]

Grant = Literal["account", "role", "direct"]
"""How a statement of a resource policy names the caller: its account, its role (or the user behind a federated session), or
the caller itself."""

_LITERALS: Final = {"*": "*", "?": "?", "$": "$"}
# No statement at all: what stands for a policy that is gone.
NOTHING: Final = '{"Statement": []}'


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


@dataclass(slots=True)
class Outcome:
    """What a set of policies says: the first Allow, the first Deny. ``grants`` are the Allows by how they name the caller."""

    allow: str | None = None
    deny: str | None = None
    contextual: bool = False
    grants: dict[Grant, str] = field(default_factory=dict[Grant, str])


class Match(NamedTuple):
    """How one statement fits a question.

    ``holds`` is None when it cannot be said (an operator or a key that is not known): an Allow does not match then, and a
    Deny does. ``missed`` names the element that did not fit.
    """

    holds: bool | None
    missed: Literal["", "principal", "action", "resource", "condition"] = ""
    grant: Grant = "direct"
    contextual: bool = False


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
    identity = evaluate(own_policies, question)
    boundary = evaluate(() if caller.boundary is None else (caller.boundary,), question)
    session = evaluate(caller.session_policies, question)
    resource = evaluate(resource_policies, question, with_principal=True)
    contextual = identity.contextual or boundary.contextual or session.contextual or resource.contextual
    deciding: tuple[tuple[PolicySource, Outcome], ...] = (
        ("identity-based", identity),
        ("permissions boundary", boundary),
        ("session", session),
        ("resource-based", resource),
    )
    for source, outcome in deciding:
        if outcome.deny is not None:
            return Decision(False, True, outcome.deny, source, contextual)
    identity_allows = caller.kind == "root" or identity.allow is not None
    in_boundary = caller.boundary is None or boundary.allow is not None
    in_session = not caller.session_policies or session.allow is not None
    own_allow = identity_allows and in_boundary and in_session
    granted = resource.grants.get("direct")
    if granted is None and in_boundary and in_session:
        granted = resource.grants.get("role")
    if same_account:
        if own_allow and not resource_must_allow:
            return Decision(True, False, identity.allow, "identity-based", contextual)
        if granted is None and own_allow:
            granted = resource.grants.get("account")
        allowed = granted is not None
    else:
        granted = resource.allow
        allowed = granted is not None and (own_allow or caller.is_outside)
    if allowed:
        return Decision(True, False, granted, "resource-based", contextual)
    if (resource_must_allow or not same_account) and resource.allow is None:
        return Decision(False, False, None, "resource-based", contextual)
    by: PolicySource = "identity-based"
    if identity_allows or resource.allow is not None:
        by = "permissions boundary" if not in_boundary else "session" if not in_session else "identity-based"
    return Decision(False, False, None, by, contextual)


def evaluate(policies: Iterable[str], question: Question, *, with_principal: bool = False) -> Outcome:
    """What ``policies`` say to the question, taken together; ``with_principal`` for resource policies."""
    outcome = Outcome()
    action = question.action.lower()
    for document in policies:
        for statement in compiled(document):
            found = examine(statement, question, action, with_principal=with_principal)
            outcome.contextual = outcome.contextual or found.contextual
            if found.holds is False:
                continue
            if not statement.allows:
                outcome.deny = outcome.deny or statement.label
            elif found.holds:
                outcome.allow = outcome.allow or statement.label
                outcome.grants.setdefault(found.grant, statement.label)
    return outcome


def examine(statement: Statement, question: Question, action: str, *, with_principal: bool = False) -> Match:
    """How one statement fits; ``action`` is the question's in lower case."""
    grant: Grant = "direct"
    if with_principal:
        found = _principal_matches(statement, question.caller)
        if found is None:
            return Match(False, "principal")
        grant = found
    if any(wildcards.matches(pattern, action) for pattern in statement.actions) == statement.not_action:
        return Match(False, "action")
    matched = _resource_matches(statement, question)
    if matched is False:
        return Match(False, "resource", grant, statement.variables)
    held = _conditions_hold(statement, question.context)
    if held is False:
        return Match(False, "condition", grant, True)
    unclear = matched is None or held is None
    return Match(None if unclear else True, "condition" if unclear else "", grant, statement.contextual)


# --- Principals -------------------------------------------------------------------------------------------------


def _principal_matches(statement: Statement, caller: Caller) -> Grant | None:
    """How the statement names the caller; None when it does not."""
    if statement.principals is None:
        return None
    found: set[Grant] = set()
    unknown = False
    for kind, values in statement.principals.items():
        if kind == "AWS":
            found.update(match for value in values if (match := _aws_principal(value, caller)) is not None)
        elif kind == "CanonicalUser":
            found.update(match for value in values if (match := _canonical(value, caller)) is not None)
        elif kind in {"Service", "Federated"}:
            wanted = "service" if kind == "Service" else "web-identity"
            if caller.kind == wanted and any(value in {caller.arn, "*"} for value in values):
                found.add("direct")
        else:
            unknown = True
    if statement.not_principal:
        return _not_principal(statement, caller, found, unknown=unknown)
    for grant in ("direct", "role", "account"):
        if grant in found:
            return grant
    # What cannot be told apart here: such a Deny holds for everybody.
    return "direct" if unknown and not statement.allows else None


def _not_principal(statement: Statement, caller: Caller, found: set[Grant], *, unknown: bool) -> Grant | None:
    """A Deny spares only who is named itself (a session: with its role); an Allow skips whoever is named in any way."""
    if statement.allows:
        return None if found or unknown else "direct"
    spared = "direct" in found and (caller.role_arn is None or "role" in found)
    return None if spared else "direct"


def _aws_principal(value: str, caller: Caller) -> Grant | None:
    if value == "*":
        # Everybody, so also the session itself, whatever narrows its role.
        return "direct"
    if caller.is_outside:
        return None
    if value in {caller.account_id, f"arn:aws:iam::{caller.account_id}:root"}:
        return "direct" if caller.kind == "root" else "account"
    if value == caller.arn:
        return "direct"
    if value in {caller.role_arn, caller.issuer_arn}:
        return "role"
    if value == caller.user_id.partition(":")[0]:
        return "direct" if caller.kind == "user" else "role"
    return None


def _canonical(value: str, caller: Caller) -> Grant | None:
    if value == "*":
        return "direct"
    if caller.is_outside or value != canonical_user_id(caller.account_id):
        return None
    return "direct" if caller.kind == "root" else "account"


# --- Resources, conditions, variables ---------------------------------------------------------------------------


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
        if isinstance(found, str) and found != UNSAID:
            return wildcards.escape(found)
        if comma and found is None and is_known(name.strip()):
            return wildcards.escape(default.strip().strip("'"))
        missing = True
        return ""

    filled = VARIABLE.sub(value, pattern)
    return None if missing else filled


def _variables_known(pattern: str) -> bool:
    return all(
        name in _LITERALS or is_known(name.partition(",")[0].strip()) for name in VARIABLE.findall(pattern)
    )


# --- Remembering ------------------------------------------------------------------------------------------------


class DecisionCache:
    """Decisions that depended on nothing but caller, action and resource: one look-up for the next same question."""

    def __init__(self, size: int = 16_384) -> None:
        self._size = size
        self._decisions: dict[tuple[Any, ...], Decision] = {}

    def recall(self, caller: Caller, action: str, resource: str) -> Decision | None:
        """What was decided before, if that holds for every such request."""
        return self._decisions.get(_cache_key(caller, action, resource))

    def decide(self, question: Question) -> Decision:
        """As ``decide`` without resource policies, in the caller's own account."""
        key = _cache_key(question.caller, question.action, question.resource)
        found = self._decisions.get(key)
        if found is None:
            found = decide(question)
            if not found.contextual:
                if len(self._decisions) >= self._size:
                    self._decisions.clear()
                self._decisions[key] = found
        return found


def _cache_key(caller: Caller, action: str, resource: str) -> tuple[Any, ...]:
    return (caller.kind, caller.policies, caller.boundary, caller.session_policies, action, resource)
