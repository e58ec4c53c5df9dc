"""Which documents are policies, and AWS's texts for those that are not."""

import json
from typing import Any

import pytest

from stagedoor.authz.policy_document import PolicyError, validate

GOOD: dict[str, Any] = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
TRUST: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"Service": "sagemaker.amazonaws.com"},
    "Action": "sts:AssumeRole",
}
SYNTAX = "Syntax errors in policy."


def document(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


def without(statement: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in statement.items() if name not in names} | more


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("identity", document(GOOD)),
        ("identity", document(GOOD, Id="mine")),
        ("identity", json.dumps({"Version": "2012-10-17", "Statement": GOOD})),
        ("identity", document(GOOD | {"Sid": "One"}, GOOD | {"Sid": "Two"}, GOOD, GOOD)),
        ("identity", document(without(GOOD, "Action", NotAction=["iam:*", "*"]))),
        ("identity", document(without(GOOD, "Resource", NotResource="arn:aws:s3:::a"))),
        (
            "identity",
            document(GOOD | {"Resource": ["*", "arn:aws:s3:::${aws:username}/*", "arn:aws:iam::*"]}),
        ),
        (
            "identity",
            document(GOOD | {"Condition": {"StringEquals": {"aws:username": ["a"], "s3:max-keys": 1}}}),
        ),
        ("trust", document(TRUST)),
        ("trust", json.dumps({"Statement": [TRUST]})),
        (
            "trust",
            document(TRUST | {"Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:root"]}}),
        ),
        (
            "trust",
            document(TRUST | {"Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole", "sts:TagSession"]}),
        ),
        ("resource", document(GOOD | {"Principal": "*", "Sid": "Public read"})),
        ("resource", document(GOOD | {"Principal": {"AWS": "arn:aws:iam::111122223333:role/a/b"}})),
    ],
)
def test_accepted(kind: Any, text: str) -> None:
    validate(text, kind)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("identity", "", "invalid Json"),
        ("identity", "{", "invalid Json"),
        ("identity", "[" * 100_000, "invalid Json"),
        ("identity", "[]", SYNTAX),
        ("identity", "null", SYNTAX),
        ("identity", '{"Version": "2012-10-17", "Version": "2012-10-17", "Statement": []}', SYNTAX),
        ("identity", json.dumps({"Version": "2012-10-17"}), SYNTAX),
        ("identity", document(), SYNTAX),
        ("identity", document("Allow"), SYNTAX),
        ("identity", document(GOOD, Extra=1), SYNTAX),
        ("identity", document(GOOD | {"Extra": 1}), SYNTAX),
        ("identity", document(GOOD, Version="2013-01-01"), SYNTAX),
        ("identity", document(GOOD, Version="2008-10-17"), "2012-10-17 or greater"),
        ("identity", json.dumps({"Statement": [GOOD]}), "2012-10-17 or greater"),
        ("identity", document(without(GOOD, "Effect")), SYNTAX),
        ("identity", document(GOOD | {"Effect": "allow"}), SYNTAX),
        ("identity", document(without(GOOD, "Action")), "must contain actions"),
        ("identity", document(GOOD | {"Action": []}), "must contain actions"),
        ("identity", document(GOOD | {"NotAction": "s3:*"}), SYNTAX),
        ("identity", document(GOOD | {"Action": 1}), SYNTAX),
        ("identity", document(GOOD | {"Action": "GetObject"}), "prefaced by a vendor"),
        ("identity", document(GOOD | {"Action": "a b:GetObject"}), "Vendor a b is not valid"),
        ("identity", document(GOOD | {"Action": "s3:Get:Object"}), "only one colon"),
        ("identity", document(without(GOOD, "Resource")), "must contain resources"),
        ("identity", document(GOOD | {"Resource": []}), "must contain resources"),
        ("identity", document(GOOD | {"Resource": "bucket"}), 'bucket must be in ARN format or "\\*"'),
        ("identity", document(GOOD | {"Resource": "arn:other:s3:::bucket"}), 'Partition "other" is not valid'),
        ("identity", document(GOOD | {"Resource": "arn:aws:s3:::"}), "legacy parsing"),
        ("identity", document(GOOD | {"Principal": "*"}), "should not specify a principal"),
        ("identity", document(GOOD | {"Sid": "not so"}), "must be alpha-numeric"),
        ("identity", document(GOOD | {"Sid": "a"}, GOOD | {"Sid": "a"}), "must be unique"),
        ("identity", document(GOOD | {"Condition": []}), SYNTAX),
        ("identity", document(GOOD | {"Condition": {"Bool": "x"}}), SYNTAX),
        ("identity", document(GOOD | {"Condition": {"Bool": {"a:b": {}}}}), SYNTAX),
        ("trust", document(without(TRUST, "Principal")), "Missing required field Principal"),
        ("trust", document(TRUST | {"Resource": "*"}), "prohibited field Resource"),
        ("trust", document(TRUST | {"Action": "s3:GetObject"}), "may only specify STS AssumeRole actions"),
        ("trust", document(TRUST | {"Principal": {"AWS": "ann"}}), 'Invalid principal in policy: "AWS":"ann"'),
        ("trust", document(TRUST | {"Principal": {"Service": "SageMaker"}}), "Invalid principal"),
        ("trust", document(TRUST | {"Principal": {"Team": "a"}}), "Invalid principal"),
        ("trust", document(TRUST | {"Principal": "ann"}), SYNTAX),
        ("trust", document(TRUST | {"Principal": {"AWS": "arn:aws:iam::111122223333:role/*"}}), "Invalid principal"),
        ("resource", document(GOOD), "Missing required field Principal"),
    ],
)  # fmt: skip
def test_refused(kind: Any, text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        validate(text, kind)
