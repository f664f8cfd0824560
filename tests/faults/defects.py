"""Deliberate defects, one at a time: a campaign that does not fail with each of them proves nothing."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from streamtag.control.watcher import ReleaseWatcher
from streamtag.domain.thresholds import Compiled
from streamtag.events.summary import CommitSummary
from streamtag.stream import member, open_transaction, options, processing, sink, source, start, transaction_sink
from streamtag.stream.processor import Output
from streamtag.tagger import counts, decide, emit, tagger

# What follows reaches into private parts of the classes it breaks: that is its purpose.
# mypy: disable-error-code="method-assign,assignment"


@dataclass(frozen=True)
class Defect:
    """One mistake somebody could make.

    Attributes:
        name: for ``--defect``.
        switch_on: patches the classes of this process.
        expects: classes of findings, one of which it leads to. That a worker ends, or that nothing is committed, is
            none of them: that is what becomes of a defect which the code has outgrown.
        delivery: the mode in which it matters.
        faults: names of those it takes to notice; none: any of the quick ones.
    """

    name: str
    switch_on: Callable[[], None]
    expects: frozenset[str]
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    faults: tuple[str, ...] = ()


def _offsets_before_produce() -> None:
    """Positions are committed as soon as a batch has arrived."""
    process = processing.Processing._process

    def hasty(self: processing.Processing, batch: source.Batch) -> None:
        ends = [TopicPartition(t, p, end, "p=0;") for (t, p), end in processing._ends(batch.records).items()]
        if batch.epoch == self._source.member.epoch:
            self._source.commit_positions(ends).result()
        process(self, batch)

    processing.Processing._process = hasty


def _no_group_metadata() -> None:
    """The broker is not told who commits, so it cannot refuse a zombie; nor does the worker look at its membership."""
    strangers: list[Consumer] = []

    def anonymous(self: processing.Processing) -> object:
        if not strangers:
            options = self._options
            strangers.append(Consumer({"bootstrap.servers": options.bootstrap_servers, "group.id": options.group}))
        return strangers[0].consumer_group_metadata()

    processing.Processing._membership = anonymous
    open_transaction.OpenTransaction._check_doom = lambda self: None


def _no_rewind() -> None:
    """After an abort reading goes on where it was."""

    def nothing(self: source.Source) -> "Future[None]":
        return self.calls.ask(lambda: None)

    source.Source.rewind = nothing


def _revoke_without_finish() -> None:
    """Partitions are handed over while their transaction is open, and it commits when the next owner reads already.

    Transactions are made longer than a rebalance takes. Forgetting the positions, too, would be noticed by the
    tagger, which has counted records of partitions that are not covered, and undone.
    """
    due_in = processing.Processing._due_in

    def let_go(self: member.Member, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign([p for p in partitions if (p.topic, p.partition) in self._reading])
        gone = {(p.topic, p.partition) for p in partitions}
        self._unresolved -= gone
        for partition in gone:
            self._reading.pop(partition, None)

    processing.Processing._due_in = lambda self: due_in(self) + 1.5
    member.Member._on_revoke = let_go


def _max_acked() -> None:
    """At least once: commits the highest position handed to the client, without waiting for every delivery."""
    process = processing.Processing._process

    def eager(self: processing.Processing, batch: source.Batch) -> None:
        process(self, batch)
        ends = processing._ends(batch.records).items()
        self._source.commit_positions([TopicPartition(t, p, end, "p=0;") for (t, p), end in ends]).result()

    processing.Processing._process = eager


def _rare_commits() -> None:
    """At least once: only every tenth commit is made, and the worker goes on as if all were."""
    commit, asked = source.Source.commit_positions, itertools.count(1)

    def lazy(self: source.Source, positions: list[TopicPartition], check: Callable[[], None]) -> "Future[None]":
        if next(asked) % 10 == 0:
            return commit(self, positions, check)
        return self.calls.ask(check)

    source.Source.commit_positions = lazy


def _threshold_mid_batch() -> None:
    """A new revision is applied in the middle of a batch: its first half is decided by the one before."""
    before: list[Compiled] = []
    whole = decide.decide_batch

    def mixed(events: Sequence[Any], micro: Any, deciding: Any, stages: Any) -> Any:
        compiled = deciding.compiled
        decisions = whole(events, micro, deciding, stages)
        if before and before[0] is not compiled:
            half = len(events) // 2
            old = whole(events[:half], micro[:half], _stale(deciding, before[0]))
            decisions.tagged[:half] = old.tagged
            base = len(compiled.matrix)
            compiled.matrix = np.concatenate([compiled.matrix, before[0].matrix])
            decisions.rows[:half] = old.rows + base
        before[:] = [compiled]
        return decisions

    def _stale(deciding: Any, compiled: Compiled) -> Any:
        stale = object.__new__(decide.Deciding)
        stale.__dict__ = {**deciding.__dict__, "compiled": compiled}
        return stale

    tagger.decide_batch = mixed  # type: ignore[attr-defined]


def _old_identity() -> None:
    """Cut-offs and the identity stamped on the event come from two reads: they can be of two releases."""
    made = decide.Deciding.__init__
    last: list[Any] = []

    def init(self: decide.Deciding, active: Any) -> None:
        made(self, active)
        mine = self.release_json
        if last:
            self.release_json = last[0]
        last[:] = [mine]

    decide.Deciding.__init__ = init


def _outside(topic_ending: str) -> Callable[[], None]:
    """Records of one topic go out by a producer of their own, without a transaction."""

    def switch_on() -> None:
        produce = transaction_sink.TransactionSink.produce
        loose: list[Producer] = []

        def produce_outside(self: transaction_sink.TransactionSink, outputs: Iterable[Output]) -> None:
            if not loose:
                loose.append(Producer({"bootstrap.servers": self._options.bootstrap_servers, "linger.ms": 1}))
            for output in outputs:
                if not output.topic.endswith(topic_ending):
                    produce(self, [output])
                    continue
                loose[0].produce(output.topic, output.value, output.key, headers=list(output.headers or ()))
                loose[0].poll(0)

        transaction_sink.TransactionSink.produce = produce_outside

    return switch_on


def _positions_from_memory() -> None:
    """After an abort it reads on from what it remembers to have committed, not from what the broker says."""
    break_off, resolve = member.Member.break_off, start.StartResolver.resolve
    remembered: dict[Any, int] = {}

    def remember(self: member.Member) -> None:
        committed = self._owner._transaction._positions._committed  # type: ignore[attr-defined]
        remembered.update({p: committed[p] for p in self._reading if p in committed})
        break_off(self)

    def recall(self: start.StartResolver, partitions: Any) -> Any:
        found = dict(resolve(self, partitions))
        for partition, begin in found.items():
            if partition in remembered:
                position = remembered.pop(partition)
                found[partition] = start.Start(position, partitions=begin.partitions)
        return found

    member.Member.break_off = remember
    start.StartResolver.resolve = recall


def _no_epochs() -> None:
    """What was read before a break is processed after it."""
    process = processing.Processing._process

    def any_epoch(self: processing.Processing, batch: source.Batch) -> None:
        process(self, batch._replace(epoch=self._source.member.epoch))

    processing.Processing._process = any_epoch
    open_transaction.OpenTransaction._check_doom = lambda self: None
    source.Source._drop_queue = lambda self: self._resume()


def _twice_when_full() -> None:
    """A record that met a full queue is produced again although it was taken."""
    taken = sink.enqueue

    def twice(producer: Producer, outputs: Iterable[Output], *rest: Any) -> None:
        for output in outputs:
            full = len(producer) > 300
            taken(producer, [output], *rest)
            if full and crc32(output.value or b"") % 50 == 0:
                taken(producer, [output], *rest)

    transaction_sink.enqueue = twice  # type: ignore[attr-defined]


def _two_reads_of_the_release() -> None:
    """The watcher exposes a release before it is proven: the bad bundle's identity decides with the old model."""
    activate = ReleaseWatcher._activate

    def hasty(self: ReleaseWatcher, wanted: Any, came_from: Any) -> None:
        if self._current is not None:
            old = self._current
            self._current = type(old)(wanted.ref, wanted.thresholds, old.scorer, came_from)
        activate(self, wanted, came_from)

    ReleaseWatcher._activate = hasty


