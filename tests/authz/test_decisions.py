"""The table of decisions, ``decisions.json``: what AWS's published rules and examples say, case by case.

A case has a caller (``user``, ``role``, ``federated-user``, ``root``, ``anonymous``, ``service``, ``web-identity``) of account
111122223333 unless ``account`` says otherwise; ``identity``, ``session`` and ``resource`` are lists of policies, ``boundary`` is
one; a policy is a list of statements, in which ``"Effect": "Allow", "Action": "*", "Resource": "*"`` goes without saying.
``owner`` is the resource's account. A case with ``condition`` is asked twice: as an Allow and as a Deny.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import Decision, Question, decide

ACCOUNT = "111122223333"
ALLOW, DENY, NO = "allow", "explicit deny", "implicit deny"
GROUPS = json.loads(Path(__file__).with_name("decisions.json").read_text())["groups"]
CASES = [
    pytest.param(group["defaults"] | case, id=f"{group['title']}-{number}")
    for group in GROUPS
    for number, case in enumerate(group["cases"], start=1)
]


def document(statements: list[dict[str, Any]], version: str = "2012-10-17") -> str:
    filled: list[dict[str, Any]] = []
    for given in statements:
        statement = {"Effect": "Allow", "Action": "*", "Resource": "*"} | given
        for one, other in (("Action", "NotAction"), ("Resource", "NotResource")):
            if other in given:
                del statement[one]
        filled.append(statement)
    return json.dumps({"Version": version, "Statement": filled})


def caller_of(case: dict[str, Any]) -> Caller:
    kind, account = case.get("caller", "user"), case.get("account", ACCOUNT)
    version = case.get("version", "2012-10-17")
    boundary = case.get("boundary")
    policies = {
        "policies": tuple(document(one, version) for one in case.get("identity", ())),
        "session_policies": tuple(document(one, version) for one in case.get("session", ())),
        "boundary": None if boundary is None else document(boundary, version),
    }
    user = f"arn:aws:iam::{account}:user/team/ann"
    match kind:
        case "root":
            return Caller("root", account, f"arn:aws:iam::{account}:root", account)
        case "user":
            return Caller("user", account, user, "AIDAANN", **policies)
        case "role" | "assumed-role":
            session = f"arn:aws:sts::{account}:assumed-role/worker/s1"
            role = f"arn:aws:iam::{account}:role/jobs/worker"
            return Caller("assumed-role", account, session, "AROAWORKER:s1", role_arn=role, **policies)
        case "federated-user":
            federated = f"arn:aws:sts::{account}:federated-user/bob"
            return Caller("federated-user", account, federated, f"{account}:bob", issuer_arn=user, **policies)
        case _:
            return Caller(kind, "", case.get("arn", ""), case.get("arn", ""))


def asked(case: dict[str, Any]) -> str:
    # Every case of identity policies may write its statements as one policy.
    identity = case.get("identity")
    if identity and isinstance(identity[0], dict):
        case = case | {"identity": [identity]}
    question = Question(caller_of(case), case["action"], case["on"], {**case.get("context", {})})
    return outcome(
        decide(
            question,
            resource_policies=[document(one) for one in case.get("resource", ())],
            resource_account_id=case.get("owner", ""),
            resource_must_allow=case.get("trust", False),
        )
    )


def outcome(decision: Decision) -> str:
    assert not (decision.allowed and decision.explicit_deny)
    return ALLOW if decision.allowed else DENY if decision.explicit_deny else NO


@pytest.mark.parametrize("case", CASES)
def test_the_decision_is_that_of_the_published_rules(case: dict[str, Any]) -> None:
    if "condition" not in case:
        assert asked(case) == case["expect"]
        return
    held = case["expect"]
    question = {"action": "s3:ListBucket", "on": "arn:aws:s3:::b"} | case
    conditional = {"Condition": case["condition"]}
    # What cannot be said never allows, and always denies.
    assert asked(question | {"identity": [[conditional]]}) == (ALLOW if held == "holds" else NO)
    denying = question | {"identity": [[{}, {"Effect": "Deny", **conditional}]]}
    assert asked(denying) == (ALLOW if held == "fails" else DENY)


def test_the_table_is_whole() -> None:
    assert sum(len(group["cases"]) for group in GROUPS) >= 300
    assert all(group["source"] for group in GROUPS)
