"""Browser uploads: a form that is POSTed to a bucket is a PutObject in other clothes.

Place in the flow: ``front.listener`` comes here with a form before anybody has signed anything: the signature is in the form, and is
over its policy alone. From there on it goes as every PutObject: parsed, validated, authorised, stored while it streams.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from stagedoor.authz import sigv4
from stagedoor.authz.caller import ANONYMOUS, Caller
from stagedoor.authz.sigv4 import Reason, Scope, SignatureError
from stagedoor.domain.errors import AwsError
from stagedoor.front.authenticate import Authenticated
from stagedoor.http.form_upload import FormError, FormUpload, boundary_of
from stagedoor.http.message import Request, Response
from stagedoor.services import signers
from stagedoor.services.call import House
from stagedoor.services.s3 import post_policies
from stagedoor.services.s3.post_policies import SizeRange
from stagedoor.services.signature_errors import refusal
from stagedoor.wire import render_xml
from stagedoor.wire.requests import WireRequest

_CREDENTIAL: Final = re.compile(r"([^/]{1,128})/(\d{8})/([^/]{1,40})/([^/]{1,40})/aws4_request").fullmatch
_DATE: Final = re.compile(r"\d{8}T\d{6}Z").fullmatch
# Fields that are no headers of a PutObject.
_FORM_ONLY: Final = frozenset(
    {
        *(
            "key",
            "policy",
            "bucket",
            "success_action_status",
            "success_action_redirect",
            "redirect",
            "signature",
        ),
        *("x-amz-signature", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token"),
        "awsaccesskeyid",
    }
)
_HEADER_FIELDS: Final = frozenset(
    {"cache-control", "content-type", "content-disposition", "content-encoding", "expires"}
)


class Upload(NamedTuple):
    """A form whose signature and policy hold: as a PutObject, and what its answer is to be."""

    authenticated: Authenticated
    request: WireRequest
    bucket: str
    key: str
    fields: Mapping[str, str]


def is_form(request: Request, path: str) -> bool:
    """Whether a request to S3 is a browser's form for a bucket; ``path`` is ``/bucket``."""
    bucket, _, key = path.removeprefix("/").partition("/")
    return (
        request.method == "POST"
        and bool(bucket)
        and not key
        and "delete" not in request.query
        and boundary_of(request.header.get("content-type", "")) is not None
        and not sigv4.is_signed(request.header, request.query)
    )


async def read(request: Request, path: str, house: House) -> Upload:
    """The fields of a form, judged. AwsError in S3's words."""
    form = FormUpload(request.body, boundary_of(request.header.get("content-type", "")) or b"")
    try:
        await form.read_fields()
    except FormError as error:
        raise _form_refusal(error) from None
    fields, bucket = form.fields, path.strip("/")
    key = fields.get("key", "")
    if not key:
        raise AwsError(
            "InvalidArgument",
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
            status=400,
            members={"ArgumentName": "key", "ArgumentValue": ""},
        )
    key = fields["key"] = key.replace("${filename}", form.file_name)
    caller, region, size = ANONYMOUS, house.settings.region, None
    if "policy" in fields:
        try:
            caller, region = _signer(fields, house)
        except SignatureError as error:
            raise refusal("s3", error, house.settings.clock_skew_s) from None
        size = post_policies.check(fields["policy"], fields, bucket, house.clock.now())
    authenticated = Authenticated(caller, region, b"", request)
    put = WireRequest("PUT", f"/{bucket}/{quote(key, safe='')}", "", _headers(fields), _File(form, size))  # pyright: ignore[reportArgumentType]
    return Upload(authenticated, put, bucket, key, fields)


def answer(upload: Upload, request: Request, etag: str, request_id: str) -> Response:
    """What the form asked for: a redirect, a page of XML, or nothing."""
    host = request.header.get("host", "")
    location = f"{request.scheme}://{host}/{quote(upload.bucket)}/{quote(upload.key)}"
    headers = [("x-amz-request-id", request_id), ("ETag", etag)]
    redirect = upload.fields.get("success_action_redirect") or upload.fields.get("redirect", "")
    if _is_web_address(redirect):
        query = urlencode({"bucket": upload.bucket, "key": upload.key, "etag": etag})
        separator = "&" if urlsplit(redirect).query else "?"
        return Response(303, [*headers, ("Location", f"{redirect}{separator}{query}")])
    headers.append(("Location", location))
    match upload.fields.get("success_action_status"):
        case "201":
            members = {"Location": location, "Bucket": upload.bucket, "Key": upload.key, "ETag": etag}
            content = "".join(
                render_xml.element(name, render_xml.escape(value)) for name, value in members.items()
            )
            body = (render_xml.DECLARATION + render_xml.element("PostResponse", content)).encode()
            return Response(201, [*headers, ("Content-Type", "application/xml")], body)
        case "200":
            return Response(200, headers)
        case _:
            return Response(204, headers)


