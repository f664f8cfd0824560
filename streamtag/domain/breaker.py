"""When a label is turned to review only because it is tagged too often, and when it is trusted again.

A pure function of the bound, of what was counted, and of the clock: the same gives the same, however often it is asked.
"""

from dataclasses import dataclass
from typing import Literal

from streamtag.domain.evalues import rate_beyond

__all__ = ["Bound", "Breaker", "Counted", "Step", "next_step"]


# Of opening by chance in a window in which the label does just what its bound allows: at most once in three days with
# windows of five minutes, hardly ever where it stays below: however often it is looked at.
_ALPHA = 0.001


@dataclass(frozen=True)
class Bound:
    """What a label may do.

    Attributes:
        rate: share of events; beyond it the breaker opens.
        min_alerts: fewer say nothing.
        window_s: width of the windows that are looked at.
        close_ratio: it closes once the rate is at most this part of the bound.
        close_after_s: and not sooner after it opened; None: a person closes it.
        settle_s: a window says nothing in its first seconds: only some of the sources have been counted in it.
    """

    rate: float
    min_alerts: int
    window_s: float
    close_ratio: float = 0.5
    close_after_s: float | None = None
    settle_s: float = 0.0


@dataclass(frozen=True)
class Breaker:
    """Of one label: whether it is open, and since when (Unix time)."""

    open: bool
    since_s: float


@dataclass(frozen=True)
class Counted:
    """Of one label in the newest window, which began at ``began_s`` (Unix time)."""

    events: int
    alerts: int
    began_s: float


@dataclass(frozen=True)
class Step:
    """What to do now, and why."""

    kind: Literal["open", "close"]
    reason: str


def next_step(bound: Bound, breaker: Breaker | None, counted: Counted, now_s: float) -> Step | None:
    """The next step; None where there is nothing to do.

    It opens once the rate is beyond the bound by more than chance: by the lower end of its confidence sequence. A
    window that has been over for longer than its width says nothing of now, and one that began before the breaker
    last changed nothing of what has come of that. Once closed it stays so for the width of a window, too. It closes on
    a window in which the bound itself would have shown, that is, with at least ``min_alerts / rate`` events.

    >>> bound = Bound(0.1, min_alerts=20, window_s=300)
    >>> next_step(bound, None, Counted(1000, 101, began_s=0.0), 60.0) is None
    True
    >>> next_step(bound, None, Counted(100, 30, began_s=0.0), 60.0).reason
    '30 of 100 events (30.00%) in the newest window, bound 10.00%'
    """
    if not counted.began_s + bound.settle_s <= now_s <= counted.began_s + 2 * bound.window_s:
        return None
    if breaker is not None and counted.began_s < breaker.since_s:
        return None
    said = f"{counted.alerts:,} of {counted.events:,} events ({_part(counted):.2%}) in the newest window"
    if breaker is None or not breaker.open:
        rests = breaker is not None and now_s - breaker.since_s < bound.window_s
        return Step("open", f"{said}, bound {bound.rate:.2%}") if _beyond(bound, counted) and not rests else None
    if bound.close_after_s is None or now_s - breaker.since_s < max(bound.close_after_s, bound.window_s):
        return None
    shows = counted.events * bound.rate >= bound.min_alerts
    if shows and counted.alerts <= bound.close_ratio * bound.rate * counted.events:
        return Step("close", f"{said}, at most {bound.close_ratio:g} of the bound {bound.rate:.2%}")
    return None


def _beyond(bound: Bound, counted: Counted) -> bool:
    enough = counted.alerts >= bound.min_alerts
    return enough and rate_beyond(counted.alerts, counted.events, bound.rate, alpha=_ALPHA)


def _part(counted: Counted) -> float:
    return counted.alerts / counted.events if counted.events else 0.0
