"""Signals that a label does not behave as it did: what they look like, and those of labels that have collapsed.

A signal says "look here"; it is never a verdict. All of them take events to be independent: one text sent a thousand
times is a thousand events, and moves every number here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamtag.domain.evalues import rate_interval

NEARLY_ALL = 0.95
"""Share of events from which a label, or a set of labels, is said to be on everything."""
LEAST_EVENTS = 100
"""Events that each window must have before a collapse is spoken of."""

Name = Literal["score_drift", "association", "never", "always", "same_set"]


@dataclass(frozen=True)
class Signal:
    """One comparison of a window with the reference.

    Attributes:
        name: what was compared.
        labels: concerned; none where ``same_set`` found that nothing is tagged.
        value: the statistic.
        critical: what ``value`` must exceed; None while there are too few events to tell.
        n: events of the reference.
        m: events of the window.
        words: for people.
    """

    name: Name
    labels: tuple[str, ...]
    value: float
    critical: float | None
    n: int
    m: int
    words: str

    @property
    def raised(self) -> bool:
        """Whether the value exceeds what chance explains."""
        return self.critical is not None and self.value > self.critical


@dataclass(frozen=True)
class AlertCounts:
    """Of one window: events scored, and on how many of them each label was tagged."""

    events: int
    alerts: Mapping[str, int]


def stuck_labels(reference: AlertCounts, current: AlertCounts, *, alpha: float = 0.01) -> list[Signal]:
    """Labels that tag nothing, or nearly everything, and did not do so in the reference.

    Silence is measured against the reference, for most labels are rare; "nearly everything" has a bound of its own,
    `NEARLY_ALL`, too. Both windows may grow while they are looked at: the intervals hold at every moment at once.

    Args:
        reference: what is normal. Labels that it does not name are left out.
        current: the window in question.
        alpha: chance that any label is ever raised although it behaves as in the reference.

    Returns:
        A signal of each suspect, raised or not yet. Its value is the share of events that show the state, at least;
        critical is that of the reference, at most.
    """
    n, m = reference.events, current.events
    share = alpha / max(1, len(reference.alerts))
    found = []
    for label, before in reference.alerts.items():
        now = current.alerts.get(label, 0)
        was = f"{before:,} of {n:,} in the reference"
        if not now:
            words = f"no event of {m:,} is tagged {label}; {was}"
            found.append(_agreement("never", (label,), (n - before, n), (m, m), 0.0, share, words))
        elif now >= NEARLY_ALL * m:
            words = f"{now:,} of {m:,} events are tagged {label}; {was}"
            found.append(_agreement("always", (label,), (before, n), (now, m), NEARLY_ALL, share, words))
    return found


def same_set(reference: AlertCounts, current: AlertCounts, *, alpha: float = 0.01) -> Signal | None:
    """Whether nearly every event gets the very same labels (or none), which was not so in the reference.

    Needs no count of sets: an event with another set differs from the common one in at least one label, so at most
    ``sum over labels of events that differ in it`` events do. In the reference no more events have the set than agree
    with it in the label that agrees least. Events that differ in several labels at once count as often: that can hide
    a collapse which is not complete, never feign one.

    Returns:
        None unless at least `NEARLY_ALL` of the events certainly have the set of labels that most events have.
    """
    n, m = reference.events, current.events
    common = tuple(label for label, now in current.alerts.items() if 2 * now > m)
    alike = m - sum(min(now, m - now) for now in current.alerts.values())
    if alike < NEARLY_ALL * m:
        return None
    before = min((a if label in common else n - a for label, a in reference.alerts.items()), default=n)
    words = (
        f"at least {alike:,} of {m:,} events get {' + '.join(common) or 'no label'}, and nothing else; "
        f"at most {before:,} of {n:,} in the reference"
    )
    return _agreement("same_set", common, (before, n), (alike, m), NEARLY_ALL, alpha, words)


def _agreement(
    name: Name,
    labels: tuple[str, ...],
    reference: tuple[int, int],
    current: tuple[int, int],
    floor: float,
    alpha: float,
    words: str,
) -> Signal:
    """Whether a state has more of the events now, at least, than in the reference, at most, and than ``floor``."""
    n, m = reference[1], current[1]
    at_least = rate_interval(*current, alpha=alpha / 2)[0]
    if min(n, m) < LEAST_EVENTS:
        return Signal(name, labels, at_least, None, n, m, f"{words} (too few events to tell)")
    at_most = rate_interval(*reference, alpha=alpha / 2)[1]
    return Signal(name, labels, at_least, max(floor, at_most), n, m, words)
