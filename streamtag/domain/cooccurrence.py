"""Which labels come together, and whether that has changed since the reference.

Co-alert counts of windows can be added. Two windows are compared pair by pair: the tables "tagged with one, tagged
with the other" of both are fitted under one common odds ratio (no three-way interaction), so a label that has merely
become more frequent is no change of association.

Sources: Bartlett, Contingency table interactions (1935); Benjamini and Hochberg, Controlling the false discovery
rate (1995).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.domain import chi_square
from streamtag.domain.behaviour import Signal

_LEAST_EXPECTED = 5  # events per cell of the fitted tables, or the null law does not hold
_SIGNS = np.array([1, -1, -1, 1])[:, None]  # of the four cells in an odds ratio: both, one, the other, neither
_BISECTIONS = 60


@dataclass(frozen=True, eq=False)
class CoAlerts:
    """Of one window: on how many events each pair of labels was tagged.

    Attributes:
        labels: ids, in the order of ``counts``.
        events: scored.
        counts: int64 [labels, labels], symmetric; the diagonal counts the events with one label.
    """

    labels: tuple[str, ...]
    events: int
    counts: NDArray[np.int64]


def phi(window: CoAlerts) -> NDArray[np.float64]:
    """Correlation of each pair of labels, -1 … 1; NaN where one of them is on no event, or on every one.

    Returns:
        float64 [labels, labels], symmetric.
    """
    n = float(window.events)
    alerts = window.counts.diagonal().astype(np.float64)
    spread = np.sqrt(alerts * (n - alerts))
    with np.errstate(invalid="ignore"):
        correlation: NDArray[np.float64] = (n * window.counts - np.outer(alerts, alerts)) / np.outer(spread, spread)
    return correlation


def association_changes(reference: CoAlerts, current: CoAlerts, *, alpha: float = 0.05) -> list[Signal]:
    """Pairs of labels that go together more, or less, than in the reference.

    The null law is that of one look at two disjoint windows. With many events even a harmless change is certain:
    judge by how far φ has moved.

    Args:
        reference: what is normal.
        current: the window in question, of the same labels in the same order.
        alpha: share of false ones among the pairs raised (Benjamini and Hochberg).

    Returns:
        One signal for each pair with enough events to tell, the largest change of φ first. The value is G².

    Raises:
        ValueError: the labels differ.
    """
    if reference.labels != current.labels:
        raise ValueError(f"co-alerts of different labels: {reference.labels} and {current.labels}")
    first, second = np.triu_indices(len(reference.labels), k=1)
    g_squared, expected = _homogeneity(_tables(reference, first, second), _tables(current, first, second))
    tested = np.flatnonzero(expected >= _LEAST_EXPECTED)
    p_values = [chi_square.survival(float(g_squared[k]), 1) for k in tested]
    level = alpha * max(1, bh_rejections(p_values, alpha)) / max(1, len(tested))
    critical = chi_square.critical_value(level, 1)
    before, now = phi(reference)[first, second], phi(current)[first, second]
    signals = []
    for k in sorted(tested, key=lambda pair: -abs(now[pair] - before[pair])):
        names = (reference.labels[first[k]], reference.labels[second[k]])
        words = f"{names[0]} and {names[1]}: φ {before[k]:.3f}, now {now[k]:.3f}"
        value = float(g_squared[k])
        signals.append(Signal("association", names, value, critical, reference.events, current.events, words))
    return signals


def bh_rejections(p_values: Sequence[float], alpha: float = 0.05) -> int:
    """How many of the smallest p-values are rejected at a false discovery rate of ``alpha``."""
    ranked = np.sort(np.asarray(p_values, dtype=np.float64))
    enough = np.flatnonzero(ranked <= alpha * np.arange(1, len(ranked) + 1) / max(1, len(ranked)))
    return int(enough[-1]) + 1 if enough.size else 0


def _tables(window: CoAlerts, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float64]:
    """Events with both labels, only the first, only the second, neither; float64 [4, pairs]."""
    both, alerts = window.counts[first, second], window.counts.diagonal()
    one, other = alerts[first] - both, alerts[second] - both
    return np.stack([both, one, other, window.events - both - one - other]).astype(np.float64)


def _homogeneity(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """G² of "the odds ratios of both tables are equal", and the smallest fitted cell of each pair of tables.

    A fit keeps the margins of both tables and the sum of each cell over both, so it is one number away from what was
    observed: the events moved from one table's diagonal to the other's. The odds ratios' difference rises with it.
    """
    low = -np.minimum(np.minimum(a[0], a[3]), np.minimum(b[1], b[2]))
    high = np.minimum(np.minimum(a[1], a[2]), np.minimum(b[0], b[3]))
    with np.errstate(divide="ignore", invalid="ignore"):  # cells that no fit can fill
        for _ in range(_BISECTIONS):
            moved = (low + high) / 2
            logs = np.log(a + _SIGNS * moved) - np.log(b - _SIGNS * moved)
            rises = (_SIGNS * logs).sum(axis=0) < 0
            low, high = np.where(rises, moved, low), np.where(rises, high, moved)
        observed = np.concatenate([a, b])
        fitted = np.concatenate([a + _SIGNS * low, b - _SIGNS * low])
        g_squared = 2 * np.where(observed > 0, observed * np.log(observed / fitted), 0.0).sum(axis=0)
    return np.maximum(g_squared, 0.0), fitted.min(axis=0)
