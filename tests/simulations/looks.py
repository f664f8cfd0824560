"""Evidence at every look of many runs at once: the tables of `streamtag.domain.evalues`, summed as arrays."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from streamtag.domain.evalues import difference_growth, paired_ratio_growth, ratio_growth

from .worlds import Floats, Ints

Bools = NDArray[np.bool_]


def log_e(counts: Ints, growth: Floats) -> Floats:
    """Log of the mean wealth of all bets; counts [..., outcomes], growth [outcomes, bets]."""
    wealth = counts @ growth
    top = wealth.max(axis=-1)
    return np.asarray(top + np.log(np.exp(wealth - top[..., None]).mean(axis=-1)))


def ratio_above(alerts: Ints, shares: Sequence[float], bound: float) -> Floats:
    """`log_e_ratio_above` of alerts [..., phases, 2]."""
    growth = np.concatenate([ratio_growth(share, bound) for share in shares])
    return log_e(alerts.reshape(*alerts.shape[:-2], -1), growth)


def ratio_below(alerts: Ints, shares: Sequence[float], bound: float) -> Floats:
    """`log_e_ratio_below` of alerts [..., phases, 2]."""
    return ratio_above(alerts[..., ::-1], [1 - share for share in shares], 1 / bound)


def difference_above(counts: Ints, bound: float) -> Floats:
    """`log_e_difference_above` of pairs [..., 4]; both and neither are alike."""
    alike = counts[..., 2] + counts[..., 3]
    return log_e(np.stack([counts[..., 0], counts[..., 1], alike], axis=-1), difference_growth(bound))


def difference_below(counts: Ints, bound: float) -> Floats:
    """`log_e_difference_below` of pairs [..., 4]."""
    return difference_above(counts[..., [1, 0, 2, 3]], -bound)


def paired_ratio_above(counts: Ints, bound: float) -> Floats:
    """`log_e_paired_ratio_above` of pairs [..., 4]."""
    return log_e(counts[..., :3], paired_ratio_growth(bound))


def paired_ratio_below(counts: Ints, bound: float) -> Floats:
    """`log_e_paired_ratio_below` of pairs [..., 4]."""
    return paired_ratio_above(counts[..., [1, 0, 2, 3]], 1 / bound)


def either(higher: Floats, lower: Floats) -> Floats:
    """Half of the stake on each, as `verdict.worse_evidence` does."""
    return np.asarray(np.logaddexp(higher, lower) - math.log(2))


def shares_evidence(counts: Ints, shares: Sequence[float], ratio: float, prior: float) -> Floats:
    """`log_e_shares` per phase, added up, against a candidate that gets ``ratio`` times its share; [..., phases, 2].

    With ``ratio`` 1 and units this is the sample-ratio test; with alerts, what `ratio_interval` inverts.
    """
    share = np.array(shares)
    theta = share * ratio / (share * ratio + 1 - share)
    mixture = betaln(prior * (1 - share) + counts[..., 0], prior * share + counts[..., 1])
    null = counts[..., 0] * np.log1p(-theta) + counts[..., 1] * np.log(theta)
    return np.asarray((mixture - betaln(prior * (1 - share), prior * share) - null).sum(axis=-1))


def z_split(alerts: Ints, units: Ints, bound: float) -> Floats:
    """The usual z of "candidate's rate above bound times control's", counts of all phases pooled [..., 2]."""
    rate = alerts / np.maximum(units, 1)
    variance = rate * (1 - rate) / np.maximum(units, 1)
    return _z(rate[..., 1] - bound * rate[..., 0], variance[..., 1] + bound**2 * variance[..., 0], alerts.min(axis=-1))


def z_paired(counts: Ints, bound: float, difference: float) -> Floats:
    """The usual z of "candidate above bound times control plus a difference", pairs [..., 4]."""
    n = counts.sum(axis=-1)
    values = np.array([1.0, -bound, 1 - bound, 0.0]) - difference
    mean = counts @ values / n
    return _z(mean, (counts @ values**2 / n - mean**2) / n, counts[..., :2].sum(axis=-1))


def _z(effect: Floats, variance: Floats, alerts: Ints) -> Floats:
    """0 with fewer than ten alerts, as anybody would wait for some."""
    return np.asarray(np.where(alerts >= 10, effect / np.sqrt(np.maximum(variance, 1e-300)), 0.0))


def ever(holds: Bools) -> Bools:
    """Whether it holds at any look; [runs, looks, ...] to [runs, ...]."""
    return any_of(holds, axis=1)


def any_of(holds: Bools, axis: int = -1) -> Bools:
    """`numpy.any` over one axis, typed."""
    return np.asarray(holds.any(axis=axis))


def first(holds: Bools, units: int) -> Floats:
    """Units seen at the first look at which it holds [runs], infinite where it never does; holds [runs, looks]."""
    return np.where(holds.any(axis=1), (holds.argmax(axis=1) + 1.0) * units, np.inf)
