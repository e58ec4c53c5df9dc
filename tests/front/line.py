"""A keep-alive connection to a signed listener, so that a test can tell which process answers on it."""

import http.client
import ssl
import time
from collections.abc import Callable
from typing import Any

from front.wire_requests import Signed
from journeys.deployed import CSV

from stagedoor.testing import Server


class Line:
    """One connection, over TLS where the server speaks it; requests on it are signed with ``keys``."""

    def __init__(self, server: Server, keys: Any = None) -> None:
        self._server = server
        self._keys = keys
        scheme, _, address = server.api.partition("://")
        host, _, port = address.partition(":")
        self.connection: http.client.HTTPConnection
        if scheme == "https":
            trusted = ssl.create_default_context(cafile=server.ca)
            self.connection = http.client.HTTPSConnection(host, int(port), timeout=20, context=trusted)
        else:
            self.connection = http.client.HTTPConnection(host, int(port), timeout=20)
        self.connection.connect()

    def invocation(self, endpoint: str, **changes: Any) -> Signed:
        call = {
            "keys": self._keys,
            "name": "sagemaker",
            "method": "POST",
            "target": f"/endpoints/{endpoint}/invocations",
            "headers": {"Content-Type": "text/csv"},
            "body": CSV.encode(),
        }
        return Signed(self._server, "sagemaker", **(call | changes))

    def ask(self, request: Signed) -> tuple[int, bytes]:
        target = request.path + (f"?{request.query}" if request.query else "")
        self.connection.request(request.method, target, request.body, request.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def call(self, service: str, **changes: Any) -> tuple[int, bytes]:
        return self.ask(Signed(self._server, service, **changes))

    def invoke(self, endpoint: str, **changes: Any) -> tuple[int, bytes]:
        return self.ask(self.invocation(endpoint, **changes))

    @property
    def socket_name(self) -> Any:
        """Who the client is; it stays the same as long as the connection does."""
        return self.connection.sock.getsockname()

    def close(self) -> None:
        self.connection.close()


def eventually(found: Callable[[], Any], within_s: float = 10.0) -> Any:
    """What ``found`` gives as soon as that is true."""
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return value
