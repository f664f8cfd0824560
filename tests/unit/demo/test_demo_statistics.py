"""What the demo counts from tag events."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_outputs import seen

from streamtag.devstack.demo.records import DeadLetter
from streamtag.devstack.demo.statistics import BINS, Statistics, bin_of_scores

LABELS = ("calm", "loud")
NOW_S = 1_000_000.0


def counted(*batches: Sequence[dict[str, float]], at_s: float = NOW_S) -> Statistics:
    statistics = Statistics(LABELS)
    offset = 0
    for batch in batches:
        statistics.add([seen(offset + i, scores, at_ms=int(at_s * 1000) - 30) for i, scores in enumerate(batch)], at_s)
        offset += len(batch)
    return statistics


def test_events_with_and_without_tags_and_dead_letters_add_up() -> None:
    statistics = counted([{"calm": 0.9, "loud": 0.01}, {"calm": 0.1, "loud": 0.01}, {"calm": 0.6, "loud": 0.5}])
    statistics.add_dead([DeadLetter(0, 3, "invalid_json"), DeadLetter(1, 0, "wrong_type")], NOW_S)
    numbers = statistics.numbers(NOW_S)
    assert (numbers.tagged, numbers.clean, numbers.dead_lettered, numbers.events) == (2, 1, 2, 5)
    assert numbers.dead == {"invalid_json": 1, "wrong_type": 1}
    assert [(label.label, label.alerts, label.threshold) for label in numbers.labels] == [
        ("calm", 2, 0.5),
        ("loud", 1, 0.02),
    ]
    assert [label.rate_10s for label in numbers.labels] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]


@given(st.data())
def test_whatever_is_read_again_and_in_whatever_order_counts_once(data: st.DataObject) -> None:
    places = [(partition, offset) for partition in range(3) for offset in range(6)]
    order = data.draw(st.permutations(places * 2))
    dead = data.draw(st.sets(st.sampled_from(places)))
    statistics = Statistics(LABELS)
    for partition, offset in order:
        if (partition, offset) in dead:
            statistics.add_dead([DeadLetter(partition, offset, "invalid_json")], NOW_S)
        else:
            statistics.add([seen(offset, {"calm": 0.9, "loud": 0.0}, partition=partition)], NOW_S)
    numbers = statistics.numbers(NOW_S)
    assert statistics.outcomes == numbers.events == numbers.again == len(places)
    assert (numbers.tagged, numbers.dead_lettered) == (len(places) - len(dead), len(dead))


def test_rates_forget_what_is_older_than_their_window_and_totals_do_not() -> None:
    statistics = Statistics(LABELS)
    statistics.add([seen(i, {"calm": 0.9, "loud": 0.0}) for i in range(10)], NOW_S)
    statistics.add([seen(i, {"calm": 0.1, "loud": 0.0}) for i in range(10, 20)], NOW_S + 5)
    calm = statistics.numbers(NOW_S + 5).labels[0]
    assert (calm.rate_1s, calm.rate_10s) == (0.0, 0.5)
    calm = statistics.numbers(NOW_S + 12).labels[0]
    assert (calm.rate_1s, calm.rate_10s, calm.alerts) == (None, 0.0, 10)
    assert calm.bins.sum() == 10
    assert statistics.numbers(NOW_S + 60).per_s == 0


def test_throughput_is_taken_over_the_time_there_was() -> None:
    statistics = Statistics(LABELS)
    for second in range(20):
        batch = [seen(second * 100 + i, {"calm": 0.1, "loud": 0.0}) for i in range(100)]
        statistics.add(batch, NOW_S + second)
        if second == 4:
            assert statistics.numbers(NOW_S + 5).per_s == pytest.approx(100)
    assert statistics.numbers(NOW_S + 19.9).per_s == pytest.approx(100, rel=0.11)


def test_latency_runs_from_the_records_timestamp_to_the_reading() -> None:
    statistics = Statistics(LABELS)
    late = [seen(i, {"calm": 0.1, "loud": 0.0}, at_ms=int(NOW_S * 1000) - i) for i in range(1, 101)]
    statistics.add(late, NOW_S)
    numbers = statistics.numbers(NOW_S)
    assert numbers.p50_ms == pytest.approx(50, abs=1)
    assert numbers.p99_ms == pytest.approx(99, abs=1)
    assert statistics.whole_latency_ms() == (50, 99)
    assert Statistics(LABELS).whole_latency_ms() == (None, None)


def test_the_newest_release_gives_the_threshold_shown_and_each_revision_has_its_own_counts() -> None:
    statistics = Statistics(LABELS)
    lower = {"calm": 0.05, "loud": 0.02}
    statistics.add([seen(0, {"calm": 0.1, "loud": 0.0})], NOW_S)
    statistics.add([seen(1, {"calm": 0.1, "loud": 0.0}, release=2, thresholds=lower)], NOW_S + 1)
    statistics.add([seen(2, {"calm": 0.1, "loud": 0.0})], NOW_S + 2)  # of a worker that follows a moment later
    assert statistics.numbers(NOW_S + 2).labels[0].threshold == 0.05
    first, second = statistics.revisions[1], statistics.revisions[2]
    assert (first.events, first.alerts["calm"], second.events, second.alerts["calm"]) == (2, 0, 1, 1)
    assert second.seen_at_s == NOW_S + 1


def test_labels_of_another_bundle_are_passed_over() -> None:
    statistics = Statistics(LABELS)
    statistics.add([seen(0, {"other": 0.9}, thresholds={"other": 0.5})], NOW_S)
    numbers = statistics.numbers(NOW_S)
    assert (numbers.tagged, [label.alerts for label in numbers.labels]) == (1, [0, 0])


def test_the_latest_tagged_events_come_first() -> None:
    statistics = counted([{"calm": 0.9, "loud": 0.0}, {"calm": 0.1, "loud": 0.0}], [{"calm": 0.8, "loud": 0.0}])
    assert [event.id for event in statistics.numbers(NOW_S).latest] == ["demo-000002", "demo-000000"]


@given(st.lists(st.floats(0, 1), min_size=1))
def test_bins_keep_the_order_of_scores(scores: list[float]) -> None:
    bins = bin_of_scores(np.array(sorted(scores)))
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < BINS
