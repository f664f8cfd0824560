"""Windows made again from summaries equal the live ones, or say where they differ, and leave nothing when they fail."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import fakeredis
import pytest
import shard_log
from confluent_kafka import Message
from control_plane import RecordedMetrics, new_store
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_log import NOW, PANE_MS, commit_of, counts
from test_recompute import Record
from test_state import SETTINGS, Log

from streamtag.control.store import ControlStore
from streamtag.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from streamtag.events import panes as wire
from streamtag.events.summary import CommitSummary
from streamtag.stats import app, lease
from streamtag.stats.lease import LEASE_S, Lease
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.read_model import ReadModel
from streamtag.stats.rebuild import Rebuild, Rebuilt, day_touched
from streamtag.stats.recompute import CLOCKS_MS
from streamtag.stats.shard import Shard
from streamtag.stats.state import StatsState
from streamtag.stats.summaries import read_counted
from streamtag.stats.windows import SIZES, WindowDocument, start_of
from streamtag.stream.processor import Commit
from streamtag.stream.topic_reader import TopicReader

DAY = start_of("1d", NOW)
MAX_FUTURE_MS = 60_000


@dataclass
class Written(shard_log.Topic):
    """The panes in the order in which they were written."""

    order: list[bytes] = field(default_factory=list)

    def write(self, found: Any) -> None:
        some = list(found)
        self.order += [wire.encode(pane) for pane in some]
        super().write(some)


@dataclass
class Panes(Log):
    """The panes topic, written at the times given; all at once unless they are."""

    def position_at(self, at_ms: int) -> int:
        return self.low


class Summaries:
    """The stats topic of one partition; those before ``low`` have expired."""

    def __init__(self, log: shard_log.Log) -> None:
        self.records = [Record(offset, one) for offset, one in log if one is not None]
        self.end = max((offset for offset, _ in log), default=-1) + 1
        self.low = 0
        self.asked_ms: list[int] = []
        self.broken_at: int | None = None

    def bounds(self, _topic: str) -> dict[int, tuple[int, int]]:
        return {0: (self.low, self.end)}

    def from_time(self, _topic: str, at_ms: int) -> dict[int, tuple[int, int]]:
        self.asked_ms.append(at_ms)
        return {0: (self.low, self.end)}

    def batches(self, _topic: str, ranges: Mapping[int, tuple[int, int]]) -> Iterator[list[Record]]:
        for low, high in ranges.values():
            if self.broken_at is not None and low <= self.broken_at < high:
                raise UnavailableError("Kafka has sent nothing")
            yield [one for one in self.records if low <= one.offset() < high]


class Rig:
    """Live windows, and what they were made of."""

    def __init__(self, log: shard_log.Log, steps: Sequence[tuple[int, str]] = ()) -> None:
        written = self._fold(log, steps)
        self.store: ControlStore = new_store(fakeredis.FakeServer())
        self.panes = Panes([*written])
        self.summaries = Summaries(log)
        self.state = StatsState(SETTINGS, self.store, cast(PaneLog, self.panes), RecordedMetrics(), now_ms=lambda: NOW)
        self.follow()

    @staticmethod
    def _fold(log: shard_log.Log, steps: Sequence[tuple[int, str]]) -> list[bytes]:
        shard, topic = Shard(0, Commit(0, ""), shard_log.OPTIONS), Written()
        committed, at = Commit(0, ""), 0
        for n, action in steps:
            shard_log.feed(shard, log[at : at + n], topic)
            at = min(len(log), at + n)
            if action == "commit":
                topic.write(shard.publish())
                committed = shard.commit()
            else:
                shard = Shard(0, committed, shard_log.OPTIONS)
                at = sum(offset < committed.position for offset, _ in log)
        shard_log.feed(shard, log[at:], topic)
        shard_log.end(shard, topic)
        return topic.order

    def follow(self) -> None:
        self.state.restore()
        self.state.catch_up(len(self.panes.values))
        self.state._dirty = True
        self.state.flush()

    def rebuild(self, since_ms: int = 0, *, swap: bool = True, now_ms: int = NOW) -> Rebuilt:
        return self.making(since_ms, now_ms).run(swap=swap)

    def making(self, since_ms: int = 0, now_ms: int = NOW) -> Rebuild:
        return Rebuild(
            self.store,
            cast(PaneLog, self.panes),
            cast(TopicReader, self.summaries),
            "stats",
            since_ms,
            keep=720,
            max_future_ms=MAX_FUTURE_MS,
            max_age_s=SETTINGS.stats.max_age_s,
            now_ms=lambda: now_ms,
        )

    def windows(self) -> dict[tuple[str, int], WindowDocument | None]:
        model = ReadModel(self.store)
        places = sorted(model.places())
        return dict(zip(places, model.read(places), strict=True))

    def generations(self) -> set[str]:
        client: Any = self.store.client
        keys = [key.decode() for key in client.scan_iter("*windows:*:*")]
        return {key.split("windows:")[1].split(":")[0] for key in keys}


SMALL: shard_log.Log = [
    (i, commit_of(NOW + 1_000 * i, 2 * i, counts((NOW + 1_000 * i) // PANE_MS * PANE_MS, [600_000, 1])))
    for i in range(120)
]


def releases_with_labels_of_their_own(offset: int, one: CommitSummary | None) -> tuple[int, CommitSummary | None]:
    for cell in () if one is None else one.panes:
        cell.release += 2 * len(cell.labels)
    return offset, one


@settings(max_examples=60, deadline=None)
@given(
    shard_log.logs().map(lambda log: [releases_with_labels_of_their_own(*one) for one in log]),
    st.lists(st.tuples(st.integers(1, 15), st.sampled_from(["commit", "crash"])), max_size=8),
    st.booleans(),
)
def test_windows_made_again_equal_the_live_ones_however_often_the_windower_died(
    log: shard_log.Log, steps: list[tuple[int, str]], swap: bool
) -> None:
    rig = Rig(log, steps)
    live = rig.windows()
    making = rig.making()
    found = making.run(swap=swap)
    assert (found.differing, found.swapped) == ([], swap)
    assert found.windows == live.keys() == rig.windows().keys()
    assert rig.windows() == live
    assert making._counts == {}, "what a pane has counted is let go of"
    assert len(rig.generations()) == 1


def test_a_live_window_that_is_wrong_too_many_or_unreadable_is_named_and_mended() -> None:
    rig = Rig(SMALL)
    right = rig.windows()
    model = ReadModel(rig.store)
    minute = start_of("1m", NOW)
    wrong = right["1m", minute]
    assert wrong is not None
    model.put([WindowDocument(1, "1m", minute, wrong.position, True, {}, [])])  # wrong
    model.put([WindowDocument(1, "5m", NOW // 300_000 * 300_000 + 3_000_000, 1, True, {}, [])])  # of nothing
    rig.store.client.set(f"{model.prefix}1d:{DAY}", b"no window")
    assert rig.rebuild(swap=False).differing == [
        ("1d", DAY), ("1m", minute), ("5m", NOW // 300_000 * 300_000 + 3_000_000),
    ]  # fmt: skip
    with pytest.raises(RefusedError):
        rig.windows()
    assert rig.rebuild().swapped
    assert rig.windows() == right


def test_earlier_windows_stay_as_they_are() -> None:
    rig = Rig(SMALL)
    model = ReadModel(rig.store)
    minutes = sorted(start for size, start in rig.windows() if size == "1m")
    changed = [WindowDocument(1, "1m", start, 1, False, {}, []) for start in minutes]
    model.put(changed)
    found = rig.rebuild(minutes[1])
    assert found.differing == [("1m", start) for start in minutes[1:]]
    assert all(start >= minutes[1] for _, start in found.windows)
    assert rig.windows()["1m", minutes[0]] == changed[0]
    assert rig.windows()["1m", minutes[1]] != changed[1]


def test_summaries_are_read_from_before_any_could_count_the_first_event() -> None:
    rig = Rig(SMALL)
    rig.rebuild(NOW)
    assert rig.summaries.asked_ms == [NOW - MAX_FUTURE_MS - CLOCKS_MS]


@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("error", [UnavailableError("Kafka is away"), KeyboardInterrupt()])
def test_one_that_fails_midway_leaves_nothing(
    swap: bool, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(SMALL)
    live, put = rig.windows(), ReadModel.put
    seen = []

    def fail(model: ReadModel, documents: Any) -> None:
        put(model, documents)
        seen.append(rig.generations())
        raise error

    monkeypatch.setattr(ReadModel, "put", fail)
    with pytest.raises(type(error)):
        rig.rebuild(swap=swap)
    assert seen == [{"0", str(NOW)}], "there was something to leave"
    assert rig.generations() == {"0"}
    assert rig.windows() == live


def test_new_windows_stay_where_the_answer_to_the_swap_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(SMALL)
    live, swap = rig.windows(), ReadModel.swap

    def lose(model: ReadModel, *arguments: Any) -> bool:
        swap(model, *arguments)
        raise UnavailableError("Redis does not answer")

    monkeypatch.setattr(ReadModel, "swap", lose)
    with pytest.raises(UnavailableError):
        rig.rebuild()
    assert ReadModel(rig.store).generation() == str(NOW)
    assert rig.windows() == live


def test_what_was_placed_by_the_clock_of_the_broker_is_placed_so_again() -> None:
    def records() -> Iterator[Record]:
        for i in range(120):
            at_ms = NOW + 1_000 * i
            ahead_ms = 0 if i % 3 else 30 * SIZES["1d"]
            one = commit_of(at_ms, 2 * i, counts((at_ms + ahead_ms) // PANE_MS * PANE_MS, [600_000, 1]))
            yield Record(i, one, at_ms)

    rig = Rig([(one.offset(), read_counted(cast(Message, one))) for one in records()])
    rig.summaries.records = list(records())
    live = rig.windows()
    assert all(start <= NOW + 120_000 for _, start in live)
    assert (rig.rebuild().differing, rig.windows()) == ([], live)


def test_whoever_keeps_the_live_windows_goes_on_from_the_new_ones() -> None:
    rig, all_of = Rig(SMALL[:60]), Rig(SMALL)
    assert rig.rebuild().swapped
    rig.panes.values, rig.summaries = all_of.panes.values, all_of.summaries
    rig.state.catch_up(len(rig.panes.values))
    with pytest.raises(ConflictError):
        rig.state.flush()
    rig.state = StatsState(SETTINGS, rig.store, cast(PaneLog, rig.panes), RecordedMetrics(), now_ms=lambda: NOW)
    rig.follow()
    assert (rig.rebuild(now_ms=NOW + 1).differing, rig.generations()) == ([], {str(NOW + 1)})


def test_live_windows_that_run_ahead_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Rig(SMALL)
    expected, rig = whole.windows(), Rig(SMALL)
    rig.store.client.flushall()
    rig.state = StatsState(SETTINGS, rig.store, cast(PaneLog, rig.panes), RecordedMetrics(), now_ms=lambda: NOW)
    rig.state.restore()
    rig.state.catch_up(3)
    rig.state.flush()
    copy = ReadModel.copy_to

    def run_ahead(model: ReadModel, *arguments: Any) -> int:
        copied = copy(model, *arguments)
        rig.state.catch_up(min(len(rig.panes.values), rig.state.position + 4))
        rig.state.flush()
        return copied

    monkeypatch.setattr(ReadModel, "copy_to", run_ahead)
    assert rig.rebuild().swapped
    assert rig.windows() == expected


def test_live_windows_that_always_run_ahead_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(SMALL)
    monkeypatch.setattr(ReadModel, "swap", lambda *_: False)
    with pytest.raises(ConflictError, match="nothing was swapped"):
        rig.rebuild()
    assert rig.generations() == {"0"}


def test_what_may_have_expired_is_not_made_again_short_of_it() -> None:
    for topic in ("summaries", "panes"):
        rig = Rig(SMALL)
        getattr(rig, topic).low = 1
        with pytest.raises(RefusedError, match="may have expired in") as refused:
            rig.rebuild()
        assert "later --from" in (refused.value.hint or "")
        assert rig.generations() == {"0"}


def test_a_stats_topic_that_was_made_anew_is_told() -> None:
    rig = Rig(SMALL)
    rig.summaries.end = 10
    with pytest.raises(RefusedError, match="never was"):
        rig.rebuild()


def test_without_live_windows_there_is_nothing_to_compare() -> None:
    rig = Rig(SMALL)
    rig.store.client.flushall()
    with pytest.raises(NotFoundError, match="no windows in Redis"):
        rig.rebuild()


def test_live_windows_that_have_expired_do_not_differ() -> None:
    rig = Rig(SMALL)
    later = NOW + 9 * SIZES["1d"]
    minutes = [(size, start) for size, start in rig.windows() if size == "1m"]
    for size, start in minutes:
        rig.store.client.delete(f"{ReadModel(rig.store).prefix}{size}:{start}")
    assert rig.rebuild(swap=False, now_ms=later).differing == []
    assert rig.rebuild(swap=False).differing == sorted(minutes)


def test_summaries_are_held_only_until_a_pane_has_counted_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamtag.stats.rebuild._PANES_AT_ONCE", 3)
    every = 2_000
    rig = Rig([
        (i, commit_of(NOW + 1_000 * i, i, counts((NOW + 1_000 * i) // PANE_MS * PANE_MS, [1]))) for i in range(every)
    ])  # fmt: skip
    making, held, put = rig.making(), [], ReadModel.put

    def look(model: ReadModel, documents: Any) -> None:
        held.append(sum(map(len, making._counts.values())))
        put(model, documents)

    monkeypatch.setattr(ReadModel, "put", look)
    assert making.run(swap=False).summaries == every
    assert len(held) > 50
    assert max(held) < 60  # those of panes that the windower had not published yet


def test_windows_made_again_are_kept_as_long_as_live_ones() -> None:
    rig = Rig(SMALL)
    client: Any = rig.store.client

    def left_s() -> dict[tuple[str, int], int]:
        prefix = ReadModel(rig.store).prefix
        return {(size, start): client.ttl(f"{prefix}{size}:{start}") for size, start in rig.windows()}

    live = left_s()
    assert rig.rebuild().swapped
    new = left_s()
    assert all(abs(new[place] - live[place]) < 3_600 for place in live)


# -- what was killed -------------------------------------------------------------------------------------------------


def killed(rig: Rig, monkeypatch: pytest.MonkeyPatch, now_ms: int) -> None:
    """A rebuild that a SIGKILL ends when it has written some windows."""
    put = ReadModel.put

    def die(model: ReadModel, documents: Any) -> None:
        put(model, documents)
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(ReadModel, "put", die)
        patched.setattr(Rebuild, "_leave_nothing", lambda _: None)
        with pytest.raises(SystemExit):
            rig.rebuild(now_ms=now_ms)
    assert rig.generations() == {ReadModel(rig.store).generation(), str(now_ms)}


def let_lease_expire(rig: Rig, now_ms: int) -> None:
    client: Any = rig.store.client
    [key] = client.keys(f"*windows:{now_ms}:lease")
    assert 0 < client.ttl(key) <= LEASE_S
    client.delete(key)


def test_what_a_killed_rebuild_has_left_the_next_one_removes(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(SMALL)
    live = rig.windows()
    killed(rig, monkeypatch, NOW)
    rig.rebuild(swap=False, now_ms=NOW + 1)
    assert rig.generations() == {"0", str(NOW)}, "nobody knows yet that it was killed"
    let_lease_expire(rig, NOW)
    rig.rebuild(swap=False, now_ms=NOW + 2)
    assert rig.generations() == {"0"}
    assert rig.windows() == live


def test_what_a_killed_rebuild_has_left_the_next_app_removes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(SMALL)
    assert rig.rebuild(now_ms=NOW).swapped
    live = rig.windows()
    killed(rig, monkeypatch, NOW + 1)
    let_lease_expire(rig, NOW + 1)
    app._tidy(rig.store)
    assert rig.generations() == {str(NOW)}
    assert rig.windows() == live
    assert f"generation {NOW + 1}" in caplog.text


def test_an_app_starts_while_redis_is_away(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def away(_: ControlStore) -> list[str]:
        raise UnavailableError("Redis does not answer")

    monkeypatch.setattr(app, "forget_abandoned", away)
    app._tidy(Rig(SMALL).store)
    assert "Redis does not answer" in caplog.text


@pytest.mark.parametrize("swap", [True, False])
def test_a_rebuild_whose_windows_were_taken_for_abandoned_says_so_and_is_never_swapped_in(
    swap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(SMALL)
    live, put = rig.windows(), ReadModel.put

    def stall(model: ReadModel, documents: Any) -> None:
        put(model, documents)
        let_lease_expire(rig, NOW)
        assert lease.forget_abandoned(rig.store) == [str(NOW)]

    monkeypatch.setattr(ReadModel, "put", stall)
    with pytest.raises(ConflictError, match="were removed"):
        rig.rebuild(swap=swap)
    assert rig.generations() == {"0"}
    assert rig.windows() == live


def test_windows_that_are_put_in_the_place_of_the_live_ones_are_never_taken_for_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever removes has seen another generation count, and marks its victim; the swap comes just before the mark."""
    rig = Rig(SMALL)
    live = rig.windows()
    new = ReadModel(rig.store, str(NOW))
    Lease(new).take()
    ReadModel(rig.store).copy_to(new, lambda *_: True)
    forget_if, swapped = lease._forget_if_abandoned, []

    def swap_first(model: ReadModel) -> bool:
        checkpoint = ReadModel(rig.store).checkpoint()
        assert checkpoint is not None
        swapped.append(ReadModel(rig.store).swap(new, checkpoint))
        return forget_if(model)

    monkeypatch.setattr(lease, "_forget_if_abandoned", swap_first)
    assert lease.forget_abandoned(rig.store) == []
    assert swapped == [True]
    assert rig.windows() == live
    client: Any = rig.store.client
    assert client.keys("*lease") == []