def _scattered_keys() -> None:
    """Records go to any partition, whatever their key."""
    configure = options.StreamOptions.producer_config
    options.StreamOptions.producer_config = lambda self: {**configure(self), "partitioner": "random"}


def _as_the_one_before(method: str, field: str) -> Callable[[], None]:
    """What the emitter makes of a record has one field of what it made before."""

    def switch_on() -> None:
        make = getattr(emit.Emitter, method)
        before: list[Output] = []

        def confused(self: emit.Emitter, *args: Any, **kwargs: Any) -> Output:
            made: Output = make(self, *args, **kwargs)
            found = made._replace(**{field: getattr(before[0], field)}) if before else made
            before[:] = [made]
            return found

        setattr(emit.Emitter, method, confused)

    return switch_on


def _scores_of_neighbours() -> None:
    """Every event of a batch gets the scores of the next one."""
    whole = decide.decide_batch

    def shifted(events: Sequence[Any], micro: Any, deciding: Any, stages: Any) -> Any:
        return whole(events, np.roll(micro, 1, axis=0), deciding, stages)

    tagger.decide_batch = shifted  # type: ignore[attr-defined]


def _summaries_with(change: Callable[[CommitSummary], None]) -> Callable[[], None]:
    """A number in every commit summary is wrong."""

    def switch_on() -> None:
        count = counts.Counts.summaries

        def wrong(self: counts.Counts, *args: Any) -> list[CommitSummary]:
            found = count(self, *args)
            for one in found:
                change(one)
            return found

        counts.Counts.summaries = wrong

    return switch_on


