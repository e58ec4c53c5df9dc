"""Bad input, to every operation: an error of the service's own, never a fault, and the next request is answered.

What each service says to particular mistakes is in its own tests; this is the net below them.
"""

import json
from collections.abc import Iterator

import pytest
from front.wire_requests import Answer, Signed
from journeys import operations, spoilt_requests
from journeys.furnished import Furnished
from journeys.operations import Operation, WrittenRequest
from wire.generated import Wire, value

from stagedoor.testing import Server

SEEDS = range(1, 4)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    """A server of its own: what these requests make and break is nobody else's."""
    server = Server(tmp_path_factory.mktemp("furnished") / "data").start()
    yield Furnished(server)
    assert server.stop() == 0
    lines = (server.data / "logs" / "server.jsonl").read_text().splitlines()
    assert [line for line in map(json.loads, lines) if line["level"] in {"error", "critical"}] == []


def check_refused(answer: Answer, operation: Operation) -> None:
    """A client error with a code, and a text for a person, in the service's protocol."""
    assert 400 <= answer.status < 500, answer
    check_no_fault(answer, operation)


def check_no_fault(answer: Answer, operation: Operation) -> None:
    """An answer, or an error that a client of the service understands. 501 names what is not built."""
    if answer.status < 400:
        return
    assert answer.status < 500 or answer.status == 501, answer
    if operation.model.http["method"] == "HEAD":
        assert answer.body == b""
        return
    if answer.status in {304, 412, 416} and operation.service == "s3":
        return
    assert answer.code, answer.body
    assert answer.message or answer.status == 404, answer.body
    content_type = answer.headers["content-type"]
    assert ("json" in content_type) == (operation.protocol in {"json", "rest-json"}), content_type


def check_still_there(server: Server) -> None:
    assert Signed(server, "sts").send().status == 200


@pytest.mark.parametrize("operation", operations.built(), ids=str)
def test_a_spoilt_request_is_refused(furnished: Furnished, operation: Operation) -> None:
    server = furnished.server
    for spoilt in (
        spoilt_requests.without_required_members,
        spoilt_requests.with_wrong_types,
        spoilt_requests.with_garbage,
    ):
        for what, request in spoilt(operation):
            try:
                check_refused(request.send(server), operation)
            except AssertionError as error:
                raise AssertionError(f"{operation}, {what}: {error}") from error
    check_still_there(server)


@pytest.mark.parametrize("operation", operations.built(), ids=str)
def test_odd_values_do_no_harm(furnished: Furnished, operation: Operation) -> None:
    """To things that do not exist, and, unless that would end them, to things that do."""
    server = furnished.server
    smallest = operation.smallest()
    real = furnished.with_real_names(operation, smallest)
    for whole in (smallest, real) if real != smallest else (smallest,):
        for what, request in spoilt_requests.with_odd_values(operation, whole):
            try:
                check_no_fault(request.send(server), operation)
            except AssertionError as error:
                raise AssertionError(f"{operation}, {what}: {error}") from error
        if operation.model.name.startswith("Delete"):
            break
    check_still_there(server)


@pytest.mark.parametrize("operation", operations.built(), ids=str)
def test_whatever_the_model_allows_does_no_harm(furnished: Furnished, operation: Operation) -> None:
    shape = operation.model.input_shape
    if shape is None or operation.model.name.startswith("Delete"):
        return
    for seed in SEEDS:
        given = value(shape, Wire(operation.protocol, fills_containers=True), seed)
        request: WrittenRequest = operation.request(furnished.with_real_names(operation, given))
        try:
            check_no_fault(request.send(furnished.server), operation)
        except AssertionError as error:
            raise AssertionError(f"{operation}, {given}: {error}") from error
    check_still_there(furnished.server)