def test_windows_that_are_marked_as_abandoned_do_not_come_to_count() -> None:
    rig = Rig(SMALL)
    new = ReadModel(rig.store, str(NOW))
    Lease(new).take()
    let_lease_expire(rig, NOW)
    client: Any = rig.store.client
    client.set(new.lease_key, "abandoned")
    checkpoint = ReadModel(rig.store).checkpoint()
    assert checkpoint is not None
    assert not ReadModel(rig.store).swap(new, checkpoint)
    assert ReadModel(rig.store).generation() == "0"


def test_two_rebuilds_never_write_the_same_generation() -> None:
    rig = Rig(SMALL)
    Lease(ReadModel(rig.store, str(NOW))).take()
    with pytest.raises(ConflictError, match="in the same moment"):
        Lease(ReadModel(rig.store, str(NOW))).take()


def test_an_offset_means_the_day_of_the_earliest_pane_that_is_touched_from_there_on() -> None:
    late = counts((NOW - SIZES["1d"]) // PANE_MS * PANE_MS, [1])
    log: shard_log.Log = [*SMALL, (120, commit_of(NOW + 120_000, 240, late)), (121, None)]
    reader = cast(TopicReader, Summaries(log))
    assert day_touched(reader, "stats", {0: 120}) == DAY - SIZES["1d"]
    assert day_touched(cast(TopicReader, Summaries(SMALL)), "stats", {0: 100}) == DAY
    with pytest.raises(NotFoundError, match="nothing is counted"):
        day_touched(reader, "stats", {0: 121})
    with pytest.raises(NotFoundError, match="no partition 3"):
        day_touched(reader, "stats", {3: 0})
    expired = Summaries(log)
    expired.low = 7
    with pytest.raises(RefusedError, match="before offset 7 have expired"):
        day_touched(cast(TopicReader, expired), "stats", {0: 6})


def test_a_day_from_an_offset_on_is_made_again_whole() -> None:
    rig = Rig(SMALL)
    since = day_touched(cast(TopicReader, rig.summaries), "stats", {0: 60})
    assert rig.rebuild(since).windows == rig.windows().keys()
