"""The processing thread: takes batches, has them processed, and ends each transaction one way or the other.

A transaction is opened with the first batch and closed after ``commit_interval_ms``, or, while nothing else waits, in
time to be over by then; any doubt undoes it: abort,
rewind to what the broker says is committed, redo.
"""

import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from confluent_kafka import Message

from streamtag.stream import faultpoints
from streamtag.stream.backoff import back_off, wait
from streamtag.stream.delivery_sink import DeliverySink
from streamtag.stream.keeper import Keeper
from streamtag.stream.open_transaction import OpenTransaction
from streamtag.stream.options import StreamOptions
from streamtag.stream.pace import Pace
from streamtag.stream.processor import Commit, Hold, Partition, Processor
from streamtag.stream.sink import Sink, TwinError, Undone
from streamtag.stream.source import Batch, Source
from streamtag.stream.start import Start
from streamtag.stream.transaction_sink import TransactionSink
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# The same failure this often without a commit between: not weather but a bug; let the orchestrator see it.
_MAX_FAILURES = 5
_HELD_LOOK_S = 0.1
# Undone this often without a commit between: told, as nothing gets done.
_TELL_UNDONE = 3
# A commit or abort that takes longer is told, too.
_TELL_ENDING_S = 1.0
# A commit may begin earlier by this share of its interval, as long as it takes; each commit changes by so much what is
# known of that.
_EARLY_SHARE, _LEARN_SHARE = 0.25, 0.1


