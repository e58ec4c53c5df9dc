"""Every reason for refusing a signature has a code of each kind of service."""

import pytest

from stagedoor.authz.sigv4 import Reason, SignatureError
from stagedoor.services.signature_errors import refusal

FAMILIES = ("s3", "sts", "sagemaker", "lambda")


@pytest.mark.parametrize("service", FAMILIES)
@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("presigned", [True, False])
def test_none_is_forgotten(service: str, reason: Reason, presigned: bool) -> None:
    error = refusal(service, SignatureError(reason, "text", presigned=presigned), 900)
    assert error.code
    assert error.message
    assert error.status in {400, 403}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("s3", (400, "ExpiredToken")),
        ("sts", (403, "ExpiredToken")),
        ("iam", (403, "ExpiredToken")),
        ("sagemaker", (400, "ExpiredTokenException")),
        ("logs", (400, "ExpiredTokenException")),
        ("lambda", (403, "ExpiredTokenException")),
        ("sagemaker-runtime", (403, "ExpiredTokenException")),
    ],
)
def test_expired_sessions(service: str, expected: tuple[int, str]) -> None:
    error = refusal(service, SignatureError(Reason.TOKEN_EXPIRED, "text"), 900)
    assert (error.status, error.code) == expected
    assert "expired" in error.message
