"""The one consume-process-produce loop: two threads, bounded queues, a transaction per interval.

    polling thread (source.py)  ──batches──►  processing thread (processing.py): process ► produce ► commit
          ▲                                          │ rewind, plain commits
          └──────────────────────────────────────────┘

Before partitions are handed over, the open transaction is ended inside the revoke callback, within a budget; past it
the transaction is doomed.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from streamtag.stream.keeper import Keeper
from streamtag.stream.open_transaction import OpenTransaction
from streamtag.stream.options import StreamOptions
from streamtag.stream.processing import Processing
from streamtag.stream.processor import Partition, Processor
from streamtag.stream.source import Source
from streamtag.stream.start import Start
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_ABANDON_S = 5.0  # for a thread that was told not to wait for the broker any more


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
    """Last trouble with the broker that is not over, or why nothing gets committed."""


class Runner:
    """Runs one `Processor` until told to stop.

    Args:
        options: of the loop.
        processor: called on the processing thread.
        metrics: where the loop reports.
        keeper: told about partitions, and asked while idle, on the same thread; None: nobody wants to know.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: StreamOptions,
        processor: Processor,
        metrics: Metrics,
        *,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._lag: dict[Partition, int] = {}
        self._transaction = OpenTransaction(clock)
        self._source = Source(options, metrics, self, stopping=self._stopping, clock=clock)
        self._processing = Processing(
            options, processor, metrics, self._source, self._transaction, keeper=keeper, clock=clock
        )

    # -- for the owner of the process --------------------------------------------------------------------------------

    def run(self) -> None:
        """Polls on the calling thread until `stop`; then drains: the open transaction is committed, not dropped.

        Raises:
            TwinError: another process uses this worker's transactional.id.
            Exception: whatever the processor keeps raising.
        """
        processing, serve_while = self._processing, self._source.calls.serve_while
        processing.start()
        try:
            self._source.run(self._tick)
        finally:
            processing.stop()
            if not serve_while(processing.alive, self._options.drain_timeout_s):
                log.warning("drain timed out, the open transaction is left to be undone")
                processing.abandon()
                serve_while(processing.alive, _ABANDON_S)
            self._source.close()
        if processing.failure is not None:
            raise processing.failure

    def stop(self) -> None:
        """Asks for a graceful end; safe in a signal handler."""
        self._processing.stop()

    def status(self) -> Status:
        """For health checks; any thread."""
        reading, waiting = self._source.member.counts()
        trouble = self._source.trouble.reason or self._processing.trouble()
        return Status(reading, waiting, self._processing.held, trouble)

    def progress(self) -> tuple[int, bool]:
        """A counter that moves with every step, and whether work is at hand; for the stuck detector."""
        busy = bool(self._transaction) or not self._source.batches.empty()
        return self._processing.steps, busy and self._processing.held is None

    def positions(self) -> dict[str, int]:
        """``topic/partition`` to the next position; any thread."""
        return {f"{t}/{p}": n for (t, p), n in self._transaction.following().items()}

    def lag(self) -> dict[Partition, int]:
        """Records behind per partition, as of the last second."""
        return dict(self._lag)

    @property
    def member_id(self) -> str:
        """Within the group; empty before it has joined."""
        return self._source.member.id

    # -- what the source tells (polling thread) ----------------------------------------------------------------------

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """Tracks partitions from their start."""
        self._transaction.assign({partition: start.position for partition, start in starts.items()})
        self._processing.assigned(starts)

    def finish(self, budget_s: float) -> bool:
        """Has the open transaction ended within the budget, else dooms it."""
        self._processing.finish()
        in_time = self._source.calls.serve_while(self._processing.finishing, budget_s)
        if not in_time:
            self.lost()
        return in_time

    def lost(self) -> None:
        """Dooms whatever is open."""
        self._transaction.doom(self._source.member.epoch)
        self._processing.give_up_finishing()

    def released(self, partitions: Collection[Partition]) -> None:
        """Stops tracking."""
        self._transaction.release(partitions)
        self._processing.released(partitions)

    def in_doubt(self) -> bool:
        """Whether a doomed transaction has yet to end."""
        return self._transaction.doomed()

    def _stopping(self) -> bool:
        return self._processing.stopping()

    def _tick(self) -> None:
        lag = self._source.lag(self._transaction.following())
        for topic, index in self._lag.keys() - lag.keys():
            self._metrics.forget("streamtag.lag", topic=topic, partition=index)
        for (topic, index), records in lag.items():
            self._metrics.set("streamtag.lag", records, topic=topic, partition=index)
        self._lag = lag
        self._metrics.set("streamtag.queue.batches", self._source.batches.qsize())
        self._metrics.set("streamtag.commit.waiting", self._processing.ending_s())
