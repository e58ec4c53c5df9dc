"""What policies allow: one table of decisions, and properties that hold for every policy."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.authz import wildcards
from stagedoor.authz.caller import ANONYMOUS, Caller, canonical_user_id, service_caller
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


ACTIONS_AND_RESOURCES = [
    # statements, action, resource, outcome
    ([], INVOKE, ENDPOINT, NO),
    ([{}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": INVOKE}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": "SAGEMAKER:invokeendpoint"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": "sagemaker:InvokeEndpointAsync"}], INVOKE, ENDPOINT, NO),
    ([{"Action": "sagemaker:Invoke*"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": "sagemaker:*Endpoint"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": "sagemaker:*vok*point"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": "sagemaker:In?okeEndpoint"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": "sagemaker:?InvokeEndpoint"}], INVOKE, ENDPOINT, NO),
    ([{"Action": "sage*:Invoke*"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": "s3:*"}], INVOKE, ENDPOINT, NO),
    ([{"Action": ["s3:*", INVOKE]}], INVOKE, ENDPOINT, ALLOW),
    ([{"Action": []}], INVOKE, ENDPOINT, NO),
    ([{"NotAction": "s3:*"}], INVOKE, ENDPOINT, ALLOW),
    ([{"NotAction": "s3:*"}], "s3:GetObject", OBJECT, NO),
    ([{"NotAction": ["s3:*", "SageMaker:Invoke*"]}], INVOKE, ENDPOINT, NO),
    ([{"NotAction": "*"}], INVOKE, ENDPOINT, NO),
    ([{"Resource": ENDPOINT}], INVOKE, ENDPOINT, ALLOW),
    ([{"Resource": ENDPOINT + "x"}], INVOKE, ENDPOINT, NO),
    ([{"Resource": ENDPOINT[:-1]}], INVOKE, ENDPOINT, NO),
    ([{"Resource": ENDPOINT.upper()}], INVOKE, ENDPOINT, NO),
    ([{"Resource": "arn:aws:sagemaker:*:*:endpoint/reviews"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Resource": "arn:aws:sagemaker:*:*:endpoint/rev*"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Resource": "arn:aws:sagemaker:*:*:endpoint/*s"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Resource": "arn:aws:sagemaker:*:*:endpoint/r*w*s"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Resource": "arn:aws:sagemaker:*:*:endpoint/??views"}], INVOKE, ENDPOINT, ALLOW),
    ([{"Resource": "arn:aws:sagemaker:*:*:endpoint/?views"}], INVOKE, ENDPOINT, NO),
    ([{"Resource": "arn:aws:sagemaker:*:*:model/*"}], INVOKE, ENDPOINT, NO),
    ([{"Resource": f"arn:aws:sagemaker:eu-*:{ACCOUNT}:endpoint/*"}], INVOKE, ENDPOINT, NO),
    ([{"Resource": f"arn:aws:sagemaker:*:{OTHER}:endpoint/*"}], INVOKE, ENDPOINT, NO),
    ([{"Resource": ["arn:aws:s3:::*", ENDPOINT]}], INVOKE, ENDPOINT, ALLOW),
    ([{"Resource": "arn:aws:s3:::bucket"}], "s3:GetObject", OBJECT, NO),
    ([{"Resource": "arn:aws:s3:::bucket/*"}], "s3:GetObject", OBJECT, ALLOW),
    ([{"Resource": "arn:aws:s3:::bucket/*.csv"}], "s3:GetObject", OBJECT, ALLOW),
    ([{"Resource": "arn:aws:s3:::b*t/*/t*.csv"}], "s3:GetObject", OBJECT, ALLOW),
    ([{"Resource": "arn:aws:s3:::bucket/*"}], "s3:ListBucket", "arn:aws:s3:::bucket", NO),
    ([{"NotResource": "arn:aws:s3:::secret/*"}], "s3:GetObject", OBJECT, ALLOW),
    ([{"NotResource": "arn:aws:s3:::bucket/*"}], "s3:GetObject", OBJECT, NO),
    ([{"NotResource": ["arn:aws:s3:::a", "arn:aws:s3:::bucket/data/*"]}], "s3:GetObject", OBJECT, NO),
    ([{}, {"Effect": "Deny", "Action": INVOKE}], INVOKE, ENDPOINT, DENY),
    ([{"Effect": "Deny", "Action": INVOKE}, {}], INVOKE, ENDPOINT, DENY),
    ([{}, {"Effect": "Deny", "Action": "s3:*"}], INVOKE, ENDPOINT, ALLOW),
    ([{}, {"Effect": "Deny", "Resource": "*/reviews"}], INVOKE, ENDPOINT, DENY),
    ([{}, {"Effect": "Deny", "NotAction": "s3:*"}], INVOKE, ENDPOINT, DENY),
    ([{}, {"Effect": "Deny", "NotAction": "sagemaker:*"}], INVOKE, ENDPOINT, ALLOW),
    ([{}, {"Effect": "Deny", "NotResource": ENDPOINT}], INVOKE, ENDPOINT, ALLOW),
    ([{}, {"Effect": "Deny", "NotResource": "arn:aws:s3:::*"}], INVOKE, ENDPOINT, DENY),
    ([{"Effect": "Deny"}], INVOKE, ENDPOINT, DENY),
    ([{"Resource": "${aws:username}"}], INVOKE, ENDPOINT, NO),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "action", "resource", "expected"), ACTIONS_AND_RESOURCES)
def test_actions_and_resources(statements: list[dict], action: str, resource: str, expected: str) -> None:
    assert outcome(decide(Question(user(document(*statements)), action, resource))) == expected
    # Spread over several policies they say the same.
    spread = tuple(document(statement) for statement in statements)
    assert outcome(decide(Question(user(*spread), action, resource))) == expected


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
CONDITIONS = [
    # condition, whether it holds; None: cannot be said
    ({"StringEquals": {"aws:username": "ann"}}, True),
    ({"StringEquals": {"AWS:UserName": ["bob", "ann"]}}, True),
    ({"StringEquals": {"aws:username": "Ann"}}, False),
    ({"StringEqualsIgnoreCase": {"aws:username": "Ann"}}, True),
    ({"StringNotEquals": {"aws:username": ["bob", "ann"]}}, False),
    ({"StringNotEquals": {"aws:username": ["bob", "eve"]}}, True),
    ({"StringNotEquals": {"aws:referer": "x"}}, True),
    ({"StringEquals": {"aws:referer": "x"}}, False),
    ({"StringEqualsIfExists": {"aws:referer": "x"}}, True),
    ({"StringEqualsIfExists": {"aws:username": "x"}}, False),
    ({"StringLike": {"s3:prefix": ["home/${aws:username}/*"]}}, True),
    ({"StringLike": {"s3:prefix": ["home/${aws:userid}/*"]}}, False),
    ({"StringLike": {"s3:prefix": ["home/${aws:userid, 'ann'}/*"]}}, True),
    ({"StringLike": {"s3:prefix": ["home/${aws:Unheard}/*"]}}, None),
    ({"StringNotLike": {"s3:prefix": "home/*"}}, False),
    ({"StringEquals": {"aws:UserAgent": "${aws:PrincipalTag/odd}"}}, True),
    ({"StringEquals": {"aws:UserAgent": "a${*}"}}, True),
    ({"StringLike": {"aws:UserAgent": "${aws:PrincipalTag/odd}"}}, True),
    ({"StringLike": {"s3:prefix": "home/ann${*}"}}, False),
    ({"ArnLike": {"aws:SourceArn": f"arn:aws:execute-api:us-east-1:{ACCOUNT}:abc/*/POST/*"}}, True),
    ({"ArnLike": {"aws:SourceArn": "arn:aws:execute-api:*"}}, False),
    ({"ArnEquals": {"aws:SourceArn": f"arn:aws:execute-api:*:{ACCOUNT}:other/*"}}, False),
    ({"ArnNotLike": {"aws:SourceArn": "arn:aws:execute-api:*:*:other/*"}}, True),
    ({"Bool": {"aws:SecureTransport": "false"}}, True),
    ({"Bool": {"aws:SecureTransport": True}}, False),
    ({"Bool": {"aws:MultiFactorAuthPresent": "false"}}, False),
    ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}, True),
    ({"Null": {"aws:MultiFactorAuthPresent": "true"}}, True),
    ({"Null": {"aws:username": "true"}}, False),
    ({"Null": {"aws:username": "false"}}, True),
    ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, True),
    ({"NumericLessThan": {"s3:max-keys": 10}}, False),
    ({"NumericGreaterThan": {"s3:max-keys": "9.5"}}, True),
    ({"NumericEquals": {"s3:max-keys": "many"}}, None),
    ({"DateGreaterThan": {"aws:CurrentTime": "2024-01-01T00:00:00Z"}}, True),
    ({"DateLessThan": {"aws:CurrentTime": "2024-05-01"}}, False),
    ({"DateLessThan": {"aws:CurrentTime": "someday"}}, None),
    ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True),
    ({"IpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.1.2.3"]}}, True),
    ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
    ({"IpAddress": {"aws:SourceIp": "here"}}, None),
    ({"StringEquals": {"aws:PrincipalTag/team": "blue"}}, True),
    ({"ForAnyValue:StringEquals": {"aws:username": ["ann"]}}, True),
    ({"ForAnyValue:StringEquals": {"aws:referer": ["x"]}}, False),
    ({"ForAllValues:StringEquals": {"aws:referer": ["x"]}}, True),
    ({"StringEquals": {"aws:username": "ann"}, "Bool": {"aws:SecureTransport": "true"}}, False),
    ({"StringEquals": {"aws:username": "ann", "s3:prefix": "home/ann/x"}}, True),
    ({"StringResembles": {"aws:username": "ann"}}, None),
    ({"StringEquals": {"aws:Unheard": "ann"}}, None),
    ({"StringEqualsIfExists": {"aws:Unheard": "ann"}}, None),
    ({"Null": {"sagemaker:Unheard": "true"}}, None),
    ({"StringEquals": {"aws:Unheard": "x"}, "Bool": {"aws:SecureTransport": "true"}}, False),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS)
def test_conditions(condition: dict[str, Any], holds: bool | None) -> None:
    def asked(*statements: dict[str, Any]) -> str:
        return outcome(
            decide(Question(user(document(*statements)), "s3:ListBucket", "arn:aws:s3:::b", CONTEXT))
        )

    assert asked({"Condition": condition}) == (ALLOW if holds is True else NO)
    # What cannot be said never allows, and always denies.
    assert asked({}, {"Effect": "Deny", "Condition": condition}) == (ALLOW if holds is False else DENY)


def principal(who: Any, effect: str = "Allow", **more: Any) -> str:
    return document({"Effect": effect, "Principal": who, **more})


RESOURCE_POLICIES = [
    # caller, resource policies, the resource's account, outcome
    (user(), [principal("*")], ACCOUNT, ALLOW),
    (user(), [principal({"AWS": "*"})], ACCOUNT, ALLOW),
    (ANONYMOUS, [principal("*")], ACCOUNT, ALLOW),
    (ANONYMOUS, [principal({"AWS": ACCOUNT})], ACCOUNT, NO),
    (ANONYMOUS, [], ACCOUNT, NO),
    (user(), [principal({"AWS": user().arn})], ACCOUNT, ALLOW),
    (user(), [principal({"AWS": [OTHER, user().arn]})], ACCOUNT, ALLOW),
    (user(), [principal({"AWS": user().arn + "x"})], ACCOUNT, NO),
    (user(), [principal({"AWS": "AIDAANN"})], ACCOUNT, ALLOW),
    # Naming the account leaves it to the account's own policies.
    (user(), [principal({"AWS": ACCOUNT})], ACCOUNT, NO),
    (user(document({})), [principal({"AWS": ACCOUNT})], ACCOUNT, ALLOW),
    (user(), [principal({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})], ACCOUNT, NO),
    (user(), [principal({"AWS": ACCOUNT}), principal({"AWS": user().arn})], ACCOUNT, ALLOW),
    (session_of(), [principal({"AWS": "arn:aws:iam::111122223333:role/jobs/worker"})], ACCOUNT, ALLOW),
    (session_of(), [principal({"AWS": "arn:aws:iam::111122223333:role/worker"})], ACCOUNT, NO),
    (session_of(), [principal({"AWS": session_of().arn})], ACCOUNT, ALLOW),
    (session_of(session=(document({"Action": "s3:*"}),)), [principal({"AWS": session_of().arn})], ACCOUNT, ALLOW),
    (session_of(session=(document({"Action": "s3:*"}),)), [principal({"AWS": "AROAWORKER"})], ACCOUNT, NO),
    # Across accounts both sides must allow.
    (user(account=OTHER), [principal("*")], ACCOUNT, NO),
    (user(document({}), account=OTHER), [], ACCOUNT, NO),
    (user(document({}), account=OTHER), [principal("*")], ACCOUNT, ALLOW),
    (user(document({}), account=OTHER), [principal({"AWS": OTHER})], ACCOUNT, ALLOW),
    (user(document({}), account=OTHER), [principal({"AWS": ACCOUNT})], ACCOUNT, NO),
    # Root is limited by resource policies alone, and only where it does not own the resource.
    (ROOT, [], ACCOUNT, ALLOW),
    (ROOT, [], OTHER, NO),
    (ROOT, [principal({"AWS": ACCOUNT})], OTHER, ALLOW),
    (ROOT, [principal("*", "Deny")], ACCOUNT, DENY),
    (user(document({})), [principal({"AWS": user().arn}, "Deny")], ACCOUNT, DENY),
    (user(document({})), [principal({"AWS": OTHER}, "Deny")], ACCOUNT, ALLOW),
    # Services.
    (service_caller("apigateway.amazonaws.com"), [principal({"Service": "apigateway.amazonaws.com"})], ACCOUNT, ALLOW),
    (service_caller("apigateway.amazonaws.com"), [principal({"Service": "s3.amazonaws.com"})], ACCOUNT, NO),
    (service_caller("apigateway.amazonaws.com"), [principal({"AWS": "*"})], ACCOUNT, ALLOW),
    (service_caller("apigateway.amazonaws.com"), [], ACCOUNT, NO),
    (user(), [principal({"Service": "apigateway.amazonaws.com"})], ACCOUNT, NO),
    # What cannot be told apart never allows, and always denies.
    (user(), [principal({"CanonicalUser": "abc"})], ACCOUNT, NO),
    (user(document({})), [principal({"CanonicalUser": "abc"}, "Deny")], ACCOUNT, ALLOW),
    (user(document({})), [principal({"CanonicalUser": canonical_user_id(ACCOUNT)}, "Deny")], ACCOUNT, DENY),
    (user(document({})), [principal({"Unheard": "abc"}, "Deny")], ACCOUNT, DENY),
    (user(), [principal({"Unheard": "abc"})], ACCOUNT, NO),
    # NotPrincipal.
    (user(document({})), [document({"Effect": "Deny", "NotPrincipal": {"AWS": user().arn}})], ACCOUNT, ALLOW),
    (session_of(document({})), [document({"Effect": "Deny", "NotPrincipal": {"AWS": user().arn}})], ACCOUNT, DENY),
    # A resource policy without a principal says nothing.
    (user(), [document({})], ACCOUNT, NO),
]  # fmt: skip


@pytest.mark.parametrize(("caller", "policies", "account", "expected"), RESOURCE_POLICIES)
def test_resource_policies(caller: Caller, policies: list[str], account: str, expected: str) -> None:
    question = Question(caller, INVOKE, ENDPOINT)
    assert outcome(decide(question, resource_policies=policies, resource_account_id=account)) == expected


TRUST = [
    # caller, trust policy, outcome
    (user(document({})), principal({"AWS": user().arn}), ALLOW),
    (user(), principal({"AWS": user().arn}), ALLOW),
    (user(document({})), principal({"AWS": session_of().arn}), NO),
    (user(document({})), principal({"Service": "lambda.amazonaws.com"}), NO),
    (user(document({})), principal({"AWS": ACCOUNT}), ALLOW),
    (user(), principal({"AWS": ACCOUNT}), NO),
    (user(), principal({"AWS": "*"}), ALLOW),
    (user(document({"Effect": "Deny"})), principal({"AWS": user().arn}), DENY),
    (user(document({}), account=OTHER), principal({"AWS": OTHER}), ALLOW),
    (user(account=OTHER), principal({"AWS": OTHER}), NO),
    (user(account=OTHER), principal({"AWS": user(account=OTHER).arn}), NO),
    (service_caller("lambda.amazonaws.com"), principal({"Service": "lambda.amazonaws.com"}), ALLOW),
]


@pytest.mark.parametrize(("caller", "trust", "expected"), TRUST)
def test_a_role_is_assumed_only_with_its_trust(caller: Caller, trust: str, expected: str) -> None:
    question = Question(caller, "sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/jobs/worker")
    decision = decide(
        question, resource_policies=[trust], resource_account_id=ACCOUNT, resource_must_allow=True
    )
    assert outcome(decision) == expected


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
        "Condition": st.sampled_from([condition for condition, _ in CONDITIONS]),
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
