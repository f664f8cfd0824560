"""The polling side: owns the consumer, and every call to it.

One mechanism serves assignment, revocation and rewinding: a partition that must be (re-)read is taken out of the
consumer, its position is asked of the broker, and it is put back there. The broker's committed position is the only
truth about what is done: after a commit whose answer was lost, memory may be wrong, the broker is not.

An *epoch* separates what was read before such a break from what comes after it: batches of an older epoch are dropped.
"""

import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamtag.errors import StreamtagError
from streamtag.stream import faultpoints
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Partition
from streamtag.stream.start import Start, StartResolver, pack
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_IDLE_POLL_S = 0.05  # longest wait for a first record: bounds how late calls of the processing thread are served
_BROKER_CALL_S = 2.0
_RETRY_S = 0.25  # between two attempts to learn a position
_TICK_S = 1.0
_TRIAL_S = 0.5  # how long an idle poller in trouble waits for a sign of life from the broker, once a tick


class Batch(NamedTuple):
    """Records handed to the processing thread; stale when the source's epoch has moved on."""

    epoch: int
    records: list[Message]


class Owner(Protocol):
    """What the source tells the runner; called on the polling thread."""

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """These partitions are read from here on."""
        ...

    def finish(self, budget_s: float) -> bool:
        """End the open transaction now, within the budget; False where it was doomed instead."""
        ...

    def lost(self) -> None:
        """The open transaction, if any, must never commit."""
        ...

    def released(self, partitions: Collection[Partition]) -> None:
        """These partitions are no longer read (they may come back through `assigned`)."""
        ...