def _is_web_address(text: str) -> bool:
    """Whether a browser may be sent there: whatever would end the header's line is none."""
    return (
        text.isascii() and text.isprintable() and " " not in text and text.startswith(("http://", "https://"))
    )


def _form_refusal(error: FormError) -> AwsError:
    if error.too_large:
        return AwsError(
            "MaxPostPreDataLengthExceeded",
            "Your POST request fields preceding the upload file were too large.",
            status=400,
        )
    return AwsError(
        "MalformedPOSTRequest",
        f"The body of your POST request is not well-formed multipart/form-data: {error}.",
        status=400,
    )


def _headers(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields that a PutObject has as headers; every other one is refused by name."""
    headers: dict[str, str] = {}
    for name, value in fields.items():
        if name in _FORM_ONLY or name.startswith("x-ignore-"):
            continue
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise _unusable(name, value)
        if name == "acl":
            headers["x-amz-acl"] = value
        elif name in _HEADER_FIELDS or name.startswith("x-amz-"):
            headers[name] = value
        elif name == "tagging":
            raise AwsError("NotImplemented", "stagedoor does not support the form field tagging.", status=501)
        # Other fields of a form mean nothing to S3, once a condition allows them.
    return headers


def _unusable(name: str, value: str) -> AwsError:
    return AwsError(
        "InvalidArgument",
        f"The form field {name} has a value that no header can have.",
        status=400,
        members={"ArgumentName": name, "ArgumentValue": value[:120]},
    )


def _signer(fields: Mapping[str, str], house: House) -> tuple[Caller, str]:
    """Who signed the policy, and for which region. SignatureError."""
    now, policy = house.clock.now(), fields["policy"]
    token = fields.get("x-amz-security-token") or None
    if "awsaccesskeyid" in fields:
        secret, caller, unknown = signers.look_up(house, fields["awsaccesskeyid"], token, now)
        digest = hmac.digest(secret.encode(), policy.encode(), hashlib.sha1)
        expected = base64.b64encode(digest).decode()
        given, region = fields.get("signature", ""), house.settings.region
    else:
        if fields.get("x-amz-algorithm") != sigv4.ALGORITHM:
            raise SignatureError(
                Reason.MALFORMED, "the form has no x-amz-algorithm AWS4-HMAC-SHA256", presigned=True
            )
        found, date = _CREDENTIAL(fields.get("x-amz-credential", "")), fields.get("x-amz-date", "")
        if found is None or _DATE(date) is None or date[:8] != found[2]:
            raise SignatureError(
                Reason.MALFORMED, "x-amz-credential and x-amz-date do not fit each other", presigned=True
            )
        scope = Scope(found[2], found[3], found[4])
        signers.check_scope(scope, "s3", True)
        secret, caller, unknown = signers.look_up(house, found[1], token, now)
        key = sigv4.signing_key(secret, scope)
        expected = hmac.digest(key, policy.encode(), "sha256").hex()
        given, region = fields.get("x-amz-signature", ""), scope.region
    fits = hmac.compare_digest(given.encode(), expected.encode())
    if unknown is not None:
        raise unknown
    if not fits:
        raise SignatureError(Reason.MISMATCH, "The signature of the form's policy does not match.")
    return caller, region


class _File:
    """The file of a form as a body, with the bounds that its policy has."""

    content_length: int | None = None

    def __init__(self, form: FormUpload, size: SizeRange | None) -> None:
        self._form = form
        self._size = size

    async def read(self, limit_bytes: int) -> bytes:
        return await self._form.read(limit_bytes)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        try:
            async for piece in self._form:
                total += len(piece)
                if self._size is not None and total > self._size.most:
                    raise self._out_of_bounds("EntityTooLarge", total, "MaxSizeAllowed", self._size.most)
                yield piece
        except FormError as error:
            raise _form_refusal(error) from None
        if self._size is not None and total < self._size.least:
            raise self._out_of_bounds("EntityTooSmall", total, "MinSizeAllowed", self._size.least)

    @staticmethod
    def _out_of_bounds(code: str, size: int, member: str, bound: int) -> AwsError:
        what = "exceeds the maximum" if code == "EntityTooLarge" else "is smaller than the minimum"
        members: dict[str, Any] = {"ProposedSize": str(size), member: str(bound)}
        return AwsError(code, f"Your proposed upload {what} allowed size", status=400, members=members)
