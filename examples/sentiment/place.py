"""Where the work happens: real AWS, or the server that ``AWS_ENDPOINT_URL`` names.

All that differs between the two is here: the public addresses of what API Gateway and S3 websites serve. Every other
module makes ordinary boto3 calls.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import boto3

if TYPE_CHECKING:
    from types_boto3_apigateway import APIGatewayClient
    from types_boto3_iam import IAMClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sts import STSClient

# Regions whose website addresses have a dot after "s3-website"; older regions have a dash.
_DASHED_WEBSITES = {
    "ap-northeast-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "eu-west-1",
    "sa-east-1",
    "us-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
}


class PlaceUnusable(Exception):
    """The account, region or server cannot be worked with; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """An account in a region, and the clients that speak to it."""

    session: boto3.Session
    local_public_url: str | None
    """The public listener of a local server, such as ``http://127.0.0.1:8080``; None on AWS."""

    @property
    def region(self) -> str:
        return self.session.region_name

    @cached_property
    def partition(self) -> str:
        return self.session.get_partition_for_region(self.region)

    @cached_property
    def account(self) -> str:
        return self.sts.get_caller_identity()["Account"]

    @cached_property
    def apigateway(self) -> APIGatewayClient:
        return self.session.client("apigateway")

    @cached_property
    def iam(self) -> IAMClient:
        return self.session.client("iam")

    @cached_property
    def functions(self) -> LambdaClient:
        return self.session.client("lambda")

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        return self.session.client("logs")

    @cached_property
    def s3(self) -> S3Client:
        return self.session.client("s3")

    @cached_property
    def sagemaker(self) -> SageMakerClient:
        return self.session.client("sagemaker")

    @cached_property
    def sts(self) -> STSClient:
        return self.session.client("sts")

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def xgboost_image(self) -> str:
        """The address of SageMaker's XGBoost algorithm in this region."""
        image = json.loads((Path(__file__).parent / "registries.json").read_text(encoding="utf-8"))
        registry = image["account_of_region"].get(self.region)
        if registry is None:
            raise PlaceUnusable(
                f"SageMaker's XGBoost algorithm has no known address in the region {self.region}"
            )
        return f"{registry}.dkr.ecr.{self.region}.{self._suffix}/{image['repository']}:{image['tag']}"

    @property
    def _suffix(self) -> str:
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def api_url(self, api_id: str, stage: str, path: str) -> str:
        if self.local_public_url:
            return f"http://{api_id}.execute-api.localhost:{self._local_port}/{stage}/{path}"
        return f"https://{api_id}.execute-api.{self.region}.{self._suffix}/{stage}/{path}"

    def api_url_by_path(self, api_id: str, stage: str, path: str) -> str | None:
        """The same on a local server, for browsers that do not know ``*.localhost``; None on AWS."""
        public = self.local_public_url
        return f"{public}/_aws/execute-api/{api_id}/{stage}/{path}" if public else None

    def website_url(self, bucket: str) -> str:
        if self.local_public_url:
            return f"http://{bucket}.s3-website.localhost:{self._local_port}/"
        mark = "-" if self.region in _DASHED_WEBSITES else "."
        return f"http://{bucket}.s3-website{mark}{self.region}.{self._suffix}/"

    def website_url_by_path(self, bucket: str) -> str | None:
        return f"{self.local_public_url}/_aws/s3-website/{bucket}/" if self.local_public_url else None

    @property
    def _local_port(self) -> int:
        return urlsplit(self.local_public_url or "").port or 80

    def fetch(
        self, url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Ask a public address as a browser would: status and text.

        Names under ``localhost`` are sent to the local server's own address, since not every system resolves them.
        """
        parts = urlsplit(url)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(parts.netloc, timeout=60)
        elif self.local_public_url:
            connection = http.client.HTTPConnection(urlsplit(self.local_public_url).netloc, timeout=60)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        try:
            connection.request(method, parts.path or "/", body, {"Host": parts.netloc, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


def find() -> Place:
    """The place that the environment names, as every boto3 program finds it.

    :raises PlaceUnusable: no region, or a server that does not answer.
    """
    session = boto3.Session()
    if not session.region_name:
        raise PlaceUnusable("no region: export AWS_DEFAULT_REGION=us-east-1 (or the one you use)")
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return Place(session, _public_url_of(endpoint) if endpoint else None)


def _public_url_of(endpoint: str) -> str:
    """A local server says in its health answer where its public listener is."""
    try:
        with urllib.request.urlopen(f"{endpoint.rstrip('/')}/_stagedoor/health", timeout=10) as answer:  # noqa: S310
            health = cast("dict[str, Any]", json.load(answer))
    except (urllib.error.URLError, ValueError, OSError) as error:
        raise PlaceUnusable(
            f"AWS_ENDPOINT_URL is {endpoint}, and no stagedoor answers there ({error}). "
            "Start it with `stagedoor up`, or unset the variable to work on AWS."
        ) from error
    return str(health["public"]).rstrip("/")
