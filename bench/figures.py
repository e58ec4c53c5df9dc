"""The plots of a raw file, by name: what ``report`` writes beside its page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench import plots
from bench.contestants import OURS
from bench.peers.catalogue import FRAMEWORK, GIVEN, HAND_WRITTEN
from bench.plots import Bar, Line, Span
from bench.summary import Invoke, median_of

Raw = Mapping[str, Any]
SHOWN_AT = 8


def all_of(sections: Mapping[str, Raw]) -> dict[str, str]:
    """File name to SVG."""
    found: dict[str, str] = {}
    if "invoke" in sections:
        found |= _invoke(Invoke(sections["invoke"]))
    if "s3" in sections:
        found["s3.svg"] = _s3(sections["s3"])
    if "growth" in sections:
        found["growth.svg"] = _growth(sections["growth"])
    return found


def _short(title: str) -> str:
    return title.partition(" (")[0]


def _plotted(servers: Iterable[Raw]) -> list[Raw]:
    """Those with stagedoor's reader given to them are in the tables alone: nobody can run them so."""
    return [server for server in servers if server["kind"] != GIVEN]


def _invoke(invoke: Invoke) -> dict[str, str]:
    at = SHOWN_AT if SHOWN_AT in invoke.connections else invoke.connections[-1]
    found: dict[str, str] = {}
    for work, title in invoke.works.items():
        found[f"throughput-{work}.svg"] = _throughput(invoke, work, title, at)
        found[f"times-{work}.svg"] = _times(invoke, work, title, at)
    if len(invoke.connections) > 1:
        found["connections.svg"] = _connections(invoke)
    found["memory.svg"] = _each(
        invoke,
        "Memory",
        "shared pages counted in parts (PSS), all processes, after the load",
        "pss_bytes",
        1e-6,
        "MB",
    )
    found["start.svg"] = _each(
        invoke, "Start to the first right answer", "the model is there already; seconds", "start_s", 1, "s"
    )
    return found


def _throughput(invoke: Invoke, work: str, title: str, at: int) -> str:
    rows = []
    for server in _plotted(invoke.ordered(work, at)):
        value = invoke.median(server["name"], work, at, "requests_per_s")
        shown = f"{value:,.0f}" if value else "failed"
        rows.append(Bar(_short(server["title"]), value, shown, server["name"] == OURS))
    rows += [
        Bar(_short(server["title"]), None, "not available here") for server in _plotted(invoke.missing(work))
    ]
    return plots.bars(f"Answers a second, {at} connections", title, rows)


def _times(invoke: Invoke, work: str, title: str, at: int) -> str:
    rows = []
    for server in _plotted(invoke.ordered(work, at)):
        low, high = (invoke.median(server["name"], work, at, name) for name in ("p50_ms", "p99_ms"))
        if low and high:
            rows.append(
                Span(_short(server["title"]), low, high, f"{low:.1f} to {high:.1f}", server["name"] == OURS)
            )
    return plots.spans(
        f"Time to an answer, {at} connections",
        f"{title}; from p50 (large dot) to p99, logarithmic",
        rows,
        "ms",
    )


def _connections(invoke: Invoke) -> str:
    looks = {OURS: "ours"}
    for kind, look in ((HAND_WRITTEN, "third"), (FRAMEWORK, "other")):
        best = invoke.best(kind, "review", invoke.connections[-1], "requests_per_s")
        if best:
            looks[best] = look
    rows = []
    for name, look in looks.items():
        values = [
            invoke.median(name, "review", count, "requests_per_s") or 0.0 for count in invoke.connections
        ]
        rows.append(Line(_short(invoke.title(name)), values, look))
    places = [str(count) for count in invoke.connections]
    note = f"{invoke.works['review']}; stagedoor and the best peer of each kind"
    return plots.lines("Answers a second by connections", note, places, rows, "connections")


def _each(invoke: Invoke, title: str, note: str, name: str, factor: float, unit: str) -> str:
    rows = [
        Bar(
            _short(server["title"]),
            server[name] * factor,
            f"{server[name] * factor:,.0f} {unit}" if factor < 1 else f"{server[name]:.1f} {unit}",
            server["name"] == OURS,
        )
        for server in sorted(_plotted(invoke.live), key=lambda one: one[name])
    ]
    return plots.bars(title, note, rows)


def _s3(section: Raw) -> str:
    groups: list[tuple[str, Sequence[Bar]]] = []
    for size in ("1 KB", "1 MB", "large"):
        for operation in ("PUT", "GET"):
            name = "requests_per_s" if size == "1 KB" else "bytes_per_s"
            rows = []
            for store in section["stores"]:
                value = median_of(section["runs"], name, store=store["name"], size=size, operation=operation)
                shown = (
                    "no answer"
                    if value is None
                    else f"{value:,.0f}/s"
                    if size == "1 KB"
                    else f"{value / 1e6:,.0f} MB/s"
                )
                rows.append(Bar(store["name"], value, shown, store["name"] == OURS))
            title = f"{section['large_bytes'] / (1 << 30):g} GiB" if size == "large" else size
            groups.append((f"{operation} {title}", rows))
    return plots.panels(
        "S3: objects in and out", "1 KB and 1 MB: eight connections; the large one: boto3, in parts", groups
    )


def _growth(section: Raw) -> str:
    rows = []
    for name, thing, what in (("invoke", "endpoints", "InvokeEndpoint"), ("function", "functions", "Invoke")):
        for way, count in (("1 of 1", 1), ("1 of all", section[thing])):
            value = median_of(section[name], "cpu_us", way=way)
            noun = thing.removesuffix("s") if count == 1 else thing
            rows.append(
                Bar(
                    f"{what}, {count:,} {noun}",
                    value,
                    f"{value:,.0f} µs" if value else "no answer",
                    count > 1,
                )
            )
    return plots.bars(
        "Processor time of one call, by what is registered",
        "all processes of the server, eight connections",
        rows,
    )
