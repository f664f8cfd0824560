"""The one consume-process-produce loop: two threads, bounded queues, a transaction per interval.

    polling thread (source.py)  ──batches──►  processing thread (here): process ► produce ► commit
          ▲                                          │ rewind, plain commits
          └──────────────────────────────────────────┘

The processing thread opens a transaction with the first batch, closes it after ``commit_interval_ms``, and on any
doubt undoes it: abort, rewind to what the broker says is committed, redo. Before partitions are handed over, the
open transaction is ended inside the revoke callback, within a budget; past it the transaction is doomed.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from streamtag.stream import faultpoints
from streamtag.stream.options import StreamOptions
from streamtag.stream.positions import Positions
from streamtag.stream.processor import Commit, Hold, Partition, Processor
from streamtag.stream.sink import DeliverySink, Sink, TransactionSink, TwinError, Undone, wait
from streamtag.stream.source import Batch, Source
from streamtag.stream.start import Start
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# The same failure this often without a commit between: not weather but a bug; let the orchestrator see it.
_MAX_FAILURES = 5
_HELD_LOOK_S = 0.1
# Undone this often without a commit between: told in `Status`, as nothing gets done.
_TELL_UNDONE = 3


@dataclass(frozen=True)
class Status:
    """What a health check wants to know."""

    reading: int
    """Partitions being read."""
    waiting: int
    """Partitions assigned whose position is not known yet."""
    held: str | None
    """Why nothing is processed."""
    error: str | None
    """Last trouble with the broker that is not over, or why transaction after transaction is undone."""


class Runner:
    """Runs one `Processor` until told to stop.

    Args:
        options: of the loop.
        processor: called on the processing thread.
        metrics: where the loop reports.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: StreamOptions,
        processor: Processor,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._processor = processor
        self._metrics = metrics
        self._clock = clock
        self._stop = threading.Event()
        self._abandon = threading.Event()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()  # positions, doom and membership change together
        self._positions = Positions()
        self._open_epoch: int | None = None  # epoch of the open transaction, None when none is open
        self._opened_at = 0.0
        self._doomed_before = 0  # transactions of an epoch below must not commit
        self._finish = threading.Event()  # asked: end the open transaction now
        self._failures = 0  # of the processor, since the last commit
        self._undone = 0  # transactions, since the last commit
        self._cause = ""  # of the last one undone
        self._held: str | None = None
        self._lag: dict[Partition, int] = {}
        self._steps = 0
        self._source = Source(options, metrics, self, stopping=self._ending, clock=clock)
        self._sink: Sink
        if options.delivery == "exactly_once":
            self._sink = TransactionSink(
                options, metrics, group_metadata=self._membership, stopping=self._giving_up, clock=clock
            )
        else:
            self._sink = DeliverySink(
                options, metrics, commit_positions=self._source.commit_positions, stopping=self._giving_up
            )
        self._thread = threading.Thread(target=self._process_until_stopped, name="processing", daemon=True)

    # -- for the owner of the process --------------------------------------------------------------------------------

    def run(self) -> None:
        """Polls on the calling thread until `stop`; then drains: the open transaction is committed, not dropped.

        Raises:
            TwinError: another process uses this worker's transactional.id.
            Exception: whatever the processor keeps raising.
        """
        self._thread.start()
        try:
            self._source.run(self._tick)
        finally:
            self._stop.set()
            drained = self._source.serve_while(self._thread.is_alive, self._options.drain_timeout_s)
            if not drained:
                log.warning("drain timed out, the open transaction is left to be undone")
                self._abandon.set()
                self._source.serve_while(self._thread.is_alive, 5.0)
            self._source.close()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Asks for a graceful end; safe in a signal handler."""
        self._stop.set()

    def status(self) -> Status:
        """For health checks; any thread."""
        reading, waiting = self._source.partitions()
        failing = f"{self._undone} transactions in a row undone, the last: {self._cause}"
        return Status(
            reading, waiting, self._held, self._source.error or (failing if self._undone >= _TELL_UNDONE else None)
        )

    def progress(self) -> tuple[int, bool]:
        """A counter that moves with every step, and whether work is at hand; for the stuck detector."""
        busy = self._open_epoch is not None or not self._source.batches.empty()
        return self._steps, busy and self._held is None

    def positions(self) -> dict[str, int]:
        """``topic/partition`` to the next position; any thread."""
        with self._lock:
            return {f"{t}/{p}": n for (t, p), n in self._positions.all().items()}

    def lag(self) -> dict[Partition, int]:
        """Records behind per partition, as of the last second."""
        return dict(self._lag)

    @property
    def member_id(self) -> str:
        """Within the group; empty before it has joined."""
        return self._source.member_id

    # -- what the source tells (polling thread) ----------------------------------------------------------------------

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """Tracks partitions from their start."""
        with self._lock:
            for partition, start in starts.items():
                self._positions.assign(partition, start.position)

    def finish(self, budget_s: float) -> bool:
        """Has the open transaction ended within the budget, else dooms it."""
        self._finish.set()
        in_time = self._source.serve_while(lambda: self._finish.is_set() and self._thread.is_alive(), budget_s)
        if not in_time:
            self.lost()
        return in_time

    def lost(self) -> None:
        """Dooms whatever is open."""
        with self._lock:
            self._doomed_before = self._source.epoch
        self._finish.clear()

    def released(self, partitions: Collection[Partition]) -> None:
        """Stops tracking."""
        with self._lock:
            self._positions.revoke(partitions)

    def _tick(self) -> None:
        with self._lock:
            following = self._positions.all()
        lag = self._source.lag(following)
        for topic, index in self._lag.keys() - lag.keys():
            self._metrics.forget("streamtag.lag", topic=topic, partition=index)
        for (topic, index), records in lag.items():
            self._metrics.set("streamtag.lag", records, topic=topic, partition=index)
        self._lag = lag
        self._metrics.set("streamtag.queue.batches", self._source.batches.qsize())

    def _giving_up(self) -> bool:
        self._steps += 1  # waiting for the broker is not being stuck: a restart would not help
        return self._abandon.is_set()

    def _ending(self) -> bool:
        return self._stop.is_set() or self._failure is not None

    # -- the processing thread ---------------------------------------------------------------------------------------

    def _process_until_stopped(self) -> None:
        try:
            # At once, not with the first batch: readers and new owners wait for what a predecessor left open.
            self._settle()
            while not self._stop.is_set():
                self._step()
            self._guarded(self._commit)
        except BaseException as error:  # noqa: BLE001 - handed to the polling thread, which raises it
            self._failure = error
            log.error("processing ended", extra={"error": f"{type(error).__name__}: {error}"})
        finally:
            self._sink.close()  # aborts what is still open, or readers would wait for its timeout

    def _step(self) -> None:
        """One turn: hold, or a batch, or a commit that is due."""
        self._steps += 1
        if self._finish.is_set():
            self._guarded(self._commit)
            self._finish.clear()
        elif self._must_hold():
            self._guarded(self._commit)
            wait(_HELD_LOOK_S, lambda: self._stop.is_set() or self._finish.is_set())
        else:
            batch = self._next_batch()
            if batch is not None:
                self._guarded(lambda: self._process(batch))
            if self._open_epoch is not None and (self._due_in() <= 0 or self._processor.full()):
                self._guarded(self._commit)

    def _next_batch(self) -> Batch | None:
        started = self._clock()
        patience = _HELD_LOOK_S if self._open_epoch is None else max(0.001, self._due_in())
        try:
            return self._source.batches.get(timeout=min(patience, _HELD_LOOK_S))
        except queue.Empty:
            return None
        finally:
            self._metrics.add("streamtag.loop.time", self._clock() - started, phase="wait")

    def _process(self, batch: Batch) -> None:
        if batch.epoch != self._source.epoch:
            return
        if self._open_epoch is None:
            self._sink.open()
            self._open_epoch, self._opened_at = batch.epoch, self._clock()
        faultpoints.reached("produce.before")
        for output in self._processor.process(batch.records):
            self._sink.produce(output)
        faultpoints.reached("produce.after")
        with self._lock:
            self._check_doom()
            for partition, end in _ends(batch).items():
                self._positions.advance(partition, end)

    def _commit(self) -> None:
        """Closes the open transaction: what was counted goes out with it, then positions."""
        if self._open_epoch is None:
            return
        started = self._clock()
        with self._lock:
            self._check_doom()
            covered = self._positions.open()
        if covered:
            for output in self._processor.close(covered):
                self._sink.produce(output)
            faultpoints.reached("summaries.after")
        commits = self._processor.commits(covered) if covered else {}
        self._sink.commit({p: Commit(c.position, self._source.metadata_of(p, c.metadata)) for p, c in commits.items()})
        with self._lock:
            self._positions.commit()
            self._open_epoch = None
        self._processor.committed()
        self._failures = self._undone = 0
        took = self._clock() - started
        self._metrics.add("streamtag.loop.time", took, phase="commit")
        self._metrics.record("streamtag.commit.duration", took)
        self._metrics.set("streamtag.commit.time", time.time())

    def _membership(self) -> object:
        """Group metadata for a commit; refuses for a doomed transaction, in one step with reading it."""
        with self._lock:
            self._check_doom()
            return self._source.metadata

    def _check_doom(self) -> None:
        if self._open_epoch is not None and self._open_epoch < self._doomed_before:
            raise Undone("revoked")

    def _due_in(self) -> float:
        return self._opened_at + self._options.commit_interval_ms / 1000 - self._clock()

    def _must_hold(self) -> bool:
        reason = self._processor.held()
        if reason != self._held:
            log.info("held" if reason else "no longer held", extra={"reason": reason or ""})
            self._metrics.set("streamtag.held", int(reason is not None))
        self._held = reason
        return reason is not None

    # -- undoing -----------------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        """Runs ``work``; whatever goes wrong undoes the open transaction. Never half of it stays."""
        try:
            work()
        except Undone as undone:
            self._undo(undone.cause)
        except Hold as hold:
            self._undo("held")
            log.error("processing stops", extra={"reason": str(hold)})
        except TwinError:
            raise
        except Exception:
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                raise
            log.exception("processing failed, undoing and redoing", extra={"attempt": self._failures})
            self._undo("processor")

    def _undo(self, cause: str) -> None:
        """Abort, settle what became of the transaction, forget, rewind; the records come again."""
        log.warning("transaction undone", extra={"cause": cause})
        self._metrics.add("streamtag.rewinds", cause=cause)
        self._sink.abort()
        self._settle()
        with self._lock:
            self._positions.undo()
            self._open_epoch = None
        self._processor.undo()
        rewound = self._source.rewind()
        while not (rewound.done() or self._abandon.is_set()):
            time.sleep(0.001)
        self._cause = cause
        self._undone += 1
        if self._undone > 1:  # not the first of its kind: slow down
            wait(min(0.05 * 2**self._undone, 5.0), lambda: self._stop.is_set() or self._finish.is_set())

    def _settle(self) -> None:
        """Waits until no transaction is in doubt, so that the broker's committed positions are final."""
        while not self._abandon.is_set():
            with contextlib.suppress(Undone):
                self._sink.settle()
                return


def _ends(batch: Batch) -> dict[Partition, int]:
    """Position after the last record of each partition in the batch."""
    ends: dict[Partition, int] = {}
    for message in batch.records:
        ends[message.topic(), message.partition()] = message.offset() + 1  # type: ignore[index,operator] # consumed
    return ends
