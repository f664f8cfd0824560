"""A shard: nothing lost, the same through every restart, and when a pane is closed and final."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_log import (
    NOW,
    OPTIONS,
    PANE_MS,
    Log,
    Topic,
    commit_of,
    counts,
    feed,
    fold,
    fold_with_crashes,
    logs,
    of_log,
    of_panes,
)

from streamtag.errors import StreamtagError
from streamtag.events.panes import Pane
from streamtag.events.summary import CommitSummary
from streamtag.stats.cells import InvalidCellError
from streamtag.stats.shard import Shard, ShardOptions, read_to
from streamtag.stream.processor import Commit
from streamtag.stream.start import resume

START = NOW // PANE_MS * PANE_MS
STEPS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["commit", "commit", "look", "crash"])), max_size=12)


FIRST = Commit(0, "")


def shard(options: ShardOptions = OPTIONS, start: Commit = FIRST) -> Shard:
    return Shard(0, start, options)


def summary(
    at_s: float, start: int, *, pane: int | None = None, partition: int = 0, events: int = 1, **changes: object
) -> CommitSummary:
    """Closed ``at_s`` seconds after the start, with events of pane number ``pane`` (default: of that time)."""
    at_ms = START + int(at_s * 1000)
    pane_ms = at_ms // PANE_MS * PANE_MS if pane is None else START + pane * PANE_MS
    return commit_of(at_ms, start, counts(pane_ms, [600_000] * events), partition=partition, **changes)


def places(found: list[Pane]) -> list[tuple[int, int, bool]]:
    """Number of the pane, n, and whether it is an addendum."""
    return [((pane.start_ms - START) // PANE_MS, pane.n, pane.addendum) for pane in found]


# -- properties ------------------------------------------------------------------------------------------------------


@given(logs())
@settings(max_examples=60, deadline=None)
def test_panes_and_addenda_add_up_to_every_integer_of_the_summaries(log: Log) -> None:
    assert of_panes(fold(log).every()) == of_log(log)


@given(logs(), STEPS, st.sampled_from([360, 3, 1]))
@settings(max_examples=150, deadline=None)
def test_restarts_change_no_pane_and_no_addendum(log: Log, steps: list[tuple[int, str]], max_open: int) -> None:
    options = replace(OPTIONS, max_open=max_open)
    smooth, crashed = fold(log, options), fold_with_crashes(log, steps, options)
    assert crashed.revisions == smooth.revisions
    assert crashed.addenda == smooth.addenda


@given(logs(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_however_the_sources_are_interleaved_the_sums_are_the_same(log: Log, random: object) -> None:
    rest = {p: [one for _, one in log if one is not None and one.partition == p] for p in range(3)}
    order = [p for p, ones in rest.items() for _ in ones]
    random.shuffle(order)  # type: ignore[attr-defined]
    other = [(offset, rest[p].pop(0)) for offset, p in enumerate(order)]
    assert of_panes(fold(other).every()) == of_panes(fold(log).every())


@given(logs())
@settings(max_examples=40, deadline=None)
def test_no_more_panes_are_open_than_allowed(log: Log) -> None:
    one = shard(replace(OPTIONS, max_open=2))
    for record in log:
        feed(one, [record], Topic())
        one.publish_idle(NOW)
        assert len(one.publish_idle(10 * NOW)) <= 2


# -- closed ----------------------------------------------------------------------------------------------------------


def test_a_pane_is_published_once_every_active_source_has_passed_its_end() -> None:
    one = shard()
    feed(one, [(0, summary(9, 0)), (1, summary(9.5, 0, partition=1)), (2, summary(10.1, 1))], Topic())
    assert one.publish() == []
    feed(one, [(3, summary(10.2, 1, partition=1))], Topic())
    assert places(one.publish()) == [(0, 2, False)]
    assert one.publish() == [], "nothing has changed since"


def test_an_idle_source_does_not_hold_a_pane_back() -> None:
    one = shard()
    feed(one, [(0, summary(9, 0)), (1, summary(9.5, 0, partition=1)), (2, summary(11.4, 1))], Topic())
    assert one.publish() == []
    feed(one, [(3, summary(11.6, 2))], Topic())
    assert places(one.publish()) == [(0, 2, False)]


def test_a_date_ahead_closes_nothing() -> None:
    one = shard()
    feed(one, [(0, summary(1, 0)), (1, summary(2, 1, pane=100))], Topic())
    assert one.publish() == []
    assert one.fold(2, summary(3, 2)) == []


def test_a_late_summary_makes_a_higher_revision() -> None:
    one = shard()
    feed(one, [(0, summary(9, 0)), (1, summary(12, 1))], Topic())
    [first] = one.publish()
    feed(one, [(2, summary(12.5, 2, pane=0))], Topic())
    [second] = one.publish()
    assert places([first, second]) == [(0, 1, False), (0, 3, False)]
    assert [pane.cells[0].events for pane in (first, second)] == [1, 2]
    assert [pane.positions for pane in (first, second)] == [{"content/0": (0, 1)}, {"content/0": (0, 3)}]


def test_without_records_the_wall_clock_publishes_and_decides_nothing() -> None:
    one = shard()
    feed(one, [(0, summary(9, 0))], Topic())
    assert one.publish_idle(START + 9_100) == []
    assert one.publish_idle(START + 11_900) == [], "not over for as long as a source may be silent"
    assert places(one.publish_idle(START + 12_000)) == [(0, 1, False)]
    assert one.publish_idle(START + 99_000) == []
    assert places(one.fold(1, summary(90, 1, pane=0))) == [], "not final: the log says nothing of the time"


@given(logs(), st.sampled_from([0, 1, 2]), st.sampled_from([1, 3_600_000, 86_400_000]))
@settings(max_examples=40, deadline=None)
def test_where_the_broker_dates_the_log_a_clock_that_is_ahead_changes_nothing(log: Log, who: int, ms: int) -> None:
    right, wrong = shard(), shard()
    for offset, one in log:
        if one is None:
            assert right.skip(offset) == wrong.skip(offset)
            continue
        ahead = ms if one.partition == who else 0
        other = msgspec.structs.replace(one, committed_at_ms=one.committed_at_ms + ahead)
        taken_ms = one.committed_at_ms
        assert right.fold(offset, one, taken_ms=taken_ms) == wrong.fold(offset, other, taken_ms=taken_ms)
        assert right.publish() == wrong.publish()
        assert right.commit() == wrong.commit()


def test_after_records_have_expired_the_broker_says_what_may_have_been_published() -> None:
    ahead, behind = summary(86_400, 5, pane=0), summary(-86_400, 5, pane=0)
    for first in (ahead, behind):
        late = Shard(0, Commit(5, ""), OPTIONS, expired=True)
        assert places(late.fold(5, first, taken_ms=START + 5_000)) == [(0, 6, True)]
        later = late.fold(6, summary(30, 6), taken_ms=START + 30_000)
        assert places([*later, *late.publish_idle(10 * NOW), *late.publish_idle(20 * NOW)]) == [(3, 7, False)]


# -- final -----------------------------------------------------------------------------------------------------------


def test_what_comes_after_a_pane_is_final_is_an_addendum() -> None:
    one = shard()
    feed(one, [(0, summary(9, 0)), (1, summary(29, 1))], Topic())
    assert places(one.publish()) == [(0, 1, False)]
    assert places(one.fold(2, summary(29.9, 2, pane=0))) == [], "late, not too late"
    final = one.fold(3, summary(32.1, 3))
    assert places(final) == [(0, 3, False)]
    [addendum] = one.fold(4, summary(32.2, 4, pane=0))
    assert places([addendum]) == [(0, 5, True)]
    assert (addendum.cells[0].events, addendum.positions) == (1, {"content/0": (4, 5)})


def test_panes_of_another_width_are_kept_apart() -> None:
    wide = commit_of(START + 9_100, 1, counts(START, [1]), pane_ms=20_000)
    one = shard()
    feed(one, [(0, summary(9, 0)), (1, wide)], Topic())
    one.publish_idle(10 * NOW)
    assert [(p.start_ms, p.pane_ms, p.n) for p in one.publish_idle(20 * NOW)] == [
        (START, 10_000, 1),
        (START, 20_000, 2),
    ]


# -- exact -----------------------------------------------------------------------------------------------------------


def exact(*ones: CommitSummary) -> list[bool]:
    topic = fold(list(enumerate(ones)))
    return [pane.exact for _, pane in sorted(topic.revisions.items())]


def test_summaries_that_touch_are_exact() -> None:
    assert exact(summary(1, 0), summary(2, 0, partition=1), summary(11, 1), summary(12, 1, partition=1)) == [True, True]


def test_a_gap_makes_the_panes_around_it_inexact() -> None:
    around = exact(summary(1, 0), summary(11, 1), summary(21, 9), summary(31, 10))
    assert around == [True, False, False, True]


def test_an_overlap_makes_the_panes_that_it_touches_inexact() -> None:
    assert exact(summary(1, 0, events=5), summary(11, 5), summary(12, 3, events=4), summary(21, 7)) == [
        True,
        False,
        True,
    ]


def test_what_was_redone_in_other_pieces_is_an_overlap_to_its_end() -> None:
    redone = summary(1, 0, events=9), summary(11, 0, events=5), summary(21, 5, events=6), summary(31, 11)
    assert exact(*redone) == [True, False, False, True]


def test_an_addendum_that_overlaps_is_inexact() -> None:
    one = shard()
    feed(one, [(0, summary(9, 0)), (1, summary(40, 1, events=3))], Topic())
    [addendum] = one.fold(2, summary(40.1, 2, pane=0))
    assert (addendum.addendum, addendum.exact) == (True, False)


# -- restarts --------------------------------------------------------------------------------------------------------


def test_the_oldest_summary_of_a_pane_that_is_not_final_is_where_a_restart_begins() -> None:
    one = shard()
    feed(one, [(offset, summary(offset, offset // 5)) for offset in range(0, 100, 5)], Topic())
    # at 95 s panes up to 70 s are final
    assert one.commit() == Commit(70, f'{{"version":1,"end":96,"horizon_ms":{START + 70_000}}}')


def test_while_it_reads_again_nothing_is_published_and_the_commit_stays() -> None:
    log = [(offset, summary(offset, offset)) for offset in range(100)]
    first = shard()
    feed(first, log, Topic())
    committed = first.commit()
    assert committed.position == 70
    again = shard(start=committed)
    for offset, one in log[70:99]:
        assert again.fold(offset, one) == []
        assert (again.publish(), again.publish_idle(10 * NOW)) == ([], [])
        assert again.commit() == committed
    feed(again, log[99:], Topic())
    assert places(again.publish()) == [(7, 80, False), (8, 90, False)], "known to readers, and the same"
    assert again.commit() == committed


def test_the_size_of_the_metadata_does_not_grow_with_the_sources() -> None:
    one = shard()
    feed(one, [(p, summary(9, 0, partition=p)) for p in range(1_000)], Topic())
    assert one.commit() == Commit(0, f'{{"version":1,"end":1000,"horizon_ms":{START - 20_000}}}')


def test_after_records_have_expired_nothing_published_is_replaced_by_less() -> None:
    log = [(offset, summary(offset, offset)) for offset in range(100)]
    first = shard()
    feed(first, log[:90], Topic())
    metadata = first.commit().metadata
    late = Shard(0, Commit(85, metadata), OPTIONS, expired=True)
    found = [pane for offset, one in log[85:] for pane in late.fold(offset, one)]
    assert places(found) == [(9, offset + 1, True) for offset in range(90, 100)]


def test_a_restart_before_anything_new_came_knows_that_records_have_expired() -> None:
    log = [(offset, summary(offset, offset)) for offset in range(100)]
    first = shard()
    feed(first, log[:90], Topic())
    start = resume(first.commit().position, first.commit().metadata, 1, 85, 90, read_to)
    for end in (85, 87, 90):  # it has read so far again, and stops
        assert (start.position, start.cut, start.expired) == (85, True, 0)
        late = Shard(0, Commit(85, start.metadata), OPTIONS, expired=start.cut)
        assert [late.fold(offset, one) for offset, one in log[85:end]] == [[]] * (end - 85)
        committed = late.commit()
        start = resume(committed.position, committed.metadata, 1, 85, 90, read_to)
    late = Shard(0, Commit(85, start.metadata), OPTIONS, expired=start.cut)
    found = [pane for offset, one in log[85:] for pane in late.fold(offset, one)]
    assert places(found) == [(9, offset + 1, True) for offset in range(90, 100)]
    assert late.commit().position > 85


@pytest.mark.parametrize(
    ("metadata", "end"),
    [
        ('{"version":1,"end":7,"horizon_ms":null}', 7),
        ('{"version":2,"end":7,"horizon_ms":null}', 0),
        ("", 0),
        ("of another tool", 0),
    ],
)
def test_a_commit_tells_how_far_was_read(metadata: str, end: int) -> None:
    assert read_to(metadata) == end


@pytest.mark.parametrize("metadata", ["x", "{}", '{"version":2,"end":3,"horizon_ms":null}'])
def test_metadata_of_somebody_else_is_refused(metadata: str) -> None:
    with pytest.raises(StreamtagError, match="shard 0"):
        shard(start=Commit(3, metadata))


def test_a_summary_that_contradicts_itself_changes_nothing() -> None:
    log = [(0, summary(9, 0)), (2, summary(12, 1))]
    wrong = commit_of(START + 11_000, 1, counts(START, [1]), counts(START, [1], release=2))
    wrong.panes[1].labels["spam"].counts[0] = 2
    one, other = shard(), shard()
    feed(one, log[:1], Topic())
    with pytest.raises(InvalidCellError):
        one.fold(1, wrong)
    one.skip(1)
    feed(one, log[1:], Topic())
    feed(other, [log[0], (1, None), log[1]], Topic())
    assert one.publish() == other.publish() != []
    assert one.commit() == other.commit()


def test_a_record_out_of_order_is_refused() -> None:
    one = shard()
    one.skip(7)
    with pytest.raises(ValueError, match="offset 7 of shard 0"):
        one.fold(7, summary(1, 0))
