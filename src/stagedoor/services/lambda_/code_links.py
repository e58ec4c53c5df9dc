"""``Code.Location`` of GetFunction: a link to the package that works for ten minutes without further credentials.

Place in the flow: ``functions.get_function`` makes one; ``front.listener`` gives what a GET of it asks for. The link is on the
address that the caller used, so whoever could ask for it can follow it. AWS's is a presigned URL of a bucket of its own.
"""

import hmac
import re
from typing import Final
from urllib.parse import parse_qsl, urlencode

from stagedoor.domain.errors import AwsError
from stagedoor.http.message import FileSlice, Request, Response
from stagedoor.services.call import Call, House
from stagedoor.store.function_packages import FunctionPackages

PREFIX: Final = "/_stagedoor/function-code/"
EXPIRES_S: Final = 600
_NO_HOST: Final = "127.0.0.1"
_PATH: Final = re.compile(re.escape(PREFIX) + r"([0-9a-f]{64})\.zip").fullmatch


def location(call: Call, packages: FunctionPackages, code_sha256: str) -> str:
    """The link to a package, for ten minutes from now."""
    path = f"{PREFIX}{packages.path(code_sha256).name}"
    expires = str(int(call.now) + EXPIRES_S)
    signature = call.house.session_tokens.link_signature(_signed(path, expires))
    scheme, host = "http", _NO_HOST
    if call.request is not None:
        scheme, host = call.request.scheme, call.request.header.get("host", _NO_HOST)
    return f"{scheme}://{host}{path}?{urlencode({'Expires': expires, 'Signature': signature})}"


def _signed(path: str, expires: str) -> str:
    return f"GET\n{path}\n{expires}"


def package(house: House, request: Request) -> Response:
    """The package that a link names. Blocks.

    AwsError, in S3's words: SignatureDoesNotMatch, AccessDenied when it has expired, NoSuchKey when no function has it any more.
    """
    given = dict(parse_qsl(request.query))
    expires, signature = given.get("Expires", ""), given.get("Signature", "")
    expected = house.session_tokens.link_signature(_signed(request.path, expires))
    found = _PATH(request.path)
    if found is None or not hmac.compare_digest(signature.encode(), expected.encode()):
        raise AwsError(
            "SignatureDoesNotMatch",
            "This is not a link that this server made. GetFunction gives one to a function's package.",
            status=403,
        )
    if int(expires) <= house.clock.now():
        raise AwsError(
            "AccessDenied",
            f"Request has expired: a link to a package works for {EXPIRES_S} seconds. Ask GetFunction for another.",
            status=403,
        )
    path = house.settings.data / "functions" / f"{found[1]}.zip"
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        raise AwsError("NoSuchKey", "No function has this package any more.", status=404) from None
    return Response(200, [("content-type", "application/zip")], FileSlice(path, 0, size_bytes))
