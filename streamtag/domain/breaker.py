"""When a label is turned to review only because it is tagged too often, and when it is trusted again.

A pure function of the bound, of what was counted, and of the clock: the same gives the same, however often it is asked.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Bound", "Breaker", "Counted", "Step", "next_step"]


@dataclass(frozen=True)
class Bound:
    """What a label may do.

    Attributes:
        rate: share of events; beyond it the breaker opens.
        min_alerts: fewer say nothing.
        window_s: width of the windows that are looked at.
        close_ratio: it closes once the rate is at most this part of the bound.
        close_after_s: and not sooner after it opened; None: a person closes it.
    """

    rate: float
    min_alerts: int
    window_s: float
    close_ratio: float = 0.5
    close_after_s: float | None = None


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

    A window that has been over for longer than its width says nothing of now, and one that began before the breaker
    last changed nothing of what has come of that. Once closed it stays so for the width of a window, too. It closes on
    a window in which the bound itself would have shown, that is, with at least ``min_alerts / rate`` events.

    >>> bound = Bound(0.1, min_alerts=20, window_s=300)
    >>> next_step(bound, None, Counted(100, 30, began_s=0.0), 60.0).reason
    '30 of 100 events (30.00%) in the newest window, bound 10.00%'
    """
    if counted.began_s + 2 * bound.window_s < now_s or (breaker is not None and counted.began_s < breaker.since_s):
        return None
    said = f"{counted.alerts:,} of {counted.events:,} events ({_part(counted):.2%}) in the newest window"
    if breaker is None or not breaker.open:
        rests = breaker is not None and now_s - breaker.since_s < bound.window_s
        beyond = counted.alerts >= bound.min_alerts and counted.alerts > bound.rate * counted.events
        return Step("open", f"{said}, bound {bound.rate:.2%}") if beyond and not rests else None
    if bound.close_after_s is None or now_s - breaker.since_s < max(bound.close_after_s, bound.window_s):
        return None
    shows = counted.events * bound.rate >= bound.min_alerts
    if shows and counted.alerts <= bound.close_ratio * bound.rate * counted.events:
        return Step("close", f"{said}, at most {bound.close_ratio:g} of the bound {bound.rate:.2%}")
    return None


def _part(counted: Counted) -> float:
    return counted.alerts / counted.events if counted.events else 0.0
