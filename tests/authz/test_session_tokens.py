"""Temporary credentials are good only whole, only with their own access key, and only until they expire."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.authz.session_tokens import SessionClaims, SessionTokens
from stagedoor.authz.sigv4 import Reason, SignatureError

NOW = 1_700_000_000
TOKENS = SessionTokens(b"s" * 32)
CLAIMS = SessionClaims(
    kind="assumed-role",
    account_id="111122223333",
    arn="arn:aws:sts::111122223333:assumed-role/R/S",
    user_id="AROAEXAMPLE:S",
    principal_id="AROAEXAMPLE",
    issued_at=NOW,
    expires_at=NOW + 900,
    role_arn="arn:aws:iam::111122223333:role/path/R",
    session_name="S",
    session_policies=('{"Statement": []}',),
    session_policy_arns=("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",),
    tags={"team": "ü"},
)


def refusal(token: str, access_key_id: str, now: float = NOW, tokens: SessionTokens = TOKENS) -> Reason:
    with pytest.raises(SignatureError) as caught:
        tokens.open(token, access_key_id, now)
    return caught.value.reason


def test_a_token_opens_to_what_was_issued() -> None:
    issued = TOKENS.issue(CLAIMS)
    opened = TOKENS.open(issued.session_token, issued.access_key_id, NOW)
    assert issued.access_key_id.startswith("ASIA")
    assert len(issued.access_key_id) == 20
    assert len(issued.secret_access_key) == 40
    assert issued.expiration == NOW + 900
    assert opened.access_key_id == issued.access_key_id
    assert (opened.arn, opened.session_policies, opened.tags) == (
        CLAIMS.arn,
        CLAIMS.session_policies,
        CLAIMS.tags,
    )


def test_another_server_with_the_same_secret_accepts_it() -> None:
    issued = TOKENS.issue(CLAIMS)
    other = SessionTokens(b"s" * 32)
    assert other.open(issued.session_token, issued.access_key_id, NOW).arn == CLAIMS.arn
    assert other.secret_access_key(issued.access_key_id) == issued.secret_access_key


def test_a_server_with_another_secret_refuses_it() -> None:
    issued = TOKENS.issue(CLAIMS)
    other = SessionTokens(b"t" * 32)
    assert refusal(issued.session_token, issued.access_key_id, tokens=other) is Reason.TOKEN_INVALID
    assert other.secret_access_key(issued.access_key_id) != issued.secret_access_key


def test_it_expires() -> None:
    issued = TOKENS.issue(CLAIMS)
    TOKENS.open(issued.session_token, issued.access_key_id, NOW + 899)
    assert refusal(issued.session_token, issued.access_key_id, NOW + 900) is Reason.TOKEN_EXPIRED


def test_the_token_of_another_session_is_refused() -> None:
    one, two = TOKENS.issue(CLAIMS), TOKENS.issue(CLAIMS)
    assert refusal(one.session_token, two.access_key_id) is Reason.TOKEN_INVALID


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_changed_bit_is_refused(position: int, bit: int) -> None:
    issued = TOKENS.issue(CLAIMS)
    raw = bytearray(base64.b64decode(issued.session_token))
    raw[position % len(raw)] ^= 1 << bit
    assert refusal(base64.b64encode(raw).decode(), issued.access_key_id) is Reason.TOKEN_INVALID


@given(st.text(max_size=200))
def test_anything_else_is_refused(token: str) -> None:
    assert refusal(token, "ASIAEXAMPLE") is Reason.TOKEN_INVALID


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SessionTokens(b"short")
