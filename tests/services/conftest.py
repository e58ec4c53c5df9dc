from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.frameworks import Workbench, framework_server, torch_server
from services.s3_server import S3Server

from stagedoor.testing import Server

__all__ = ["framework_server", "torch_server"]


@pytest.fixture
def s3_server(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server(tmp_path)
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3Server) -> Any:
    client = s3_server.client()
    client.create_bucket(Bucket="bucket")
    return client


@pytest.fixture
def bench(framework_server: Server) -> Workbench:
    return Workbench(framework_server)


@pytest.fixture
def torch_bench(torch_server: Server) -> Workbench:
    return Workbench(torch_server)
