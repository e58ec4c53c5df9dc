"""Which operation a request means, from the model's routes: between ``services`` (which service) and ``parse``.

REST services: a tree of path segments, built once per service; its leaves hold the operations of one method, and those
that share a leaf are told apart by the static part of their query (``?delete``) and by which required query and header
members the request carries (``x-amz-copy-source``, ``uploadId``). The other protocols name the operation themselves.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from stagedoor.domain.errors import AwsError
from stagedoor.wire import query_string, quirks
from stagedoor.wire.models import Service
from stagedoor.wire.requests import WireRequest

if TYPE_CHECKING:
    from botocore.model import OperationModel

CBOR = "smithy-rpc-v2-cbor"
_REMEMBERED_LENGTH = 256
_REMEMBERED_COUNT = 4096
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One operation of a leaf: when it may be meant, and how the labels of the path are called for it."""

    name: str
    labels: tuple[str, ...]
    static_query: tuple[tuple[str, str | None], ...]
    required_query: tuple[str, ...]
    required_headers: tuple[str, ...]

    def fits(self, query: Mapping[str, list[str]]) -> bool:
        return all(
            key in query and (value is None or value in query[key]) for key, value in self.static_query
        )

    def required_present(self, query: Mapping[str, list[str]], headers: Collection[str]) -> int:
        """How many of the required query and header members are there; -1 when the request cannot mean this.

        A request with one of two required query members means this operation and forgot the other: a PUT with an
        uploadId but no partNumber must not become a PutObject.
        """
        in_query = sum(1 for key in self.required_query if key in query)
        if self.required_query and not in_query:
            return -1
        if any(key not in headers for key in self.required_headers):
            return -1
        return in_query + len(self.required_headers)


@dataclass(slots=True)
class _Leaf:
    """The operations of one path and method."""

    plain: list[_Candidate] = field(default_factory=list["_Candidate"])
    by_query_key: dict[str, list[_Candidate]] = field(default_factory=dict[str, list["_Candidate"]])

    def add(self, candidate: _Candidate) -> None:
        if candidate.static_query:
            self.by_query_key.setdefault(candidate.static_query[0][0], []).append(candidate)
        else:
            self.plain.append(candidate)

    def choose(
        self, query: Mapping[str, list[str]], headers: Collection[str], *, query_selects: bool
    ) -> _Candidate | None:
        """The operation that is meant. ``query_selects``: a required query member is what makes the operation.

        (S3: a POST to a key without uploadId is no CompleteMultipartUpload that forgot something.)
        """
        static = [
            candidate
            for key in query
            for candidate in self.by_query_key.get(key, ())
            if candidate.fits(query)
        ]
        if static:
            most = max(len(candidate.static_query) for candidate in static)
            return _best([c for c in static if len(c.static_query) == most], query, headers)
        if not self.plain:
            return None
        best = _best(self.plain, query, headers)
        if query_selects and best.required_query and best.required_present(query, headers) < 0:
            return None
        return best


def _best(
    candidates: list[_Candidate], query: Mapping[str, list[str]], headers: Collection[str]
) -> _Candidate:
    """The candidate with most required members present; if none is complete, the one that asks for least.

    What is then missing is for ``validate`` to name.
    """
    if len(candidates) == 1:
        return candidates[0]
    scored = [(candidate.required_present(query, headers), candidate) for candidate in candidates]
    best_score, best = max(scored, key=lambda pair: pair[0])
    if best_score >= 0:
        return best
    return min(candidates, key=lambda c: len(c.required_query) + len(c.required_headers))


@dataclass(slots=True)
class _Node:
    """A position in the tree of path segments."""

    literals: dict[str, "_Node"] = field(default_factory=dict[str, "_Node"])
    label: "_Node | None" = None
    greedy: "_Node | None" = None  # takes the rest of the path, then its own literals from the right
    leaves: dict[str, _Leaf] = field(default_factory=dict[str, _Leaf])


