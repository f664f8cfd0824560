"""What the statistics cost a tagger: CPU time per event with them, and without, in turns in one process.

The tagger is the worker's own, on records in memory: decode, infer, decide, emit, and a commit summary for each
partition of each transaction. The other one differs in one object, which counts nothing and so has no summaries to
encode. Kafka is left out on both sides: with it the statistics would be a smaller part of a whole that varies more.
"""

import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamtag.control.watcher import ActiveRelease
from streamtag.domain.release import ReleaseRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events.summary import CommitSummary
from streamtag.model.loading import load_scorer
from streamtag.settings import load_settings
from streamtag.stream.processor import Partition, Range
from streamtag.stream.worker import settle_garbage
from streamtag.tagger.counts import Counts, ScoredBatch
from streamtag.tagger.memory import keep_freed_memory
from streamtag.tagger.stop import Stop
from streamtag.tagger.tagger import Tagger
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer

from . import report
from .bundles import build_standin
from .corpus import Corpus
from .stack import PARTITIONS
from .throughput import cutoffs

TOPIC = "content"
LABEL_COUNTS = (16, 50)
BATCHES = {5: "25,000 events/s", 1: "5,000 events/s"}
"""Batches in a transaction of 100 ms, and at what load that many come."""
_SAMPLE = 4_000

Batch = list[Message]


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        events: each round, for either tagger; rounded to whole batches.
        rounds: how often.
    """

    events: int = 20_480
    rounds: int = 10


class Uncounted(Counts):
    """Counts nothing: what the tagger has no statistics with."""

    def add(self, batch: ScoredBatch) -> None:
        """Nothing."""

    def number(self, partitions: Sequence[Partition]) -> NDArray[np.intp]:
        """All the same."""
        return np.zeros(len(partitions), np.intp)

    def summaries(self, covered: Mapping[Partition, Range], now_ms: int) -> list[CommitSummary]:
        """None."""
        return []


class NeverStops:
    """The stop of a group that has none."""

    def reason(self) -> str | None:
        """None."""
        return None


class Tagging:
    """Two taggers on the same release and the same records; one has statistics."""

    def __init__(self, bundle: Path, events: int) -> None:
        settings = load_settings(environ={}).settings
        scorer = load_scorer(bundle, batch=settings.model.batch)
        corpus = Corpus()
        ref = ReleaseRef(1, "0" * 64, scorer.bundle.ref, 1, "0" * 64)
        release = ActiveRelease(ref, ThresholdSet(cutoffs(scorer, corpus.texts[:_SAMPLE])), scorer, "redis")
        size = settings.tagger.batch_size
        self._batches = _batches(corpus, events // size * size, size)

        def tagger() -> Tagger:
            return Tagger(
                settings,
                worker="bench-0",
                release=lambda: release,
                stop=cast(Stop, NeverStops()),
                metrics=Metrics.in_memory(),
                tracer=BatchTracer(),
            )

        self._taggers = {"with": tagger(), "without": tagger()}
        counts = self._taggers["without"]._counts
        self._taggers["without"]._counts = Uncounted(
            counts.pane_ms, counts.segments, counts.writer, counts.delivery
        )  # the switch; the product has none

    def round(self, batches: int) -> dict[str, float]:
        """CPU µs per event of either tagger over all records, so many batches a transaction.

        They take turns at every transaction, and at being first: neither gains by what else the machine does.
        """
        spent, events = dict.fromkeys(self._taggers, 0.0), 0
        turns = itertools.cycle([("with", "without"), ("without", "with")])
        for at, order in zip(range(0, len(self._batches), batches), turns, strict=False):
            transaction = self._batches[at : at + batches]
            events += sum(map(len, transaction))
            for which in order:
                began = time.process_time()
                summaries = _tag(self._taggers[which], transaction)
                spent[which] += time.process_time() - began
                assert summaries == (PARTITIONS if which == "with" else 0)
        return {which: seconds / events * 1e6 for which, seconds in spent.items()}


def _tag(tagger: Tagger, transaction: Sequence[Batch]) -> int:
    """A whole transaction; returns the number of commit summaries."""
    for batch in transaction:
        tagged = len(list(tagger.process(batch)))
        assert tagged == len(batch)
    summaries = len(list(tagger.close(_covered(transaction))))
    tagger.committed()
    return summaries


def cost(found: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """Figures of some rounds; the ratio is the median of theirs."""
    ratios = [one["with"] / one["without"] for one in found]
    return {
        "with_us": report.spread([one["with"] for one in found]),
        "without_us": report.spread([one["without"] for one in found]),
        "over_none": report.spread(ratios),
        "statistics_us": round(statistics.median(one["with"] - one["without"] for one in found), 3),
    }


def run(plan: Plan) -> dict[str, object]:
    """The whole measurement; the section ``statistics`` of ``reports/bench.json``."""
    keep_freed_memory()
    found: dict[str, dict[str, object]] = {}
    for labels in LABEL_COUNTS:
        tagging = Tagging(build_standin(labels), plan.events)
        settle_garbage()
        for batches, load in BATCHES.items():
            tagging.round(batches)  # warm-up
            found[f"{labels} labels, {load}"] = cost([tagging.round(batches) for _ in range(plan.rounds)])
    first = next(iter(BATCHES.values()))
    return {
        **{f"over_none_{n}": found[f"{n} labels, {first}"]["over_none"]["median"] for n in LABEL_COUNTS},  # type: ignore[index]
        "events": plan.events,
        "rounds": plan.rounds,
        "costs": found,
    }


def show(found: Mapping[str, object]) -> None:
    """The table."""
    costs: Mapping[str, Mapping[str, Mapping[str, float]]] = found["costs"]  # type: ignore[assignment]
    rows = []
    for name, one in costs.items():
        medians = [f"{one[figure]['median']:.2f}" for figure in ("with_us", "without_us")]
        ratio = one["over_none"]
        rows.append(
            (
                name,
                *medians,
                f"{one['statistics_us']:.2f}",
                f"{ratio['median']:.3f}",
                f"{ratio['min']:.3f} – {ratio['max']:.3f}",
            )
        )
    columns = ("", "with, µs/event", "without", "statistics", "with / without", "least – largest")
    report.table("CPU time per event with statistics and without", columns, rows)


def _batches(corpus: Corpus, events: int, size: int) -> list[Batch]:
    stamp = (1, time.time_ns() // 1_000_000)
    records = [
        Message(
            topic=TOPIC,
            partition=number % PARTITIONS,
            offset=number // PARTITIONS,
            key=event.key,
            value=event.value,
            timestamp=stamp,
        )
        for number, event in enumerate(corpus.events(events))
    ]
    return [records[at : at + size] for at in range(0, events, size)]


def _covered(transaction: Sequence[Batch]) -> dict[Partition, Range]:
    """The next offsets of every partition."""
    start = transaction[0][0].offset() or 0
    end = (transaction[-1][-1].offset() or 0) + 1
    return {(TOPIC, partition): Range(start, end) for partition in range(PARTITIONS)}
