"""Records and read positions in one Kafka transaction, for a reader outside of any group membership."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streamtag.errors import ConflictError, StreamtagError, UnavailableError
from streamtag.events.dead_letters import Headers
from streamtag.stream.client_log import ClientLog
from streamtag.stream.options import StreamOptions, refused_options
from streamtag.stream.overdue import OverdueError, call_within
from streamtag.stream.sink import broke, serve

__all__ = ["Outgoing", "TransactionWriter"]

log = logging.getLogger(__name__)
client_log = ClientLog(log)

_CALL_S = 10.0
# A call that should have ended is given up, with its producer, see `streamtag.stream.transaction_sink`.
_OVERDUE_S = 15.0
_PATIENCE_S = 60.0  # for one call that may be repeated
_ATTEMPTS = 5  # of one transaction, without learning which record to leave out


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to write; partition -1: by its key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class _Aborted(Exception):  # noqa: N818 - an outcome: the transaction is to be done again
    pass


class TransactionWriter:
    """Writes under one ``transactional.id`` and commits positions of one group.

    Making one aborts whatever an earlier process with the same id left open.

    Args:
        options: whose ``transactional_id`` and producer settings are used.
        group: metadata of the consumer that reads.
        stand: committed positions by partition; asked for when no transaction is open.

    Raises:
        SettingsError: the client refuses its options.
        UnavailableError: Kafka does not answer.
    """

    def __init__(self, options: StreamOptions, group: object, stand: Callable[[], Mapping[int, int]]) -> None:
        self._options = options
        self._name = options.transactional_id
        self._group = group
        self._stand = stand
        self._failed: dict[int, KafkaError] = {}
        self._connect()
        self._stood = dict(stand())

    def write(self, records: Sequence[Outgoing], positions: list[TopicPartition]) -> set[int]:
        """One transaction, done again when it fails.

        Args:
            records: what to write; may be empty.
            positions: next offsets to read, with metadata.

        Returns:
            Indices of the records that their topic refuses as too large, and which were left out.

        Raises:
            ConflictError: another process has taken over this id; nothing of this transaction was written.
            UnavailableError: it kept failing; nothing of it was written.
        """
        refused: set[int] = set()
        attempts = 0
        one_by_one = False
        while True:
            kept = [(index, record) for index, record in enumerate(records) if index not in refused]
            try:
                self._attempt(kept, positions, one_by_one)
            except _Aborted as aborted:
                too_large = {i for i, error in self._failed.items() if error.code() == KafkaError.MSG_SIZE_TOO_LARGE}
                if too_large and one_by_one:
                    refused |= too_large
                    attempts = 0  # the client may fail the transaction after each refused record, too
                elif too_large:
                    # A topic refuses whole batches: to know which record it is, each goes alone.
                    one_by_one = True
                else:
                    attempts += 1
                    if attempts >= _ATTEMPTS:
                        raise UnavailableError(f"the transaction failed {attempts} times: {aborted}") from None
            else:
                self._stood |= {position.partition: position.offset for position in positions}
                return refused

    def close(self) -> None:
        """Aborts what is open, if the broker answers; it would by itself after the transaction timeout."""
        if self._spent:
            return
        try:
            self._producer.abort_transaction(_CALL_S)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            # No open transaction is the normal case here; of a fatal error the caller knows.
            if error.code() != KafkaError._STATE and not error.fatal():
                log.warning("the transaction could not be aborted: %s", error.str())
        self._producer.purge()

    def _connect(self) -> None:
        with refused_options("kafka.client, kafka.producer"):
            config = {**self._options.producer_config(), "error_cb": self._note}
            self._producer = Producer(config, logger=client_log)
        self._call(lambda: self._producer.init_transactions(_CALL_S), "start transactions")
        serve(self._producer)
        self._spent = self._broken = False

    def _reconnect(self) -> None:
        """Takes over from its own last producer, whose open transaction that ends; but not from another run."""
        self._connect()
        if self._stand() != self._stood:
            raise self._conflict("it has moved on meanwhile")

    def _note(self, error: KafkaError) -> None:
        self._broken = self._broken or broke(error)

    def _spend(self) -> None:
        """The next transaction gets another producer: see `streamtag.stream.transaction_sink`."""
        self._producer.purge()
        self._spent = True

    def _attempt(
        self, records: Sequence[tuple[int, Outgoing]], positions: list[TopicPartition], one_by_one: bool
    ) -> None:
        if self._spent:
            self._reconnect()
        self._failed.clear()
        self._call(self._producer.begin_transaction, "begin a transaction")
        for index, record in records:
            self._produce(index, record)
            if one_by_one:
                self._producer.flush(_PATIENCE_S)
            if self._failed:
                self._abort(next(iter(self._failed.values())))
        self._call(lambda: self._send(positions), "commit positions")
        self._call(lambda: self._producer.commit_transaction(_CALL_S), "commit the transaction")
        serve(self._producer)
        if self._broken:
            self._spend()

    def _send(self, positions: list[TopicPartition]) -> None:
        producer = self._producer
        try:
            call_within(_OVERDUE_S, lambda: producer.send_offsets_to_transaction(positions, self._group, _CALL_S))
        except OverdueError:
            log.warning("the client hangs, making a new producer")
            self._spend()
            raise _Aborted("the client hangs") from None

    def _produce(self, index: int, record: Outgoing) -> None:
        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                self._failed.setdefault(index, error)

        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    headers=list(record.headers),
                    on_delivery=delivered,
                )
            except BufferError:
                serve(self._producer, 0.1)
            except KafkaException as exception:
                self._failed[index] = exception.args[0]
                return
            else:
                serve(self._producer)
                return

    def _abort(self, error: KafkaError) -> None:
        self._call(lambda: self._producer.abort_transaction(_CALL_S), "abort the transaction")
        self._spend()
        raise _Aborted(error.str())

    def _call(self, call: Callable[[], object], doing: str) -> None:
        """Repeats a call that may be repeated; aborts where the client asks for that; else gives up."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                call()
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if error.fatal():
                    raise self._lost(error) from None
                if error.txn_requires_abort():
                    self._abort(error)
                if not error.retriable() or time.monotonic() > deadline:
                    raise UnavailableError(
                        f"cannot {doing}: {error.str()}",
                        hint="What was committed stays; run the same command again to go on.",
                    ) from None
            else:
                return

    def _lost(self, error: KafkaError) -> StreamtagError:
        if error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
            return self._conflict(f"or Kafka took this one for dead ({error.str()})")
        return UnavailableError(f"the producer is lost: {error.str()}", hint="Run the same command again to go on.")

    def _conflict(self, why: str) -> ConflictError:
        return ConflictError(
            f"{self._name}: another run of it has taken over, {why}",
            hint="Let the other run finish, or run the same command again: nothing is replayed twice.",
        )
