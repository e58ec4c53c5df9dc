"""Values of a service model's shapes, derived from the model: hypothesis picks a seed, the shape does the rest."""

import string
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from wire import regular_text

# Each parameter of a test wraps the settings of the one before, and hypothesis looks `database` up through all of them.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))

# Few examples, since there are more than a thousand operations; the same ones in every run.
FEW = settings(
    max_examples=4,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # a smaller seed is not a smaller value
    suppress_health_check=list(HealthCheck),
)
_DEEPEST = 5
_PLAIN = string.ascii_letters + string.digits + "-_."
_ANY = _PLAIN + " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~\t\näßçñ→日本語😀"


@dataclass(frozen=True)
class Wire:
    """What the protocol cannot carry, so that it is not generated."""

    protocol: str
    # Empty structures and maps leave nothing behind in a form.
    fills_containers: bool = False
    # Times in whole seconds, where a service's answers have no fractions.
    whole_seconds: bool = False


def values(shape: Any, wire: Wire) -> st.SearchStrategy[Any]:
    """A strategy for values of a shape that satisfy all its constraints."""
    return st.integers(0, 2**32 - 1).map(lambda seed: value(shape, wire, seed))


def value(shape: Any, wire: Wire, seed: int) -> Any:
    """The value of a shape that belongs to ``seed``; 0 gives the least that the shape allows."""
    return _Generator(seed, wire).value(shape, 0)


class _Generator:
    def __init__(self, seed: int, wire: Wire) -> None:
        self._random = Random(seed)
        self._wire = wire
        # Seed 0, which hypothesis tries first, is the least of everything; 1 is all of it.
        self._share = {0: 0.0, 1: 1.0}.get(seed, self._random.choice((0.2, 0.6, 1.0)))

    def value(self, shape: Any, depth: int) -> Any:
        return getattr(self, f"_{shape.type_name}")(shape, depth)

    def _structure(self, shape: Any, depth: int) -> dict[str, Any]:
        members = {name: m for name, m in shape.members.items() if not m.serialization.get("eventstream")}
        if shape.is_tagged_union:
            name = self._random.choice(self._shallow(members, depth))
            return {name: self.value(members[name], depth + 1)}
        share = self._share if depth < _DEEPEST else 0.0
        if depth > 1:
            share *= 0.5
        chosen = [
            name
            for name, member in members.items()
            if name in shape.required_members
            or member.serialization.get("location") == "uri"
            or self._random.random() < share
        ]
        if not chosen and members and self._wire.fills_containers and depth:
            chosen = [self._random.choice(self._shallow(members, depth))]
        return {name: self.value(members[name], depth + 1) for name in chosen}

    def _shallow(self, members: dict[str, Any], depth: int) -> list[str]:
        """Member names to choose from; far down only those that lead no deeper, where there are any."""
        scalars = [n for n, m in members.items() if m.type_name not in ("structure", "list", "map")]
        return scalars if depth >= _DEEPEST and scalars else list(members)

    def _size(self, shape: Any, depth: int, *, at_least_one: bool) -> int:
        low = max(shape.metadata.get("min", 0), 1 if at_least_one else 0)
        high = max(low, min(shape.metadata.get("max", 1000), low + (2 if depth < _DEEPEST else 0)))
        return self._random.randint(low, high) if self._share else low

    def _list(self, shape: Any, depth: int) -> list[Any]:
        # An empty list leaves nothing behind in a header, a query string, or when it is flattened.
        must = shape.serialization.get("location") is not None or bool(shape.serialization.get("flattened"))
        size = self._size(shape, depth, at_least_one=must)
        return [self.value(shape.member, depth + 1) for _ in range(size)]

    def _map(self, shape: Any, depth: int) -> dict[str, Any]:
        must = self._wire.fills_containers or shape.serialization.get("location") is not None
        if shape.serialization.get("location") == "headers":
            return {
                f"key-{index}": self._text(_PLAIN, 1, 8) for index in range(1 + self._random.randrange(2))
            }
        size = self._size(shape, depth, at_least_one=must)
        result: dict[str, Any] = {}
        for _ in range(size * 20):
            if len(result) == size:
                break
            result[self.value(shape.key, depth + 1)] = self.value(shape.value, depth + 1)
        return result

    def _string(self, shape: Any, _depth: int) -> str:
        metadata = shape.metadata
        location = shape.serialization.get("location")
        if metadata.get("enum"):
            return self._random.choice(metadata["enum"])
        low = max(metadata.get("min", 0), 1 if location in ("uri", "header") else 0)
        high = max(low, metadata.get("max", 10_000_000))
        if shape.serialization.get("hostLabel"):
            return self._text(string.ascii_lowercase, 1, 8)
        if "pattern" in metadata:
            return regular_text.matching(metadata["pattern"], self._random, low, high)
        alphabet = _PLAIN if location == "header" or self._random.random() < 0.3 else _ANY
        return self._text(alphabet, low, min(high, low + 12))

    def _text(self, alphabet: str, low: int, high: int) -> str:
        return "".join(self._random.choice(alphabet) for _ in range(self._random.randint(low, high)))

    def _integer(self, shape: Any, _depth: int) -> int:
        low = int(shape.metadata.get("min", -(2**31) if self._share else 0))
        high = int(shape.metadata.get("max", 2**31 - 1))
        return self._random.choice((low, high, self._random.randint(low, high)))

    def _long(self, shape: Any, _depth: int) -> int:
        low = int(shape.metadata.get("min", -(2**63) if self._share else 0))
        high = int(shape.metadata.get("max", 2**63 - 1))
        return self._random.choice((low, high, self._random.randint(low, high)))

    def _float(self, shape: Any, _depth: int) -> float:
        # Quarters are exact in 32 bits.
        low = shape.metadata.get("min", -1000)
        high = shape.metadata.get("max", low + 2000)
        return low + self._random.randrange(int((high - low) * 4) + 1) / 4

    _double = _float

    def _boolean(self, _shape: Any, _depth: int) -> bool:
        return self._random.random() < 0.5

    def _blob(self, shape: Any, _depth: int) -> bytes:
        low = shape.metadata.get("min", 0)
        return self._random.randbytes(self._random.randint(low, low + 12))

    def _timestamp(self, shape: Any, _depth: int) -> datetime:
        moment = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(
            seconds=self._random.randrange(36 * 365 * 86_400)
        )
        form = shape.serialization.get("timestampFormat", "")
        whole = (
            self._wire.whole_seconds or form == "rfc822" or shape.serialization.get("location") is not None
        )
        return moment if whole else moment + timedelta(milliseconds=self._random.choice((0, 7, 250, 999)))
