"""The polling side: makes batches of what is read, and keeps polling when nobody takes them."""

import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from streamtag.stream.calls import Calls
from streamtag.stream.member import Member, Owner
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Partition
from streamtag.stream.trouble import Trouble
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_IDLE_POLL_S = 0.05  # longest wait for a first record: bounds how late calls of the processing thread are served
_COMMITTING_POLL_S = 0.005  # the same at least once: there every commit is such a call, and processing waits for it
_TICK_S = 1.0
_FULL_BYTES = 16_777_216  # of values: a batch that holds so much takes no more, whatever its count
_TRIAL_S = 0.5  # how long an idle poller in trouble waits for a sign of life from the broker, once a tick

# A batch of records that the client cannot unpack, e.g. as it would be too large.
_UNREADABLE = (KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG)
_UNREADABLE_HINT = "Raise receive.message.max.bytes in kafka.consumer, or set the group's position past the batch."


class Batch(NamedTuple):
    """Records handed to the processing thread; stale when the member's epoch has moved on."""

    epoch: int
    records: list[Message]
    polled_at: float


class Source:
    """Polls on one thread, which owns the consumer and makes every call to it.

    Args:
        options: of the loop.
        metrics: counts polls, pauses, errors.
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
        self._stopping = stopping
        self._clock = clock
        self._idle_poll_s = _IDLE_POLL_S if options.delivery == "exactly_once" else _COMMITTING_POLL_S
        self._paused = False
        self._tick_at = 0.0
        self._on_tick: Callable[[], None] = lambda: None
        self.batches: queue.Queue[Batch] = queue.Queue(options.queue_batches)
        self.trouble = Trouble(metrics, clock)
        self.calls = Calls(clock)
        """What the processing thread wants done on the polling thread."""
        self.member = Member(
            options, metrics, owner, self.trouble, self.calls, drop=self._drop_queue, stopping=stopping, clock=clock
        )

    # -- the polling thread ------------------------------------------------------------------------------------------

    def run(self, on_tick: Callable[[], None]) -> None:
        """Polls until ``stopping``; ``on_tick`` is called about once a second.

        Raises:
            StreamtagError: the client has failed for good.
        """
        self._on_tick = on_tick
        self.member.join()
        while not self._stopping():
            self._housekeeping()
            epoch = self.member.epoch
            records = self._poll()
            if records and epoch == self.member.epoch:
                self._hand_over(Batch(epoch, records, self._clock()))

    def close(self) -> None:
        """Serves what is asked by now and leaves the group."""
        self.calls.serve()
        self.member.leave()

    def lag(self, next_positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Records behind the end of the log, by the client's cached watermarks."""
        found = {}
        for (topic, index), position in next_positions.items():
            _, high = self.member.consumer.get_watermark_offsets(TopicPartition(topic, index), cached=True)
            if high >= 0:
                found[topic, index] = max(0, high - position)
        return found

    def _housekeeping(self) -> None:
        self.calls.serve()
        self.member.keep()
        if self._clock() >= self._tick_at:
            self._tick_at = self._clock() + _TICK_S
            self._on_tick()
            if self.trouble.reason is not None and not self.member.counts()[1]:
                self._try_broker()

    def _poll(self) -> list[Message]:
        started = self._clock()
        first = self.member.consumer.poll(self._idle_poll_s)
        records = [] if first is None else self._records([first]) + self._more(self._options.batch_size - 1)
        if first is not None:
            self._metrics.add("streamtag.loop.time", self._clock() - started, phase="poll")
        if records:
            self.member.heard()
        return records

    def _more(self, room: int) -> list[Message]:
        """Up to so many records, waiting ``batch_wait_ms`` for them."""
        if room < 1:
            return []
        return self._records(self.member.consumer.consume(room, self._options.batch_wait_ms / 1000))

    def _records(self, messages: list[Message]) -> list[Message]:
        """Those of the messages that are records; of the others note is taken."""
        records = [m for m in messages if m.error() is None]
        if len(records) < len(messages):
            for message in messages:
                self._on_message_error(message)
        for topic, n in Counter(map(Message.topic, records)).items():
            self._metrics.add("streamtag.records.consumed", n, topic=topic or "")
        return records

    def _on_message_error(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # the position fell out of the log: find a new one
            self.trouble.note(error, "polling")
            self.member.break_off()
        elif message.topic() is None:
            self.trouble.note(error, "polling")
        else:  # the client stays where it is and tries again: nothing is skipped
            where = f"reading {message.topic()}"
            if (message.partition() or 0) >= 0:  # else of the whole topic
                where += f"/{message.partition()} at {message.offset()}"
            hint = _UNREADABLE_HINT if error.code() in _UNREADABLE else ""
            self.trouble.note(error, where, stands=True, hint=hint)

    def _try_broker(self) -> None:
        """Asks whether the trouble is over: where nothing is read or assigned, nothing else would show it."""
        try:
            for topic in self._options.topics:
                found = self.member.consumer.list_topics(topic, timeout=_TRIAL_S)
                if not found.brokers or found.topics[topic].error is not None:
                    return
        except KafkaException:
            return
        self.trouble.over(group=False)
        if self.trouble.reason is None:
            log.info("Kafka answers again")

    # -- back pressure -----------------------------------------------------------------------------------------------

    def _hand_over(self, batch: Batch) -> None:
        """Puts a batch into the queue. While that is full it grows: many small batches cost more than a large one.

        When the queue stays full, pauses the partitions and keeps polling.
        """
        full_since, patience_s = self._clock(), 0.0
        while not self._stopping() and batch.epoch == self.member.epoch:
            try:
                self.batches.put(batch, timeout=patience_s)
            except queue.Full:
                more = self._more(self._room(batch))
                patience_s = 0.0 if more else self._idle_poll_s
                batch.records.extend(more)
                self._housekeeping()
                if self._clock() - full_since >= self._options.pause_after_ms / 1000:
                    self._pause()
                    batch.records.extend(self._poll())  # of partitions assigned while paused; usually nothing
            else:
                break
        self._resume()

    def _room(self, batch: Batch) -> int:
        """How many records a batch still takes.

        Three batches are about: in processing, queued, in hand. Of large records, their count alone would let a backlog
        take more memory than the process may have.
        """
        if self._paused or sum(map(len, batch.records)) >= _FULL_BYTES:  # the length of a message is that of its value
            return 0
        return self._options.batch_size - len(batch.records)

    def _pause(self) -> None:
        if not self._paused:
            self._metrics.add("streamtag.backpressure.pauses")
        self._paused = True
        self.member.consumer.pause(self.member.consumer.assignment())

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.member.consumer.resume(self.member.consumer.assignment())

    def _drop_queue(self) -> None:
        """Of an epoch that ends; its partitions are about to be taken out, and would come back paused."""
        self._resume()
        while True:
            try:
                self.batches.get_nowait()
            except queue.Empty:
                return

    # -- asked for by the processing thread --------------------------------------------------------------------------

    def commit_positions(
        self, positions: list[TopicPartition], check: Callable[[], None] = lambda: None
    ) -> Future[None]:
        """Commits plain positions (at least once), after ``check``, which may raise `Undone`.

        Both on the polling thread: as partitions are lost on that thread only, none is lost between the two.
        """

        def commit() -> None:
            check()
            self.member.commit(positions)

        return self.calls.ask(commit)

    def rewind(self) -> Future[None]:
        """Reads everything again from what the broker says is committed."""
        return self.calls.ask(self.member.break_off)
