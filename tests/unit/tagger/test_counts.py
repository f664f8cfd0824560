"""Commit summaries equal a naive recount of what was emitted, whatever came in one transaction."""

import itertools
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tagging import LABELS, NOW, RAISES, Rig, raw_record, record, release

from streamtag.domain.scores import BINS
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.events.summary import LabelCounts
from streamtag.stream.processor import Range
from streamtag.tagger import pane_counts as module
from streamtag.tagger import tagger
from streamtag.tagger.columns import ScoredBatch
from streamtag.tagger.counts import Counts

PARTITIONS = [("content", 0), ("content", 1), ("other", 0)]
DECLARED = {"lang": ["de", "en"], "tenant": ["a"]}
SEGMENTS = "{lang: [de, en], tenant: [a]}"
PANE_MS = 10_000

scores = st.integers(0, 1_000_000).map(lambda micro: micro / 1_000_000) | st.sampled_from([0.0, 0.5, 1.0])
thresholds = st.builds(
    ThresholdSet,
    st.fixed_dictionaries(dict.fromkeys(LABELS, scores)),
    st.lists(
        st.builds(
            Override,
            st.sampled_from([{"lang": "de"}, {"tenant": "a"}, {"lang": "en", "channel": "c"}]),
            st.dictionaries(st.sampled_from(LABELS), scores, min_size=1),
        ),
        max_size=3,
    ).map(tuple),
)
stamps = st.integers(NOW - 25_000, NOW + 25_000) | st.sampled_from([-1, 0, NOW + 10**9, NOW - 10**10])


@st.composite
def transactions(draw: st.DrawFn) -> list[tuple[ThresholdSet | None, list[Message]]]:
    """Batches, each with a new threshold set or None for the one before; offsets have holes."""
    at = Counter[tuple[str, int]]()
    batches = []
    for number in range(draw(st.integers(1, 4))):
        new = draw(thresholds) if number == 0 or draw(st.booleans()) else None
        batch = []
        for _ in range(draw(st.integers(1, 8))):
            where = draw(st.sampled_from(PARTITIONS))
            at[where] += draw(st.sampled_from([1, 1, 1, 3]))
            place: dict[str, Any] = {"partition": where, "at_ms": draw(stamps)}
            kind = draw(st.sampled_from(["event"] * 6 + ["bad", "tombstone", "raises", "no text"]))
            if kind == "bad":
                batch.append(raw_record(at[where], b"{}", **place))
            elif kind == "tombstone":
                batch.append(raw_record(at[where], None, **place))
            elif kind == "raises":
                batch.append(record(at[where], text=RAISES, **place))
            elif kind == "no text":
                batch.append(raw_record(at[where], b'{"id": "x", "features": {"n": 1}}', **place))
            else:
                segment: dict[str, Any] = {
                    name: draw(st.sampled_from([None, "de", "en", "fr", "a", "other"])) for name in DECLARED
                }
                batch.append(record(at[where], draw(scores), draw(scores), **place, **segment))
        batches.append((new, batch))
    return batches


