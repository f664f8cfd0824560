"""The drawings of the evaluation page: inline SVG that takes its colours from the page's style."""

import math
from collections.abc import Callable, Sequence
from html import escape

from streamtag.model.evaluation.metrics import Interval
from streamtag.model.evaluation.result import Curves

__all__ = ["difference_bar", "interval_bar", "key", "precision_recall", "reliability"]

_SIDE, _LEFT, _TOP, _BOTTOM = 180, 34, 10, 30
_RAIL, _HEIGHT = 72, 14
_Z = 1.96
_Scale = Callable[[float], float]


def interval_bar(found: Interval, least: float = 0.0) -> str:
    """A rail from ``least`` to 1 with the interval on it and a stroke for the figure."""
    if math.isnan(found.value):
        return ""

    def at(value: float) -> float:
        return max(0.0, ((found.value if math.isnan(value) else value) - least) / (1 - least)) * _RAIL

    return _rail(at(found.low), at(found.high), at(found.value))


def difference_bar(found: Interval, most: float) -> str:
    """The interval of a difference around 0, on a rail from -``most`` to ``most``."""
    if math.isnan(found.value):
        return ""

    def at(value: float) -> float:
        return (max(-most, min(most, found.value if math.isnan(value) else value)) / most + 1) / 2 * _RAIL

    zero = f'<line class="zero" x1="{at(0)}" y1="0" x2="{at(0)}" y2="{_HEIGHT}"/>'
    return _rail(at(found.low), at(found.high), at(found.value), zero)


def precision_recall(label: str, curves: Curves, base_rate: float, cut: tuple[float, float] | None) -> str:
    """Precision over recall, the share of positives as the floor, and where the cut-off stands (recall, precision)."""
    points = " ".join(f"{_x(r):.1f},{_y(p):.1f}" for r, p in curves.precision_recall)
    drawn = f'<line class="base" x1="{_x(0)}" y1="{_y(base_rate):.1f}" x2="{_x(1)}" y2="{_y(base_rate):.1f}"/>'
    if points:
        drawn += f'<polyline class="curve" points="{points}"/>'
    if cut is not None:
        drawn += f'<circle class="cut" cx="{_x(cut[0]):.1f}" cy="{_y(cut[1]):.1f}" r="4.5">'
        drawn += f"<title>at the cut-off: recall {cut[0]:.3f}, precision {cut[1]:.3f}</title></circle>"
    said = f"{label}: precision over recall"
    return _figure(said, drawn, "precision over recall", (0, 0.5, 1), _x, _y)


def reliability(label: str, curves: Curves) -> str:
    """Share of positives over score, by bins, each with a 95 % interval.

    Axes go by the square root, which gives room to rare labels.
    """
    drawn = f'<line class="base" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>'
    most = max((rows for _, _, rows in curves.reliability), default=1)
    for mean, share, rows in curves.reliability:
        low, high = wilson(share, rows)
        x = _root_x(mean)
        drawn += f'<line class="spread" x1="{x:.1f}" y1="{_root_y(low):.1f}" x2="{x:.1f}" y2="{_root_y(high):.1f}"/>'
        size = 2.2 + 4.3 * math.sqrt(rows / most)
        drawn += f'<circle class="dot" cx="{x:.1f}" cy="{_root_y(share):.1f}" r="{size:.1f}">'
        drawn += f"<title>mean score {mean:.3f}, positive {share:.3f}, {rows:,} documents</title></circle>"
    said = f"{label}: share of positives over score"
    return _figure(said, drawn, "positive, by score", (0, 0.1, 0.5, 1), _root_x, _root_y)


def wilson(share: float, rows: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    square = _Z * _Z / rows
    centre = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / rows + square / rows / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def key(entries: Sequence[tuple[str, str]]) -> str:
    """What the signs mean: (SVG of 16 x 12, words)."""
    spans = "".join(
        f'<span><svg viewBox="0 0 16 12" aria-hidden="true">{drawn}</svg>{escape(words)}</span>'
        for drawn, words in entries
    )
    return f'<div class="key">{spans}</div>'


def _figure(said: str, drawn: str, caption: str, ticks: Sequence[float], x: _Scale, y: _Scale) -> str:
    width, height = _LEFT + _SIDE + 10, _TOP + _SIDE + _BOTTOM
    lines = "".join(
        f'<line class="grid" x1="{x(v):.1f}" y1="{_y(0)}" x2="{x(v):.1f}" y2="{_y(1)}"/>'
        f'<line class="grid" x1="{_x(0)}" y1="{y(v):.1f}" x2="{_x(1)}" y2="{y(v):.1f}"/>'
        f'<text x="{x(v):.1f}" y="{_y(0) + 16}" text-anchor="middle">{v:g}</text>'
        f'<text x="{_LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in ticks
    )
    frame = f'<rect class="axis" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>'
    svg = f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {width} {height}">{lines}{frame}{drawn}</svg>'
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _rail(low: float, high: float, value: float, behind: str = "") -> str:
    rail = f'<rect class="rail" x="0" y="5" width="{_RAIL}" height="4" rx="2"/>'
    spread = f'<rect class="span" x="{low:.1f}" y="3" width="{max(1.0, high - low):.1f}" height="8" rx="2"/>'
    mark = f'<rect class="dot" x="{value - 1.25:.1f}" y="1" width="2.5" height="12" rx="1"/>'
    drawn = f"{rail}{spread}{behind}{mark}"
    return f'<svg class="inline" viewBox="0 0 {_RAIL} {_HEIGHT}" aria-hidden="true">{drawn}</svg>'


def _x(value: float) -> float:
    return _LEFT + value * _SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIDE


def _root_x(value: float) -> float:
    return _x(math.sqrt(value))


def _root_y(value: float) -> float:
    return _y(math.sqrt(value))