def _swap_outcomes(one: CommitSummary) -> None:
    one.tagged, one.clean = one.clean, one.tagged


def _repeat_pane(one: CommitSummary) -> None:
    one.panes += one.panes[:1]


_LOST = frozenset({"lost", "gap", "counts", "uncovered"})
_DOUBLED = frozenset({"doubled", "overlap", "order"})
_CHANGED = frozenset({"changed"})

ALL = (
    Defect("offsets_before_produce", _offsets_before_produce, _LOST),
    Defect("no_group_metadata", _no_group_metadata, _DOUBLED, faults=("worker frozen in a commit",)),
    Defect("no_rewind", _no_rewind, _LOST),
    Defect("revoke_without_finish", _revoke_without_finish, _DOUBLED, faults=("join and leave storm",)),
    Defect("max_acked", _max_acked, _LOST, "at_least_once"),
    Defect("rare_commits", _rare_commits, frozenset({"unbounded"}), "at_least_once"),
    Defect("threshold_mid_batch", _threshold_mid_batch, frozenset({"threshold"})),
    Defect("old_identity", _old_identity, frozenset({"threshold", "score", "recount"})),
    Defect("dead_letters_outside", _outside("-dead"), frozenset({"doubled", "lost"})),
    Defect("summaries_outside", _outside("-stats"), frozenset({"overlap", "gap"})),
    Defect("positions_from_memory", _positions_from_memory, _DOUBLED),
    Defect("no_epochs", _no_epochs, _LOST | _DOUBLED),
    Defect("twice_when_full", _twice_when_full, _DOUBLED),
    Defect("unproven_release", _two_reads_of_the_release, frozenset({"release", "score"})),
    Defect("scattered_keys", _scattered_keys, frozenset({"partition"})),
    Defect("tombstone_keys", _as_the_one_before("tombstone", "key"), _CHANGED),
    Defect("dead_letter_bytes", _as_the_one_before("dead_letter", "value"), _CHANGED),
    Defect("scores_of_neighbours", _scores_of_neighbours, frozenset({"score"})),
    Defect("outcomes_swapped", _summaries_with(_swap_outcomes), frozenset({"counts"})),
    Defect("pane_repeated", _summaries_with(_repeat_pane), frozenset({"recount"})),
)
BY_NAME = {defect.name: defect for defect in ALL}
