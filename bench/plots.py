"""Plots as SVG, by hand: bars, ranges and lines that can be read on a light and on a dark background, without a script or a font.

Each function gives the text of a file; the same numbers always give the same text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 820
LABELS = 262
RIGHT = 110
ROW = 26
_STYLE = """
  svg { --ground: #ffffff; --text: #1f2933; --faint: #6b7785; --grid: #e3e7eb; --ours: #0b7a75; --other: #a3afbb; --third: #c98b2b; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #15191e; --text: #e8ebee; --faint: #97a3af; --grid: #2c333b; --ours: #3fc1b5; --other: #66727f; --third: #e0a94c; }
  }
  .ground { fill: var(--ground); }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--text); }
  .title { font-size: 16px; font-weight: 600; }
  .faint { fill: var(--faint); font-size: 12px; }
  .grid { stroke: var(--grid); stroke-width: 1; }
  .ours { fill: var(--ours); } .other { fill: var(--other); } .third { fill: var(--third); }
  .ours-line { stroke: var(--ours); } .other-line { stroke: var(--other); } .third-line { stroke: var(--third); }
  .line { fill: none; stroke-width: 2.5; } .range { stroke-width: 3; }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a number, or why there is none."""

    label: str
    value: float | None
    shown: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """One row: from one number to another."""

    label: str
    low: float
    high: float
    shown: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers over the same places, with a name at its end. ``look`` is ours, other or third."""

    label: str
    values: Sequence[float]
    look: str


def bars(title: str, note: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from nothing, the number at each one's end."""
    most = max((row.value for row in rows if row.value is not None), default=1.0) or 1.0
    room = WIDTH - LABELS - RIGHT
    parts = []
    for number, row in enumerate(rows):
        top = 64 + number * ROW
        parts.append(_text(LABELS - 10, top + 15, row.label, "", "end"))
        length = room * (row.value or 0) / most
        if row.value is not None:
            look = "ours" if row.is_ours else "other"
            parts.append(
                f'<rect class="{look}" x="{LABELS}" y="{top + 3}" width="{length:.1f}" height="{ROW - 8}" rx="2"/>'
            )
        parts.append(
            _text(LABELS + length + 8, top + 15, row.shown, "" if row.value is not None else "faint")
        )
    return _document(title, note, 64 + len(rows) * ROW + 14, parts)


def spans(title: str, note: str, rows: Sequence[Span], unit: str) -> str:
    """Ranges on a logarithmic scale."""
    low = 10 ** math.floor(math.log10(min(row.low for row in rows)))
    high = 10 ** math.ceil(math.log10(max(row.high for row in rows)))
    room = WIDTH - LABELS - RIGHT - 30

    def place(value: float) -> float:
        return LABELS + room * (math.log10(value / low) / math.log10(high / low))

    bottom = 64 + len(rows) * ROW
    parts = []
    step = low
    while step <= high * 1.001:
        parts.append(
            f'<line class="grid" x1="{place(step):.1f}" x2="{place(step):.1f}" y1="60" y2="{bottom}"/>'
        )
        parts.append(_text(place(step), bottom + 16, f"{step:g} {unit}", "faint", "middle"))
        step *= 10
    for number, row in enumerate(rows):
        middle = 64 + number * ROW + ROW / 2 - 2
        look = "ours" if row.is_ours else "other"
        parts.append(_text(LABELS - 10, middle + 5, row.label, "", "end"))
        start, end = place(row.low), place(row.high)
        parts.append(
            f'<line class="range {look}-line" x1="{start:.1f}" x2="{end:.1f}" y1="{middle}" y2="{middle}"/>'
        )
        parts += [
            f'<circle class="{look}" cx="{at:.1f}" cy="{middle}" r="{size}"/>'
            for at, size in ((start, 5.5), (end, 3.5))
        ]
        parts.append(_text(end + 9, middle + 5, row.shown))
    return _document(title, note, bottom + 30, parts)


def lines(title: str, note: str, places: Sequence[str], rows: Sequence[Line], across: str) -> str:
    """Lines from nothing over evenly spaced places, each with its name at its end."""
    left, right, top, bottom = 70, WIDTH - 250, 70, 330
    most = _round_up(max(max(row.values) for row in rows))
    parts = []
    for quarter in range(5):
        y = bottom - (bottom - top) * quarter / 4
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, f"{most * quarter / 4:,.0f}", "faint", "end"))
    step = (right - left) / max(1, len(places) - 1)
    for number, name in enumerate(places):
        parts.append(_text(left + step * number, bottom + 20, name, "faint", "middle"))
    parts.append(_text((left + right) / 2, bottom + 40, across, "faint", "middle"))
    taken: list[float] = []
    for row in sorted(rows, key=lambda one: -one.values[-1]):
        points = [
            (left + step * number, bottom - (bottom - top) * value / most)
            for number, value in enumerate(row.values)
        ]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line {row.look}-line" points="{drawn}"/>')
        parts += [f'<circle class="{row.look}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
        at = max([points[-1][1] + 4, *(y + 18 for y in taken[-1:])])
        taken.append(at)
        parts.append(_text(points[-1][0] + 12, at, row.label))
    return _document(title, note, bottom + 56, parts)


def panels(title: str, note: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Small groups of bars, two beside each other, each with its own scale."""
    columns, gap = 2, 30
    wide = (WIDTH - 40 - gap) / columns
    deepest = max(len(rows) for _, rows in groups)
    high = 34 + deepest * 22 + 16
    parts = []
    for number, (name, rows) in enumerate(groups):
        x, y = 20 + (number % columns) * (wide + gap), 66 + (number // columns) * high
        parts.append(_text(x, y + 12, name, "title-small"))
        most = max((row.value for row in rows if row.value is not None), default=1.0) or 1.0
        room = wide - 90 - 92
        for place, row in enumerate(rows):
            top = y + 22 + place * 22
            parts.append(_text(x + 82, top + 13, row.label, "", "end"))
            length = room * (row.value or 0) / most
            if row.value is not None:
                look = "ours" if row.is_ours else "other"
                parts.append(
                    f'<rect class="{look}" x="{x + 90:.1f}" y="{top + 2}" width="{length:.1f}" height="15" rx="2"/>'
                )
            parts.append(
                _text(x + 90 + length + 6, top + 13, row.shown, "" if row.value is not None else "faint")
            )
    return _document(title, note, 66 + math.ceil(len(groups) / columns) * high, parts)


def _round_up(value: float) -> float:
    """The next number with one or two plain digits, so that a scale can be read."""
    step = 10 ** math.floor(math.log10(value)) / 2
    return math.ceil(value / step) * step


def _text(x: float, y: float, words: str, look: str = "", anchor: str = "start") -> str:
    shown = f' class="{look}"' if look else ""
    return f'<text{shown} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _document(title: str, note: str, height: float, parts: Sequence[str]) -> str:
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}  .title-small {{ font-weight: 600; }}\n</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height:.0f}" rx="6"/>',
        _text(20, 28, title, "title"),
        _text(20, 48, note, "faint"),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"