class Table:
    """The routes of one REST service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_xml = "rest-xml" in service.protocols
        self._root = _Node()
        self._found: dict[str, tuple[Mapping[str, _Leaf], tuple[str, ...]] | None] = {}
        shared = quirks.of(service.name).shared_routes
        for name in service.operations:
            if name not in shared:
                self._add(service.operation(name))

    def _add(self, operation: "OperationModel") -> None:
        path, _, static_query = operation.http["requestUri"].partition("?")
        node = self._root
        labels: list[str] = []
        for segment in _segments(path):
            if segment.startswith("{") and segment.endswith("}"):
                name = segment[1:-1]
                labels.append(name.removesuffix("+"))
                if name.endswith("+"):
                    node.greedy = node.greedy or _Node()
                    node = node.greedy
                else:
                    node.label = node.label or _Node()
                    node = node.label
            else:
                node = node.literals.setdefault(segment, _Node())
        members = operation.input_shape.members if operation.input_shape is not None else {}
        required = operation.input_shape.required_members if operation.input_shape is not None else []
        by_location: dict[str, list[str]] = {"querystring": [], "header": []}
        for member in required:
            serialization = members[member].serialization
            if serialization.get("location") in by_location:
                by_location[serialization["location"]].append(serialization.get("name", member))
        candidate = _Candidate(
            name=operation.name,
            labels=tuple(labels),
            static_query=tuple(
                (key, value if separator else None)
                for key, separator, value in (part.partition("=") for part in static_query.split("&") if part)
            ),
            required_query=tuple(by_location["querystring"]),
            required_headers=tuple(header.lower() for header in by_location["header"]),
        )
        node.leaves.setdefault(operation.http.get("method", "POST"), _Leaf()).add(candidate)

    def find(self, path: str) -> tuple[Mapping[str, _Leaf], tuple[str, ...]] | None:
        """The leaves at a raw path, with the raw values of the labels on the way; None when nothing is there.

        Asked twice for each request (which service, which operation), and for the same paths again and again.
        """
        if len(path) > _REMEMBERED_LENGTH:
            return self._find(path)
        if path in self._found:
            return self._found[path]
        if len(self._found) >= _REMEMBERED_COUNT:
            self._found.clear()
        found = self._found[path] = self._find(path)
        return found

    def _find(self, path: str) -> tuple[Mapping[str, _Leaf], tuple[str, ...]] | None:
        values: list[str] = []
        node = _walk(self._root, _segments(path), 0, values)
        return (node.leaves, tuple(values)) if node is not None else None

    def match(
        self, method: str, path: str, query: str, headers: Mapping[str, str]
    ) -> tuple["OperationModel", dict[str, str]]:
        """The operation, and the decoded labels by member's wire name. AwsError when there is none."""
        found = self.find(path)
        if found is None:
            raise self._unknown(method, path)
        leaves, values = found
        leaf = leaves.get(method)
        if leaf is None:
            raise self._wrong_method(method, path, leaves)
        try:
            parameters = query_string.grouped(query)
            decoded = [query_string.unquote(value) for value in values]
        except ValueError as error:
            raise AwsError("InvalidURI", f"Couldn't parse the specified URI: {error}.", status=400) from error
        candidate = leaf.choose(parameters, headers, query_selects=self._is_xml)
        if candidate is None:
            raise self._wrong_method(method, path, [name for name in leaves if name != method])
        return self._service.operation(candidate.name), dict(zip(candidate.labels, decoded, strict=True))

    def _unknown(self, method: str, path: str) -> AwsError:
        if self._is_xml:
            return self._wrong_method(method, path)
        return AwsError(
            "UnknownOperationException",
            f"{self._service.name} has no operation at {method} {path}.",
            status=404,
        )

    def _wrong_method(self, method: str, path: str, allowed: Collection[str] = ()) -> AwsError:
        if self._is_xml:
            depth = sum(1 for segment in path.split("/") if segment)
            resource = ("SERVICE", "BUCKET", "OBJECT")[min(depth, 2)]
            return AwsError(
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
                status=405,
                members={"Method": method, "ResourceType": resource},
                headers={"Allow": ", ".join(sorted(allowed))} if allowed else None,
            )
        return AwsError(
            "UnknownOperationException",
            f"{self._service.name} has no operation for the method {method} at {path}.",
            status=404,
        )


def _segments(path: str) -> list[str]:
    """The segments of a path. A final slash counts as nothing unless a greedy label takes it (an S3 key)."""
    return path.removeprefix("/").split("/")


def _walk(node: _Node, segments: list[str], index: int, values: list[str]) -> _Node | None:
    """Literal segments win over labels, labels over a greedy label; an empty segment fits no plain label."""
    rest = len(segments) - index
    if rest == 0 or (rest == 1 and segments[index] == ""):
        if node.leaves:
            return node
        if rest == 0:
            return None
    segment = segments[index]
    literal = node.literals.get(segment)
    mark = len(values)
    if literal is not None:
        found = _walk(literal, segments, index + 1, values)
        if found is not None:
            return found
        del values[mark:]
    if node.label is not None and segment:
        values.append(segment)
        found = _walk(node.label, segments, index + 1, values)
        if found is not None:
            return found
        del values[mark:]
    if node.greedy is not None:
        return _walk_greedy(node.greedy, segments, index, values)
    return None


