"""The watermark: who holds it back, who does not, and that it depends on the last records alone."""

from hypothesis import given
from hypothesis import strategies as st

from streamtag.stats.watermark import Watermark
from streamtag.stream.processor import Partition

A, B = ("content", 0), ("content", 1)
IDLE_MS = 2_000

Records = list[tuple[Partition, int, int | None]]
RECORDS = st.lists(
    st.tuples(
        st.sampled_from([A, B, ("content", 2)]),
        st.sampled_from([0, 100, 1_000, 2_000, 2_001, -1_000, -3_000]),
        st.one_of(st.none(), st.integers(-20_000, 20_000)),
    ),
    max_size=30,
)


def watermark(*records: tuple[Partition, int, int | None], first: int = 0) -> Watermark:
    found = Watermark(IDLE_MS)
    for offset, (source, closed_ms, newest_ms) in enumerate(records, first):
        found.observe(offset, source, closed_ms, newest_ms)
    return found


def test_it_is_where_the_last_of_the_active_sources_stands() -> None:
    assert watermark().time() is None
    assert watermark((A, 9_000, 5_000), (B, 9_500, 3_000)).time() == 3_000
    assert watermark((A, 9_000, 5_000), (B, 9_500, 3_000), (B, 9_600, 8_000)).time() == 5_000


def test_a_source_is_idle_once_it_has_been_silent_for_longer() -> None:
    assert watermark((A, 9_000, 3_000), (B, 11_000, 8_000)).time() == 3_000
    assert watermark((A, 9_000, 3_000), (B, 11_001, 8_000)).time() == 8_000
    assert watermark((A, 9_000, 3_000), (B, 11_001, 8_000), (A, 11_002, 4_000)).time() == 4_000


def test_a_source_stands_at_its_newest_pane_but_never_ahead_of_its_clock() -> None:
    assert watermark((A, 9_000, 8_000), (A, 9_100, 2_000)).time() == 8_000
    assert watermark((A, 9_000, 60_000)).time() == 9_000


def test_a_source_without_panes_holds_nothing_back() -> None:
    assert watermark((A, 9_000, None)).time() is None
    assert watermark((A, 9_000, None), (B, 9_000, 7_000)).time() == 7_000


def test_what_was_closed_long_ago_and_comes_now_moves_nothing() -> None:
    assert watermark((A, 9_000, 8_000), (B, 6_999, 1_000)).time() == 8_000


def test_no_more_is_kept_than_may_matter_though_one_clock_is_ahead() -> None:
    ahead = watermark((A, 86_400_000, 80_000), *((B, 100_000 + n, 90_000) for n in range(1_000)))
    assert ahead.oldest == 0
    assert len(ahead._recent) == 1


@given(RECORDS)
def test_reading_from_the_oldest_that_matters_gives_the_same_for_ever(steps: Records) -> None:
    now_ms, records = 100_000, []
    for source, step_ms, newest_ms in steps:
        now_ms = max(now_ms, now_ms + step_ms)
        records.append((source, now_ms + min(0, step_ms), None if newest_ms is None else now_ms + newest_ms))
    for end in range(1, len(records) + 1):
        oldest = watermark(*records[:end]).oldest
        assert oldest is not None
        for later in (end, len(records)):
            whole, part = watermark(*records[:later]), watermark(*records[oldest:later], first=oldest)
            assert (part.time(), part.oldest) == (whole.time(), whole.oldest)
            awake = [n for s in {s for s, _, _ in records} if (n := _stands(records[:later], s)) is not None]
            assert whole.time() == min(awake, default=None)


def _stands(records: Records, source: Partition) -> int | None:
    """By the definition."""
    time_ms = max(closed_ms for _, closed_ms, _ in records)
    recent = [(c, n) for s, c, n in records if s == source and c >= time_ms - IDLE_MS and n is not None]
    return max((min(c, n) for c, n in recent), default=None)
