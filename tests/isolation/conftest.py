"""One server of its own for the tests of each module, and one function that does whatever code it is sent."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from isolation.target import HANDLER, Target

from stagedoor.testing import Server


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if sys.platform != "linux":
        pytest.skip("this system has no sandbox that user code is put into")
    yield from targets(tmp_path_factory.mktemp("server") / "data", {})


def targets(data: Path, variables: Mapping[str, str]) -> Iterator[Target]:
    """A server with these variables, for as long as it is needed."""
    server = Server(
        data,
        {
            "STAGEDOOR_ALLOW_NETWORK": "outgoing-*",
            "STAGEDOOR_WORKLOAD_MEMORY_MAX_BYTES": str(2**30),
            **variables,
        },
    ).start()
    try:
        document = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        role = server.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(document))[
            "Role"
        ]["Arn"]
        written = json.loads((data / "stagedoor.json").read_text())
        found = Target(server, role, written["pid"], written["isolation"]["rungs"])
        found.create("anything", HANDLER)
        found.create("outgoing-anything", HANDLER)
        yield found
    finally:
        server.stop()
        server.close()
