"""`streamtag ledger` and its audit on what a real worker has written, and on what it has not."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from commands import streamtag
from confluent_kafka import Consumer, Producer, TopicPartition
from pipeline import Ledger, events, read_summaries, wait_covered
from services import Topics, produce, read_all
from summary_factory import make, record
from workers import Fleet

from streamtag.events.summary import CommitSummary
from streamtag.settings import Settings, load_settings
from streamtag.stats.ledger_reader import LedgerReport, read_ledger, reader_options
from streamtag.stream import topic_reader
from streamtag.stream.topic_reader import TopicReader

pytestmark = pytest.mark.services

END = 100


@pytest.fixture
def tagged(fleet: Fleet, ledger: Ledger) -> Fleet:
    """3,000 records, some of them broken and some tombstones, have been tagged; the worker has gone."""
    ledger.write(list(events(3_000, 5, bad_every=100, tombstone_every=150)))
    worker = fleet.start().wait_ready(60)
    wait_covered(ledger, 60)
    assert worker.stop() == 0
    return fleet


@pytest.fixture
def summed_up(fleet: Fleet) -> Fleet:
    """As far as a ledger looks: two summaries a partition, and what they cover is committed."""
    topics, sources = fleet.topics, range(fleet.topics.partitions)
    spans = [(partition, *span) for partition in sources for span in ((0, 60), (60, END))]
    made = [record(make(start, end, partition=partition, topic=topics.input)) for partition, start, end in spans]
    produce(topics.bootstrap, topics.stats, made)
    commit(fleet, dict.fromkeys(sources, END))
    return fleet


def run(fleet: Fleet, *arguments: str, expect: int = 0) -> Any:
    done = streamtag(fleet.settings(), "ledger", *arguments, "--output", "json")
    assert done.code == expect, done.err or done.out
    assert done.json["ok"] is (expect == 0)
    return done.json


def found(document: Any, *, partition: int = 0) -> list[tuple[str, list[int]]]:
    return [(f["kind"], f["positions"]) for f in document["findings"] if f["partition"] == partition]


def forge(topics: Topics, one: CommitSummary) -> tuple[int, int]:
    """Writes a summary where those of its source stand; returns its place."""
    key, value = record(one)
    shard = next(m.partition() for m in read_all(topics.bootstrap, topics.stats) if m.key() == key)
    [place] = produce(topics.bootstrap, topics.stats, [(key, value)], partition=shard or 0)
    return place


def commit(fleet: Fleet, positions: Mapping[int, int]) -> None:
    """Moves the group, as an operator can, while it has no members."""
    consumer = Consumer({"bootstrap.servers": fleet.topics.bootstrap, "group.id": fleet.group})
    try:
        offsets = [TopicPartition(fleet.topics.input, *place) for place in positions.items()]
        consumer.commit(offsets=offsets, asynchronous=False)
    finally:
        consumer.close()


def test_what_a_worker_wrote_is_whole_and_recounted_to_the_same_numbers(tagged: Fleet, ledger: Ledger) -> None:
    given = Counter(one.kind for one in ledger.inputs.values())
    for document in (run(tagged), run(tagged, "audit", "--from", "0")):
        sums: Counter[str] = Counter()
        for row in document["partitions"]:
            sums.update({name: row[name] for name in ("in", "tagged", "clean", "dead", "skipped")})
        assert sums["in"] == 3_000
        assert (sums["tagged"] + sums["clean"], sums["dead"]) == (given["event"], given["bad"])
        assert sums["skipped"] == given["tombstone"]
        assert {(row["partition"], row["to"]) for row in document["partitions"]} == set(ledger.ends().items())


def test_a_forged_gap_overlap_imbalance_and_version_are_each_named(summed_up: Fleet) -> None:
    topics, end = summed_up.topics, END
    gap = forge(topics, make(end + 5, end + 10, topic=topics.input))
    overlap = forge(topics, make(end + 8, end + 12, topic=topics.input))
    imbalance = forge(topics, make(end + 12, end + 20, dead=1, topic=topics.input))
    unknown = forge(topics, make(end + 20, end + 30, version=2, topic=topics.input))
    document = run(summed_up, expect=1)
    assert document["counts"] == {"gap": 1, "overlap": 1, "imbalance": 1, "unreadable": 1}
    assert found(document) == [
        ("gap", [end, end + 5]),
        ("overlap", [end + 8, end + 10]),
        ("imbalance", [end + 12, end + 20]),
    ]
    places = [(f["after"]["shard"], f["after"]["offset"]) for f in document["findings"]]
    assert places == [gap, overlap, imbalance]
    assert [(one["shard"], one["offset"]) for one in document["unreadable"]] == [unknown]


def test_an_audit_finds_what_was_lost_doubled_and_wrongly_counted(tagged: Fleet, ledger: Ledger) -> None:
    topics, end = tagged.topics, ledger.ends()[0]
    record_ = next(m for m in read_all(topics.bootstrap, topics.tags) if b'"partition":0' in (m.value() or b""))
    doubled = json.loads(record_.value() or b"")["source"]["offset"]
    produce(topics.bootstrap, topics.tags, [(record_.key(), record_.value())])
    produce(topics.bootstrap, topics.input, [(b"k", b"{}")] * 3, partition=0)
    commit(tagged, {0: end + 3})
    last = max((one for one in read_summaries(topics) if one.partition == 0), key=lambda one: one.to_offset)
    document = run(tagged, "audit", "--from", "0", expect=1)
    kinds = dict(found(document))
    assert kinds["lost"] == kinds["uncovered"] == [end, end + 3]
    assert kinds["doubled"] == [doubled, doubled + 1]
    start, behind = kinds["mismatch"]
    assert start <= doubled < behind <= last.to_offset
    assert found(run(tagged, expect=1)) == [("gap", [end, end + 3])]


def test_a_ledger_and_an_audit_are_right_while_workers_write(fleet: Fleet, ledger: Ledger) -> None:
    fleet.start().wait_ready(60)
    for seed in range(3):
        ledger.write(list(events(2_000, seed)))
        assert run(fleet)["unsettled"] == []
    wait_covered(ledger, 60)
    assert sum(row["in"] for row in run(fleet, "audit", "--from", "1h")["partitions"]) == 6_000


@pytest.fixture
def settings(summed_up: Fleet) -> Settings:
    return load_settings(overrides=summed_up.settings(), environ={}).settings


@pytest.fixture
def forger(summed_up: Fleet) -> Iterator[Producer]:
    """In a transaction."""
    producer = Producer({"bootstrap.servers": summed_up.topics.bootstrap, "transactional.id": summed_up.topics.stats})
    producer.init_transactions(20)
    producer.begin_transaction()
    yield producer
    producer.purge()


def read(settings: Settings, since_ms: int | None = None) -> LedgerReport:
    with TopicReader(reader_options(settings)) as reader:
        return read_ledger(settings.topics.stats, reader, since_ms)


@pytest.mark.parametrize("committed", [True, False])
def test_an_open_transaction_hides_the_end_and_is_said_to(
    summed_up: Fleet,
    settings: Settings,
    forger: Producer,
    monkeypatch: pytest.MonkeyPatch,
    committed: bool,
) -> None:
    topics, end = summed_up.topics, END
    key, value = record(make(end, end + 3, topic=topics.input))
    forger.produce(topics.stats, key=key, value=value, partition=2)
    assert forger.flush(20) == 0
    commit(summed_up, {0: end + 3})
    with monkeypatch.context() as patch:
        patch.setattr(topic_reader, "_SETTLE_S", 0.5)
        report = read(settings)
    assert (report.unsettled, report.findings()) == ([f"{topics.stats}/2"], [])
    forger.commit_transaction(20) if committed else forger.abort_transaction(20)
    report = read(settings)
    wanted = [] if committed else [("gap", end, end + 3)]
    assert report.unsettled == []
    assert [(one.kind, one.start, one.end) for one in report.findings()] == wanted


def test_a_ledger_begins_at_a_time(summed_up: Fleet, settings: Settings) -> None:
    stamps = sorted(m.timestamp()[1] for m in read_all(summed_up.topics.bootstrap, summed_up.topics.stats))
    assert len(read(settings, stamps[0]).ledger.partitions) == 4
    assert sum(one.totals.summaries for one in read(settings, stamps[0]).ledger.partitions.values()) == len(stamps)
    assert read(settings, stamps[-1] + 1).ledger.partitions == {}
