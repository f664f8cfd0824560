"""Who goes to stage 2, what the budget grants, and whose scores an event has then."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.scores import MICRO
from streamtag.domain.two_stage import Bands, Bucket, Route, band_problems, goes, margin_bands, merge, routes

LABELS = ("spam", "insult")
SCORES = st.integers(0, MICRO)
ROWS = st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=30)
FLAGS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40)


def test_both_ends_belong_to_the_band_and_a_label_without_one_sends_nobody() -> None:
    bands = Bands.of(LABELS, {"spam": (0.3, 0.6)}, 0.0)
    micro = np.array([[299_999, 0], [300_000, 0], [600_000, 0], [600_001, 0], [0, 450_000], [MICRO, MICRO]])
    assert bands.hold(micro).tolist() == [False, True, True, False, False, False]


@given(ROWS, st.tuples(SCORES, SCORES).map(sorted), st.tuples(SCORES, SCORES).map(sorted))
def test_an_event_goes_if_any_score_is_in_its_band(rows: list[tuple[int, int]], one: list[int], two: list[int]) -> None:
    ends = {"spam": (one[0] / MICRO, one[1] / MICRO), "insult": (two[0] / MICRO, two[1] / MICRO)}
    held = Bands.of(LABELS, ends, 0.0).hold(np.array(rows, dtype=np.int64))
    assert held.tolist() == [one[0] <= a <= one[1] or two[0] <= b <= two[1] for a, b in rows]


def test_the_sample_depends_on_the_event_alone_and_has_the_share_it_says() -> None:
    made = [(f"event {i}", "see you at noon") for i in range(20_000)]
    bands = Bands.of(LABELS, {}, 0.05)
    sampled = bands.sampled(made, len(made))
    assert [bool(bands.sampled([one], 1)[0]) for one in made[:300]] == sampled[:300].tolist()
    assert abs(int(sampled.sum()) - 1_000) < 5 * math.sqrt(950)
    larger = Bands.of(LABELS, {}, 0.1).sampled(made, len(made))
    assert not (sampled & ~larger).any()
    assert not Bands.of(LABELS, {}, 0.0).sampled(made, len(made)).any()


@pytest.mark.parametrize("name", ["c-1770", "", "\ud800"])
def test_no_id_takes_all_its_events_into_the_sample(name: str) -> None:
    texts = [None, "\ud800", *(f"comment {i}" for i in range(20_000))]
    sampled = Bands.of(LABELS, {}, 0.05).sampled([(name, text) for text in texts], len(texts))
    assert abs(int(sampled.sum()) - 1_000) < 5 * math.sqrt(950)


def test_what_is_in_the_sample_of_one_bundle_is_not_for_that_in_the_sample_of_another() -> None:
    made = [(f"event {i}", "see you at noon") for i in range(20_000)]
    one, two = (Bands.of(LABELS, {}, 0.05, key * 32).sampled(made, len(made)) for key in ("07", "08"))
    assert abs(int((one & two).sum()) - 50) < 5 * math.sqrt(50)


@given(FLAGS, st.none() | st.integers(0, 50))
def test_the_sample_goes_first_and_of_all_no_more_than_allowed(
    flags: list[tuple[bool, bool]], allowed: int | None
) -> None:
    in_band, sampled = (np.array([row[i] for row in flags], dtype=np.bool_) for i in range(2))
    found = routes(in_band, sampled, allowed)
    sample, band, shed = (found == route for route in (Route.SAMPLE, Route.BAND, Route.SHED))
    most = len(flags) if allowed is None else allowed
    assert np.flatnonzero(sample).tolist() == np.flatnonzero(sampled)[:most].tolist()
    assert ((band | shed) == (in_band & ~sample)).all()
    assert (goes(found) == (sample | band)).all()
    assert goes(found).sum() == min(most, int((in_band | sampled).sum()))
    if band.any() and shed.any():
        assert np.flatnonzero(band).max() < np.flatnonzero(shed).min()  # the first of the batch


@given(st.floats(0, 1), st.integers(1, 100), st.lists(st.tuples(st.integers(1, 600), st.integers(0, 600)), max_size=60))
def test_no_more_go_than_the_share_of_all_and_one_bucket(
    share: float, capacity: int, batches: list[tuple[int, int]]
) -> None:
    bucket, seen, gone = Bucket(capacity), 0, 0
    for events, wanted in batches:
        bucket = bucket.earn(events * share)
        granted = min(wanted, bucket.whole)
        bucket = bucket.spend(granted)
        seen, gone = seen + events, gone + granted
        assert gone <= share * seen + 1e-6
        assert bucket.tokens <= capacity


def test_what_was_taken_too_much_is_missing_later_but_never_for_long() -> None:
    bucket = Bucket(4.0).earn(2.0).spend(3)
    assert (bucket.tokens, bucket.whole) == (-1.0, 0)
    assert bucket.earn(3.0).whole == 2
    assert bucket.spend(1_000).earn(5.0).whole == 1


@given(ROWS, st.data())
def test_the_final_scores_are_those_of_one_stage_row_by_row(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    first = np.array(rows, dtype=np.int64)
    asked = np.array(sorted(data.draw(st.sets(st.integers(0, len(rows) - 1)))), dtype=np.intp)
    second = np.full((len(asked), 2), 7, dtype=np.int64)
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=len(asked), max_size=len(asked))), dtype=np.bool_)
    final = merge(first, second, asked, valid)
    by_second = set(asked[valid].tolist())
    for row in range(len(rows)):
        assert final[row].tolist() == ([7, 7] if row in by_second else first[row].tolist())
    assert first.tolist() == [list(row) for row in rows]


@pytest.mark.parametrize(
    ("bands", "sample", "said"),
    [
        ([("ham", 0.1, 0.2)], 0.0, "no label"),
        ([("spam", 0.1, 0.2), ("spam", 0.3, 0.4)], 0.0, "stands twice"),
        ([("spam", 0.3, 0.2)], 0.0, "0 ≤ low ≤ high ≤ 1"),
        ([("spam", math.nan, 0.2)], 0.0, "0 ≤ low ≤ high ≤ 1"),
        ([("spam", 0.1, 0.1234567)], 0.0, "six decimals"),
        ([], 1.5, "sample"),
        ([], math.nan, "sample"),
    ],
)
def test_bands_that_cannot_be_used_are_named(bands: list[tuple[str, float, float]], sample: float, said: str) -> None:
    [problem] = band_problems(LABELS, bands, sample)
    assert said in problem
    assert not band_problems(LABELS, [("spam", 0.0, 1.0), ("insult", 0.5, 0.5)], 1.0)


@given(st.floats(0, 1), st.floats(0.001, 50) | st.just(math.inf))
def test_a_margin_lies_around_the_cutoff_and_is_a_valid_band(cutoff: float, margin: float) -> None:
    bands = margin_bands({"spam": cutoff}, margin)
    assert band_problems(["spam"], [("spam", *bands["spam"])], 0.0) == []
    low, high = bands["spam"]
    assert low <= cutoff + 1e-6
    assert cutoff - 1e-6 <= high


def test_a_margin_is_as_wide_in_logits_to_either_side() -> None:
    [(low, high)] = margin_bands({"spam": 0.2}, 1.6).values()
    assert math.log(high / (1 - high)) - math.log(0.25) == pytest.approx(1.6, abs=1e-4)
    assert math.log(0.25) - math.log(low / (1 - low)) == pytest.approx(1.6, abs=1e-4)
    assert margin_bands({"spam": 0.2}, math.inf) == {"spam": (0.0, 1.0)}