def _walk_greedy(node: _Node, segments: list[str], index: int, values: list[str]) -> _Node | None:
    """A greedy label takes as much as leaves its own continuation matched (``/foo/{Key+}/bar``)."""
    mark = len(values)
    ends = (len(segments),) if not node.literals and node.label is None else range(len(segments), index, -1)
    for end in ends:
        values.append("/".join(segments[index:end]))
        if end == len(segments):
            found = node if node.leaves else None
        else:
            found = _walk(node, segments, end, values)
        if found is not None and values[mark]:
            return found
        del values[mark:]
    return None


@cache
def table(service: Service) -> Table:
    """The routes of a REST service, built when first asked for."""
    return Table(service)


def match(
    service: Service, method: str, path: str, query: str, headers: Mapping[str, str]
) -> tuple["OperationModel", dict[str, str]]:
    """The operation of a REST service at a raw path and query, with its decoded labels.

    AwsError ``UnknownOperationException`` (404), for S3 ``MethodNotAllowed`` (405) or ``InvalidURI`` (400).
    """
    return table(service).match(method, path, query, headers)


def protocol_of(service: Service, request: WireRequest) -> str:
    """The protocol a request is spoken in, among those the service lists; its first one when nothing tells."""
    protocols = service.protocols
    if len(protocols) == 1:
        return protocols[0]
    headers = request.headers
    if CBOR in protocols and (
        headers.get("smithy-protocol") == "rpc-v2-cbor" or request.path.startswith("/service/")
    ):
        return CBOR
    if "json" in protocols and "x-amz-target" in headers:
        return "json"
    if "query" in protocols:
        return "query"
    return protocols[0]


def operation_of(service: Service, request: WireRequest) -> tuple["OperationModel", str, dict[str, str]]:
    """The operation a request means, the protocol it is spoken in, and the decoded labels of its path.

    AwsError: ``UnknownOperationException`` (404); query ``MissingAction``, ``InvalidAction`` (400); S3
    ``MethodNotAllowed`` (405).
    """
    protocol = protocol_of(service, request)
    match protocol:
        case "json":
            return _by_target(service, request), protocol, {}
        case "query":
            return _by_action(service, request), protocol, {}
        case "smithy-rpc-v2-cbor":
            return _by_service_path(service, request), protocol, {}
        case _:
            operation, labels = match(service, request.method, request.path, request.query, request.headers)
            return operation, protocol, labels


def _by_target(service: Service, request: WireRequest) -> "OperationModel":
    target = request.headers.get("x-amz-target", "")
    prefix, _, name = target.rpartition(".")
    if request.method != "POST" or prefix != service.target_prefix or name not in service.operation_names:
        what = f"X-Amz-Target {target!r}" if target else "a request without X-Amz-Target"
        raise AwsError(
            "UnknownOperationException", f"{service.name} has no operation for {what}.", status=404
        )
    return service.operation(name)


def _by_service_path(service: Service, request: WireRequest) -> "OperationModel":
    parts = request.path.split("/")
    # `/service/X/operation/Y`; a prefix before it is allowed by the protocol.
    if (
        request.method != "POST"
        or len(parts) < 5
        or (parts[-4], parts[-3], parts[-2]) != ("service", service.target_prefix, "operation")
        or parts[-1] not in service.operation_names
    ):
        raise AwsError(
            "UnknownOperationException", f"{service.name} has no operation at {request.path}.", status=404
        )
    return service.operation(parts[-1])


def form_parameters(request: WireRequest) -> list[tuple[str, str]]:
    """The parameters of a query-protocol request: those of the URL, then those of the form in the body.

    AwsError ``MalformedQueryString`` (400) when they cannot be decoded.
    """
    body = request.body if isinstance(request.body, bytes) else b""
    try:
        parameters = query_string.pairs(request.query)
        if body and request.headers.get("content-type", _FORM).partition(";")[0].strip().lower() == _FORM:
            parameters += query_string.pairs(body.decode("utf-8"))
    except ValueError as error:
        raise AwsError(
            "MalformedQueryString", f"The parameters cannot be decoded: {error}.", status=400
        ) from error
    return parameters


def _by_action(service: Service, request: WireRequest) -> "OperationModel":
    action = version = ""
    for name, value in form_parameters(request):
        if name == "Action":
            action = value
        elif name == "Version":
            version = value
    if not action:
        raise AwsError(
            "MissingAction", "The request is missing an action or a required parameter.", status=400
        )
    if action not in service.operation_names or (version and version != service.api_version):
        raise AwsError(
            "InvalidAction",
            f"Could not find operation {action} for version {version or service.api_version}",
            status=400,
        )
    return service.operation(action)
