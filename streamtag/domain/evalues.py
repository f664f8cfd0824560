"""Evidence that may be looked at any time: e-processes and confidence sequences over integer counts.

An e-process ``E`` starts at 1 and is expected not to grow while its null hypothesis holds; by Ville's inequality it
ever reaches ``1 / alpha`` with probability at most ``alpha``, however often one looks. All functions here return
``log E`` of *counts alone*: order does not matter, counts of partitions and windows can be added, and anybody can
recompute them. No data gives ``log E = 0``.

The hypothesis must hold for each unit given all that was counted before it. So a unit counts once (copies of an
outcome are no new evidence), shares are those of the assignment, and "the rate is at most …" means at every moment.

Sources: Lindon and Malek, Anytime-valid inference for multinomial count data (arXiv 2011.03567); Waudby-Smith and
Ramdas, Estimating means of bounded random variables by betting (arXiv 2010.09686); Howard et al., Time-uniform,
nonparametric, nonasymptotic confidence sequences (arXiv 1810.08240); Wang and Ramdas, False discovery rate control
with e-values (arXiv 2009.02824).
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATIO_GRID = np.geomspace(1.02, 16.0, 32)
"""Alternatives of `log_e_ratio_above`, as multiples of its bound; part of the definition of a verdict."""
BET_GRID = np.geomspace(1e-3, 0.95, 32)
"""Bets on pairs, as the share of all winnings that the worst outcome takes; likewise."""
_BISECTIONS = 60
_LEAST = 1e-300  # of a rate
_WHOLE = 1 - 1e-9  # the largest difference of rates that can be bet on
_FARTHEST = 30.0  # a log ratio beyond this is infinite


class SplitCounts(NamedTuple):
    """Of one phase of a split: alerts per arm, and the share of units that the candidate was given."""

    control: int
    candidate: int
    share: float


class PairedCounts(NamedTuple):
    """Of units that both arms scored: tagged by the candidate alone, by the control alone, by both, and all."""

    candidate_only: int
    control_only: int
    both: int
    n: int


# -- counts per category -----------------------------------------------------------------------------------------------


def log_e_shares(counts: Sequence[int], shares: Sequence[float], prior: float = 100.0) -> float:
    """Evidence against "each count falls into category i with probability ``shares[i]``".

    A Dirichlet mixture around the null: with events per arm it tests the assignment itself (sample ratio), with
    alerts per arm it tests equal rates, whatever the base rate does over time.

    Args:
        counts: per category.
        shares: probabilities, each above 0, adding up to 1.
        prior: strength of the mixture: large finds small deviations in many counts, small finds large ones early.

    >>> round(math.exp(log_e_shares([49_300, 50_700], [0.5, 0.5])), 2)
    563.27
    """
    weights = [prior * share for share in shares]
    posterior = [weight + count for weight, count in zip(weights, counts, strict=True)]
    surprise = sum(count * math.log(share) for count, share in zip(counts, shares, strict=True))
    return _log_beta(posterior) - _log_beta(weights) - surprise


def rate_interval(alerts: int, events: int, *, alpha: float = 0.05, best_at: float = 1_000.0) -> tuple[float, float]:
    """Confidence sequence of one rate: holds at every moment at once with probability ``1 - alpha``.

    All rates that `log_e_shares` does not reject; the beta-binomial mixture of Howard et al.

    Args:
        alerts: of ``events``.
        events: observed.
        alpha: error.
        best_at: number of events at which the interval is about as narrow as it can be.

    Returns:
        Lower and upper end within [0, 1]; (0, 1) without events.
    """

    def kept(rate: float) -> bool:
        return _kept(alerts, events, rate, alpha, best_at)

    seen = alerts / events if events else 0.5
    least, most = _LEAST, 1 - 1e-15
    low = 0.0 if alerts == 0 or kept(least) else _edge(kept, inside=min(seen, most), outside=least)
    high = 1.0 if alerts == events or kept(most) else _edge(kept, inside=max(seen, least), outside=most)
    return low, high


def rate_beyond(alerts: int, events: int, rate: float, *, alpha: float, best_at: float = 1_000.0) -> bool:
    """Whether `rate_interval` lies above ``rate`` as a whole, at a fraction of its cost."""
    return alerts > rate * events and not _kept(alerts, events, max(rate, _LEAST), alpha, best_at)


def _kept(alerts: int, events: int, rate: float, alpha: float, best_at: float) -> bool:
    prior = max(best_at / (2 * math.log(1 / alpha) + math.log1p(2 * math.log(1 / alpha))) - 1, 1e-3)
    return log_e_shares((alerts, events - alerts), (rate, 1 - rate), prior) < math.log(1 / alpha)


# -- split: two arms, different units ----------------------------------------------------------------------------------


@lru_cache(maxsize=4_096)
def ratio_growth(share: float, bound: float) -> NDArray[np.float64]:
    """What one alert of control, and of candidate, adds to the log wealth of each alternative; [2, alternatives].

    An alert is the candidate's with probability ``share * ratio / (share * ratio + 1 - share)``, whatever the rates.
    """
    odds = share * bound / (1 - share)
    control = math.log1p(odds) - np.log1p(odds * RATIO_GRID)
    return _frozen(np.stack([control, control + np.log(RATIO_GRID)]))


def log_e_ratio_above(phases: Sequence[SplitCounts], bound: float = 1.0) -> float:
    """Evidence against "the candidate's rate is at most ``bound`` times the control's, at all times".

    Likelihood ratios are added phase by phase, each with the share of its own time: counts of phases must never be
    added up (over a ramp that turns a regression into its opposite).

    >>> round(log_e_ratio_above([SplitCounts(190, 20, 0.05), SplitCounts(60, 118, 0.5)]), 6)
    11.087146
    """
    total = np.zeros(len(RATIO_GRID))
    for control, candidate, share in phases:
        total += _sum((control, candidate), ratio_growth(share, bound))
    return _log_mean_exp(total)


def log_e_ratio_below(phases: Sequence[SplitCounts], bound: float = 1.0) -> float:
    """Evidence against "the candidate's rate is at least ``bound`` times the control's, at all times"."""
    return log_e_ratio_above([SplitCounts(cand, ctrl, 1 - share) for ctrl, cand, share in phases], 1 / bound)


def ratio_interval(phases: Sequence[SplitCounts], *, alpha: float = 0.05, prior: float = 20.0) -> tuple[float, float]:
    """Confidence sequence of candidate's rate over control's (Lindon and Malek); one mixture for each phase.

    Where phases differ so much that no one ratio fits them all, it covers the ratio of every phase.

    Returns:
        Lower and upper end, from 0 to infinity.
    """
    bound = math.log(1 / alpha)

    def kept(log_ratio: float) -> bool:
        return sum(_log_e_tilted(*phase, log_ratio, prior=prior) for phase in phases) < bound

    control = sum(phase.control for phase in phases)
    candidate = sum(phase.candidate for phase in phases)
    if not control + candidate:
        return 0.0, math.inf
    inside = _most_likely(phases)
    if len(phases) > 1 and not kept(inside):
        each = [ratio_interval([phase], alpha=alpha / len(phases), prior=prior) for phase in phases]
        return min(low for low, _ in each), max(high for _, high in each)
    low = 0.0 if candidate == 0 else math.exp(_edge(kept, inside=inside, outside=-_FARTHEST))
    high = math.inf if control == 0 else math.exp(_edge(kept, inside=inside, outside=_FARTHEST))
    return low, high


def _log_e_tilted(control: int, candidate: int, share: float, log_ratio: float, *, prior: float) -> float:
    # In logarithms throughout: with nearly all units, the candidate's share of alerts rounds to 1.
    both = math.log(share * math.exp(log_ratio) + 1 - share)
    weights = (prior * (1 - share), prior * share)
    mixture = _log_beta((weights[0] + control, weights[1] + candidate)) - _log_beta(weights)
    return mixture - control * (math.log1p(-share) - both) - candidate * (math.log(share) + log_ratio - both)


def _most_likely(phases: Sequence[SplitCounts]) -> float:
    """Log ratio of largest likelihood, within ±`_FARTHEST`: its derivative falls, so bisection finds where it is 0."""

    def rises(log_ratio: float) -> bool:
        r = math.exp(log_ratio)
        return sum(s1 - (s0 + s1) * share * r / (share * r + 1 - share) for s0, s1, share in phases) > 0

    return _edge(rises, inside=-_FARTHEST, outside=_FARTHEST)


# -- shadow: both arms, the same units ---------------------------------------------------------------------------------


@lru_cache(maxsize=4_096)
def difference_growth(bound: float) -> NDArray[np.float64]:
    """What a unit adds to the log wealth of each bet: tagged by candidate only, control only, alike; [3, bets].

    Bets on ``candidate - control - bound``, whose worst is ``-1 - bound``.
    """
    bets = BET_GRID / (1 + bound)
    return _frozen(np.log1p([bets * (1 - bound), -BET_GRID, -bets * bound]))


@lru_cache(maxsize=4_096)
def paired_ratio_growth(bound: float) -> NDArray[np.float64]:
    """What a unit adds to the log wealth of each bet: tagged by candidate only, control only, both; [3, bets].

    Bets on ``candidate / bound - control``, whose mean is at most 0 under the null, and whose worst is -1.
    """
    return _frozen(np.log1p([BET_GRID / bound, -BET_GRID, BET_GRID * (1 / bound - 1)]))


def log_e_difference_above(counts: PairedCounts, bound: float = 0.0) -> float:
    """Evidence against "the candidate's rate exceeds the control's by at most ``bound``", units scored by both.

    Args:
        counts: of the same units under both arms.
        bound: difference of rates, within (-1, 1); 0.01 is one percentage point.
    """
    b, c, _, n = counts
    return _log_mean_exp(_sum((b, c, n - b - c), difference_growth(bound)))


def log_e_difference_below(counts: PairedCounts, bound: float = 0.0) -> float:
    """Evidence against "the candidate's rate is at least the control's plus ``bound``"."""
    return log_e_difference_above(_swapped(counts), -bound)


def log_e_paired_ratio_above(counts: PairedCounts, bound: float = 1.0) -> float:
    """Evidence against "the candidate's rate is at most ``bound`` times the control's", units scored by both."""
    return _log_mean_exp(_sum(counts[:3], paired_ratio_growth(bound)))


def log_e_paired_ratio_below(counts: PairedCounts, bound: float = 1.0) -> float:
    """Evidence against "the candidate's rate is at least ``bound`` times the control's", units scored by both."""
    return log_e_paired_ratio_above(_swapped(counts), 1 / bound)


def difference_interval(counts: PairedCounts, *, alpha: float = 0.05) -> tuple[float, float]:
    """Confidence sequence of candidate's rate minus control's, units scored by both; within [-1, 1]."""
    return _between(
        partial(log_e_difference_above, counts), partial(log_e_difference_below, counts), alpha, -_WHOLE, _WHOLE
    )


def paired_ratio_interval(counts: PairedCounts, *, alpha: float = 0.05) -> tuple[float, float]:
    """Confidence sequence of candidate's rate over control's, units scored by both; from 0 to infinity."""
    low, high = _between(
        lambda bound: log_e_paired_ratio_above(counts, math.exp(bound)),
        lambda bound: log_e_paired_ratio_below(counts, math.exp(bound)),
        alpha,
        -_FARTHEST,
        _FARTHEST,
    )
    return (0.0 if low == -_FARTHEST else math.exp(low)), (math.inf if high == _FARTHEST else math.exp(high))


def _between(
    above: Callable[[float], float], below: Callable[[float], float], alpha: float, least: float, most: float
) -> tuple[float, float]:
    """All bounds that neither test rejects, each with half of the error. Evidence falls (rises) with the bound."""
    enough = math.log(2 / alpha)
    low = _edge(lambda bound: above(bound) < enough, inside=most, outside=least)
    high = _edge(lambda bound: below(bound) < enough, inside=least, outside=most)
    return low, high


def _swapped(counts: PairedCounts) -> PairedCounts:
    return counts._replace(candidate_only=counts.control_only, control_only=counts.candidate_only)


# -- many labels -------------------------------------------------------------------------------------------------------


def e_bh(e_values: Sequence[float], alpha: float = 0.05) -> list[int]:
    """Indices rejected with a false discovery rate of at most ``alpha``, under any dependence (e-BH).

    For *current* e-values at one moment; running maxima are no e-values.

    >>> e_bh([100, 100, 1, 1, 1, 1, 1, 1, 1, 1])
    [0, 1]
    """
    values = np.asarray(e_values, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    enough = np.flatnonzero(np.arange(1, len(values) + 1) * values[order] >= len(values) / alpha)
    return sorted(order[: enough[-1] + 1].tolist()) if enough.size else []


def _sum(counts: Sequence[int], growth: NDArray[np.float64]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = sum(count * row for count, row in zip(counts, growth, strict=True))
    return total


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values.flags.writeable = False  # shared by all who ask for the same table
    return values


def _log_beta(parameters: Sequence[float]) -> float:
    return sum(map(math.lgamma, parameters)) - math.lgamma(sum(parameters))


def _log_mean_exp(values: NDArray[np.float64]) -> float:
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).mean()))


def _edge(holds: Callable[[float], bool], *, inside: float, outside: float) -> float:
    """Where ``holds`` ends between a point where it holds and one where it need not."""
    if holds(outside):
        return outside
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return (inside + outside) / 2
