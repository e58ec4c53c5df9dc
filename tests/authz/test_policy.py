"""What policies allow: properties that hold for every policy. Single decisions are in ``decisions.json``."""

import json
from dataclasses import replace
from typing import Any

import pytest
from authz.test_decisions import GROUPS
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.authz import wildcards
from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import Decision, DecisionCache, Question, decide

ACCOUNT = "111122223333"
OTHER = "444455556666"
ENDPOINT = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/reviews"
INVOKE = "sagemaker:InvokeEndpoint"
OBJECT = "arn:aws:s3:::bucket/data/train.csv"


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    filled = [{"Effect": "Allow", "Action": "*", "Resource": "*"} | statement for statement in statements]
    for statement, given_ in zip(filled, statements, strict=True):
        for one, other in (("Action", "NotAction"), ("Resource", "NotResource")):
            if other in given_:
                del statement[one]
    return json.dumps({"Version": version, "Statement": filled})


def user(*policies: str, session: tuple[str, ...] = (), account: str = ACCOUNT) -> Caller:
    arn = f"arn:aws:iam::{account}:user/team/ann"
    return Caller("user", account, arn, "AIDAANN", policies=policies, session_policies=session)


def session_of(*policies: str, session: tuple[str, ...] = (), account: str = ACCOUNT) -> Caller:
    return Caller(
        "assumed-role",
        account,
        f"arn:aws:sts::{account}:assumed-role/worker/s1",
        "AROAWORKER:s1",
        role_arn=f"arn:aws:iam::{account}:role/jobs/worker",
        policies=policies,
        session_policies=session,
    )


ROOT = Caller("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
ALLOW, DENY, NO = "allow", "explicit deny", "implicit deny"


def outcome(decision: Decision) -> str:
    assert not (decision.allowed and decision.explicit_deny)
    return ALLOW if decision.allowed else DENY if decision.explicit_deny else NO


CONTEXT: dict[str, str | list[str]] = {
    "aws:sourceip": "10.1.2.3",
    "aws:username": "ann",
    "aws:currenttime": "2024-05-01T12:00:00Z",
    "aws:securetransport": "false",
    "aws:sourcearn": f"arn:aws:execute-api:us-east-1:{ACCOUNT}:abc/prod/POST/reviews",
    "s3:max-keys": "10",
    "s3:prefix": "home/ann/x",
    "aws:principaltag/team": "blue",
    "aws:principaltag/odd": "a*",
    "aws:useragent": "a*",
}
CONDITIONS = [case["condition"] for group in GROUPS for case in group["cases"] if "condition" in case]


def principal(who: Any, effect: str = "Allow", **more: Any) -> str:
    return document({"Effect": effect, "Principal": who, **more})


class TestSessionPolicies:
    WIDE, NARROW, NOTHING = document({}), document({"Action": "s3:*"}), document({"Effect": "Deny"})

    @pytest.mark.parametrize(
        ("own", "session", "expected"),
        [
            (WIDE, (), ALLOW),
            (WIDE, (WIDE,), ALLOW),
            (WIDE, (NARROW,), NO),
            (WIDE, (NARROW, WIDE), ALLOW),
            (NARROW, (WIDE,), NO),
            (WIDE, (WIDE, NOTHING), DENY),
            (NOTHING, (WIDE,), DENY),
        ],
    )
    def test_they_only_narrow(self, own: str, session: tuple[str, ...], expected: str) -> None:
        assert outcome(decide(Question(session_of(own, session=session), INVOKE, ENDPOINT))) == expected

    def test_the_decision_says_which_kind_of_policy_was_in_the_way(self) -> None:
        def by(caller: Caller, *resource: str) -> str:
            return decide(Question(caller, INVOKE, ENDPOINT), resource_policies=resource).by

        assert by(session_of(self.WIDE, session=(self.NARROW,))) == "session"
        assert by(session_of(self.NARROW, session=(self.NARROW,))) == "identity-based"
        assert by(session_of(self.NOTHING)) == "identity-based"
        assert by(session_of(self.WIDE), principal("*", "Deny")) == "resource-based"


def test_the_deciding_statement_is_named() -> None:
    policy = document({"Sid": "Open"}, {"Sid": "Shut", "Effect": "Deny", "Action": "s3:*"})
    assert decide(Question(user(policy), INVOKE, ENDPOINT)).statement == "Open"
    assert decide(Question(user(policy), "s3:GetObject", OBJECT)).statement == "Shut"


def test_variables_stand_for_themselves_in_old_policies_and_never_for_wildcards() -> None:
    statement = {"Resource": "arn:aws:s3:::bucket/${aws:username}/*"}
    ann = {"aws:username": "ann"}
    star = {"aws:username": "*"}

    def asked(context: dict[str, str], version: str = "2012-10-17") -> bool:
        caller = user(document(statement, version=version))
        return decide(Question(caller, "s3:GetObject", "arn:aws:s3:::bucket/ann/x", context)).allowed

    assert asked(ann)
    assert not asked(star)
    assert not asked(ann, "2008-10-17")


class TestDecisionCache:
    def test_it_answers_as_the_evaluation_does(self) -> None:
        cache = DecisionCache(size=2)
        for _ in range(2):
            for caller in (user(), user(document({})), ROOT, session_of(document({}), session=(document(),))):
                question = Question(caller, INVOKE, ENDPOINT)
                assert cache.decide(question) == decide(question)

    def test_what_depends_on_the_request_is_not_remembered(self) -> None:
        cache = DecisionCache()
        caller = user(document({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}))
        inside = cache.decide(Question(caller, INVOKE, ENDPOINT, {"aws:sourceip": "10.0.0.1"}))
        outside = cache.decide(Question(caller, INVOKE, ENDPOINT, {"aws:sourceip": "11.0.0.1"}))
        assert (inside.allowed, outside.allowed) == (True, False)


patterns = st.text("ab*?:/", max_size=8)
texts = st.text("ab:/", max_size=8)
actions = st.builds("{}:{}".format, st.sampled_from(["s3", "sagemaker"]), texts.filter(bool))
statements = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": st.lists(patterns, max_size=3)},
    optional={
        "Resource": st.lists(patterns, min_size=1, max_size=3),
        "Condition": st.sampled_from(CONDITIONS),
    },
)
policies = st.lists(statements, max_size=4).map(lambda found: document(*found))


