"""aws-chunked bodies decode to what was sent however they are cut, and are refused after any change."""

import hashlib
import hmac
import io
import itertools

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.authz.chunked import ChunkDecoder, ChunkedError, ChunkedReason, Seed
from stagedoor.authz.sigv4 import EMPTY_SHA256, Scope, signing_key

SCOPE = Scope("20130524", "us-east-1", "s3")
KEY = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", SCOPE)
DATE = "20130524T000000Z"
SEED = Seed("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9", KEY, DATE, SCOPE)


def sign(seed: Seed, previous: str, algorithm: str, digests: str) -> str:
    text = f"{algorithm}\n{seed.amz_date}\n{seed.scope}\n{previous}\n{digests}"
    return hmac.new(seed.key, text.encode(), hashlib.sha256).hexdigest()


def signed_body(chunks: list[bytes], trailers: dict[str, str] | None = None, seed: Seed = SEED) -> bytes:
    previous, parts = seed.signature, []
    for chunk in [*chunks, b""]:
        digests = f"{EMPTY_SHA256}\n{hashlib.sha256(chunk).hexdigest()}"
        previous = sign(seed, previous, "AWS4-HMAC-SHA256-PAYLOAD", digests)
        head = b"%x;chunk-signature=%s\r\n" % (len(chunk), previous.encode())
        parts.append(head + (chunk + b"\r\n" if chunk else b""))
    if trailers is not None:
        canonical = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = sign(seed, previous, "AWS4-HMAC-SHA256-TRAILER", digest)
        parts += [f"{name}:{value}\r\n".encode() for name, value in trailers.items()]
        parts.append(f"x-amz-trailer-signature:{signature}\r\n".encode())
    return b"".join(parts) + b"\r\n"


def decoder(kind: str, length: int) -> ChunkDecoder:
    names = ("x-amz-checksum-crc32",)
    if kind == "signed":
        return ChunkDecoder(decoded_length=length, seed=SEED)
    if kind == "signed trailer":
        return ChunkDecoder(decoded_length=length, seed=SEED, trailer_names=names, trailers=True)
    return ChunkDecoder(decoded_length=length, trailer_names=names, trailers=True)


def body(kind: str, chunks: list[bytes]) -> bytes:
    if kind == "signed":
        return signed_body(chunks)
    if kind == "signed trailer":
        return signed_body(chunks, {"x-amz-checksum-crc32": "AAAAAA=="})
    parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    return b"".join(parts) + b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"


def decode(to: ChunkDecoder, raw: bytes, cuts: list[int] | None = None) -> bytes:
    found: list[bytes] = []
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts or []), len(raw)]
    for start, end in itertools.pairwise(edges):
        found += to.feed(raw[start:end])
    to.finish()
    return b"".join(found)


def refusal(to: ChunkDecoder, raw: bytes) -> ChunkedReason:
    with pytest.raises(ChunkedError) as caught:
        decode(to, raw)
    return caught.value.reason


KINDS = ["signed", "signed trailer", "unsigned trailer"]
some_chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


