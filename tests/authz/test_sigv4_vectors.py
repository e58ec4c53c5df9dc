"""Every case of the public signing suite is accepted in both forms, and refused after any change."""

import calendar
import hashlib
import time

import pytest
from authz import vectors

from stagedoor.authz import sigv4

pytestmark = vectors.needs_vectors


def check(vector: vectors.Vector) -> None:
    """As a server does it: parse what is stated, look up the secret, verify."""
    signature = sigv4.parse(vector.headers, vector.query)
    credentials = vector.context["credentials"]
    now = calendar.timegm(time.strptime(vector.context["timestamp"], "%Y-%m-%dT%H:%M:%SZ"))
    assert signature.access_key_id == credentials["access_key_id"]
    assert signature.scope == ("20150830", vector.context["region"], vector.context["service"])
    sigv4.verify(
        signature,
        credentials["secret_access_key"],
        method=vector.method,
        path=vector.path,
        query=vector.query,
        headers=vector.headers,
        payload_hash=hashlib.sha256(vector.body).hexdigest(),
        now=now,
        skew_s=900,
        literal_path=not vector.context["normalize"],
    )


def refused(vector: vectors.Vector) -> None:
    with pytest.raises(sigv4.SignatureError):
        check(vector)


@pytest.mark.parametrize("form", ["header", "query"])
@pytest.mark.parametrize("name", vectors.names())
def test_the_signed_request_is_accepted(name: str, form: str) -> None:
    check(vectors.read(name, form))


@pytest.mark.parametrize("form", ["header", "query"])
@pytest.mark.parametrize("name", vectors.names())
def test_the_same_request_is_refused_after_a_change(name: str, form: str) -> None:
    vector = vectors.read(name, form)
    refused(vector._replace(method="PUT"))
    refused(vector._replace(path=vector.path + "x"))
    refused(vector._replace(query=(vector.query + "&" if vector.query else "") + "added=1"))
    refused(vector._replace(body=vector.body + b"x"))
    signature = sigv4.parse(vector.headers, vector.query)
    for field in signature.signed_headers:
        refused(vector._replace(headers=vector.headers | {field: vector.headers.get(field, "") + "x"}))
    other_secret = vector.context | {
        "credentials": vector.context["credentials"] | {"secret_access_key": "another"}
    }
    refused(vector._replace(context=other_secret))


def test_the_suite_is_whole() -> None:
    assert len(vectors.names()) == 38
