"""How windows look on a screen and in JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamtag.cli import context
from streamtag.cli.context import OutputFormat
from streamtag.domain.behaviour import Signal
from streamtag.domain.evalues import rate_interval
from streamtag.domain.scores import BINS
from streamtag.errors import NotFoundError
from streamtag.events.panes import Cell
from streamtag.stats.comparison import Compared
from streamtag.stats.label_figures import counted_apart, events_of, segment_figures, traffic
from streamtag.stats.rebuild import Rebuilt
from streamtag.stats.windows import WindowDocument

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH = 32
_COLUMNS = ("label", "alerts", "rate", "95 % surely within", "last hour", "last week", "mean score", "scores 0 … 1")


@dataclass(frozen=True)
class Cells:
    """Which cells of a window are looked at; call it with one.

    Attributes:
        arm: ``traffic`` (all that decided), ``control``, ``candidate`` or ``shadow``.
        release: only of this one; None: of all.
    """

    arm: str = "traffic"
    release: int | None = None

    def __call__(self, cell: Cell) -> bool:
        """Whether it is one of them."""
        if self.release is not None and cell.release != self.release:
            return False
        return cell.shadow is True if self.arm == "shadow" else traffic(cell) and self.arm in ("traffic", cell.arm)

    @property
    def words(self) -> str:
        """For the title of a window."""
        arm = "" if self.arm == "traffic" else f", {self.arm}"
        return arm + ("" if self.release is None else f", release {self.release}")


ALL = Cells()


def moment(at_ms: int) -> str:
    """Unix milliseconds for people."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def print_window(
    window: WindowDocument,
    rows: Sequence[Compared],
    raised: Sequence[Signal],
    output: OutputFormat,
    *,
    compared: bool,
    cells: Cells = ALL,
) -> None:
    """One window."""
    if output is OutputFormat.JSON:
        context.print_json(_document(window, rows, raised, cells))
        return
    context.stdout.print(table(window, rows, cells))
    if raised:
        context.print_table(("signal", "what differs from the last hour"), ((s.name, s.words) for s in raised))
    elif compared:
        context.say("Nothing behaves differently than in the last hour by more than chance explains.")


def table(window: WindowDocument, rows: Sequence[Compared], cells: Cells = ALL) -> Group:
    """A window, label by label."""
    found = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for i, name in enumerate(_COLUMNS):
        found.add_column(name, justify="right" if 0 < i < len(_COLUMNS) - 1 else "left", no_wrap=True)
    for one in rows:
        now = one.now
        low, high = now.interval()
        found.add_row(
            Text(now.label),
            f"{now.alerts:,}",
            percent(now.rate),
            f"{percent(low)} – {percent(high)}",
            _change(now.rate, one.hour),
            _change(now.rate, one.week),
            "" if now.mean_score is None else f"{now.mean_score:.3f}",
            sparkline(now.bins),
        )
    return Group(
        Text(_title(window, cells.words, events_of(window, cells))), found
    )  # a title of the table would be folded to its width


def _title(window: WindowDocument, which: str, events: int) -> str:
    exact = "exact" if window.exact else "not exact: positions were counted twice, or are missing"
    return f"{window.size} from {moment(window.start_ms)}{which}: {events:,} events, {exact}"


