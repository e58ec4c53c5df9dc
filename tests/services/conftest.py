from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.s3_server import S3Server


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
