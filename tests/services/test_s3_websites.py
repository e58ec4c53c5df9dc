"""Bucket websites, as a browser would visit them on the public listener's handler."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from services.s3_server import S3Server

from stagedoor.http.body import BytesBody
from stagedoor.http.message import Request, Response
from stagedoor.public import websites

BIG = bytes(range(256)) * 8192


class Site:
    """Visits one bucket's website."""

    def __init__(self, server: S3Server, prefix: str = "") -> None:
        self._server = server
        self._prefix = prefix

    def visit(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        header = {"host": "bucket.s3-website.localhost:8080"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        request = Request(
            method=method,
            path=self._prefix + path,
            query="",
            headers=list(header.items()),
            header=header,
            body=BytesBody(),
            peer_host="10.1.2.3",
        )
        return asyncio.run(self._read(request, path))

    async def _read(self, request: Request, path: str) -> tuple[int, dict[str, str], bytes]:
        response: Response = await websites.answer(self._server.house, request, "bucket", path)
        body = response.body
        if not isinstance(body, bytes):
            body = b"".join([piece async for piece in cast(AsyncIterator[bytes], body)])
        return response.status, {name.lower(): value for name, value in response.headers}, body


def publish(s3: Any, resource: str = "arn:aws:s3:::bucket/*", **statement: Any) -> None:
    s3.delete_public_access_block(Bucket="bucket")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource} | statement
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))


@pytest.fixture
def site(s3_server: S3Server, s3: Any) -> Site:
    s3.put_bucket_website(
        Bucket="bucket",
        WebsiteConfiguration={
            "IndexDocument": {"Suffix": "index.html"},
            "ErrorDocument": {"Key": "error.html"},
            "RoutingRules": [
                {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/"}},
                {
                    "Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "app/"},
                    "Redirect": {"HttpRedirectCode": "302", "ReplaceKeyWith": "app/index.html"},
                },
            ],
        },
    )
    for key, body in {
        "index.html": b"<h1>home</h1>",
        "docs/index.html": b"docs",
        "error.html": b"sorry",
        "a b/\u00e9.txt": b"odd",
        "big.bin": BIG,
    }.items():
        kind = "text/html" if key.endswith("html") else "text/plain"
        s3.put_object(Bucket="bucket", Key=key, Body=body, ContentType=kind, CacheControl="max-age=1")
    publish(s3)
    return Site(s3_server)


def test_pages_come_with_their_type_and_the_index_document(site: Site) -> None:
    status, headers, body = site.visit("/")
    assert (status, headers["content-type"], body) == (200, "text/html", b"<h1>home</h1>")
    assert headers["cache-control"] == "max-age=1"
    assert site.visit("/docs/")[2] == b"docs"
    assert site.visit("/a%20b/%C3%A9.txt")[2] == b"odd"
    assert site.visit("/big.bin")[2] == BIG
    status, headers, body = site.visit("/big.bin", "HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(BIG)), b"")


def test_a_folder_without_its_slash_is_redirected(site: Site) -> None:
    status, headers, _ = site.visit("/docs")
    assert (status, headers["location"]) == (302, "/docs/")


def test_conditions_and_ranges(site: Site) -> None:
    etag = site.visit("/")[1]["etag"]
    assert site.visit("/", if_none_match=etag)[0] == 304
    assert site.visit("/", if_match='"other"')[0] == 412
    status, headers, body = site.visit("/big.bin", range="bytes=10-19")
    assert (status, headers["content-range"], body) == (206, f"bytes 10-19/{len(BIG)}", BIG[10:20])
    assert site.visit("/big.bin", range=f"bytes={len(BIG)}-")[0] == 416
    assert site.visit("/", if_modified_since="no date")[0] == 200


def test_the_error_document_comes_under_the_errors_status(site: Site) -> None:
    status, headers, body = site.visit("/absent")
    assert (status, headers["content-type"], body) == (404, "text/html", b"sorry")


def test_routing_rules(site: Site) -> None:
    status, headers, _ = site.visit("/old/page?")
    assert (status, headers["location"]) == (301, "http://bucket.s3-website.localhost:8080/new/page?")
    status, headers, _ = site.visit("/app/deep/link")
    assert (status, headers["location"]) == (302, "http://bucket.s3-website.localhost:8080/app/index.html")


def test_redirects_stay_under_the_prefix_of_path_style(s3_server: S3Server, site: Site) -> None:
    by_path = Site(s3_server, "/_aws/s3-website/bucket")
    assert by_path.visit("/docs")[1]["location"] == "/_aws/s3-website/bucket/docs/"
    assert by_path.visit("/old/page")[1]["location"] == (
        "http://bucket.s3-website.localhost:8080/_aws/s3-website/bucket/new/page"
    )


def test_only_what_everybody_may_read_is_shown(s3: Any, site: Site) -> None:
    publish(s3, "arn:aws:s3:::bucket/docs/*")
    status, headers, body = site.visit("/index.html")
    assert (status, headers["x-amz-error-code"]) == (403, "AccessDenied")
    assert b"403 Forbidden" in body
    assert b"Custom Error Document" in body
    assert site.visit("/docs/")[0] == 200
    publish(s3, Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    assert site.visit("/")[0] == 200
    publish(s3, Condition={"IpAddress": {"aws:SourceIp": "192.168.0.0/16"}})
    assert site.visit("/")[0] == 403
    s3.delete_bucket_policy(Bucket="bucket")
    assert site.visit("/")[0] == 403


def test_the_public_access_block_closes_a_public_site(s3: Any, site: Site) -> None:
    s3.put_public_access_block(
        Bucket="bucket", PublicAccessBlockConfiguration={"RestrictPublicBuckets": True}
    )
    assert site.visit("/")[0] == 403


def test_errors_without_an_error_document_are_s3s_own_page(s3: Any, site: Site) -> None:
    s3.delete_object(Bucket="bucket", Key="error.html")
    status, headers, body = site.visit("/<script>x</script>")
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"<li>Code: NoSuchKey</li>" in body
    assert b"<script>" not in body
    assert site.visit("/", "POST")[0] == 405
    assert site.visit("/%ff")[0] == 400
    assert site.visit("/" + "k" * 2000)[0] == 404


def test_a_site_needs_a_bucket_with_a_configuration(s3: Any, site: Site) -> None:
    s3.delete_bucket_website(Bucket="bucket")
    status, headers, _ = site.visit("/")
    assert (status, headers["x-amz-error-code"]) == (404, "NoSuchWebsiteConfiguration")
    found = asyncio.run(
        websites.answer(
            site._server.house,
            Request("GET", "/", "", [], {}, BytesBody()),
            "absent-bucket",
            "/",
        )
    )
    assert found.status == 404


def test_redirect_all_and_redirects_of_single_objects(s3: Any, site: Site) -> None:
    s3.put_object(Bucket="bucket", Key="moved", Body=b"", WebsiteRedirectLocation="/docs/")
    s3.put_object(Bucket="bucket", Key="away", Body=b"", WebsiteRedirectLocation="https://example.com/x")
    assert site.visit("/moved")[:2][1]["location"] == "/docs/"
    assert (site.visit("/away")[0], site.visit("/away")[1]["location"]) == (301, "https://example.com/x")
    s3.put_bucket_website(
        Bucket="bucket",
        WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "example.org", "Protocol": "https"}},
    )
    status, headers, _ = site.visit("/any/path")
    assert (status, headers["location"]) == (301, "https://example.org/any/path")
