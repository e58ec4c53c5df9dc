"""The proxy on the signed listener: what a CONNECT is answered. A step of ``front.listener``.

AWS's names end here: TLS with a certificate of the local authority, and the signed listener behind it. Everything else
is tunnelled, so that package installs in the same shell go on working, or refused with ``offline``. Only clients of this
machine are answered; a tunnel also needs the password that ``stagedoor env --proxy`` prints, for a function that may
reach nothing but this server must not reach the world through it.
"""

import asyncio
import base64
import hmac

from stagedoor.front.aws_names import is_aws_name, split_authority
from stagedoor.http import tunnel
from stagedoor.http.destinations import Destinations, ForbiddenDestinationError
from stagedoor.http.local_ca import CertificateError, LocalCa
from stagedoor.http.message import Request, Response, TlsFromHere
from stagedoor.settings import is_loopback

USER = "stagedoor"


class Proxy:
    """Answers CONNECT."""

    def __init__(self, ca: LocalCa, password: str, destinations: Destinations, *, offline: bool) -> None:
        self._ca = ca
        self._password = password
        self._destinations = destinations
        self._offline = offline

    async def answer(self, request: Request) -> Response:
        """One CONNECT: 200 with what the connection becomes, or why not."""
        if request.scheme != "http":
            return _refused(405, "The proxy is not inside TLS. `stagedoor env --proxy` prints its address.")
        if not is_loopback(request.peer_host):
            return _refused(403, "The proxy is for clients on the same machine only.")
        target = split_authority(request.path)
        if target is None:
            return _refused(400, "CONNECT takes HOST:PORT.")
        host, port = target
        if is_aws_name(host):
            return await self._aws(host, port)
        if not self._knows_password(request.header.get("proxy-authorization", "")):
            return _refused(
                407,
                "Tunnels need the user and password in the address that `stagedoor env --proxy` prints.",
                ("proxy-authenticate", 'Basic realm="stagedoor"'),
            )
        if self._offline:
            return _refused(403, f"{host} is not AWS's, and stagedoor runs with --offline: nothing leaves.")
        return await self._elsewhere(host, port)

    async def _aws(self, host: str, port: int) -> Response:
        if port != 443:
            return _refused(403, f"AWS's names are answered on port 443, not on {port}.")
        try:
            context = await asyncio.to_thread(self._ca.context, (host,))
        except CertificateError as error:
            return _refused(502, str(error))
        return Response(200, switch=TlsFromHere(context))

    async def _elsewhere(self, host: str, port: int) -> Response:
        try:
            destination = await self._destinations.of_host(host, port)
            return Response(200, switch=await tunnel.connect(destination))
        except (ForbiddenDestinationError, tunnel.ReachesOurselvesError) as error:
            return _refused(403, f"The proxy does not connect there: {error}.")
        except TimeoutError:
            return _refused(504, f"{host}:{port} does not answer.")
        except OSError as error:
            return _refused(502, f"{host}:{port} cannot be reached: {error.strerror or error}.")

    def _knows_password(self, header: str) -> bool:
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except ValueError:  # no base64, or no ASCII
            return False
        return hmac.compare_digest(given, f"{USER}:{self._password}".encode())


def _refused(status: int, reason: str, *headers: tuple[str, str]) -> Response:
    return Response(status, [("content-type", "text/plain; charset=utf-8"), *headers], f"{reason}\n".encode())
