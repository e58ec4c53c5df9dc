"""``python -m bench``: measure, print the tables with the machine they were measured on, and keep the raw numbers."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import deploys, functions, invoke, machine, processes, registered, report, storage
from bench.load import BenchError
from bench.options import Options, say
from bench.peers import catalogue

SECTIONS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "invoke": invoke.run,
    "deploys": deploys.run,
    "functions": functions.run,
    "s3": storage.run,
    "growth": registered.run,
}
OUT = Path(__file__).parent / "out"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench", description="Measure side by side; see bench/README.md."
    )
    made.add_argument("--only", help=f"sections, with commas between them (all: {','.join(SECTIONS)})")
    made.add_argument("--quick", action="store_true", help="everything once, briefly: about five minutes")
    made.add_argument("--seconds", type=float, help="length of each run of wrk (2)")
    made.add_argument("--repeats", type=int, help="interleaved repeats; medians are told (3)")
    made.add_argument("--connections", type=int, nargs="+", help="(1 8 32 128)")
    made.add_argument("--peers", nargs="*", help="only these peers, by name; none: stagedoor alone")
    made.add_argument("--endpoints", type=int, help="endpoints registered for the growth section (1000)")
    made.add_argument("--functions", type=int, help="functions registered for the growth section (10000)")
    made.add_argument("--out", type=Path, help="the raw file (bench/out/raw.json)", default=OUT / "raw.json")
    made.add_argument("--add", action="store_true", help="keep the raw file's other sections")
    return made


def options_of(given: argparse.Namespace) -> Options:
    """The flags; what was not said has the default, or that of ``--quick``."""
    chosen: dict[str, Any] = {}
    if given.quick:
        chosen = {
            "seconds": 1.0,
            "repeats": 1,
            "connections": (1, 8, 32),
            "endpoints": 100,
            "functions": 1_000,
            "large_object_bytes": 1 << 28,
            "deploy_seconds": 5.0,
        }
    for name in ("seconds", "repeats", "connections", "peers", "endpoints", "functions"):
        value = getattr(given, name)
        if value is not None:
            chosen[name] = tuple(value) if isinstance(value, list) else value
    _check(chosen)
    return Options(**chosen)


def _check(chosen: Mapping[str, Any]) -> None:
    known = [*(peer.name for peer in catalogue.PEERS), *storage.PEERS]
    unknown = sorted(set(chosen.get("peers", ())) - set(known))
    if unknown:
        raise BenchError(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    for name, value in chosen.items():
        if name != "peers" and any(
            number < 1 for number in (value if isinstance(value, tuple) else (value,))
        ):
            raise BenchError(f"--{name} has to be 1 or more")


def sections_of(only: str | None) -> list[str]:
    chosen = only.split(",") if only else list(SECTIONS)
    unknown = sorted(set(chosen) - set(SECTIONS))
    if unknown:
        raise BenchError(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return chosen


def measure(names: Sequence[str], options: Options, raw: dict[str, Any], path: Path) -> bool:
    """Each section; whether all came to an end. The raw file is written after each: Ctrl-C loses one section at most."""
    is_whole = True
    for name in names:
        say(f"section {name}")
        moment, began_s = machine.moment(), time.monotonic()
        try:
            data = SECTIONS[name](options)
        except (BenchError, RuntimeError, OSError, EOFError, subprocess.SubprocessError) as error:
            print(f"bench: section {name} gave no result: {error}", file=sys.stderr)
            is_whole = False
            continue
        finally:
            processes.end_all()
        took_s = round(time.monotonic() - began_s, 1)
        raw["sections"][name] = {
            **moment,
            "settings": options.settings(),
            "took_s": took_s,
            **machine.without_places(data),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(raw, indent=1) + "\n")
    return is_whole


def _kept(earlier: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of an earlier run. BenchError when they were measured on another machine or Python."""
    for name in ("processor", "cores", "python"):
        if earlier["environment"][name] != environment[name]:
            raise BenchError(
                f"the raw file was measured with another {name}: leave --add out, or choose another --out"
            )
    return dict(earlier["sections"])


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    processes.end_on_signals()
    processes.adopt_orphans()
    # Without their bytecode servers would be read anew at each start: nobody runs them so.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    raw: dict[str, Any] = {"format": report.FORMAT, "environment": machine.environment(), "sections": {}}
    try:
        names = sections_of(given.only)
        if given.add and given.out.exists():
            raw["sections"] = _kept(report.read(given.out), raw["environment"])
        options = options_of(given)
        is_whole = measure(names, options, raw, given.out)
    except (BenchError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    finally:
        processes.end_all()
    print(report.markdown(raw))
    say(f"raw numbers: {given.out}; `python -m bench.report {given.out}` writes the page and the plots")
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