class Source:
    """Polls, hands batches to a bounded queue, and keeps polling when nobody takes them.

    Args:
        options: of the loop.
        metrics: counts polls, rebalances, pauses, errors.
        owner: told about partitions that come and go.
        stopping: true when polling shall end.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: StreamOptions,
        metrics: Metrics,
        owner: Owner,
        *,
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._owner = owner
        self._stopping = stopping
        self._clock = clock
        self._calls: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = queue.SimpleQueue()
        self._unresolved: set[Partition] = set()
        self._reading: dict[Partition, int] = {}  # partition to the partition count of its topic at the first start
        self._retry_at = 0.0
        self._paused = False
        self._tick_at = 0.0
        self._on_tick: Callable[[], None] = lambda: None
        self.batches: queue.Queue[Batch] = queue.Queue(options.queue_batches)
        self.epoch = 0
        self.metadata: object = None
        """Membership of the group, as of the last poll."""
        self.member_id = ""
        self.error: str | None = None
        """Last trouble with the broker, None while all is well."""
        self._fatal: KafkaError | None = None
        self._consumer = Consumer({**options.consumer_config(), "error_cb": self._on_error}, logger=log)
        self._resolver = StartResolver(self._consumer, options.start, timeout_s=_BROKER_CALL_S)

    # -- the polling thread ------------------------------------------------------------------------------------------

    def run(self, on_tick: Callable[[], None]) -> None:
        """Polls until ``stopping``; ``on_tick`` is called about once a second.

        Raises:
            StreamtagError: the client has failed for good.
        """
        self._on_tick = on_tick
        self._consumer.subscribe(
            list(self._options.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        while not self._stopping():
            self._housekeeping()
            epoch = self.epoch
            records = self._poll()
            if records and epoch == self.epoch:
                self._hand_over(Batch(epoch, records))

    def close(self) -> None:
        """Leaves the group (a static member keeps its place); revocation is reported once more."""
        self._serve_calls()
        self._consumer.close()

    def metadata_of(self, partition: Partition, metadata: str) -> str:
        """Commit metadata as `streamtag.stream.start` wants it."""
        return pack(self._reading.get(partition, 0), metadata)

    def lag(self, next_positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Records behind the end of the log, by the client's cached watermarks. On the polling thread only."""
        found = {}
        for (topic, index), position in next_positions.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, index), cached=True)
            if high >= 0:
                found[topic, index] = max(0, high - position)
        return found

    def partitions(self) -> tuple[int, int]:
        """How many partitions are read, and how many are assigned but wait for their position."""
        return len(self._reading), len(self._unresolved)

    def _housekeeping(self) -> None:
        self._serve_calls()
        if self._fatal is not None:
            raise StreamtagError(
                f"the Kafka consumer has failed for good: {self._fatal.str()}",
                hint="A new process can go on. Each worker needs a tagger.group_instance_id of its own, or none.",
            )
        self._resolve()
        self.metadata = self._consumer.consumer_group_metadata()
        if self._clock() >= self._tick_at:
            self._tick_at = self._clock() + _TICK_S
            self.member_id = self._consumer.memberid() or ""
            self._on_tick()
            if self.error is not None and not self._unresolved:
                self._try_broker()

    def _poll(self) -> list[Message]:
        started = self._clock()
        first = self._consumer.poll(_IDLE_POLL_S)
        if first is None:
            return []
        messages = [first]
        if self._options.batch_size > 1:
            messages += self._consumer.consume(self._options.batch_size - 1, self._options.batch_wait_ms / 1000)
        records = [m for m in messages if m.error() is None]
        if len(records) < len(messages):
            for message in messages:
                self._on_message_error(message)
        self._metrics.add("streamtag.loop.time", self._clock() - started, phase="poll")
        for topic, n in Counter([m.topic() for m in records]).items():
            self._metrics.add("streamtag.records.consumed", n, topic=topic or "")
        return records

    def _hand_over(self, batch: Batch) -> None:
        """Puts a batch into the queue; when it stays full, pauses the partitions and keeps polling."""
        full_since = self._clock()
        while not self._stopping() and batch.epoch == self.epoch:
            try:
                self.batches.put(batch, timeout=_IDLE_POLL_S)
            except queue.Full:
                self._housekeeping()
                if self._clock() - full_since >= self._options.pause_after_ms / 1000:
                    self._pause()
                    batch.records.extend(self._poll())  # of partitions assigned while paused; usually nothing
            else:
                break
        self._resume()

    def _pause(self) -> None:
        if not self._paused:
            self._metrics.add("streamtag.backpressure.pauses")
        self._paused = True
        self._consumer.pause(self._consumer.assignment())

    def _resume(self) -> None:
        """Also before partitions are taken out of the consumer: it would put them back paused."""
        if self._paused:
            self._paused = False
            self._consumer.resume(self._consumer.assignment())

    # -- calls of the processing thread ------------------------------------------------------------------------------

    def call(self, work: Callable[[], None]) -> Future[None]:
        """Runs ``work`` on the polling thread, soon."""
        future: Future[None] = Future()
        self._calls.put((work, future))
        return future

    def commit_positions(self, positions: list[TopicPartition]) -> None:
        """Commits plain positions (at least once) and waits for the answer; raises KafkaException."""
        future = self.call(lambda: _raise_first(self._consumer.commit(offsets=positions, asynchronous=False)))
        future.result(timeout=60)

    def rewind(self) -> Future[None]:
        """Reads everything again from what the broker says is committed."""
        return self.call(self.break_off)

    def serve_while(self, waiting: Callable[[], bool], budget_s: float) -> bool:
        """Serves calls on the polling thread while ``waiting``; False when the budget ran out."""
        deadline = self._clock() + budget_s
        while waiting():
            if self._clock() > deadline:
                return False
            self._serve_calls(block_s=0.01)
        return True

    def break_off(self) -> None:
        """Begins a new epoch: drops what is queued and reads all assigned partitions from their commits.

        Whatever transaction is still open covers positions that are about to be read again: it must not commit.
        """
        self.epoch += 1
        self._owner.lost()
        self._drop_queue()
        self._resume()
        if self._reading:
            self._consumer.incremental_unassign([TopicPartition(t, p) for t, p in self._reading])
            self._unresolved |= set(self._reading)
            self._owner.released(list(self._reading))
            self._reading.clear()

    def _drop_queue(self) -> None:
        while True:
            try:
                self.batches.get_nowait()
            except queue.Empty:
                return

    def _serve_calls(self, block_s: float = 0.0) -> None:
        while True:
            try:
                work, future = self._calls.get(timeout=block_s) if block_s else self._calls.get_nowait()
            except queue.Empty:
                return
            try:
                work()
            except KafkaException as error:
                future.set_exception(error)
            else:
                future.set_result(None)
            block_s = 0.0

    # -- partitions that come and go ---------------------------------------------------------------------------------

    def _resolve(self) -> None:
        """Puts partitions whose position is known by now into the consumer. Never waits long: others are read on."""
        if not self._unresolved or self._clock() < self._retry_at:
            return
        wanted = list(self._unresolved)
        try:
            starts = self._resolver.resolve(wanted)
            first = [
                TopicPartition(t, p, s.position, pack(s.partitions, "")) for (t, p), s in starts.items() if s.first
            ]
            if first:  # an idle partition keeps its start, and later ones know that the group has started
                _raise_first(self._consumer.commit(offsets=first, asynchronous=False))
        except KafkaException as exception:
            # E.g. the predecessor's transaction is still open, or the broker is away: try again soon.
            self._note(exception.args[0], "asking for positions")
            self._retry_at = self._clock() + _RETRY_S
            return
        self._unresolved -= set(wanted)
        faultpoints.reached("resolve.after")
        for (topic, index), start in starts.items():
            self._report(topic, index, start)
            self._reading[topic, index] = start.partitions
        self._owner.assigned(starts)
        self._consumer.incremental_assign([TopicPartition(t, p, s.position) for (t, p), s in starts.items()])
        self.error = None
        self._metrics.set("streamtag.partitions.assigned", len(self._reading))

    def _report(self, topic: str, index: int, start: Start) -> None:
        where = {"topic": topic, "partition": index, "position": start.position}
        if start.expired:
            self._metrics.add("streamtag.input.expired", start.expired, topic=topic)
            log.error("records expired before they were read", extra={**where, "records": start.expired})
        if start.rewound:
            log.error("the committed position lies beyond the log: topic created anew? reading it whole", extra=where)
        log.info("reading partition", extra=where)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign([])  # acknowledged; read once the position is known
        self._unresolved |= {(p.topic, p.partition) for p in partitions}
        self._retry_at = 0.0
        self._metrics.add("streamtag.rebalances", kind="assigned")

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        started = self._clock()
        faultpoints.reached("revoke.before")
        self.epoch += 1  # first: nothing more of the old epoch is begun
        if not self._owner.finish(self._options.revoke_budget_ms / 1000):
            self._metrics.add("streamtag.revoke.overruns")
            log.warning("revoke overran its budget, the open transaction will be undone")
        self._give_up(consumer, partitions, "revoked")
        faultpoints.reached("revoke.after")
        self._metrics.record("streamtag.revoke.duration", self._clock() - started)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("lost membership of the group", extra={"partitions": len(partitions)})
        self._give_up(consumer, partitions, "lost")

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], kind: str) -> None:
        gone = {(p.topic, p.partition) for p in partitions}
        self._resume()
        consumer.incremental_unassign([p for p in partitions if (p.topic, p.partition) in self._reading])
        self._unresolved -= gone
        self._owner.released(gone)
        for partition in gone:
            self._reading.pop(partition, None)
        self._metrics.add("streamtag.rebalances", kind=kind)
        self._metrics.set("streamtag.partitions.assigned", len(self._reading))
        # What stays was in the dropped queue, too: read it again from its commits.
        self.break_off()

    # -- errors ------------------------------------------------------------------------------------------------------

    def _on_message_error(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        self._note(error, "polling")
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # the position fell out of the log: find a new one
            self.break_off()

    def _on_error(self, error: KafkaError) -> None:
        self._note(error, "client")

    def _try_broker(self) -> None:
        """Asks whether the trouble is over: where nothing is read or assigned, nothing else would show it."""
        try:
            for topic in self._options.topics:
                found = self._consumer.list_topics(topic, timeout=_TRIAL_S).topics[topic]
                if found.error is not None:
                    return
        except KafkaException:
            return
        log.info("Kafka answers again")
        self.error = None

    def _note(self, error: KafkaError, doing: str) -> None:
        if error.str() != self.error:  # one line per kind of trouble, not one per retry
            log.warning("Kafka trouble, going on by itself", extra={"doing": doing, "error": error.str()})
        self.error = error.str()
        if error.fatal() or error.code() == KafkaError._FATAL:  # the latter in place of a message
            self._fatal = error
        self._metrics.add("streamtag.kafka.errors", code=error.name())


def _raise_first(results: list[TopicPartition] | None) -> None:
    for result in results or ():
        if result.error is not None:
            raise KafkaException(result.error)
