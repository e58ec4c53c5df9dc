r"""``aws-chunked`` bodies: decode them piece by piece, check every chunk signature, keep the trailers. No I/O.

Place in the flow: ``front.verified_body`` feeds a decoder with what arrives and passes on what comes out. Bytes come out
before the signature of their chunk is known; whoever stores them commits only after ``finish`` has returned.

    SIZE[;chunk-signature=SIGNATURE]\r\n BYTES \r\n … 0[;chunk-signature=SIGNATURE]\r\n [NAME:VALUE\r\n …] \r\n
"""

import enum
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from stagedoor.authz.sigv4 import EMPTY_SHA256, Scope

SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
FORMS: Final = frozenset({SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER})

_MAX_LINE_BYTES: Final = 8_192
_MAX_TRAILER_BYTES: Final = 65_536
_MAX_CHUNK_BYTES: Final = 5 * 1024**4
_SIGNATURE_NAME: Final = "x-amz-trailer-signature"


class ChunkedReason(enum.StrEnum):
    """Why a chunked body is not accepted."""

    MALFORMED = "malformed"
    INCOMPLETE = "ended early"
    LENGTH = "another length than announced"
    SIGNATURE = "a signature does not match"
    TRAILER = "trailers are not as announced"


class ChunkedError(Exception):
    """A chunked body that is not accepted, in a sentence."""

    def __init__(self, reason: ChunkedReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Seed:
    """What the chunks' signatures start from: the request's own one, and the key it was made with."""

    signature: str
    key: bytes
    amz_date: str
    scope: Scope


class _Expecting(enum.Enum):
    SIZE = 1
    BYTES = 2
    BYTES_END = 3
    TRAILERS = 4
    NOTHING = 5


class ChunkDecoder:
    """Decodes one body. ``feed`` what arrives, then ``finish``; ``trailers`` are complete from then on.

    ``seed`` is given where chunks are signed. ``trailer_names`` are those that ``x-amz-trailer`` announced, in lower case;
    ``decoded_length`` what ``x-amz-decoded-content-length`` did.
    """

    def __init__(
        self,
        *,
        decoded_length: int,
        seed: Seed | None = None,
        trailer_names: Sequence[str] = (),
        trailers: bool = False,
    ) -> None:
        self.trailers: dict[str, str] = {}
        self.decoded_bytes = 0
        self._decoded_length = decoded_length
        self._seed = seed
        self._previous = seed.signature if seed else ""
        self._with_trailers = trailers
        self._trailer_names = tuple(trailer_names)
        self._trailer_bytes = 0
        self._trailer_signature = ""
        self._state = _Expecting.SIZE
        self._waiting = bytearray()
        self._left = 0
        self._stated = ""
        self._hash: Any = None

    def feed(self, data: bytes) -> list[bytes]:
        """What ``data`` decodes to, in pieces. ChunkedError as soon as something is wrong."""
        pieces: list[bytes] = []
        view: bytes = bytes(self._waiting) + data if self._waiting else data
        self._waiting.clear()
        position, end = 0, len(view)
        while position < end:
            if self._state is _Expecting.BYTES:
                taken = min(self._left, end - position)
                self._take(view[position : position + taken], pieces)
                position += taken
                continue
            if self._state is _Expecting.NOTHING:
                raise ChunkedError(ChunkedReason.MALFORMED, "The body goes on after its last chunk.")
            newline = view.find(b"\n", position)
            if newline < 0:
                if end - position > _MAX_LINE_BYTES:
                    raise ChunkedError(ChunkedReason.MALFORMED, "A chunk header is too long.")
                self._waiting += view[position:]
                break
            line = view[position:newline]
            position = newline + 1
            self._line(line[:-1] if line.endswith(b"\r") else line, bare=not line.endswith(b"\r"))
        return pieces

    def finish(self) -> None:
        """Say that nothing more comes. ChunkedError unless the body was whole and as announced."""
        if self._state is not _Expecting.NOTHING:
            raise ChunkedError(
                ChunkedReason.INCOMPLETE,
                "The request body terminated unexpectedly: the last chunk is missing.",
            )
        if self.decoded_bytes != self._decoded_length:
            raise self._wrong_length()
        missing = [name for name in self._trailer_names if name not in self.trailers]
        if missing:
            raise ChunkedError(ChunkedReason.TRAILER, f"The announced trailer {missing[0]} is missing.")

    def _take(self, piece: bytes, pieces: list[bytes]) -> None:
        self.decoded_bytes += len(piece)
        if self.decoded_bytes > self._decoded_length:
            raise self._wrong_length()
        if self._hash is not None:
            self._hash.update(piece)
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = _Expecting.BYTES_END

    def _wrong_length(self) -> ChunkedError:
        return ChunkedError(
            ChunkedReason.LENGTH,
            f"The body has {self.decoded_bytes} or more bytes where x-amz-decoded-content-length says "
            f"{self._decoded_length}."
            if self.decoded_bytes > self._decoded_length
            else f"The body has {self.decoded_bytes} bytes where x-amz-decoded-content-length says {self._decoded_length}.",
        )

    def _line(self, line: bytes, *, bare: bool) -> None:
        if self._state is _Expecting.TRAILERS:
            self._trailer(line)
            return
        if bare:
            raise ChunkedError(ChunkedReason.MALFORMED, "A chunk header must end with CR LF.")
        if self._state is _Expecting.BYTES_END:
            if line:
                raise ChunkedError(ChunkedReason.MALFORMED, "A chunk is longer than its header says.")
            self._check_chunk()
            self._state = _Expecting.SIZE
            return
        self._size(line)

    def _size(self, line: bytes) -> None:
        size, separator, extension = line.partition(b";")
        if not size or len(size) > 16 or not all(byte in b"0123456789abcdefABCDEF" for byte in size):
            raise ChunkedError(
                ChunkedReason.MALFORMED, "A chunk header must begin with its size in hexadecimal."
            )
        self._left = int(size, 16)
        if self._left > _MAX_CHUNK_BYTES:
            raise ChunkedError(ChunkedReason.MALFORMED, "A chunk is too large.")
        if self._seed is not None:
            name, _, stated = extension.partition(b"=")
            if not separator or name.strip(b" \t") != b"chunk-signature":
                raise ChunkedError(ChunkedReason.MALFORMED, "A chunk header has no chunk-signature.")
            self._stated = stated.decode("latin-1").strip(" \t")
            self._hash = hashlib.sha256()
        if self._left:
            self._state = _Expecting.BYTES
            return
        self._check_chunk()
        self._state = _Expecting.TRAILERS

    def _check_chunk(self) -> None:
        if self._seed is None:
            return
        self._check("AWS4-HMAC-SHA256-PAYLOAD", f"{EMPTY_SHA256}\n{self._hash.hexdigest()}", self._stated)

    def _check(self, algorithm: str, digests: str, stated: str) -> None:
        seed = self._seed
        assert seed is not None
        to_sign = f"{algorithm}\n{seed.amz_date}\n{seed.scope}\n{self._previous}\n{digests}"
        expected = hmac.digest(seed.key, to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(expected.encode(), stated.encode("utf-8", "replace")):
            raise ChunkedError(
                ChunkedReason.SIGNATURE,
                "The chunk signature we calculated does not match the signature you provided. Check your key and "
                "signing method.",
            )
        self._previous = expected

    def _trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise ChunkedError(ChunkedReason.TRAILER, "The trailers are too long.")
        signed = self._seed is not None and self._with_trailers
        if not line:
            # Some clients set an empty line before the trailer signature too.
            if not signed or self._trailer_signature:
                self._end(signed=signed)
            return
        name, colon, value = line.decode("latin-1").partition(":")
        name = name.strip(" \t").lower()
        if not colon or not self._with_trailers:
            raise ChunkedError(ChunkedReason.TRAILER, "The body has a malformed or unannounced trailer.")
        if name == _SIGNATURE_NAME and signed:
            self._trailer_signature = value.strip(" \t")
            return
        if name in self.trailers or (self._trailer_names and name not in self._trailer_names):
            raise ChunkedError(
                ChunkedReason.TRAILER, f"The trailer {name[:80]} was not announced, or comes twice."
            )
        self.trailers[name] = value.strip(" \t")

    def _end(self, *, signed: bool) -> None:
        if signed:
            canonical = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
            self._check("AWS4-HMAC-SHA256-TRAILER", digest, self._trailer_signature)
        self._state = _Expecting.NOTHING
