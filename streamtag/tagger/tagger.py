"""The processor: decode → infer → decide → emit, for one batch under one release."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamtag.control.breakers import NO_BREAKERS, ActiveBreakers
from streamtag.control.watcher import ActiveRelease
from streamtag.domain.panes import place
from streamtag.domain.two_stage import Route
from streamtag.events import dead_letters, summary
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import Rejected
from streamtag.settings import Settings
from streamtag.stream.processor import Commit, Hold, Output, Partition, Range
from streamtag.stream.start import Start
from streamtag.tagger.columns import ScoredBatch
from streamtag.tagger.counts import Counts
from streamtag.tagger.decide import Deciding, Decisions, decide_batch
from streamtag.tagger.decode import Decoded, Position, decode, positions
from streamtag.tagger.emit import Emitter
from streamtag.tagger.latency import Latency, RecentLatency
from streamtag.tagger.limit import DeadLetterLimit
from streamtag.tagger.memory import FreedMemory
from streamtag.tagger.rerank import Budget, Limits, infer_stages
from streamtag.tagger.stop import Stop
from streamtag.tagger.taking_part import Arm, TakingPart
from streamtag.tagger.trials import Trials
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer, TraceContext, read_contexts

_HOLD_NO_RELEASE = "no release to decide by yet"
# A cell is a label in a pane: up to 200 bytes of a commit summary, and 8 KiB while it is counted. Live traffic has a
# few panes a transaction; old, thin traffic can have one an event, and its summary would not fit into a record.
_MAX_CELLS = 4_096
# What was decided is held until the transaction closes. Counting it then takes two or three times as much again, and
# time in which nothing else is done. 64 MiB are 95,000 events of 50 labels, or 210,000 of six: live traffic comes to
# that only with a commit interval of many seconds.
_MAX_HELD_BYTES = 67_108_864


class _Applied(NamedTuple):
    """The release that decides; replaced as a whole, as other threads ask for it."""

    deciding: Deciding
    at_ms: int
    """Since when."""
    since: dict[Partition, int]
    """First committed position of each partition that it decided."""


class Tagger:
    """A `streamtag.stream.processor.Processor`, and a `Keeper` beside it; see there for who calls what.

    Args:
        settings: the whole tree.
        worker: transactional.id, names this worker in summaries and dead letters.
        release: the release to decide by, None while there is none; asked between batches only.
        stop: the persisted stop of the group.
        metrics: where outcomes are counted, when their transaction has committed.
        tracer: one span per batch.
        trials: experiments on this worker; None: it takes part in none.
        breakers: labels whose tags ask for review only; asked between batches only.
        clock_ms: Unix milliseconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worker: str,
        release: Callable[[], ActiveRelease | None],
        stop: Stop,
        metrics: Metrics,
        tracer: BatchTracer,
        trials: Trials | None = None,
        breakers: Callable[[], ActiveBreakers] = lambda: NO_BREAKERS,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._release = release
        self._stop = stop
        self._breakers = breakers
        self._metrics = metrics
        self._tracer = tracer
        self._clock_ms = clock_ms
        self._decoder = Decoder(settings.events)
        self._emitter = Emitter(
            tags_topic=settings.topics.tags,
            dead_letters_topic=settings.topics.dead_letters,
            only_tagged=settings.tagger.emit == "tagged",
            with_scores=settings.tagger.scores,
            max_dead_letter_bytes=settings.dead_letters.max_bytes,
            worker=worker,
        )
        self._counts = Counts(
            pane_ms=settings.stats.pane_s * 1000,
            segments=settings.stats.segments,
            writer=worker,
            delivery=settings.tagger.delivery,
        )
        self._budget = Budget(Limits.of(settings.tagger))
        self._taking_part = TakingPart(trials, self._counts) if trials is not None else None
        self._limit = DeadLetterLimit(settings.dead_letters)
        self._applied: _Applied | None = None
        self._decided_open: dict[Partition, int] = {}
        self._refused_open: list[Rejected] = []
        self._truncated_open = 0
        self._stages_open = np.zeros(len(Route), dtype=np.int64)
        self._stamps_open: list[NDArray[np.int64]] = []
        self._latency = RecentLatency()
        self._freed = FreedMemory()

    # -- what other threads may ask ----------------------------------------------------------------------------------

    def applied(self) -> tuple[ActiveRelease | None, int | None, Mapping[str, int]]:
        """Release that decides, since when (Unix ms), and from which committed position of each partition."""
        applied = self._applied
        if applied is None:
            return None, None, {}
        since = {f"{t}/{p}": position for (t, p), position in tuple(applied.since.items())}
        return applied.deciding.active, applied.at_ms, since

    def latency(self) -> Latency | None:
        """From record timestamp to commit, of the events committed lately."""
        return self._latency.figures()

    # -- Processor ---------------------------------------------------------------------------------------------------

    def held(self) -> str | None:
        """The group's stop, or want of a release. Adopts a new release, so that an idle worker follows, too."""
        reason = self._stop.reason()
        pardon = self._stop.pardon()  # after the reason: whoever sees it gone knows what may pass
        if pardon is not None:
            self._limit.pardon(pardon.offsets)
        if reason is not None:
            return reason
        return None if self._adopt() else _HOLD_NO_RELEASE

    def process(self, records: Sequence[Message]) -> Iterator[Output]:
        """One batch under the release that is active as it begins."""
        deciding = self._adopt()
        if deciding is None:
            raise Hold(_HOLD_NO_RELEASE)
        now_ms = self._clock_ms()
        self._metrics.record("streamtag.batch.size", len(records))
        with self._phase("decode"):
            decoded = decode(records, self._decoder)
        contexts, invalid = read_contexts(decoded.headers)
        if invalid:
            self._metrics.add("streamtag.trace.invalid", invalid)
        with self._tracer.batch(records[0].topic() or "", len(records), contexts) as span:
            tags = self._scored(decoded, deciding, contexts, now_ms)
            with self._phase("emit"):
                yield from filter(None, self._in_order(records, decoded, tags) if decoded.skipped else tags)
            span.set("streamtag.release.number", deciding.active.ref.number)
        yield from self._refused(decoded, deciding, now_ms)
        self._watch_limit(records, decoded)

    def full(self) -> bool:
        """Whether the commit summaries are getting large, or what they are counted from."""
        return self._counts.cells() >= _MAX_CELLS or self._counts.held() >= _MAX_HELD_BYTES

    def close(self, covered: Mapping[Partition, Range]) -> Iterator[Output]:
        """The commit summaries of the covered ranges."""
        if self._taking_part is not None:
            self._taking_part.close()
        self._limit.closing({partition: span.end for partition, span in covered.items()})
        for one in self._counts.summaries(covered, self._clock_ms()):
            key = summary.key(one.topic, one.partition)
            yield Output(self._settings.topics.stats, key, summary.encode(one))

    def commits(self, covered: Mapping[Partition, Range]) -> Mapping[Partition, Commit]:
        """The end of each range."""
        return {partition: Commit(span.end) for partition, span in covered.items()}

    def committed(self) -> None:
        """Counts outcomes, now that they stand."""
        add, totals = self._metrics.add, self._counts.all_totals()
        for name in ("tagged", "clean", "skipped"):
            if n := getattr(totals, name):
                add(f"streamtag.events.{name}", n)
        for label, alerts in self._counts.alerts().items():
            if alerts:
                add("streamtag.label.alerts", alerts, label=label)
        for rejected in self._refused_open:
            add("streamtag.events.dead", error_class=rejected.error_class.value, stage=rejected.stage)
        if self._truncated_open:
            add("streamtag.dead_letters.truncated", self._truncated_open)
        for route in Route:
            if n := int(self._stages_open[route]):
                add("streamtag.stage2.events", n, outcome=route.word)
        if by_arrival := self._counts.by_arrival():
            add("streamtag.timestamps.by_arrival", by_arrival)
        if self._stamps_open:
            latencies_ms = self._clock_ms() - np.concatenate(self._stamps_open)
            self._metrics.record("streamtag.end_to_end.latency", max(0, int(latencies_ms.max())) / 1000)
            self._latency.add(latencies_ms)
        if self._applied is not None:
            for partition, position in self._decided_open.items():
                self._applied.since.setdefault(partition, position)
        self._limit.committed()
        self._forget()
        self._freed.give_back()

    def undo(self) -> None:
        """Forgets what the open transaction counted."""
        self._limit.undo()
        self._forget()

    # -- Keeper ------------------------------------------------------------------------------------------------------

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """Dead letters in a row are counted on only where nobody else has read since."""
        positions = {partition: start.position for partition, start in starts.items()}
        # Only of a log that may be another one. Any other grows, and while the group stands still it outgrows what was
        # known of its end: a pardon given meanwhile would seem to lie beyond it.
        ends = {p: s.end for p, s in starts.items() if s.end is not None and (s.first or s.rewound)}
        self._limit.assigned(positions, ends)

    def released(self, partitions: Collection[Partition]) -> None:
        """Says nothing yet: they may come back where they were left."""

    def idle(self) -> Iterable[Output]:
        """Nothing is due by the clock."""
        return ()

    def _forget(self) -> None:
        self._counts.clear()
        if self._taking_part is not None:
            self._taking_part.clear()
        self._decided_open.clear()
        self._refused_open.clear()
        self._truncated_open = 0
        self._stages_open[:] = 0
        self._stamps_open.clear()

    # -- one batch ---------------------------------------------------------------------------------------------------

    def _adopt(self) -> Deciding | None:
        active = self._release()
        if active is not None and (self._applied is None or active.ref != self._applied.deciding.active.ref):
            self._applied = _Applied(Deciding(active), self._clock_ms(), {})
            self._decided_open = {}
        if self._taking_part is not None and active is not None:
            self._taking_part.trials.adopt(active)
        return None if self._applied is None else self._applied.deciding

    def _scored(
        self, decoded: Decoded, deciding: Deciding, contexts: Sequence[TraceContext | None], now_ms: int
    ) -> Iterator[Output | None]:
        if not decoded.events:
            return iter(())
        breakers = self._breakers()  # once: a batch is decided by one state of everything
        taking_part = self._taking_part if self._taking_part is not None and self._taking_part.any else None
        if taking_part is not None:
            taking_part.begin(decoded)  # candidates score while the champion does
        with self._phase("infer"):
            inferred = infer_stages(decoded.events, deciding.active.scorer, self._budget, self._on_split)
            for (feature, why), n in deciding.active.scorer.take_filled().items():
                self._metrics.add("streamtag.features.filled", n, feature=feature, why=why)
        micro, stages = inferred.micro, inferred.stages
        if inferred.refused:
            stay = decoded.refuse(inferred.refused)
            micro, contexts = micro[stay], [contexts[i] for i in stay]
            stages = None if stages is None else stages.take(stay)
            if taking_part is not None:
                taking_part.refused(stay)
            if not stay:
                return iter(())
        if stages is not None:
            self._stages_open += np.bincount(stages.route, minlength=len(Route))
            self._metrics.add("streamtag.stage2.time", stages.took_s)
        with self._phase("decide"):
            decisions = decide_batch(decoded.events, micro, deciding, stages)
            batch = self._batch(decoded, decisions, deciding, micro, now_ms)
            arms: list[Arm] = [(deciding, decisions, batch, None, None)]
            if taking_part is None:
                self._counts.add(batch)
            else:
                arms = taking_part.decide(deciding, decisions, batch)
        outputs = [
            self._emitter.tag_events(
                decoded if rows is None else decoded.take(rows.tolist()),
                decided,
                by,
                contexts=contexts if rows is None else [contexts[row] for row in rows.tolist()],
                by_arrival=counted.by_arrival.tolist(),
                now_ms=now_ms,
                arm=counted.arm,
                experiment=experiment,
                breakers=breakers,
            )
            for by, decided, counted, experiment, rows in arms
        ]
        return outputs[0] if len(arms) == 1 else _merged(outputs, [rows for *_, rows in arms])

    def _in_order(
        self, records: Sequence[Message], decoded: Decoded, tags: Iterator[Output | None]
    ) -> Iterator[Output | None]:
        """Tag events and tombstones as their sources stood: of one key, the last must stay the last."""
        skipped, kept = {id(one) for one in decoded.skipped}, {id(one) for one in decoded.records}
        for record in records:
            if id(record) in skipped:
                yield self._emitter.tombstone(record)
            elif id(record) in kept:
                yield next(tags)

    def _batch(
        self, decoded: Decoded, decisions: Decisions, deciding: Deciding, micro: np.ndarray, now_ms: int
    ) -> ScoredBatch:
        stats = self._settings.stats
        partitions = [(topic, partition) for topic, partition, _ in decoded.positions]
        times = map(Message.timestamp, decoded.records)
        stamps = np.array([stamp if kind else -1 for kind, stamp in times], dtype=np.int64)
        panes, by_arrival = place(
            stamps,
            now_ms,
            pane_ms=stats.pane_s * 1000,
            max_future_ms=stats.max_future_s * 1000,
            max_age_ms=stats.max_age_s * 1000,
        )
        active = deciding.active
        numbers = self._counts.number(partitions)
        batch = ScoredBatch(
            active.ref, deciding.labels, numbers, panes, by_arrival, micro, decisions.tagged, decisions.segments
        )
        self._note_first(partitions, decoded.positions)
        believed = stamps[~by_arrival]
        if believed.size:
            self._stamps_open.append(believed)
        return batch

    def _note_first(self, partitions: Sequence[Partition], positions: Sequence[Position]) -> None:
        """Remembers where this release begins to decide each partition; soon there is nothing left to note."""
        assert self._applied is not None, "a release has decided"
        unseen = set(partitions).difference(self._applied.since, self._decided_open)
        if unseen:
            for partition, (_, _, offset) in zip(partitions, positions, strict=True):
                if partition in unseen:
                    self._decided_open.setdefault(partition, offset)

    def _refused(self, decoded: Decoded, deciding: Deciding, now_ms: int) -> Iterator[Output]:
        for record in decoded.skipped:
            self._counts.totals(_source(record)).skipped += 1
        release = str(deciding.active.ref.number)
        for record, rejected in decoded.dead:
            self._counts.totals(_source(record)).dead += 1
            self._refused_open.append(rejected)
            letter = self._emitter.dead_letter(record, rejected, release=release, now_ms=now_ms)
            self._truncated_open += any(name == dead_letters.TRUNCATED for name, _ in letter.headers or ())
            yield letter

    def _watch_limit(self, records: Sequence[Message], decoded: Decoded) -> None:
        partitions = {where[:2] for where in positions(records)}
        if not decoded.dead and not self._limit.pardons(partitions):
            self._limit.report_clean(partitions, len(records))
            return
        dead = {(_source(record), record.offset()) for record, _ in decoded.dead}
        sources = [((topic, index), offset) for topic, index, offset in positions(records)]
        outcomes = [(source[0], source in dead) for source in sources if self._limit.counts(*source)]
        if outcomes:
            self._limit.report(outcomes)
        reason = self._limit.exceeded() if decoded.dead else None
        if reason is not None:
            last = decoded.dead[-1][1]
            detail = f"{reason}; the last is {last.error_class.value} at {last.stage}"
            self._stop.set(detail, dead=len(decoded.dead), records=len(records))
            raise Hold(detail)

    def _on_split(self) -> None:
        self._metrics.add("streamtag.batch.bisections")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._metrics.add("streamtag.loop.time", time.perf_counter() - started, phase=name)


def _merged(
    outputs: Sequence[Iterator[Output | None]], rows: Sequence[NDArray[np.intp] | None]
) -> Iterator[Output | None]:
    """The outputs of all arms in the order of the batch; each arm has its rows."""
    order = np.concatenate([found for found in rows if found is not None])
    arm = np.repeat(np.arange(len(rows)), [0 if found is None else len(found) for found in rows])
    return (next(outputs[which]) for which in arm[order.argsort()].tolist())


def _source(record: Message) -> Partition:
    return record.topic(), record.partition()  # type: ignore[return-value] # a consumed record has both
