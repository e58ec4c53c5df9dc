"""Which resource a path means: literals before variables before greedy variables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.public import match

METHOD = {"httpMethod": "GET"}


def tree(*paths: str, methods: dict[str, dict[str, object]] | None = None) -> dict[str, dict[str, object]]:
    resources: dict[str, dict[str, object]] = {"/": {"id": "/", "path": "/", "resourceMethods": {}}}
    for path in paths:
        parent = "/"
        for part in path.strip("/").split("/"):
            here = f"{parent.rstrip('/')}/{part}"
            resources.setdefault(
                here, {"id": here, "path": here, "pathPart": part, "parentId": parent, "resourceMethods": {}}
            )
            parent = here
        resources[parent]["resourceMethods"] = methods or {"GET": METHOD}
    return resources


@pytest.mark.parametrize(
    ("path", "resource", "parameters"),
    [
        ("/films/top", "/films/top", {}),
        ("/films/top/", "/films/top", {}),
        ("/films/7", "/films/{id}", {"id": "7"}),
        ("/films/a%2Fb", "/films/{id}", {"id": "a%2Fb"}),
        ("/films/7/cast", "/films/{id}/cast", {"id": "7"}),
        ("/films/top/cast", "/films/{id}/cast", {"id": "top"}),
        ("/films/7/more/still", "/{proxy+}", {"proxy": "films/7/more/still"}),
        ("/other", "/{proxy+}", {"proxy": "other"}),
    ],
)
def test_the_most_specific_resource_wins(path: str, resource: str, parameters: dict[str, str]) -> None:
    root = match.build(tree("/films/top", "/films/{id}", "/films/{id}/cast", "/{proxy+}"))
    found = match.match(root, "GET", path)
    assert found is not None
    assert (found.resource["path"], found.path_parameters) == (resource, parameters)


def test_the_root_is_a_resource_of_its_own() -> None:
    resources = tree("/a")
    assert match.match(match.build(resources), "GET", "/") is None
    resources["/"]["resourceMethods"] = {"ANY": {"httpMethod": "ANY"}}
    found = match.match(match.build(resources), "PATCH", "/")
    assert found is not None
    assert found.method["httpMethod"] == "ANY"


def test_another_method_is_no_match() -> None:
    assert match.match(match.build(tree("/a")), "POST", "/a") is None


@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=5))
def test_a_greedy_variable_takes_every_path(parts: list[str]) -> None:
    found = match.match(match.build(tree("/{all+}")), "GET", "/" + "/".join(parts))
    assert found is not None
    assert found.path_parameters == {"all": "/".join(parts)}
