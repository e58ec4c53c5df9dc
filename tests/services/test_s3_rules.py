"""The pure parts of S3: addressing by host, CORS rules, public policies."""

from typing import Any

import pytest

from stagedoor.front.s3_addressing import path_style
from stagedoor.services.s3 import cors


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("127.0.0.1:4566", "/bucket/key", "/bucket/key"),
        ("localhost:4566", "/bucket/key", "/bucket/key"),
        ("s3.localhost:4566", "/bucket/key", "/bucket/key"),
        ("s3.amazonaws.com", "/bucket/key", "/bucket/key"),
        ("s3.eu-west-1.amazonaws.com", "/bucket/key", "/bucket/key"),
        ("[::1]:4566", "/bucket/key", "/bucket/key"),
        ("stagedoor:4566", "/bucket/key", "/bucket/key"),
        ("bucket.localhost:4566", "/key", "/bucket/key"),
        ("bucket.s3.localhost:4566", "/a%2Fb//c", "/bucket/a%2Fb//c"),
        ("bucket.s3.amazonaws.com", "/", "/bucket/"),
        ("bucket.s3.eu-west-1.amazonaws.com", "/key", "/bucket/key"),
        ("bucket.s3-eu-west-1.amazonaws.com", "/key", "/bucket/key"),
        ("bucket.s3.dualstack.eu-west-1.amazonaws.com", "/key", "/bucket/key"),
        ("my.dotted.bucket.s3.amazonaws.com", "/key", "/my.dotted.bucket/key"),
        ("Bucket.S3.amazonaws.com", "/key", "/bucket/key"),
        ("bucket.s3-website.localhost:4566", "/key", "/key"),
        ("abc123.execute-api.localhost", "/prod/x", "/prod/x"),
        ("", "/bucket/key", "/bucket/key"),
    ],
)
def test_virtual_hosts_become_path_style(host: str, path: str, expected: str) -> None:
    assert path_style(host, path) == expected


RULES = {
    "CORSRules": [
        {
            "AllowedOrigins": ["https://*.example.com"],
            "AllowedMethods": ["PUT", "GET"],
            "AllowedHeaders": ["x-amz-*", "Content-Type"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        },
        {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
    ]
}


@pytest.mark.parametrize(
    ("origin", "method", "names", "allowed_origin"),
    [
        ("https://a.example.com", "PUT", ["x-amz-date", "content-type"], "https://a.example.com"),
        ("https://a.example.com", "PUT", ["authorization"], None),
        ("https://a.example.com", "GET", [], "https://a.example.com"),
        ("https://example.org", "GET", [], "*"),
        ("https://example.org", "PUT", [], None),
        ("https://example.org", "GET", ["x-custom"], None),
        ("https://.example.com", "PUT", [], "https://.example.com"),
        ("http://a.example.com", "PUT", [], None),
    ],
)
def test_preflights_are_answered_by_the_first_rule_that_fits(
    origin: str, method: str, names: list[str], allowed_origin: str | None
) -> None:
    found = cors.headers_for(RULES, origin, method, names, preflight=True)
    headers: dict[str, Any] = dict(found or [])
    assert headers.get("Access-Control-Allow-Origin") == allowed_origin
    if allowed_origin not in (None, "*"):
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert headers["Access-Control-Max-Age"] == "60"
    if names and found:
        assert headers["Access-Control-Allow-Headers"] == ", ".join(names)
    assert "Access-Control-Allow-Credentials" not in headers or allowed_origin != "*"


def test_actual_requests_need_no_allowed_headers() -> None:
    found = dict(cors.headers_for(RULES, "https://a.example.com", "PUT") or [])
    assert found["Access-Control-Expose-Headers"] == "ETag"
    assert "Access-Control-Allow-Headers" not in found


def test_without_rules_nothing_is_allowed() -> None:
    assert cors.headers_for(None, "https://a.example.com", "GET") is None
    assert "not enabled" in cors.not_allowed(None, "GET").message
    assert "not whitelisted" in cors.not_allowed(RULES, "GET").message
