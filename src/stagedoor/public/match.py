"""Which resource and method of a deployed API a path means. Pure: a tree built once per deployment, then walked.

A literal path part wins over ``{name}``, that over ``{name+}``; a resource that has no method for the request is passed
over for the next best one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Match:
    """The method that answers, its resource, and the path parameters, percent-encoded as they came."""

    resource: Mapping[str, Any]
    method: Mapping[str, Any]
    path_parameters: Mapping[str, str]


@dataclass(slots=True)
class Node:
    """One path part of the tree."""

    resource: Mapping[str, Any] | None = None
    literals: "dict[str, Node]" = field(default_factory=dict[str, "Node"])
    variable: "tuple[str, Node] | None" = None
    greedy: "tuple[str, Node] | None" = None


def build(resources: Mapping[str, Mapping[str, Any]]) -> Node:
    """The tree of an API's resources, as ``apigateway.resources`` records hold them."""
    nodes: dict[str, Node] = {}
    root = Node()
    # Parents before children: a parent's path is shorter.
    for resource in sorted(resources.values(), key=lambda r: (len(r["path"].split("/")), r["path"] != "/")):
        if "parentId" not in resource:
            nodes[resource["id"]] = root
            root.resource = resource
            continue
        node, parent, part = Node(resource), nodes[resource["parentId"]], str(resource["pathPart"])
        nodes[resource["id"]] = node
        if part.startswith("{") and part.endswith("+}"):
            parent.greedy = (part[1:-2], node)
        elif part.startswith("{"):
            parent.variable = (part[1:-1], node)
        else:
            parent.literals[part] = node
    return root


def match(root: Node, http_method: str, path: str) -> Match | None:
    """The best resource with a method (or ANY) for ``path``; None when there is none."""
    segments = [part for part in path.split("/") if part]
    return _walk(root, segments, 0, http_method, {})


def _walk(node: Node, segments: list[str], at: int, http_method: str, found: dict[str, str]) -> Match | None:
    if at == len(segments):
        return _here(node, http_method, found)
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None and (best := _walk(literal, segments, at + 1, http_method, found)):
        return best
    if node.variable is not None:
        name, below = node.variable
        if best := _walk(below, segments, at + 1, http_method, found | {name: segment}):
            return best
    if node.greedy is not None:
        name, below = node.greedy
        return _here(below, http_method, found | {name: "/".join(segments[at:])})
    return None


def _here(node: Node, http_method: str, found: dict[str, str]) -> Match | None:
    if node.resource is None:
        return None
    methods: Mapping[str, Any] = node.resource["resourceMethods"]
    method = methods.get(http_method) or methods.get("ANY")
    return Match(node.resource, method, found) if method is not None else None