def recount(tags: Iterable[dict[str, Any]]) -> dict[Any, Counter[Any]]:
    """Adds up tag events one by one, per source partition, pane and release."""
    cells: dict[Any, Counter[Any]] = defaultdict(Counter)
    for tag in tags:
        source, by_arrival = tag["source"], tag.get("time_flag") == "arrival"
        arrived_ms = round(datetime.fromisoformat(tag["processed_at"]).timestamp() * 1000)
        start = (arrived_ms if by_arrival else source["timestamp_ms"]) // PANE_MS * PANE_MS
        revision = tag["release"]["thresholds"]["revision"]
        cell = cells[source["topic"], source["partition"], start, tag["release"]["number"], revision]
        cell["events"] += 1
        cell["by_arrival"] += by_arrival
        tagged = {found["label"] for found in tag["tags"]}
        for label, score in tag["scores"].items():
            micro = round(score * 1_000_000)
            cell[label, "alerts"] += label in tagged
            cell[label, "sum_micro"] += micro
            cell[label, "bin", min(micro * 1024 // 1_000_000, 1023)] += 1
        for pair in itertools.combinations(sorted(tagged), 2):
            cell[pair] += 1
        for dimension, declared in DECLARED.items():
            value = tag.get("segment", {}).get(dimension)
            value = value if value in declared else "other"
            cell[dimension, value, "events"] += 1
            for label in tagged:
                cell[dimension, value, label] += 1
    return {key: +cell for key, cell in cells.items()}


def said(summaries: Iterable[dict[str, Any]]) -> dict[Any, Counter[Any]]:
    """What summaries say, in the same form."""
    cells: dict[Any, Counter[Any]] = {}
    for one in summaries:
        for pane in one["panes"]:
            key = (one["topic"], one["partition"], pane["start_ms"], pane["release"], pane["revision"])
            assert key not in cells, "a pane stands twice"
            cell = cells[key] = Counter({"events": pane["events"], "by_arrival": pane["by_arrival"]})
            for label, counts in pane["labels"].items():
                cell[label, "alerts"] = counts["alerts"]
                cell[label, "sum_micro"] = counts["sum_micro"]
                assert counts["bins"] == sorted(set(counts["bins"]))
                for index, n in zip(counts["bins"], counts["counts"], strict=True):
                    cell[label, "bin", index] = n
            for one_label, others in pane.get("pairs", {}).items():
                for other, n in others.items():
                    cell[one_label, other] = n
            for dimension, found in pane["segments"].items():
                for value, segment in found.items():
                    cell[dimension, value, "events"] = segment["events"]
                    for label, n in segment["alerts"].items():
                        cell[dimension, value, label] = n
    return {key: +cell for key, cell in cells.items()}


@settings(deadline=None, max_examples=50)
@given(transactions())
def test_the_summaries_of_a_transaction_equal_a_recount_of_its_tag_events(
    batches: list[tuple[ThresholdSet | None, list[Message]]],
) -> None:
    rig = Rig({"stats.segments": SEGMENTS, "dead_letters.max_consecutive": "1000"})
    outputs = []
    for number, (new, batch) in enumerate(batches, 1):
        if new is not None:
            rig.active = release(number, new)
        rig.now_ms += 3_000
        outputs += rig.process(*batch)
    covered = dict(rig.covered)
    summaries = rig.close()
    tags = rig.tags(outputs)

    assert said(summaries) == recount(tags)
    assert {(one["topic"], one["partition"]): (one["from"], one["to"]) for one in summaries} == covered
    dead = Counter((facts["topic"], facts["partition"]) for facts in map(_facts, rig.dead(outputs)))
    records = Counter((m.topic(), m.partition()) for _, batch in batches for m in batch)
    for one in summaries:
        where = (one["topic"], one["partition"])
        here = [tag for tag in tags if (tag["source"]["topic"], tag["source"]["partition"]) == where]
        assert one["tagged"] == sum(bool(tag["tags"]) for tag in here)
        assert one["clean"] == sum(not tag["tags"] for tag in here)
        assert one["dead"] == dead[where]
        assert one["in"] == records[where] == one["tagged"] + one["clean"] + one["dead"] + one["skipped"]


def _facts(letter: Any) -> dict[str, Any]:
    facts = {name.removeprefix("streamtag.dlq."): value.decode() for name, value in letter.headers}
    return {**facts, "partition": int(facts["partition"])}


def test_a_transaction_counts_only_itself() -> None:
    rig = Rig()
    rig.process(record(0, 0.9, 0.1))
    rig.close()
    rig.process(record(1, 0.9, 0.1))
    [one] = rig.close()
    assert (one["from"], one["to"], one["in"], one["tagged"]) == (1, 2, 1, 1)


def test_a_transaction_is_full_before_its_summaries_outgrow_a_record() -> None:
    """Old and thin traffic: nearly every event has a pane of its own."""
    rig = Rig({"stats.pane_s": "1"})
    offset = 0
    while not rig.tagger.full():
        rig.process(*[record(offset + i, 0.9, 0.1, at_ms=NOW - (offset + i) * 1_000) for i in range(512)])
        offset += 512
    assert offset == 2_048  # times two labels
    outputs = list(rig.tagger.close(rig.covered))
    assert max(len(output.value or b"") for output in outputs) < rig.settings.dead_letters.max_bytes
    rig.tagger.committed()
    assert not rig.tagger.full()


@pytest.mark.parametrize("labels", [1, 50])
def test_a_transaction_is_full_before_its_events_take_more_room_than_a_worker_has(
    monkeypatch: pytest.MonkeyPatch, labels: int
) -> None:
    """However long its commit interval is."""
    room = 2**20  # what a batch, the meters and other threads take besides is little of it
    monkeypatch.setattr(tagger, "_MAX_HELD_BYTES", room)
    rig = Rig(active=release(labels=[f"label-{i}" for i in range(labels)]))
    scores = [0.9] + [0.1] * (labels - 1)
    rig.process(record(0, *scores))
    rig.close()
    tracemalloc.start()
    for batch in range(100):
        rig.process(*[record(batch * 64 + i, *scores, lang="en", channel="chat", tenant="a") for i in range(64)])
        if rig.tagger.full():
            break
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rig.tagger.full()
    assert 0.8 * room < held < 1.2 * room
    rig.close()
    assert not rig.tagger.full()


def test_counting_old_and_thin_traffic_takes_no_room_for_what_did_not_happen() -> None:
    """A table of every label, pane and bin would take 210 MB here, nearly all of it zeros."""
    events, labels = 512, tuple(f"label-{i}" for i in range(50))
    counts = Counts(PANE_MS, {}, "g-0", "exactly_once")
    micro = np.arange(events * len(labels), dtype=np.int64).reshape(events, -1) * 39
    panes = np.arange(events, dtype=np.int64) * PANE_MS
    batch = ScoredBatch(
        release().ref,
        labels,
        counts.number([PARTITIONS[0]] * events),
        panes,
        np.zeros(events, dtype=np.bool_),
        micro,
        micro > 500_000,
        [(None, None, None)] * events,
    )
    counts.add(batch)
    tracemalloc.start()
    [one] = counts.summaries({PARTITIONS[0]: Range(0, events)}, NOW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [pane.start_ms for pane in one.panes] == panes.tolist()
    assert peak < 40 * 2**20


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 7])
def test_labels_are_counted_alike_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    n, labels, panes = 500, tuple("gfedcba"), 3
    monkeypatch.setattr(module, "_TABLE", at_a_time * panes * BINS)
    random = np.random.default_rng(1)
    micro = random.integers(0, 1_000_001, (n, len(labels)))
    tagged = micro > 600_000
    pane = random.integers(0, panes, n)
    found = Counts(PANE_MS, {}, "w", "exactly_once")
    partitions = found.number([("content", 0)] * n)
    arrival, segments = np.zeros(n, np.bool_), [(None, None, None)] * n
    found.add(ScoredBatch(release().ref, labels, partitions, pane * PANE_MS, arrival, micro, tagged, segments))
    [one] = found.summaries({("content", 0): Range(0, n)}, NOW)
    assert [p.start_ms for p in one.panes] == [0, PANE_MS, 2 * PANE_MS]
    for number, counted in enumerate(one.panes):
        assert list(counted.labels) == list(labels)
        for column, label in enumerate(labels):
            mine = micro[pane == number, column]
            bins = Counter((np.minimum(mine * BINS // 1_000_000, BINS - 1)).tolist())
            assert counted.labels[label] == LabelCounts(
                int((mine > 600_000).sum()), int(mine.sum()), sorted(bins), [bins[b] for b in sorted(bins)]
            )


def test_live_traffic_is_never_full() -> None:
    rig = Rig()
    for batch in range(200):
        rig.process(*[record(batch * 20 + i, 0.9, 0.1, at_ms=NOW - i) for i in range(20)])
    assert not rig.tagger.full()


def test_what_was_undone_is_not_counted() -> None:
    rig = Rig()
    rig.process(record(0, 0.9, 0.1), raw_record(1, b"{}"), raw_record(2, None))
    rig.tagger.undo()
    rig.covered = {}
    rig.process(record(0, 0.9, 0.1))
    [one] = rig.close()
    assert (one["in"], one["tagged"], one["dead"], one["skipped"]) == (1, 1, 0, 0)
    assert [pane["events"] for pane in one["panes"]] == [1]


def test_a_partition_of_which_nothing_was_scored_has_a_summary_without_panes() -> None:
    rig = Rig()
    rig.process(raw_record(0, b"{}"), raw_record(1, None))
    [one] = rig.close()
    assert (one["in"], one["dead"], one["skipped"], one["panes"]) == (2, 1, 1, [])


def test_releases_of_one_number_are_told_apart_by_their_hash() -> None:
    """A Redis restored from a backup can give a number twice, even within one transaction."""
    rig = Rig()
    rig.process(record(0, 0.9, 0.1))
    rig.active = release(1, ThresholdSet({"spam": 0.95, "insult": 0.5}), sha256="f" * 64)
    rig.process(record(1, 0.9, 0.1))
    [one] = rig.close()
    assert [(pane["release_sha256"], pane["labels"]["spam"]["alerts"]) for pane in one["panes"]] == [
        (f"{1:064x}", 1),
        ("f" * 64, 0),
    ]
