"""Whatever is sent as a policy is read or refused; nothing crashes, nothing takes long, nothing unread ever allows."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagedoor.authz import explanation
from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import Question, decide
from stagedoor.authz.policy_document import PolicyError, compiled, validate

CALLER = Caller("user", "111122223333", "arn:aws:iam::111122223333:user/ann", "AIDAANN")
QUESTION = Question(CALLER, "s3:GetObject", "arn:aws:s3:::bucket/key", {"aws:username": "ann"})
KINDS = ("identity", "resource", "trust")

words = st.sampled_from(
    "Version Id Statement Sid Effect Principal NotPrincipal Action NotAction Resource NotResource Condition Allow Deny * AWS "
    "Service Federated CanonicalUser 2012-10-17 s3:* s3:GetObject arn:aws:s3:::bucket/* ${aws:username} ${ ${aws:username,'x'} "
    "StringEquals ForAnyValue:StringLike IfExists Null Bool IpAddress NumericEquals DateLessThan ArnLike aws:username aws:SourceIp "
    "1.2.3.4/33 true".split()
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=20)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=15,
)
statements = st.dictionaries(words, values, max_size=8)
documents = st.builds(
    lambda one: {"Version": "2012-10-17", "Statement": one}, statements | st.lists(statements, max_size=4)
)


def read(text: str) -> None:
    for kind in KINDS:
        try:
            validate(text, kind)
        except PolicyError as error:
            assert str(error)
    try:
        found = compiled(text)
    except PolicyError:
        return
    decision = decide(QUESTION, identity_policies=(text,), resource_policies=(text,))
    source = [explanation.Source(kind, "it", text) for kind in ("identity-based", "resource-based")]
    json.dumps(explanation.explain(explanation.Asked(QUESTION, decision, (text,)), source))
    assert not decision.allowed or any(statement.allows for statement in found)


@given(values | documents)
@settings(max_examples=150)
def test_any_json(document: Any) -> None:
    read(json.dumps(document))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text(text: str) -> None:
    read(text)


@given(st.data())
@settings(max_examples=150)
def test_a_good_policy_with_a_byte_changed(data: st.DataObject) -> None:
    good = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"},
                {
                    "Effect": "Deny",
                    "Principal": {"AWS": "111122223333"},
                    "NotAction": ["s3:Get*"],
                    "Resource": "*",
                    "Condition": {
                        "ForAllValues:StringLikeIfExists": {"aws:TagKeys": ["a*", "${aws:username}"]}
                    },
                },
            ],
        }
    )
    place = data.draw(st.integers(0, len(good) - 1))
    read(good[:place] + data.draw(st.characters(codec="utf-8")) + good[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        '{"Statement":' + "9" * 100_000 + "}",
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "*" * 50_000, "Resource": "*"}],
            }
        ),
        json.dumps(
            {"Statement": [{"Effect": "Allow", "Action": "s3:" + "*a" * 20_000, "Resource": "${" * 20_000}]}
        ),
        '{"Statement": [], "Statement": []}',
        "\ud800",
        "\x00",
    ],
)
def test_hostile_sizes_and_shapes(text: str) -> None:
    read(text)