class Processing:
    """Runs one `Processor` on a thread of its own.

    Args:
        options: of the loop.
        processor: called on this thread only.
        metrics: where the loop reports.
        source: where batches come from, and who rewinds.
        transaction: what is open; shared with the polling thread.
        keeper: told about partitions, and asked while idle, on this thread only.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: StreamOptions,
        processor: Processor,
        metrics: Metrics,
        source: Source,
        transaction: OpenTransaction,
        *,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._processor = processor
        self._metrics = metrics
        self._source = source
        self._open = transaction
        self._keeper = keeper
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()  # for the keeper
        self._clock = clock
        self._stop = False  # no event: a signal handler that interrupts another would wait for its lock
        self._abandon = threading.Event()
        self._finish = threading.Event()  # asked: end the open transaction now
        self._ending_since: float | None = None  # the producer's start, a commit or an abort is under way
        self._committing_at = 0.0  # the last commit began
        self._commit_s = 0.0  # what a commit takes
        self._pace = Pace()
        self._failures = 0  # of the processor, since the last commit
        self._undone = 0  # transactions, since the last commit
        self._said = ""  # of the last one undone
        self._sink = self._make_sink()
        self._thread = threading.Thread(target=self._run, name="processing", daemon=True)
        self.steps = 0
        """Moves with every step."""
        self.held: str | None = None
        """Why nothing is processed."""
        self.failure: BaseException | None = None
        """What ended the thread."""

    def _make_sink(self) -> Sink:
        if self._options.delivery == "exactly_once":
            return TransactionSink(
                self._options,
                self._metrics,
                group_metadata=self._membership,
                stopping=self._giving_up,
                clock=self._clock,
            )
        # A live member may commit positions of partitions that it has lost: the broker accepts them, and they would set
        # back the next owner's.
        commit = functools.partial(self._source.commit_positions, check=self._open.check)
        return DeliverySink(self._options, self._metrics, commit_positions=commit, stopping=self._giving_up)

    # -- other threads -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Asks for the end; the open transaction is committed first. Safe in a signal handler."""
        self._stop = True

    def stopping(self) -> bool:
        """Whether the end was asked for, or has come by itself."""
        return self._stop or self.failure is not None

    def abandon(self) -> None:
        """Asks for the end at once; the open transaction is left to be undone."""
        self._abandon.set()

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """The keeper will be told, before the first record of these partitions."""
        if self._keeper is not None:
            self._news.put(functools.partial(self._keeper.assigned, starts))

    def released(self, partitions: Collection[Partition]) -> None:
        """The keeper will be told; between two batches, so that an open transaction keeps what it has to its end."""
        if self._keeper is not None:
            self._news.put(functools.partial(self._keeper.released, partitions))

    def finish(self) -> None:
        """Asks to end the open transaction, now."""
        self._finish.set()

    def finishing(self) -> bool:
        """Whether what `finish` asked for is still to be done."""
        return self._finish.is_set() and self.alive()

    def give_up_finishing(self) -> None:
        """The open transaction is doomed instead."""
        self._finish.clear()

    def ending_s(self) -> float:
        """How long the start, commit or abort that is under way has taken; 0 when none is."""
        since = self._ending_since
        return 0.0 if since is None else self._clock() - since

    def trouble(self) -> str | None:
        """Why nothing gets committed, or None."""
        ending_s = self.ending_s()
        if ending_s > _TELL_ENDING_S:
            why = f": {self._sink.complaint}" if self._sink.complaint else ""
            return f"the start or end of a transaction has been waiting for Kafka for {ending_s:.0f} s{why}"
        if self._undone >= _TELL_UNDONE:
            return f"{self._undone} transactions in a row undone, the last: {self._said}"
        return None

    # -- this thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        for work in (self._process_all, self._sink.close):
            try:
                work()
            except BaseException as error:  # handed to the polling thread, which raises it
                self.failure = self.failure or error
                log.error("processing ended", exc_info=error)

    def _process_all(self) -> None:
        # At once, not with the first batch: readers and new owners wait for what a predecessor left open. Told while it
        # lasts: where an ACL or too few brokers forbid transactions, the worker would only look ready.
        self._ending_since = self._clock()
        self._settle()
        self._ending_since = None
        while not self._stop:
            self._step()
        self._guarded(self._commit)

    def _step(self) -> None:
        """One turn: hold, or a batch, or a commit that is due."""
        self.steps += 1
        if self._finish.is_set():
            self._guarded(self._commit)
            self._finish.clear()
        elif self._must_hold():
            self._guarded(self._commit)
            wait(_HELD_LOOK_S, self._interrupted)
        else:
            batch = self._next_batch()
            if batch is not None:
                self._guarded(lambda: self._process(batch))
            elif self._keeper is not None and not self._open:
                self._guarded(self._idle)
            if self._open and (self._due_in() <= 0 or self._processor.full()):
                self._guarded(self._commit)

    def _next_batch(self) -> Batch | None:
        batch = self._pace.rest() or self._take_batch()
        return None if batch is None else self._pace.cut(batch)

    def _take_batch(self) -> Batch | None:
        started = self._clock()
        patience = max(0.001, self._due_in()) if self._open else _HELD_LOOK_S
        try:
            return self._source.batches.get(timeout=min(patience, _HELD_LOOK_S))
        except queue.Empty:
            return None
        finally:
            self._metrics.add("streamtag.loop.time", self._clock() - started, phase="wait")

    def _process(self, batch: Batch) -> None:
        # News first, and then the epoch: whoever hears of a new assignment is given no batch from before it.
        self._tell_keeper()
        if batch.epoch != self._source.member.epoch:
            return
        if not self._open:
            self._begin(batch.epoch, self._waiting_since(batch))
        faultpoints.reached("produce.before")
        started = self._clock()
        try:
            self._sink.produce(self._processor.process(batch.records))
        finally:
            self._pace.took(len(batch.records), self._clock() - started)
        faultpoints.reached("produce.after")
        self._open.advance(_ends(batch.records))

    def _idle(self) -> None:
        """What the keeper has by the clock goes out by itself."""
        assert self._keeper is not None, "asked where there is one"
        self._tell_keeper()
        outputs = list(self._keeper.idle())
        if outputs:
            self._begin(self._source.member.epoch, self._clock())
            self._sink.produce(outputs)
            self._commit()

    def _tell_keeper(self) -> None:
        while not self._news.empty():  # this thread alone takes from it
            self._news.get()()

    def _begin(self, epoch: int, since: float) -> None:
        self._ending_since = self._clock()  # where there is no producer, one is started first
        self._sink.open()
        self._ending_since = None
        self._open.begin(epoch, since)

    def _waiting_since(self, batch: Batch) -> float:
        """When a commit interval begins: with the batch, which may have waited for the last commit to end.

        At the earliest with that commit, and half an interval ago, or transactions would become small under load.
        """
        half = self._options.commit_interval_ms / 2_000
        return max(batch.polled_at, self._committing_at, self._clock() - half)

    def _commit(self) -> None:
        """Closes the open transaction: what was counted goes out with it, then positions."""
        if not self._open:
            return
        started = self._ending_since = self._committing_at = self._clock()
        covered = self._open.covered()
        if covered:
            self._sink.produce(self._processor.close(covered))
            faultpoints.reached("summaries.after")
        commits = self._processor.commits(covered) if covered else {}
        metadata = self._source.member.commit_metadata
        self._sink.commit({p: Commit(c.position, metadata(p, c.metadata)) for p, c in commits.items()})
        self._open.committed()
        self._processor.committed()
        self._ending_since = None
        self._failures = self._undone = 0
        took = self._clock() - started
        self._commit_s += _LEARN_SHARE * (took - self._commit_s)
        self._metrics.add("streamtag.loop.time", took, phase="commit")
        self._metrics.record("streamtag.commit.duration", took)
        self._metrics.set("streamtag.commit.time", time.time())

    def _membership(self) -> object:
        """Group metadata for a commit; refuses for a doomed transaction."""
        return self._open.unless_doomed(lambda: self._source.member.metadata)

    def _giving_up(self) -> bool:
        self.steps += 1  # waiting for the broker is not being stuck: a restart would not help
        return self._abandon.is_set()

    def _interrupted(self) -> bool:
        return self._stop or self._finish.is_set()

    def _due_in(self) -> float:
        interval_s = self._options.commit_interval_ms / 1000
        busy = self._pace.has_rest() or not self._source.batches.empty()
        early_s = 0.0 if busy else min(self._commit_s, _EARLY_SHARE * interval_s)
        return interval_s - early_s - self._open.age_s()

    def _must_hold(self) -> bool:
        reason = self._processor.held()
        if reason != self.held:
            log.info("held" if reason else "no longer held", extra={"reason": reason or ""})
            self._metrics.set("streamtag.held", int(reason is not None))
        self.held = reason
        return reason is not None

    # -- undoing -----------------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        """Runs ``work``; whatever goes wrong undoes the open transaction. Never half of it stays."""
        # Not in an exception handler: whatever is handled while confluent-kafka 2.16 raises, it keeps for ever, with
        # its frames and the producer that they hold.
        why = self._why_undone(work)
        if why is not None:
            self._undo(why)

    def _why_undone(self, work: Callable[[], None]) -> tuple[str, str] | None:
        """The cause, and the same for people; None where nothing went wrong."""
        try:
            work()
        except Undone as undone:
            return undone.cause, undone.said
        except Hold as hold:
            log.error("processing stops", extra={"reason": str(hold)})
            return "held", "held"
        except TwinError:
            raise
        except Exception:
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                raise
            log.exception("processing failed, undoing and redoing", extra={"attempt": self._failures})
            return "processor", "processor"
        return None

    def _undo(self, why: tuple[str, str]) -> None:
        """Abort, settle what became of the transaction, forget, rewind; the records come again."""
        cause, said = why
        log.warning("transaction undone", extra={"cause": said})
        self._metrics.add("streamtag.rewinds", cause=cause)
        if self._ending_since is None:
            self._ending_since = self._clock()
        self._sink.abort()
        if cause.endswith("AUTHORIZATION_FAILED"):
            self._sink.close()  # its client remembers for minutes what it was refused
        self._settle()
        self._open.undone()
        self._processor.undo()
        rewound = self._source.rewind()
        while not (rewound.done() or self._giving_up()):
            time.sleep(0.001)
        if rewound.done():
            rewound.result()  # raises where it failed: reading would go on behind what was undone, and lose it
        self._ending_since = None
        self._said = said
        self._undone += 1
        if self._undone > 1:  # not the first of its kind: slow down
            back_off(self._undone - 2, self._interrupted, first_s=0.2, most_s=5.0)

    def _settle(self) -> None:
        """Waits until no transaction is in doubt, so that the broker's committed positions are final."""
        while not self._abandon.is_set():
            with contextlib.suppress(Undone):
                self._sink.settle()
                return


def _ends(records: Sequence[Message]) -> dict[Partition, int]:
    """Position after the last record of each partition."""
    # A later record of a partition replaces an earlier one.
    return {(m.topic(), m.partition()): m.offset() + 1 for m in records}  # type: ignore[misc,operator] # consumed