def sparkline(bins: NDArray[np.int64], width: int = _WIDTH) -> str:
    """Counts per score bin [1024] as a line of blocks; heights are square roots, so that the few can be seen."""
    counts = bins.reshape(width, BINS // width).sum(axis=1)
    heights = np.sqrt(counts / max(1, int(counts.max())))
    return "".join(_BLOCKS[level] for level in np.ceil(heights * 8).astype(int))


def percent(rate: float | None) -> str:
    """Three digits that count."""
    return "" if rate is None else f"{rate * 100:.3g} %"


def _change(now: float | None, before: float | None) -> str:
    if now is None or before is None:
        return ""
    return f"{percent(before)} (x{now / before:.2f})" if before else percent(before)


def surprise(one: Compared) -> float:
    """How far the rate of the last hour lies outside of what is sure of the rate now; 0 where it does not."""
    if one.hour is None or one.now.rate is None:
        return 0.0
    low, high = one.now.interval()
    if one.hour < low:
        return low / one.hour - 1.0 if one.hour else math.inf
    return one.hour / high - 1.0 if high and one.hour > high else 0.0


def print_segment(
    window: WindowDocument,
    before: Sequence[WindowDocument | None],
    segment: tuple[str, str],
    cells: Cells,
    labels: Sequence[str] | None,
    output: OutputFormat,
) -> None:
    """Events and alerts of one segment of a window, with the rates in windows ``before`` it: last hour, last week.

    Raises:
        NotFoundError: the window has no events of this segment.
    """
    if segment[1] not in (counted := counted_apart(window, segment[0])):
        raise NotFoundError(
            f"no event of {'='.join(segment)} was counted in this window",
            hint=f"Counted there of {segment[0]}: {', '.join(counted) or 'nothing'}. Only values that stats.segments "
            "names are counted apart, from when the taggers start with them.",
        )
    now = segment_figures(window, *segment, cells)
    then = [None if one is None else segment_figures(one, *segment, cells) for one in before]
    rows = [
        (label, n, [None if one is None else one.rate(label) for one in (now, *then)])
        for label, n in now.alerts.items()
        if not labels or label in labels
    ]
    if output is OutputFormat.JSON:
        names = ("rate", "rate_last_hour", "rate_last_week")
        context.print_json(
            {
                **_head(window, cells),
                "segment": dict([segment]),
                "events": now.events,
                "labels": {label: {"alerts": n} | dict(zip(names, rates, strict=True)) for label, n, rates in rows},
            }
        )
        return
    lines = []
    for label, n, (rate, *earlier) in rows:
        low, high = rate_interval(n, now.events)
        surely = f"{percent(low)} – {percent(high)}"
        lines.append((label, f"{n:,}", percent(rate), surely, *(_change(rate, one) for one in earlier)))
    context.say(_title(window, f"{cells.words}, {'='.join(segment)}", now.events))
    context.print_table(_COLUMNS[:6], lines)


def print_rebuilt(found: Rebuilt, output: OutputFormat) -> None:
    """What was made again, and what differed."""
    if output is OutputFormat.JSON:
        context.print_json(
            {
                "generation": found.generation,
                "since_ms": found.since_ms,
                "summaries": found.summaries,
                "windows": len(found.windows),
                "differing": [{"window": size, "start_ms": start} for size, start in found.differing],
                "swapped": found.swapped,
            }
        )
        return
    since = moment(found.since_ms)
    context.say(f"{len(found.windows):,} windows from {since} on made again from {found.summaries:,} summaries")
    if found.differing:
        context.print_table(("window", "differs, begins"), ((size, moment(start)) for size, start in found.differing))
    else:
        context.say("All equal the live ones, byte for byte.")
    context.say("They count now." if found.swapped else "Nothing was changed.")


def live() -> Live:
    """A place on the screen to show something again and again."""
    return Live(console=context.stdout, auto_refresh=False, transient=False)


def _head(window: WindowDocument, cells: Cells) -> dict[str, Any]:
    return {
        "window": window.size,
        "start_ms": window.start_ms,
        "end_ms": window.end_ms,
        "exact": window.exact,
        "arm": cells.arm,
        "release": cells.release,
        "position": window.position,
        "sources": window.positions,
    }


def _document(
    window: WindowDocument, rows: Sequence[Compared], raised: Sequence[Signal], cells: Cells
) -> dict[str, Any]:
    return {
        **_head(window, cells),
        "events": events_of(window, cells),
        "labels": {
            one.now.label: {
                **one.facts(),
                "bins": {str(i): int(one.now.bins[i]) for i in np.flatnonzero(one.now.bins).tolist()},
            }
            for one in rows
        },
        "signals": [
            {"name": s.name, "labels": s.labels, "value": s.value, "critical": s.critical, "words": s.words}
            for s in raised
        ],
    }