def naive(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return naive(pattern[1:], text) or (bool(text) and naive(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and naive(pattern[1:], text[1:])


@given(patterns, texts)
def test_wildcards_match_as_defined(pattern: str, text: str) -> None:
    assert wildcards.matches(pattern, text) == naive(pattern, text)


def test_wildcards_stay_quick_for_hostile_patterns() -> None:
    assert not wildcards.matches("*a" * 200 + "b", "a" * 20_000)


@given(policies, actions, texts)
def test_adding_a_deny_never_allows_and_adding_an_allow_never_denies(
    policy: str, action: str, resource: str
) -> None:
    before = decide(Question(user(policy), action, resource, CONTEXT))
    with_deny = decide(Question(user(policy, document({"Effect": "Deny"})), action, resource, CONTEXT))
    with_allow = decide(Question(user(policy, document({})), action, resource, CONTEXT))
    assert with_deny.explicit_deny
    assert not with_deny.allowed
    assert with_allow.allowed == (not before.explicit_deny)


@given(st.lists(policies, max_size=3), policies, actions, texts)
def test_session_policies_never_widen(own: list[str], session: str, action: str, resource: str) -> None:
    wide = decide(Question(session_of(*own), action, resource, CONTEXT))
    narrow = decide(Question(session_of(*own, session=(session,)), action, resource, CONTEXT))
    assert wide.allowed or not narrow.allowed


@given(st.lists(policies, max_size=3), st.randoms(), actions, texts)
def test_the_order_of_policies_does_not_matter(
    own: list[str], random: Any, action: str, resource: str
) -> None:
    shuffled = random.sample(own, len(own))
    one = decide(Question(user(*own), action, resource, CONTEXT))
    other = decide(Question(user(*shuffled), action, resource, CONTEXT))
    assert outcome(one) == outcome(other)


@given(policies, actions, texts)
def test_without_an_allow_nothing_is_allowed(policy: str, action: str, resource: str) -> None:
    allowed = decide(Question(user(policy), action, resource, CONTEXT)).allowed
    assert not allowed or '"Allow"' in policy


@given(st.lists(policies, max_size=3), policies, policies, actions, texts)
def test_a_boundary_never_widens_and_gives_nothing(
    own: list[str], boundary: str, resource_policy: str, action: str, resource: str
) -> None:
    for caller in (user(*own), session_of(*own)):
        bounded = replace(caller, boundary=boundary)
        for policies_ in ((), (resource_policy,)):
            wide = decide(Question(caller, action, resource, CONTEXT), resource_policies=policies_)
            narrow = decide(Question(bounded, action, resource, CONTEXT), resource_policies=policies_)
            assert wide.allowed or not narrow.allowed
    alone = decide(Question(replace(user(), boundary=boundary), action, resource, CONTEXT))
    assert not alone.allowed


@given(
    policies,
    actions,
    texts,
    st.sampled_from(["StringResembles", "stringequalz", "Null2", "ForEvery:StringLike"]),
)
def test_what_is_not_known_never_allows(policy: str, action: str, resource: str, operator: str) -> None:
    """With an operator or a key that nobody knows in each statement, nothing is allowed, and every Deny holds."""
    for condition in ({operator: {"aws:username": "ann"}}, {"StringEqualsIfExists": {"aws:unheard": "ann"}}):
        parsed = json.loads(policy)
        for statement in parsed["Statement"]:
            statement["Condition"] = condition
        decision = decide(Question(user(json.dumps(parsed)), action, resource, CONTEXT))
        assert not decision.allowed
        for statement in parsed["Statement"]:
            statement.pop("Condition")
        without = decide(Question(user(json.dumps(parsed)), action, resource, CONTEXT))
        assert decision.explicit_deny == without.explicit_deny


@given(st.lists(policies, max_size=2), policies, actions, texts)
def test_across_accounts_both_sides_are_needed(
    own: list[str], resource_policy: str, action: str, resource: str
) -> None:
    parsed = json.loads(resource_policy)
    for statement in parsed["Statement"]:
        statement["Principal"] = {"AWS": OTHER}
    theirs = json.dumps(parsed)
    caller = user(*own, account=OTHER)
    question = Question(caller, action, resource, CONTEXT)
    both = decide(question, resource_policies=(theirs,), resource_account_id=ACCOUNT)
    alone = decide(question, resource_account_id=OTHER)
    assert not both.allowed or alone.allowed
    assert not decide(question, resource_account_id=ACCOUNT).allowed
    nobody = Question(user(account=OTHER), action, resource, CONTEXT)
    assert not decide(nobody, resource_policies=(theirs,), resource_account_id=ACCOUNT).allowed
