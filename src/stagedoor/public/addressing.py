"""What a public URL names: an API's stage and path, or a bucket's website. Pure; the first step of a public request."""

import re
from dataclasses import dataclass

_API_HOST = re.compile(r"([a-z0-9]+)\.execute-api\.", re.IGNORECASE)
_API_PATH = re.compile(r"/_aws/execute-api/([^/]+)(?:/([^/]*)(/.*)?)?")
_USER_REQUEST = re.compile(r"/restapis/([^/]+)/([^/]+)/_user_request_(/.*)?")
_WEBSITE_HOST = re.compile(r"(.+)\.s3-website[.-]", re.IGNORECASE)
_WEBSITE_PATH = re.compile(r"/_aws/s3-website/([^/]+)(/.*)?")


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """A deployed API's stage, and the path behind it (begins with ``/``, still percent-encoded)."""

    api_id: str
    stage: str
    path: str


@dataclass(frozen=True, slots=True)
class WebsiteAddress:
    """A bucket's website and the path in it."""

    bucket: str
    path: str


def api_address(host: str, path: str) -> ApiAddress | None:
    """By host name (``ID.execute-api.*``), or by path; None for anything else."""
    match = _API_HOST.match(host)
    if match is not None:
        stage, slash, rest = path.removeprefix("/").partition("/")
        return ApiAddress(match[1].lower(), stage, slash + rest or "/")
    match = _API_PATH.fullmatch(path) or _USER_REQUEST.fullmatch(path)
    if match is not None:
        return ApiAddress(match[1], match[2] or "", match[3] or "/")
    return None


def website_address(host: str, path: str) -> WebsiteAddress | None:
    """By host name (``BUCKET.s3-website.*``, ``BUCKET.s3-website-REGION.*``), or by path; None for anything else."""
    match = _WEBSITE_HOST.match(host)
    if match is not None:
        return WebsiteAddress(match[1].lower(), path)
    match = _WEBSITE_PATH.fullmatch(path)
    return WebsiteAddress(match[1], match[2] or "/") if match is not None else None
