"""Published tables, closed forms, and another implementation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from streamtag.domain.chi_square import critical_value, survival


@pytest.mark.parametrize(
    ("df", "row"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4: upper critical values
    [
        (1, (2.706, 3.841, 5.024, 6.635, 10.828)),
        (2, (4.605, 5.991, 7.378, 9.210, 13.816)),
        (5, (9.236, 11.070, 12.833, 15.086, 20.515)),
        (9, (14.684, 16.919, 19.023, 21.666, 27.877)),
        (30, (40.256, 43.773, 46.979, 50.892, 59.703)),
        (100, (118.498, 124.342, 129.561, 135.807, 149.449)),
    ],
)
def test_critical_values_are_those_of_the_published_table(df: int, row: tuple[float, ...]) -> None:
    found = [round(critical_value(alpha, df), 3) for alpha in (0.10, 0.05, 0.025, 0.01, 0.001)]
    assert found == list(row)


@given(st.floats(0, 1_000))
def test_two_degrees_of_freedom_are_exponential_and_one_is_a_squared_normal(x: float) -> None:
    assert survival(x, 2) == pytest.approx(math.exp(-x / 2), rel=1e-9)
    assert survival(x, 1) == pytest.approx(math.erfc(math.sqrt(x / 2)), rel=1e-9)


@given(st.floats(1e-6, 1_000), st.integers(1, 300))
def test_tails_are_those_of_scipy(x: float, df: int) -> None:
    assert survival(x, df) == pytest.approx(float(special.chdtrc(df, x)), rel=1e-8, abs=1e-300)


@given(st.floats(1e-12, 1), st.integers(1, 300))
def test_a_critical_value_is_exceeded_with_its_probability(alpha: float, df: int) -> None:
    assert survival(critical_value(alpha, df), df) == pytest.approx(alpha, rel=1e-7)


def test_nothing_or_less_is_always_exceeded() -> None:
    assert survival(0, 3) == survival(-1, 3) == 1
