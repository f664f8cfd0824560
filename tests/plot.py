"""Line charts as SVG, without a dependency."""

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 50
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")


class Line(NamedTuple):
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(title: str, lines: Sequence[Line], *, x: str, y: str, log_y: bool = False, limit: float | None = None) -> str:
    """A chart.

    Args:
        title: above it.
        lines: all drawn on the same axes; points with x in order.
        x: what the horizontal axis says, with the unit.
        y: the same of the vertical one.
        log_y: logarithmic; all y must be above 0.
        limit: a dashed horizontal line, e.g. a goal.
    """
    xs = [point[0] for line in lines for point in line.points]
    ys = [point[1] for line in lines for point in line.points] + ([] if limit is None else [limit])
    across, up = _linear(0.0, max(xs)), _logarithmic(min(ys), max(ys)) if log_y else _linear(0.0, max(ys))

    def place(point: tuple[float, float]) -> str:
        return f"{_x(across, point[0]):.1f},{_y(up, point[1], log_y):.1f}"

    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12" font-family="sans-serif">',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">{escape(x)}</text>',
        f'<text x="4" y="{_TOP - 6}">{escape(y)}</text>',
    ]
    for tick in up:
        at = _y(up, tick, log_y)
        parts.append(f'<path d="M{_LEFT},{at:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in across:
        at = _x(across, tick)
        parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
    if limit is not None:
        at = _y(up, limit, log_y)
        parts.append(f'<path d="M{_LEFT},{at:.1f}H{_WIDTH - _RIGHT}" stroke="black" stroke-dasharray="5"/>')
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(
            f'<polyline points="{" ".join(map(place, line.points))}" fill="none" stroke="{colour}" stroke-width="1.5">'
            f"<title>{escape(line.name)}</title></polyline>"
        )
        parts.append(f'<text x="{_LEFT + 10}" y="{_TOP + 16 + 15 * number}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _linear(least: float, most: float) -> list[float]:
    """Some five round ticks; the last is not below ``most``."""
    rough = max(most - least, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    return [least + step * i for i in range(math.ceil((most - least) / step - 1e-9) + 1)]


def _logarithmic(least: float, most: float) -> list[float]:
    """Powers of ten around both; at least a decade."""
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _x(ticks: Sequence[float], value: float) -> float:
    return _LEFT + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_WIDTH - _LEFT - _RIGHT)


def _y(ticks: Sequence[float], value: float, log: bool) -> float:
    if log:
        share = math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])
    else:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)
