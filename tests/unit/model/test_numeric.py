"""``numeric/1``: what is missing, no number or out of range is counted, then filled as declared or refused."""

import math

import numpy as np
import pytest

from streamtag.events.content import FeatureValue
from streamtag.model.contracts.numeric import Feature, Numeric, NumericContract, contract_problems

AMOUNT = Feature("amount", minimum=0, maximum=100)
AGE = Feature("age", minimum=0, maximum=120, default=30)
RATIO = Feature("ratio", minimum=0, maximum=1, default=0.5, outside="clip")


def numeric(*features: Feature) -> Numeric:
    return Numeric(NumericContract(list(features)), {})


def row(made: Numeric, features: dict[str, FeatureValue] | None) -> list[float]:
    documents = made.read([""], [features])
    assert not documents.refused
    (numbers,) = made.inputs(documents, np.zeros(1, dtype=np.intp)).values()
    return [float(value) for value in numbers[0]]


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), (2.5, 2.5), (True, 1.0), (False, 0.0), (0, 0.0), (100, 100.0)])
def test_numbers_are_taken_as_they_are(value: FeatureValue, number: float) -> None:
    assert row(numeric(AMOUNT), {"amount": value, "other": "words"}) == [number]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "12"])
def test_what_is_no_number_is_filled_and_counted(value: FeatureValue) -> None:
    made = numeric(AGE)
    assert row(made, {"age": value}) == [30]
    assert made.filled == {("age", "missing"): 1}


@pytest.mark.parametrize("features", [None, {}, {"other": 1}])
def test_what_is_missing_is_filled_and_counted(features: dict[str, FeatureValue] | None) -> None:
    made = numeric(AGE, RATIO)
    assert row(made, features) == [30, 0.5]
    assert made.filled == {("age", "missing"): 1, ("ratio", "missing"): 1}


@pytest.mark.parametrize(("value", "number"), [(-1, 0), (7, 1), (1e39, 1), (10**400, 1), (-(10**400), 0)])
def test_what_is_out_of_range_is_clipped_and_counted_where_that_is_declared(value: float, number: float) -> None:
    made = numeric(RATIO)
    assert row(made, {"ratio": value}) == [number]
    assert made.filled == {("ratio", "outside"): 1}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, "feature amount is missing, and has no default"),
        ({"amount": None}, "feature amount is missing, and has no default"),
        ({"amount": "secret"}, "feature amount is not a number, and has no default"),
        ({"amount": math.nan}, "feature amount is not a number, and has no default"),
        ({"amount": 101}, "feature amount is outside 0 … 100"),
        ({"amount": 1e39}, "feature amount is outside 0 … 100"),
        ({"amount": 5, "age": 10**400}, "feature age is outside 0 … 120"),
        ({"amount": -1, "age": 121}, "feature amount is outside 0 … 100; feature age is outside 0 … 120"),
    ],
)
def test_anything_else_is_refused_and_not_counted(features: dict[str, FeatureValue] | None, message: str) -> None:
    made = numeric(AMOUNT, AGE)
    assert made.read([""], [features]).refused == [0]
    assert not made.filled
    unfit = made.unfit("", features)
    assert unfit is not None
    assert unfit == (f"/features/{message.split()[1]}", message)


@pytest.mark.parametrize("value", [1e39, 10**400, -(10**400)])
def test_a_number_that_32_bits_cannot_hold_is_outside_of_any_range(value: float) -> None:
    made = numeric(Feature("free", default=1))
    assert made.read([""], [{"free": value}]).refused == [0]
    assert made.unfit("", {"free": value}) == ("/features/free", "feature free is beyond what 32 bits hold")
    clipped = row(numeric(Feature("free", default=1, outside="clip")), {"free": value})
    assert clipped == [float(np.finfo(np.float32).max) * (1 if value > 0 else -1)]


def test_a_name_is_escaped_in_its_pointer() -> None:
    unfit = numeric(Feature("a/b~c")).unfit("", None)
    assert unfit is not None
    assert unfit.field == "/features/a~1b~0c"


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        ([], "features is empty"),
        ([AGE, AGE], "feature 'age' stands twice"),
        ([Feature("")], "the name is empty"),
        ([Feature("a", minimum=2, maximum=1)], "minimum 2 is above maximum 1"),
        ([Feature("a", minimum=0, default=-1)], "default -1 is outside of its range"),
        ([Feature("a", default=math.nan)], "must be finite"),
        ([Feature("a", maximum=1e300)], "fit 32 bits"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_named(features: list[Feature], problem: str) -> None:
    assert any(problem in found for found in contract_problems(NumericContract(features)))
