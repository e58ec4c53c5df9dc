"""Bucket websites on the public listener: index and error documents, redirects, HTML errors; as S3's website endpoints.

Place in the flow: ``public.listener`` finds the bucket and path in the URL. Only what the bucket policy lets everybody
read (``s3:GetObject`` for anonymous callers) is served: GET and HEAD, no listing, no versions.
"""

import asyncio
import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import quote, unquote

from stagedoor.authz.caller import ANONYMOUS
from stagedoor.domain import ids
from stagedoor.domain.errors import AwsError
from stagedoor.http.message import Request, Response
from stagedoor.services import permissions
from stagedoor.services.call import House
from stagedoor.services.s3 import members, preconditions, ranges, website_rules
from stagedoor.services.s3.lookup import KEY_MAX_BYTES
from stagedoor.services.s3.object_headers import STORED
from stagedoor.services.s3.sending import object_bytes
from stagedoor.store.contents import ContentDamagedError
from stagedoor.store.object_rows import Bucket, ObjectRow
from stagedoor.store.objects_io import ObjectChangedError

_READ_ATTEMPTS: Final = 5
_REASONS: Final = {
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    416: "Requested Range Not Satisfiable",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_HEADER_NAMES: Final = {
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language",
    "Expires": "Expires",
}


async def answer(house: House, request: Request, bucket: str, path: str) -> Response:
    """The website's answer to ``path`` (begins with ``/``, still percent-encoded)."""
    return await asyncio.to_thread(_Visit(house, request, bucket, path).answer)


@dataclass(slots=True)
class _Failure(Exception):
    """An error as S3 websites show it; ``details`` are its members in the page."""

    status: int
    code: str
    message: str
    details: Mapping[str, str] = field(default_factory=dict[str, str])


def _no_such_key(key: str) -> _Failure:
    return _Failure(404, "NoSuchKey", "The specified key does not exist.", {"Key": key})


def _forbidden() -> _Failure:
    return _Failure(403, "AccessDenied", "Access Denied")


class _Visit:
    """One request to a website. Blocks: runs in a thread."""

    def __init__(self, house: House, request: Request, bucket: str, path: str) -> None:
        self._house = house
        self._request = request
        self._bucket_name = bucket
        self._path = path
        self._request_id = ids.request_id()
        # By path style the site lives under a prefix, which belongs into the redirects that stay on this site.
        self._own_path = request.path.removesuffix(path) if request.path.endswith(path) else ""
        self._host = request.header.get("host", "")

    def answer(self) -> Response:
        if self._request.method not in ("GET", "HEAD"):
            return self._failed(
                _Failure(
                    405,
                    "MethodNotAllowed",
                    "The specified method is not allowed against this resource.",
                    {"Method": self._request.method, "ResourceType": "OBJECT"},
                )
            )
        bucket = self._house.objects.find_bucket(self._bucket_name)
        if bucket is None:
            return self._failed(
                _Failure(
                    404,
                    "NoSuchBucket",
                    "The specified bucket does not exist",
                    {"BucketName": self._bucket_name},
                )
            )
        configuration: Mapping[str, Any] | None = bucket.settings.get("WebsiteConfiguration")
        if configuration is None:
            return self._failed(
                _Failure(
                    404,
                    "NoSuchWebsiteConfiguration",
                    "The specified bucket does not have a website configuration",
                    {"BucketName": bucket.name},
                )
            )
        try:
            key = unquote(self._path.removeprefix("/"), errors="strict")
        except UnicodeDecodeError:
            return self._failed(_Failure(400, "InvalidURI", "Couldn't parse the specified URI."))
        return self._visit(bucket, configuration, key)

    def _visit(
        self,
        bucket: Bucket,
        configuration: Mapping[str, Any],
        key: str,
        attempts_left: int = _READ_ATTEMPTS,
    ) -> Response:
        scheme = self._request.scheme
        everything = website_rules.everything_redirected(configuration, scheme, key)
        if everything is not None:
            return self._redirect(everything.status, everything.location)
        rule = website_rules.redirected(configuration, key, None, scheme, self._host)
        if rule is not None:
            return self._redirect(rule.status, self._on_this_site(rule.location))
        try:
            return self._page(bucket, configuration, key)
        except ObjectChangedError:
            # Replaced while it was looked at: the visit starts over with what is there now.
            if attempts_left:
                return self._visit(bucket, configuration, key, attempts_left - 1)
            return self._failed(_Failure(503, "SlowDown", "Please reduce your request rate."))
        except _Failure as failure:
            rule = website_rules.redirected(configuration, key, failure.status, scheme, self._host)
            if rule is not None:
                return self._redirect(rule.status, self._on_this_site(rule.location))
            return self._error_page(bucket, configuration, failure)

    def _on_this_site(self, location: str) -> str:
        own = f"{self._request.scheme}://{self._host}/"
        if self._own_path and location.startswith(own):
            return f"{self._request.scheme}://{self._host}{self._own_path}/{location[len(own) :]}"
        return location

    def _page(self, bucket: Bucket, configuration: Mapping[str, Any], key: str) -> Response:
        """The object of ``key``, or of the index document under it."""
        suffix: str = configuration["IndexDocument"]["Suffix"]
        is_folder = not key or key.endswith("/")
        wanted = key + suffix if is_folder else key
        row = self._readable(bucket, wanted)
        if row is None:
            if not is_folder and self._find(bucket, f"{key}/{suffix}") is not None:
                # Relative links of the index document resolve against the folder.
                location = f"{self._own_path}/{quote(key)}/"
                if location.startswith("//"):
                    # To a browser that would name another host.
                    location = f"{self._request.scheme}://{self._host}{location}"
                return self._redirect(302, location)
            raise _no_such_key(wanted)
        redirect = row.attributes.get("WebsiteRedirectLocation")
        if redirect:
            target = self._own_path + redirect if redirect.startswith("/") else redirect
            return self._redirect(301, target)
        return self._object(row)

    def _readable(self, bucket: Bucket, key: str) -> ObjectRow | None:
        """The object, when everybody may read it.

        Unlike the S3 API, website endpoints tell what is missing (None: 404) from what is forbidden (403) to everyone.
        """
        row = self._find(bucket, key)
        if row is not None and not self._everybody_may_read(row):
            raise _forbidden()
        return row

    def _find(self, bucket: Bucket, key: str) -> ObjectRow | None:
        return self._house.objects.get(bucket.name, key) if len(key.encode()) <= KEY_MAX_BYTES else None

    def _everybody_may_read(self, row: ObjectRow) -> bool:
        arn = f"arn:aws:s3:::{row.bucket}/{row.key}"
        return permissions.decision(self._house, ANONYMOUS, "s3:GetObject", arn, self._context).allowed

    def _context(self) -> dict[str, str]:
        keys = {
            "aws:sourceip": self._request.peer_host,
            "aws:referer": self._request.header.get("referer", ""),
            "aws:useragent": self._request.header.get("user-agent", ""),
            "aws:securetransport": "true" if self._request.scheme == "https" else "false",
            "aws:principaltype": "Anonymous",
        }
        return {name: value for name, value in keys.items() if value}

    # Answers --------------------------------------------------------------------------------------------------------

    def _object(self, row: ObjectRow) -> Response:
        header = self._request.header
        conditions: dict[str, Any] = {
            "IfMatch": header.get("if-match"),
            "IfNoneMatch": header.get("if-none-match"),
            "IfModifiedSince": _date(header.get("if-modified-since")),
            "IfUnmodifiedSince": _date(header.get("if-unmodified-since")),
        }
        try:
            preconditions.check_read(conditions, row)
            part = ranges.requested(header.get("range"), row.size_bytes)
        except AwsError as error:
            if error.status == 304:
                return Response(304, [*self._ids(), *error.headers.items()])
            raise _Failure(
                error.status or 400,
                error.code,
                error.message,
                {name: str(value) for name, value in error.members.items()},
            ) from error
        status: Literal[200, 206] = 200 if part is None else 206
        extra = [] if part is None else [("Content-Range", part.content_range(row.size_bytes))]
        start, length = (0, row.size_bytes) if part is None else (part.start, part.length)
        return self._sent(row, status, start, length, extra)

    def _sent(
        self, row: ObjectRow, status: int, start: int, length: int, extra: list[tuple[str, str]]
    ) -> Response:
        headers = [
            *self._ids(),
            ("Content-Type", row.content_type),
            ("ETag", f'"{row.etag}"'),
            ("Last-Modified", formatdate(row.last_modified, usegmt=True)),
            ("Accept-Ranges", "bytes"),
            ("Content-Length", str(length)),
            *((_HEADER_NAMES[name], row.attributes[name]) for name in STORED if name in row.attributes),
            *((f"x-amz-meta-{name}", value) for name, value in row.attributes.get("Metadata", {}).items()),
            *extra,
        ]
        if self._request.method == "HEAD":
            return Response(status, headers)
        try:
            return Response(status, headers, object_bytes(self._house, row, start, length))
        except ContentDamagedError as error:
            raise _Failure(
                500, "InternalError", "We encountered an internal error. Please try again."
            ) from error

    def _ids(self) -> list[tuple[str, str]]:
        return [("x-amz-request-id", self._request_id)]

    def _redirect(self, status: int, location: str) -> Response:
        return Response(status, [*self._ids(), ("Location", location), ("Content-Length", "0")])

    def _error_page(self, bucket: Bucket, configuration: Mapping[str, Any], failure: _Failure) -> Response:
        """The error document under the failure's status, or a page of our own when it cannot be had."""
        key: str | None = members.document(configuration, "ErrorDocument").get("Key")
        if key is None or not 400 <= failure.status < 500:
            return self._failed(failure)
        try:
            row = self._readable(bucket, key)
            if row is None:
                raise _no_such_key(key)
            return self._sent(row, failure.status, 0, row.size_bytes, [])
        except ObjectChangedError:
            return self._failed(failure, _no_such_key(key))
        except _Failure as second:
            return self._failed(failure, second)

    def _failed(self, failure: _Failure, second: _Failure | None = None) -> Response:
        """The page that S3 makes itself; ``second`` is why the error document could not be shown."""
        title = f"{failure.status} {_REASONS.get(failure.status, 'Error')}"
        lines = [
            f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>",
            *_listed(failure),
            f"<li>RequestId: {self._request_id}</li>",
            "</ul>",
        ]
        if second is not None:
            lines += [
                "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>",
                "<ul>",
                *_listed(second),
                "</ul>",
            ]
        lines.append("<hr/>\n</body>\n</html>\n")
        headers = [
            *self._ids(),
            ("x-amz-error-code", failure.code),
            ("x-amz-error-message", failure.message),
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", "default-src 'none'"),
        ]
        return Response(failure.status, headers, "\n".join(lines).encode())


def _listed(failure: _Failure) -> list[str]:
    items = {"Code": failure.code, "Message": failure.message, **failure.details}
    return [f"<li>{html.escape(name)}: {html.escape(value)}</li>" for name, value in items.items()]


def _date(value: str | None) -> object:
    """An HTTP date; as HTTP has it, one that cannot be read is as if it were not there."""
    if value is None:
        return None
    try:
        return parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
