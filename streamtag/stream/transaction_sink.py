"""Exactly once: outputs and positions in one Kafka transaction (KIP-447)."""

import functools
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streamtag.stream import faultpoints
from streamtag.stream.backoff import back_off
from streamtag.stream.client_log import ClientLog
from streamtag.stream.options import StreamOptions, refused_options
from streamtag.stream.overdue import OverdueError, call_within
from streamtag.stream.processor import Commit, Output, Partition
from streamtag.stream.sink import CALL_S, TwinError, Undone, broke, enqueue, serve, undelivered
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
client_log = ClientLog(log)

# librdkafka's send_offsets_to_transaction ignores its timeout when the group coordinator goes away under it, and can
# hang for ever after the broker is back (librdkafka #5456). Past this it is given up, together with its producer.
_OVERDUE_S = 3.0
# A producer may lose every broker that it knew for good, see `streamtag.stream.member`, and ask to be called again for
# ever. Past the transaction's timeout and this the broker has ended the transaction anyway.
_GRACE_S = 10.0
# A broker that was frozen or dead for longer than the transaction's timeout fences us as a twin would, and a late
# repeat of a producer's start once more; only a twin does so this often within one such timeout.
_TWIN_FENCES = 3


class TransactionSink:
    """Exactly once: outputs and positions in one Kafka transaction (KIP-447).

    Args:
        options: of the loop.
        metrics: outcomes are counted here.
        group_metadata: the consumer's current membership, captured by the polling thread; commits of a member that
            has been superseded are refused by the broker.
        stopping: true when the process gives up waiting.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: StreamOptions,
        metrics: Metrics,
        *,
        group_metadata: Callable[[], object],
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._group_metadata = group_metadata
        self._stopping = stopping
        self._clock = clock
        self._producer: Producer | None = None
        self._begun = False
        self._broken = False  # a connection broke since the producer has started
        self._ask_each = False  # records are asked what became of them
        self._failed: tuple[str, str] | None = None  # what the first of them said
        self._fenced: deque[float] = deque(maxlen=_TWIN_FENCES)  # when
        self.complaint = ""

    def open(self) -> None:
        """Begins a transaction, after making the producer where there is none yet."""
        self.settle()
        assert self._producer is not None, "settle() makes one"
        faultpoints.reached("begin.before")
        self._failed = None
        self._attempt(self._producer.begin_transaction)
        self._begun = True
        faultpoints.reached("begin.after")

    def produce(self, outputs: Iterable[Output]) -> None:
        """Queues records."""
        assert self._producer is not None, "open() comes first"
        enqueue(self._producer, outputs, self._stopping, self._delivered if self._ask_each else None)

    def commit(self, commits: Mapping[Partition, Commit]) -> None:
        """Sends positions into the transaction and commits it.

        Where a connection breaks meanwhile, the client asks for the commit once more on another one. What is left of
        the first request may come late, and would end the next transaction in its midst: librdkafka has no KIP-890 yet
        (its issue 5423, KAFKA-17754). The next transaction gets a new producer, whose epoch the broker tells from it.
        One that broke before counts as well: the client does not tell of the same twice within 30 s.
        """
        assert self._producer is not None, "open() comes first"
        offsets = [TopicPartition(t, p, c.position, c.metadata) for (t, p), c in commits.items()]
        producer, metadata = self._producer, self._group_metadata()
        faultpoints.reached("offsets.before")
        self._attempt(
            lambda: call_within(
                _OVERDUE_S,
                lambda: producer.send_offsets_to_transaction(offsets, metadata, CALL_S),
                self._stopping,
            )
        )
        faultpoints.reached("offsets.after")
        faultpoints.reached("commit.before")
        self._attempt(lambda: producer.commit_transaction(CALL_S))
        faultpoints.reached("commit.after")
        serve(producer)
        if self._broken:
            log.info("a connection broke, making a new producer")
            self._discard()
        self._begun = self._ask_each = False
        self._metrics.add("streamtag.transactions", outcome="committed")

    def abort(self) -> None:
        """Aborts the open transaction, and lets its producer go: the next `settle` or `open` makes a new one.

        A record that was sent and not answered when its connection broke may be in the log. librdkafka (2.16) gives its
        sequence number out again in the next transaction, and the broker takes that record for a repeat: it is
        acknowledged and dropped, nobody is told, and the transaction commits without it. A new producer has an epoch
        and numbers of its own.
        """
        if self._producer is None or not self._begun:
            return
        faultpoints.reached("abort.before")
        error = self._error_of(functools.partial(self._producer.abort_transaction, CALL_S))
        self._discard()
        faultpoints.reached("abort.after")
        if error is not None:
            # The next producer's start ends it then, or the broker after its timeout.
            log.info("abort failed", extra={"cause": error.name()})
            self._metrics.add("streamtag.kafka.errors", code=error.name())
        if error is not None and error.code() == KafkaError._FENCED:
            self._was_fenced()  # `produce` says only that something was fatal
        else:
            self._metrics.add("streamtag.transactions", outcome="aborted")

    def settle(self) -> None:
        """Makes a producer where there is none: its start ends whatever its predecessor left open."""
        if self._producer is None:
            self._producer = self._connect()
            faultpoints.reached("connect.after")

    def close(self) -> None:
        """Aborts what is open and lets go of the producer."""
        self.abort()
        self._discard()

    def _attempt(self, call: Callable[[], object]) -> None:
        """Repeats a retriable call until it succeeds; anything else ends the transaction, and so does its timeout."""
        until = self._clock() + self._options.transaction_timeout_ms / 1000 + _GRACE_S
        for attempt in itertools.count():
            # Not handled where it is caught: see `Processing._guarded`.
            error = self._error_of(call)
            if error is None:
                return
            self._metrics.add("streamtag.kafka.errors", code=error.name())
            if error.fatal():
                self._lost(error)
            elif not error.retriable():
                raise Undone(*self._why(error))
            elif self._stopping():
                raise Undone("stopping")
            elif self._clock() > until:
                self._give_up("stranded")
            back_off(attempt, self._stopping, first_s=0.01, most_s=0.25)

    def _error_of(self, call: Callable[[], object]) -> KafkaError | None:
        try:
            call()
        except OverdueError:
            self._give_up("overdue")
        except KafkaException as exception:
            return exception.args[0]  # type: ignore[no-any-return]
        return None

    def _why(self, error: KafkaError) -> tuple[str, str]:
        """Cause, and words. "Some records failed" is no reason: the next attempt asks each for its own.

        Not every attempt, as a callback for each record costs a fiftieth of the worker.
        """
        if error.code() == KafkaError._INCONSISTENT and self._producer is not None:
            self._ask_each = True
            serve(self._producer)
        return self._failed or (error.name(), error.str())

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failed is None:
            self._failed = undelivered(error, message)

    def _give_up(self, cause: str) -> NoReturn:
        """The transaction, and the producer with it."""
        log.warning("the client hangs, making a new producer", extra={"cause": cause})
        self._metrics.add("streamtag.kafka.errors", code=cause)
        self._discard()
        raise Undone(cause) from None

    def _lost(self, error: KafkaError) -> NoReturn:
        """Fatal: this producer is finished, and a new one takes over."""
        self._discard()
        if error.code() != KafkaError._FENCED:
            raise Undone(error.name(), error.str())
        self._was_fenced()
        raise Undone("fenced")

    def _was_fenced(self) -> None:
        """Counts it. Raises `TwinError` where only a twin can be behind it, whatever was committed in between."""
        self._metrics.add("streamtag.transactions", outcome="fenced")
        self._fenced.append(self._clock())
        within_s = self._fenced[-1] - self._fenced[0]
        if len(self._fenced) == _TWIN_FENCES and within_s < self._options.transaction_timeout_ms / 1000:
            raise TwinError(
                f"fenced {_TWIN_FENCES} times within {within_s:.0f} s: another process uses transactional.id "
                f"{self._options.transactional_id!r}",
                hint="Give each worker its own tagger.slot, or none: then it takes one by file lock in state_dir.",
            )
        log.warning("producer fenced, making a new one")

    def _connect(self) -> Producer:
        """A producer that has ended its predecessor's transaction; waits for the broker as long as it takes."""
        producer = self._make_producer()
        for attempt in itertools.count():
            error = self._error_of(functools.partial(producer.init_transactions, CALL_S * 5))
            serve(producer)
            if error is None:
                break
            self._metrics.add("streamtag.kafka.errors", code=error.name())
            self.complaint = f"{error.name()} ({error.str()})"
            if self._stopping():
                raise Undone("stopping")
            if not error.retriable():  # e.g. fenced while we were getting ready, or not authorised
                log.error("cannot start transactions, retrying", extra={"error": error.str()})
                producer = self._make_producer()
            elif attempt % 6 == 0:
                log.warning("waiting for Kafka to start transactions", extra={"error": error.str()})
            back_off(attempt, self._stopping, first_s=0.1, most_s=1.0 if error.retriable() else 10.0)
        self.complaint = ""
        self._broken = False
        return producer

    def _make_producer(self) -> Producer:
        config = {**self._options.producer_config(), "error_cb": self._note}
        with refused_options("kafka.client, kafka.producer"):
            return Producer(config, logger=client_log)

    def _note(self, error: KafkaError) -> None:
        self._metrics.add("streamtag.kafka.errors", code=error.name())
        self._broken = self._broken or broke(error)

    def _discard(self) -> None:
        """Lets the producer go, and with it whatever it has begun."""
        self._begun = False
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
