"""How a run is meant: length, repeats, connections, sizes."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

_BEGAN_S = time.monotonic()


def say(text: str) -> None:
    """Progress, on standard error, with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGAN_S:5.0f} s] {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What the flags said."""

    seconds: float = 2.0
    repeats: int = 3
    connections: tuple[int, ...] = (1, 8, 32, 128)
    peers: tuple[str, ...] | None = None
    """None: all."""
    endpoints: int = 1_000
    functions: int = 10_000
    large_object_bytes: int = 1 << 30
    deploy_seconds: float = 15.0
    say: Callable[[str], None] = field(default=say, compare=False)

    def has_peer(self, name: str) -> bool:
        return self.peers is None or name in self.peers

    def settings(self) -> dict[str, object]:
        """As the raw file keeps them."""
        return {name: value for name, value in asdict(self).items() if name != "say"}