@pytest.mark.parametrize("kind", KINDS)
@given(chunks=some_chunks, cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_any_cut_decodes_to_the_same(kind: str, chunks: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(chunks)
    to = decoder(kind, len(whole))
    assert decode(to, body(kind, chunks), cuts) == whole
    assert to.trailers == ({} if kind == "signed" else {"x-amz-checksum-crc32": "AAAAAA=="})


@pytest.mark.parametrize("kind", ["signed", "signed trailer"])
@given(chunks=some_chunks, position=st.integers(0, 5000), bit=st.integers(0, 7))
def test_any_changed_bit_of_a_signed_body_is_refused(
    kind: str, chunks: list[bytes], position: int, bit: int
) -> None:
    raw = bytearray(body(kind, chunks))
    place = position % len(raw)
    raw[place] ^= 1 << bit
    try:
        found = decode(decoder(kind, sum(map(len, chunks))), bytes(raw))
    except ChunkedError:
        return
    # Letters of hexadecimal sizes and of header names say the same in both cases: nothing of the content changed.
    assert found == b"".join(chunks)
    assert chr(raw[place]).swapcase() == chr(body(kind, chunks)[place]) or raw[place] in b" \t\r\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_ends_early_is_refused(kind: str) -> None:
    raw = body(kind, [b"abc", b"def"])
    for end in range(len(raw)):
        assert refusal(decoder(kind, 6), raw[:end]) in {ChunkedReason.INCOMPLETE, ChunkedReason.LENGTH}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [5, 7, 0])
def test_another_length_than_announced_is_refused(kind: str, length: int) -> None:
    assert refusal(decoder(kind, length), body(kind, [b"abc", b"def"])) is ChunkedReason.LENGTH


def test_chunks_in_another_order_are_refused() -> None:
    raw = signed_body([b"a" * 10, b"b" * 10])
    first, second = raw[: len(raw) // 2], raw[len(raw) // 2 :]
    end = raw.index(b"\r\n", raw.index(b"\r\n") + 2) + 2
    first, second = raw[:end], raw[end : 2 * end]
    assert refusal(decoder("signed", 20), second + first + raw[2 * end :]) is ChunkedReason.SIGNATURE


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"3\r\nabcd\r\n0\r\n\r\n", ChunkedReason.MALFORMED),
        (b"-3\r\nabc\r\n0\r\n\r\n", ChunkedReason.MALFORMED),
        (b"+3\r\nabc\r\n0\r\n\r\n", ChunkedReason.MALFORMED),
        (b"0x3\r\nabc\r\n0\r\n\r\n", ChunkedReason.MALFORMED),
        (b"\r\n3\r\nabc\r\n0\r\n\r\n", ChunkedReason.MALFORMED),
        (b"3\nabc\r\n0\r\n\r\n", ChunkedReason.MALFORMED),
        (b"fffffffffffffffff\r\nabc", ChunkedReason.MALFORMED),
        (b"ffffffffffffffff\r\nabc", ChunkedReason.MALFORMED),
        (b"a" * 10_000, ChunkedReason.MALFORMED),
        (b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:1\r\n\r\nmore", ChunkedReason.MALFORMED),
        (b"3\r\nabc\r\n0\r\n\r\n", ChunkedReason.TRAILER),
        (b"3\r\nabc\r\n0\r\nx-amz-meta-a:1\r\n\r\n", ChunkedReason.TRAILER),
        (b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:1\r\nx-amz-checksum-crc32:1\r\n\r\n", ChunkedReason.TRAILER),
        (b"3\r\nabc\r\n0\r\nno colon\r\n\r\n", ChunkedReason.TRAILER),
        (b"3\r\nabc\r\n0\r\n" + b"x-amz-checksum-crc32:1" * 5000 + b"\r\n\r\n", ChunkedReason.TRAILER),
    ],
)
def test_malformed_bodies_are_refused(raw: bytes, reason: ChunkedReason) -> None:
    assert refusal(decoder("unsigned trailer", 3), raw) is reason


def test_a_signed_form_needs_signatures() -> None:
    assert refusal(decoder("signed", 3), b"3\r\nabc\r\n0\r\n\r\n") is ChunkedReason.MALFORMED
    raw = signed_body([b"abc"], {"x-amz-checksum-crc32": "AAAAAA=="})
    stripped = raw[: raw.index(b"x-amz-trailer-signature")] + b"\r\n"
    assert refusal(decoder("signed trailer", 3), stripped) is ChunkedReason.INCOMPLETE


def test_memory_stays_small_while_a_large_chunk_streams() -> None:
    to = ChunkDecoder(decoded_length=10 * 1024 * 1024, trailers=True)
    to.feed(b"a00000\r\n")
    for _ in range(160):
        assert sum(map(len, to.feed(b"x" * 65_536))) == 65_536
    assert not to._waiting
    to.feed(b"\r\n0\r\n\r\n")
    to.finish()


@given(st.binary(max_size=5000))
def test_what_botocore_sends_over_https_is_read(content: bytes) -> None:
    wrapper = AwsChunkedWrapper(
        io.BytesIO(content), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=1024
    )
    raw = b""
    while part := wrapper.read(100):
        raw += part
    to = decoder("unsigned trailer", len(content))
    assert decode(to, raw) == content
    assert to.trailers["x-amz-checksum-crc32"]
