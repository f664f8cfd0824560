"""Windowers on a real Kafka, killed, frozen and joined: panes and addenda hold every integer of the summaries."""

import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from msgspec import UNSET
from pane_numbers import PaneReader, of_panes, of_summaries
from pipeline import Ledger, events, wait_covered
from services import MakeTopics, Topics, produce, read_all, wait_until
from workers import Fleet, Worker

from streamtag.devstack.kafka import KafkaServer
from streamtag.events import dead_letters, summary
from streamtag.events.panes import Pane
from streamtag.events.summary import CommitSummary, ExperimentRows, LabelCounts, PaneCounts, SegmentCounts, UnitRows

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

SEED = 20_261_128
PANE_MS = 1_000
SOURCES = 12


class Summaries:
    """Writes summaries as taggers do: ranges that touch, several sources in a transaction, some of them aborted."""

    def __init__(self, topics: Topics, seed: int, *, ends: dict[int, int] | None = None, ahead_ms: int = 0) -> None:
        self._topics = topics
        self._ahead_ms = ahead_ms  # of its clock
        self._choose = random.Random(seed)
        self.ends = ends or dict.fromkeys(range(SOURCES), 0)
        self._producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": topics.stats})
        self._producer.init_transactions(30)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.written = 0

    def __enter__(self) -> "Summaries":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.commit()

    def commit(self) -> None:
        """One transaction."""
        ends = self.ends.copy()
        self._producer.begin_transaction()
        made = [self._make(partition, ends) for partition in self._choose.sample(range(SOURCES), 3)]
        for one in made:
            key = summary.key(one.topic, one.partition)
            self._producer.produce(self._topics.stats, summary.encode(one), key)
        if self._choose.random() < 0.1:
            self._producer.abort_transaction(30)
            return
        self._producer.commit_transaction(30)
        self.ends = ends
        self.written += len(made)

    def _make(self, partition: int, ends: dict[int, int]) -> CommitSummary:
        choose, now_ms = self._choose, time.time_ns() // 1_000_000 + self._ahead_ms
        late_ms = [choose.choice([0, 0, 0, 0, 1_500, 4_000, 20_000]) for _ in range(choose.randint(0, 2))]
        cells = [self._cell((now_ms - late) // PANE_MS * PANE_MS) for late in late_ms]
        events = sum(cell.events for cell in cells)
        start, ends[partition] = ends[partition], ends[partition] + events + 1
        return CommitSummary(
            version=summary.VERSION,
            topic=self._topics.input,
            partition=partition,
            from_offset=start,
            to_offset=ends[partition],
            in_=events,
            tagged=0,
            clean=events,
            dead=0,
            skipped=0,
            pane_ms=PANE_MS,
            writer="host-0",
            delivery="exactly_once",
            committed_at_ms=now_ms,
            panes=cells,
        )

    def _cell(self, start_ms: int) -> PaneCounts:
        choose = self._choose
        events, sha, release = choose.randint(1, 5), "0" * 64, choose.randint(1, 2)
        labels = {}
        for label in choose.sample(["spam", "fraud", "threat"], choose.randint(1, 3)):
            bins = Counter(choose.randrange(1024) for _ in range(events))
            scores = choose.randrange(1_000_000 * events)
            labels[label] = LabelCounts(
                choose.randint(0, events), scores, sorted(bins), [bins[b] for b in sorted(bins)]
            )
        units = UnitRows(choose.randbytes(8 * events), bytes(events), bytes(events))
        rows = ExperimentRows("1-000000000000", 0, "shadow", ["spam"], units, choose.randint(0, 2))
        return PaneCounts(
            start_ms=start_ms,
            release=release,
            release_sha256=sha,
            bundle="tiny@1",
            bundle_sha256=sha,
            revision=release,
            revision_sha256=sha,
            arm="control",
            events=events,
            by_arrival=choose.randint(0, events),
            labels=labels,
            segments={"lang": {"en": SegmentCounts(events, {"spam": 1})}},
            experiments=[rows] if choose.random() < 0.5 else UNSET,
        )


NOWHERE = "redis://127.0.0.1:1/0"
FAST = {
    "windows.idle_ms": "500",
    "windows.lateness_ms": "3000",
    "windows.commit_interval_ms": "100",
}
"""Panes that close and become final while a test runs."""


@contextmanager
def windowers(topics: Topics, directory: Path, **overrides: str) -> Iterator[Fleet]:
    """Windowers, which have no Redis."""
    group = f"w-{uuid.uuid4().hex[:8]}"
    mine = FAST | {name.replace("__", "."): value for name, value in overrides.items()}
    with Fleet(topics, NOWHERE, group, directory / "state", directory, overrides=mine) as found:
        yield found


@pytest.fixture
def windows(topics: Topics, tmp_path: Path) -> Iterator[Fleet]:
    """Windowers on fresh topics; none outlives the test."""
    with windowers(topics, tmp_path) as found:
        yield found


def start(windows: Fleet) -> Worker:
    return windows.start(role="windows")


def read_panes(topics: Topics) -> PaneReader:
    reader = PaneReader()
    for record in read_all(topics.bootstrap, topics.panes):
        reader.read(record)
    assert reader.problems == []
    return reader


def read_summaries(topics: Topics, *, but: Collection[tuple[int, int]] = ()) -> list[tuple[int, int, CommitSummary]]:
    """All but those records of the topic."""
    records = [m for m in read_all(topics.bootstrap, topics.stats) if (m.partition(), m.offset()) not in but]
    return [(m.partition() or 0, m.offset() or 0, summary.decode(m.value() or b"")) for m in records]


def wait_counted(topics: Topics, deadline_s: float = 60) -> list[Pane]:
    """Waits until panes and addenda hold every integer of the summaries; returns them."""
    wanted = of_summaries(read_summaries(topics))
    deadline = time.monotonic() + deadline_s
    while True:
        every = read_panes(topics).every()
        found = of_panes(every)
        if found == wanted:
            return every
        if time.monotonic() > deadline:
            more, less = found - wanted, wanted - found
            raise AssertionError(f"too much: {sorted(more.items())[:5]}, too little: {sorted(less.items())[:5]}")
        time.sleep(0.5)


def test_kills_freezes_and_rebalances_change_no_integer(topics: Topics, windows: Fleet) -> None:
    choose = random.Random(SEED)
    workers = [start(windows) for _ in range(2)]
    for worker in workers:
        worker.wait_ready(60)
    faults: Counter[str] = Counter()
    with Summaries(topics, SEED) as writer:
        for _ in range(12):
            wait_moved(writer, 60)
            kind = choose.choice(["kill", "kill", "freeze", "stop", "join"])
            faults[kind] += 1
            hurt(windows, workers, kind, choose)
    every = wait_counted(topics)
    assert all(pane.exact for pane in every)
    assert {pane.shard for pane in every} == set(range(topics.partitions))
    assert any(pane.addendum for pane in every)
    for worker in workers:
        assert worker.stop() == 0, worker
    assert len(every) > 50
    assert faults["kill"], faults


def test_a_broker_that_dies_and_comes_back_changes_no_integer(
    own_kafka: KafkaServer, make_topics: MakeTopics, tmp_path: Path
) -> None:
    topics = make_topics(partitions=2, bootstrap=own_kafka.bootstrap)
    with windowers(topics, tmp_path) as windows:
        worker = start(windows).wait_ready(60)
        with Summaries(topics, SEED + 1) as writer:
            wait_moved(writer, 60)
        own_kafka.kill()
        worker.wait_unready("kafka", 60)
        own_kafka.restart()
        worker.wait_ready(90)
        with Summaries(topics, SEED + 2, ends=writer.ends) as writer:
            wait_moved(writer, 60)
        assert all(pane.exact for pane in wait_counted(topics))
        assert worker.stop() == 0, worker


def test_panes_of_real_taggers_hold_every_integer_of_their_summaries(
    topics: Topics, fleet: Fleet, ledger: Ledger
) -> None:
    fleet.overrides |= FAST | {"stats.pane_s": "1"}
    workers = [fleet.start(role=role) for role in ("tagger", "tagger", "windows")]
    for worker in workers:
        worker.wait_ready(60)
    made = list(events(4_000, SEED))
    for chunk in range(0, len(made), 500):
        ledger.write(made[chunk : chunk + 500])
    wait_covered(ledger, 60)
    every = wait_counted(topics)
    scored = sum(cell.events for pane in every for cell in pane.cells)
    assert scored == sum(given.kind == "event" for given in ledger.inputs.values())
    assert all(pane.exact for pane in every)


def test_a_pane_is_published_though_nothing_comes_after_it(topics: Topics, windows: Fleet) -> None:
    worker = start(windows).wait_ready(60)
    writer = Summaries(topics, SEED)
    writer.commit()
    wait_counted(topics, 30)
    assert worker.metrics()["streamtag_panes_newest_seconds"] > time.time() - 60


def test_what_a_clock_dates_a_month_ahead_is_placed_where_the_broker_took_it(topics: Topics, windows: Fleet) -> None:
    start(windows).wait_ready(60)
    writer = Summaries(topics, SEED, ahead_ms=30 * 86_400_000)
    for _ in range(5):
        writer.commit()
    events = sum(cell.events for _, _, one in read_summaries(topics) for cell in one.panes)

    def placed() -> list[Pane]:
        found = read_panes(topics).every()
        return found if sum(cell.by_arrival for pane in found for cell in pane.cells) == events else []

    every = wait_until(placed, 30, "all of them are counted, and flagged")
    assert max(pane.start_ms for pane in every) <= time.time() * 1000


def test_what_is_no_summary_is_set_aside_and_its_neighbours_are_counted(topics: Topics, windows: Fleet) -> None:
    worker = start(windows).wait_ready(60)
    writer = Summaries(topics, SEED)
    writer.commit()
    wrong = [(b"content/0", b"{"), (None, b'{"version": 7}'), (b"content/0", None)]
    places = produce(topics.bootstrap, topics.stats, wrong, partition=0)
    writer.commit()
    letters = read_all(topics.bootstrap, topics.dead_letters, until=lambda found: len(found) == len(wrong))
    facts: dict[bytes | None, dict[str, bytes]]
    facts = {letter.value(): dict(letter.headers() or []) for letter in letters}  # type: ignore[arg-type]
    assert {(letter.key(), letter.value()) for letter in letters} == set(wrong)
    assert [int(facts[value][dead_letters.OFFSET]) for _, value in wrong] == [offset for _, offset in places]
    assert b"its version is 7" in facts[wrong[1][1]][dead_letters.ERROR_MESSAGE]
    good = read_summaries(topics, but=places)
    wait_until(lambda: of_panes(read_panes(topics).every()) == of_summaries(good), 30, "the others are counted")
    assert worker.metrics()["streamtag_summaries_set_aside_total"] == len(wrong)


def wait_moved(writer: Summaries, summaries: int) -> None:
    wanted = writer.written + summaries
    wait_until(lambda: writer.written >= wanted, 60, f"{summaries} more summaries")


def hurt(windows: Fleet, workers: list[Worker], kind: str, choose: random.Random) -> None:
    victim = choose.choice(workers)
    if kind == "join":
        workers.append(start(windows).wait_ready(60))
        return
    if kind == "freeze":
        victim.signal(signal.SIGSTOP)
        time.sleep(choose.choice([0.5, 5]))  # as long as it takes for the group to notice, or not
        victim.signal(signal.SIGCONT)
        return
    workers.remove(victim)
    if kind == "kill":
        victim.kill()
    else:
        assert victim.stop() == 0, victim
    workers.append(start(windows).wait_ready(60))
