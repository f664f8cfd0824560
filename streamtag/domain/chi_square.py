"""Tail and critical values of the chi-square distribution, from the regularised incomplete gamma function.

Formulas: NIST Digital Library of Mathematical Functions, 8.7.1 (series) and 8.9.2 (continued fraction).
"""

import math
from functools import lru_cache

_PRECISION = 1e-15
_BISECTIONS = 64


def survival(x: float, df: int) -> float:
    """Probability that a chi-square variable with ``df`` degrees of freedom exceeds ``x``.

    >>> round(survival(3.841459, 1), 6)
    0.05
    """
    a, half = df / 2, x / 2
    if half <= 0:
        return 1.0
    scale = math.exp(a * math.log(half) - half - math.lgamma(a))
    return 1 - scale * _series(a, half) if half < a + 1 else scale * _continued_fraction(a, half)


@lru_cache(maxsize=1_024)
def critical_value(alpha: float, df: int) -> float:
    """What a chi-square variable exceeds with probability ``alpha``: its quantile at ``1 - alpha``.

    Args:
        alpha: within (0, 1].
        df: degrees of freedom, at least 1.

    >>> round(critical_value(0.05, 9), 3)
    16.919
    """
    low, high = 0.0, float(df)
    while survival(high, df) > alpha:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if survival(middle, df) > alpha else (low, middle)
    return (low + high) / 2


def _series(a: float, x: float) -> float:
    """Sum of ``x^k / (a (a+1) … (a+k))``: lower incomplete gamma function without its scale; quick for x < a + 1."""
    term = total = 1 / a
    k = a
    while term > total * _PRECISION:
        k += 1
        term *= x / k
        total += term
    return total


def _continued_fraction(a: float, x: float) -> float:
    """Upper incomplete gamma function without its scale, by Lentz's method; quick for x >= a + 1."""
    b = x + 1 - a
    c, d = math.inf, 1 / b
    value, change, k = d, 0.0, 0
    while abs(change - 1) > _PRECISION:
        k += 1
        numerator = k * (a - k)
        b += 2
        d = 1 / (b + numerator * d)
        c = b + numerator / c
        change = c * d
        value *= change
    return value
