"""Every operation that is built, and requests for it: as botocore writes them, or spoilt; signed or not."""

from dataclasses import dataclass, replace
from typing import Any

from botocore import xform_name
from botocore.model import OperationModel
from front.wire_requests import Answer, Signed
from wire import clients
from wire.generated import Wire, value

from stagedoor.services import registry
from stagedoor.testing import Server
from stagedoor.wire import models


@dataclass(frozen=True)
class Operation:
    """One operation of one service, in the protocol that clients use."""

    service: str
    model: OperationModel
    protocol: str

    def __str__(self) -> str:
        return f"{self.service}-{self.model.name}"

    @property
    def members(self) -> dict[str, Any]:
        """The members of its input."""
        return self.model.input_shape.members if self.model.input_shape is not None else {}

    def smallest(self) -> dict[str, Any]:
        """The least that its service model accepts."""
        if self.model.input_shape is None:
            return {}
        return value(self.model.input_shape, Wire(self.protocol, fills_containers=True), seed=0)

    def request(self, parameters: dict[str, Any]) -> "WrittenRequest":
        """The request that botocore writes for ``parameters``, whether or not they satisfy the model."""
        written = clients.request_of(self.model, self.protocol, parameters)
        target = written.path + (f"?{written.query}" if written.query else "")
        assert isinstance(written.body, bytes)
        return WrittenRequest(self, written.method, target, dict(written.headers), written.body)


@dataclass(frozen=True)
class WrittenRequest:
    """A request that is not signed yet."""

    operation: Operation
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def but(self, **changes: Any) -> "WrittenRequest":
        return replace(self, **changes)

    def send(self, server: Server, keys: Any = None) -> Answer:
        """Sign it and send it, over a connection of its own."""
        return self._signed(server, keys).send()

    def send_unsigned(self, server: Server) -> Answer:
        signed = self._signed(server, None)
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Content-SHA256"):
            signed.headers.pop(name, None)
        return signed.send()

    def _signed(self, server: Server, keys: Any) -> Signed:
        name = models.service(self.operation.service).model.signing_name
        headers = {key: text for key, text in self.headers.items() if key != "content-length"}
        return Signed(
            server,
            "s3" if name == "s3" else "sts",
            keys=keys,
            name=name,
            method=self.method,
            target=self.target,
            headers=headers,
            body=self.body,
        )


def built() -> list[Operation]:
    """Every operation that does not answer 501."""
    found: list[Operation] = []
    for name in registry.MODULES:
        service, functions = models.service(name), registry.operations(name)
        found += [
            Operation(name, service.operation(operation), service.protocols[0])
            for operation in service.operations
            if xform_name(operation) in functions
        ]
    return found
