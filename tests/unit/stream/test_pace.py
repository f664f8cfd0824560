"""Batches are cut to what a processor does in a tenth of a second."""

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from streamtag.stream.pace import LONGEST_S, Pace
from streamtag.stream.source import Batch


def batch(n: int) -> Batch:
    return Batch(1, [Message(topic="content", partition=0, offset=i) for i in range(n)], 0.0)


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 0.05)), max_size=8))
def test_no_record_is_lost_or_moved_by_cutting(batches: list[tuple[int, float]]) -> None:
    pace = Pace()
    for n, seconds_each in batches:
        whole, seen = batch(n), []
        part: Batch | None = whole
        while part is not None:
            now = pace.cut(part)
            seen += now.records
            pace.took(len(now.records), len(now.records) * seconds_each)
            part = pace.rest()
        assert seen == whole.records


def test_a_slow_processor_gets_what_it_can_do_in_time() -> None:
    pace = Pace()
    pace.took(32, 32 * LONGEST_S / 4)
    assert len(pace.cut(batch(512)).records) == 4
    assert len((pace.rest() or batch(0)).records) == 508
    assert pace.rest() is None


def test_a_fast_processor_gets_whole_batches_and_a_stalled_one_gets_on_again() -> None:
    pace = Pace()
    assert sizes(pace, [512] * 6, 1e-5) == [32, 64, 128, 256, 32, *[512] * 5]
    pace.took(512, 60.0)
    assert sizes(pace, [512], 1e-5) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 1]
    assert sizes(pace, [512], 1e-5) == [512]


def test_a_few_cheap_records_say_nothing_about_many_dear_ones() -> None:
    pace = Pace()
    assert sizes(pace, [7], 1e-5) == [7]
    assert max(sizes(pace, [505], 0.013)) == 32
    assert max(sizes(pace, [505], 0.013)) == 7


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(0, 0.05)), max_size=20))
def test_a_cut_is_at_most_twice_what_has_gone_before(batches: list[tuple[int, float]]) -> None:
    pace, most = Pace(), 32
    for n, seconds_each in batches:
        for size in sizes(pace, [n], seconds_each):
            assert size <= most
            most = max(most, 2 * size)


def sizes(pace: Pace, batches: list[int], seconds_each: float) -> list[int]:
    """How batches are cut, one behind the other, that take so long a record."""
    found = []
    for n in batches:
        part: Batch | None = batch(n)
        while part is not None:
            found.append(len(pace.cut(part).records))
            pace.took(found[-1], found[-1] * seconds_each)
            part = pace.rest()
    return found
