"""Every case of the public signing suite is accepted in both forms, and refused after any change."""

import calendar
import hashlib
import posixpath
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
    sigv4.check_time(signature, now, 900)
    sigv4.verify(
        signature,
        credentials["secret_access_key"],
        method=vector.method,
        path=vector.path,
        query=vector.query,
        headers=vector.headers,
        payload_hash=hashlib.sha256(vector.body).hexdigest(),
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


def flipped(text: str, place: int) -> str:
    """The text with one character at ``place`` (counted around) turned into its neighbour."""
    place %= len(text)
    other = chr(ord(text[place]) ^ 1)
    return text[:place] + other + text[place + 1 :]


def says_the_same(vector: vectors.Vector, changed: vectors.Vector) -> bool:
    """Two spellings of one request: spaces between a header's words, a path that is normalised before it is signed.

    A session token that is added after signing is not part of what is signed: the server checks the token itself.
    """
    if vector.context["normalize"]:
        old, new = (posixpath.normpath(one.path.replace("//", "/")).lstrip("/") for one in (vector, changed))
        if vector.path != changed.path and old == new:
            return True
    if vector.context.get("omit_session_token"):
        old_query, new_query = (
            [pair for pair in one.query.split("&") if not pair.startswith("X-Amz-Security-Token=")]
            for one in (vector, changed)
        )
        if vector.query != changed.query and old_query == new_query:
            return True
    words = [{name: value.split() for name, value in one.headers.items()} for one in (vector, changed)]
    return vector.headers != changed.headers and words[0] == words[1]


@pytest.mark.parametrize("form", ["header", "query"])
@pytest.mark.parametrize("name", vectors.names())
def test_one_byte_changed_in_every_part_is_refused(name: str, form: str) -> None:
    """Method, path, query, each signed header, the body, the statement of the signature: bytes at both ends and between."""
    vector = vectors.read(name, form)
    signature = sigv4.parse(vector.headers, vector.query)
    changed = [vector._replace(method=flipped(vector.method, place)) for place in (0, 1, -1)]
    # Every path begins with a slash; what follows is what names something.
    places = {len(vector.path) // 2, -1} if len(vector.path) > 1 else set[int]()
    changed += [vector._replace(path=flipped(vector.path, place)) for place in places]
    places = {0, len(vector.query) // 3, len(vector.query) // 2, -1} if vector.query else set[int]()
    changed += [vector._replace(query=flipped(vector.query, place)) for place in places]
    body = vector.body.decode("latin-1")
    places = {0, len(body) // 2, -1} if body else set[int]()
    changed += [vector._replace(body=flipped(body, place).encode("latin-1")) for place in places]
    for field in (*signature.signed_headers, *(["authorization"] if form == "header" else [])):
        text = vector.headers.get(field, "")
        places = {0, len(text) // 3, len(text) // 2, -2, -1} if len(text) > 1 else set[int]()
        changed += [
            vector._replace(headers=vector.headers | {field: flipped(text, place)}) for place in places
        ]
    changed = [one for one in changed if not says_the_same(vector, one)]
    assert len(changed) >= 8
    for one in changed:
        # AssertionError: what is stated is another key or scope than the case's, which a server knows nothing of.
        with pytest.raises((sigv4.SignatureError, AssertionError)):
            check(one)


def test_the_suite_is_whole() -> None:
    assert len(vectors.names()) == 38
