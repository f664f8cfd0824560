"""What the statistics cost a tagger: CPU time per event with them, and without, in turns in one process.

The tagger is the worker's own, on records in memory: decode, infer, decide, emit, and a commit summary for each
partition of each transaction. The other one differs in one object, which counts nothing and so has no summaries to
encode. Kafka is left out on both sides: with it the statistics would be a smaller part of a whole that varies more.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
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
from streamtag.tagger.columns import ScoredBatch
from streamtag.tagger.counts import Counts
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
TURNS = 60
EVENTS = 20_480
_SAMPLE = 4_000

Batch = list[Message]


Turn = Mapping[str, float]
"""CPU µs per event, ``with`` and ``without`` statistics."""


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

    def turns(self, batches: int, count: int) -> list[Turn]:
        """So many turns at transactions of so many batches."""
        transactions = itertools.cycle(
            [self._batches[at : at + batches] for at in range(0, len(self._batches), batches)]
        )
        return [self._turn(next(transactions), next(transactions)) for _ in range(count)]

    def _turn(self, one: Sequence[Batch], other: Sequence[Batch]) -> Turn:
        """Both taggers at both transactions; each is first once, for whoever is second finds warm caches."""
        spent = dict.fromkeys(self._taggers, 0.0)
        for transaction, order in ((one, ("with", "without")), (other, ("without", "with"))):
            for which in order:
                began = time.process_time()
                summaries = _tag(self._taggers[which], transaction)
                spent[which] += time.process_time() - began
                assert summaries == (PARTITIONS if which == "with" else 0)
        events = sum(map(len, one)) + sum(map(len, other))
        return {which: seconds / events * 1e6 for which, seconds in spent.items()}


def _tag(tagger: Tagger, transaction: Sequence[Batch]) -> int:
    """A whole transaction; returns the number of commit summaries."""
    for batch in transaction:
        tagged = len(list(tagger.process(batch)))
        assert tagged == len(batch)
    summaries = len(list(tagger.close(_covered(transaction))))
    tagger.committed()
    return summaries


def cost(turns: Sequence[Turn]) -> dict[str, object]:
    """Quartiles over the turns; ratio and difference are those of each turn, for what the machine does passes."""
    return {
        "with_us": quartiles([turn["with"] for turn in turns]),
        "without_us": quartiles([turn["without"] for turn in turns]),
        "statistics_us": quartiles([turn["with"] - turn["without"] for turn in turns]),
        "over_none": quartiles([turn["with"] / turn["without"] for turn in turns]),
    }


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """A quarter, half and three quarters of the values are not above these."""
    found = np.quantile(values, (0.25, 0.5, 0.75))
    return {name: round(float(value), 3) for name, value in zip(("q1", "median", "q3"), found, strict=True)}


def run(turns: int) -> dict[str, object]:
    """The whole measurement; the section ``statistics`` of ``reports/bench.json``."""
    keep_freed_memory()
    found: dict[str, dict[str, object]] = {}
    for labels in LABEL_COUNTS:
        tagging = Tagging(build_standin(labels), EVENTS)
        settle_garbage()
        for batches, load in BATCHES.items():
            tagging.turns(batches, 2)  # warm-up
            found[f"{labels} labels, {load}"] = cost(tagging.turns(batches, turns))
    first = next(iter(BATCHES.values()))
    return {
        **{f"over_none_{n}": found[f"{n} labels, {first}"]["over_none"]["median"] for n in LABEL_COUNTS},  # type: ignore[index]
        "turns": turns,
        "costs": found,
    }


def show(found: Mapping[str, object]) -> None:
    """The table."""
    costs: Mapping[str, Mapping[str, Mapping[str, float]]] = found["costs"]  # type: ignore[assignment]
    rows = [
        (
            name,
            *(f"{one[figure]['median']:.2f}" for figure in ("with_us", "without_us", "statistics_us")),
            f"{one['over_none']['median']:.3f}",
            f"{one['over_none']['q1']:.3f} – {one['over_none']['q3']:.3f}",
        )
        for name, one in costs.items()
    ]
    columns = ("", "with, µs/event", "without", "statistics", "with / without", "quartiles")
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
