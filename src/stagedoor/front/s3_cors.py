"""Cross-origin requests of browsers to S3: preflights, and the headers on actual answers. A step of ``front.listener``."""

from urllib.parse import unquote

from stagedoor.front.s3_addressing import path_style
from stagedoor.http.message import Request, Response
from stagedoor.services.call import House
from stagedoor.services.s3 import cors


def preflight(house: House, request: Request) -> Response:
    """The answer to an OPTIONS request: what the bucket's CORS rules allow; AwsError AccessForbidden otherwise.

    Blocks on the store.
    """
    method = request.header.get("access-control-request-method", "")
    names = request.header.get("access-control-request-headers", "").split(",")
    rules = _rules(house, request)
    found = cors.headers_for(rules, request.header.get("origin", ""), method, names, preflight=True)
    if found is None:
        raise cors.not_allowed(rules, method)
    return Response(200, found)


def answer_headers(house: House, request: Request) -> list[tuple[str, str]]:
    """What an actual answer carries for the page that asked; nothing when no rule fits. Blocks on the store."""
    return cors.headers_for(_rules(house, request), request.header.get("origin", ""), request.method) or []


def _rules(house: House, request: Request) -> dict[str, object] | None:
    path = path_style(request.header.get("host", ""), request.path)
    bucket = house.objects.find_bucket(unquote(path.removeprefix("/").partition("/")[0]))
    return None if bucket is None else bucket.settings.get("CORSConfiguration")
