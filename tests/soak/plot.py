"""The plot of a long run: latency over time with the faults, and what the workers hold below it."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from svg_plot import Axis, Line, Mark, Panel, Point, draw

from .judge import Stretch
from .latency import percentile_ms
from .run import Result
from .sampling import Life, Sample

_POINTS = 600  # of a line, at most
_GAP_S = 3.0
_SHADES = {"workers": "#fde3c8", "kafka": "#cfe3f7", "redis": "#f9d3d3", "disk": "#e3dcf0"}
_COLOURS = ("#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#7f7f7f")


def plot(result: Result, hurt: Sequence[Stretch]) -> str:
    """SVG."""
    seconds = result.to_s - result.from_s
    step_s = max(1, math.ceil(seconds / _POINTS))
    x = Axis(0, seconds, [(s, _clock(s)) for s in _ticks(seconds)])
    marks = [
        Mark(start - result.from_s, _SHADES[one.hurts], f"{one.name}, seat {one.seat}", end - result.from_s)
        for one, (start, end) in zip(result.strikes, hurt, strict=True)
    ]
    faults = ", ".join(f"{name} {_NAMES[shade]}" for name, shade in _SHADES.items())
    latency = Panel(
        f"Due → committed tag read, ms ({step_s} s steps). Shaded: fault until caught up ({faults})",
        x,
        Axis(10, 60_000, [(10.0**n, f"{10**n:,}") for n in range(1, 5)], log=True),
        _latencies(result, step_s),
        marks,
        height=220,
    )
    workers = [life for life in result.lives if life.name.startswith("worker")]
    held: list[tuple[str, Callable[[Sample], float]]] = [
        ("Worker RSS, MiB", lambda s: s.rss_mib),
        ("Worker file descriptors", lambda s: float(s.fds)),
        ("Worker threads", lambda s: float(s.threads)),
    ]
    return draw([latency, *(_holding(title, value, workers, result.from_s, step_s, x, marks) for title, value in held)])


_NAMES = {"#fde3c8": "orange", "#cfe3f7": "blue", "#f9d3d3": "red", "#e3dcf0": "violet"}


def _latencies(result: Result, step_s: int) -> list[Line]:
    start = int(result.from_s)
    steps = range(start, int(result.to_s) - step_s + 1, step_s)
    found = []
    for name, share, colour in (("p50", 0.5, "#2ca02c"), ("p99", 0.99, "#d62728")):
        points: list[Point | None] = []
        for second in steps:
            value = percentile_ms(result.latencies.between(second, second + step_s), share)
            points.append(None if value is None else (second - start + step_s / 2, value))
        found.append(Line(points, colour, name))
    return found


def _holding(
    title: str,
    value: Callable[[Sample], float],
    lives: Sequence[Life],
    from_s: float,
    step_s: int,
    x: Axis,
    marks: Sequence[Mark],
) -> Panel:
    lines = []
    for life in lives:
        seat = int(life.name.split()[1])
        samples = [s for s in life.samples if s.at >= from_s][::step_s]
        points: list[Point | None] = []
        for before, sample in pairwise([None, *samples]):
            if before is not None and sample is not None and sample.at - before.at > _GAP_S * step_s:
                points.append(None)
            if sample is not None:
                points.append((sample.at - from_s, value(sample)))
        lines.append(Line(points, _COLOURS[seat % len(_COLOURS)], f"seat {seat}", f"{life.name}, pid {life.pid}"))
    highest = max((p[1] for line in lines for p in line.points if p is not None), default=1.0) * 1.1
    lines.sort(key=lambda line: line.name)
    return Panel(title, x, Axis(0, highest, [(v, f"{v:g}") for v in _ticks(highest)]), lines, list(marks), height=130)


def _ticks(most: float) -> list[float]:
    """From 0, five to ten, at round distances."""
    step = 10.0 ** math.floor(math.log10(most))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if most / s <= 8)
    return [i * step for i in range(int(most / step) + 1)]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
