"""A signature that is not accepted, said as the called service says it: code, status, text, members."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stagedoor.authz.sigv4 import Reason, SignatureError
from stagedoor.domain.errors import AwsError

_QUERY: Final = frozenset({"iam", "sts", "cloudwatch"})
_JSON: Final = frozenset({"sagemaker", "logs"})


@dataclass(frozen=True, slots=True)
class _Codes:
    """The codes of one family of protocols. ``status`` is what it answers most of them with."""

    status: int
    missing: str
    incomplete: str
    mismatch: str
    unknown: str
    expired_token: str


_FAMILIES: Final = {
    "query": _Codes(
        403,
        "MissingAuthenticationToken",
        "IncompleteSignature",
        "SignatureDoesNotMatch",
        "InvalidClientTokenId",
        "ExpiredToken",
    ),
    "json": _Codes(
        400,
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "UnrecognizedClientException",
        "ExpiredTokenException",
    ),
    "rest-json": _Codes(
        403,
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "UnrecognizedClientException",
        "ExpiredTokenException",
    ),
}


def refusal(service: str, error: SignatureError, skew_s: float) -> AwsError:
    """The answer of ``service`` (botocore's name) to a signature that is not accepted. ``skew_s`` is what was allowed."""
    if service == "s3":
        return _s3(error, skew_s)
    family = _FAMILIES["query" if service in _QUERY else "json" if service in _JSON else "rest-json"]
    match error.reason:
        case Reason.MISSING:
            return AwsError(family.missing, "Request is missing Authentication Token", status=family.status)
        case Reason.MALFORMED | Reason.UNSUPPORTED_ALGORITHM | Reason.TWO_FORMS | Reason.EXPIRES_INVALID:
            # IncompleteSignature is a 400 in the query protocol, 403 in the others' models.
            status = 400 if service in _QUERY or service in _JSON else 403
            return AwsError(family.incomplete, error.message, status=status)
        case Reason.UNKNOWN_KEY | Reason.TOKEN_INVALID:
            return AwsError(
                family.unknown, "The security token included in the request is invalid.", status=family.status
            )
        case Reason.TOKEN_EXPIRED:
            return AwsError(
                family.expired_token,
                "The security token included in the request is expired",
                status=family.status,
            )
        case _:
            return AwsError(family.mismatch, error.message, status=family.status)


def _s3(error: SignatureError, skew_s: float) -> AwsError:
    details = error.details
    match error.reason:
        case Reason.MISSING:
            return AwsError("AccessDenied", "Access Denied", status=403)
        case Reason.TWO_FORMS:
            return AwsError(
                "InvalidArgument", error.message, status=400, members={"ArgumentName": "Authorization"}
            )
        case Reason.UNSUPPORTED_ALGORITHM if not error.presigned:
            return AwsError(
                "InvalidRequest",
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
                status=400,
            )
        case (
            Reason.MALFORMED
            | Reason.UNSUPPORTED_ALGORITHM
            | Reason.EXPIRES_INVALID
            | Reason.SCOPE_DATE
            | Reason.SCOPE_REGION
            | Reason.SCOPE_SERVICE
            | Reason.SCOPE_TERMINATOR
        ):
            return _s3_malformed(error)
        case Reason.UNKNOWN_KEY:
            return AwsError(
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                status=403,
                members=_only(details, "AWSAccessKeyId"),
            )
        case Reason.TOKEN_INVALID:
            return AwsError(
                "InvalidToken", "The provided token is malformed or otherwise invalid.", status=400
            )
        case Reason.TOKEN_EXPIRED:
            return AwsError("ExpiredToken", "The provided token has expired.", status=400)
        case Reason.EXPIRED | Reason.NOT_YET_CURRENT if error.presigned:
            text = "Request has expired" if error.reason is Reason.EXPIRED else "Request is not yet valid"
            return AwsError("AccessDenied", text, status=403, members=details)
        case Reason.EXPIRED | Reason.NOT_YET_CURRENT:
            return AwsError(
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                status=403,
                members={**details, "MaxAllowedSkewMilliseconds": f"{skew_s * 1000:.0f}"},
            )
        case Reason.UNSIGNED_HEADER:
            return AwsError("AccessDenied", error.message, status=403, members=details)
        case _:
            return AwsError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and "
                "signing method.",
                status=403,
                members=_only(details, "AWSAccessKeyId", "StringToSign"),
            )


def _s3_malformed(error: SignatureError) -> AwsError:
    """The statement of the signature itself is wrong: one code for the header form, one for presigned requests."""
    stated = error.details.get("stated", "")
    match error.reason:
        case Reason.SCOPE_REGION:
            why = f"the region '{stated}' is wrong"
        case Reason.SCOPE_SERVICE:
            expected = error.details.get("expected", "s3")
            why = f'incorrect service "{stated}". This endpoint belongs to "{expected}"'
        case _:
            why = error.message.rstrip(".")
    if not error.presigned:
        return AwsError(
            "AuthorizationHeaderMalformed", f"The authorization header is malformed; {why}.", status=400
        )
    if error.reason in {
        Reason.SCOPE_DATE,
        Reason.SCOPE_REGION,
        Reason.SCOPE_SERVICE,
        Reason.SCOPE_TERMINATOR,
    }:
        why = f"Error parsing the X-Amz-Credential parameter; {why}."
    return AwsError("AuthorizationQueryParametersError", why, status=400)


def _only(details: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: details[name] for name in names if name in details}
