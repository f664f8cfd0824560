"""Plots as SVG, small enough to commit and to read in a diff: panels above each other, lines, marks and shades."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

Point = tuple[float, float]
"""In the units of the axes."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 26, 26


@dataclass(frozen=True)
class Axis:
    """A range and its ticks: (value, label); logarithmic where ``log``."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Where ``value`` lies, 0 … 1; what lies outside is put on the edge."""
        low, high, at = (math.log(max(v, 1e-12)) if self.log else v for v in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low)))


@dataclass(frozen=True)
class Line:
    """Points joined; None is a gap. ``name`` shows in the legend, ``title`` under the pointer."""

    points: Sequence[Point | None]
    colour: str
    name: str = ""
    title: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A moment, or a stretch of the x axis where ``to`` is given, across the panel."""

    at: float
    colour: str
    title: str = ""
    to: float | None = None


@dataclass
class Panel:
    """One plot."""

    title: str
    x: Axis
    y: Axis
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    height: int = 160


def draw(panels: Sequence[Panel], width: int = 760) -> str:
    """The document."""
    total = sum(panel.height + _TOP + _BOTTOM for panel in panels)
    size = f'width="{width}" height="{total}" font-size="11" font-family="sans-serif"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', '<rect width="100%" height="100%" fill="white"/>']
    top = 0
    for panel in panels:
        parts += _panel(panel, top + _TOP, width - _LEFT - _RIGHT)
        top += panel.height + _TOP + _BOTTOM
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, top: int, width: int) -> Iterator[str]:
    def x(value: float) -> float:
        return _LEFT + width * panel.x.share(value)

    def y(value: float) -> float:
        return top + panel.height * (1 - panel.y.share(value))

    for mark in panel.marks:
        to = x(mark.at) + 1 if mark.to is None else x(mark.to)
        yield (
            f'<rect x="{x(mark.at):.1f}" y="{top}" width="{max(0.5, to - x(mark.at)):.1f}" height="{panel.height}" '
            f'fill="{mark.colour}">{_title(mark.title)}</rect>'
        )
    for value, label in panel.y.ticks:
        at = y(value)
        yield f'<path d="M{_LEFT},{at:.0f}h{width}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.0f}" text-anchor="end">{escape(label)}</text>'
    for value, label in panel.x.ticks:
        yield f'<text x="{x(value):.0f}" y="{top + panel.height + 15}" text-anchor="middle">{escape(label)}</text>'
    for line in panel.lines:
        dashes = ' stroke-dasharray="4"' if line.dashed else ""
        for stretch in _stretches(line.points):
            points = " ".join(f"{px:.1f},{py:.1f}" for px, py in _plain([(x(a), y(b)) for a, b in stretch]))
            style = f'fill="none" stroke="{line.colour}"{dashes}'
            yield f'<polyline points="{points}" {style}>{_title(line.title)}</polyline>'
    yield f'<text x="{_LEFT}" y="{top - 8}" font-weight="bold">{escape(panel.title)}</text>'
    names = dict.fromkeys((line.name, line.colour) for line in panel.lines if line.name)
    if names:
        spans = " ".join(f'<tspan fill="{colour}">{escape(name)}</tspan>' for name, colour in names)
        yield f'<text x="{_LEFT + width}" y="{top - 8}" text-anchor="end">{spans}</text>'


def _title(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""


def _stretches(points: Sequence[Point | None]) -> Iterator[list[Point]]:
    """Points between gaps."""
    stretch: list[Point] = []
    for point in [*points, None]:
        if point is not None:
            stretch.append(point)
        elif stretch:
            yield stretch
            stretch = []


def _plain(points: Sequence[Point]) -> list[Point]:
    """Without those in the middle of a level stretch, which show nothing."""
    if len(points) < 3:
        return list(points)
    level = [abs(a[1] - b[1]) < 0.05 for a, b in pairwise(points)]
    inner = [p for p, before, after in zip(points[1:-1], level, level[1:], strict=False) if not (before and after)]
    return [points[0], *inner, points[-1]]
