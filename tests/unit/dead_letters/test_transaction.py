"""A transaction that is done again: as often as records are refused, and not for ever."""

import threading
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamtag.dead_letters import transaction as module
from streamtag.dead_letters.transaction import Outgoing, TransactionWriter
from streamtag.errors import ConflictError, SettingsError, UnavailableError
from streamtag.stream.options import StreamOptions

RECORD = Outgoing("content", 0, None, b"0", [])
Told = Callable[[KafkaError | None, None], None]


class Client:
    """A producer whose topic refuses batches with certain values; it loses count after each, as librdkafka may."""

    def __init__(
        self,
        refused: set[bytes],
        *,
        always_lost: bool = False,
        tell: Callable[[KafkaError], None] | None = None,
    ) -> None:
        self._tell = tell
        self.breaks = False
        self._refused = refused
        self._always_lost = always_lost
        self._lost = False
        self._unsent: list[tuple[bytes, Told]] = []
        self._open: list[bytes] = []
        self.written: list[bytes] = []

    def init_transactions(self, _timeout: float) -> None:
        return None

    def begin_transaction(self) -> None:
        self._open, self._unsent = [], []

    def produce(self, _topic: str, *, value: bytes, on_delivery: Told, **_: object) -> None:
        self._unsent.append((value, on_delivery))

    def poll(self, _timeout: float) -> None:
        if self.breaks and self._tell:
            self._tell(KafkaError(KafkaError._TRANSPORT, "b:1/2: Disconnected (after 23518ms in state UP)"))

    def flush(self, _timeout: float) -> None:
        """One batch."""
        batch, self._unsent = self._unsent, []
        if not batch:
            return
        error = None
        if self._lost or self._always_lost:
            error = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
            self._lost = False
        elif self._refused.intersection(value for value, _ in batch):
            error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            self._lost = True
        else:
            self._open += [value for value, _ in batch]
        for _, told in batch:
            told(error, None)
        if error is not None:
            self._open = []

    def send_offsets_to_transaction(self, *_: object) -> None:
        return None

    def commit_transaction(self, timeout: float) -> None:
        waiting = len(self._unsent)
        self.flush(timeout)
        if waiting and not self._open:
            raise KafkaException(KafkaError(KafkaError._INCONSISTENT, "a record failed", False, False, True))
        self.written += self._open

    def abort_transaction(self, _timeout: float) -> None:
        self._open, self._unsent = [], []

    def purge(self) -> None:
        self._open, self._unsent = [], []


class HangingClient(Client):
    """As librdkafka #5456: it never comes back with the positions, whatever its timeout; with nothing else either."""

    def __init__(self, back: threading.Event) -> None:
        super().__init__(refused=set())
        self._back = back

    def send_offsets_to_transaction(self, *_: object) -> None:
        self._back.wait(20)

    def abort_transaction(self, _timeout: float) -> None:
        raise AssertionError("it would wait for the call that hangs")


def options(**more: dict[str, str]) -> StreamOptions:
    return StreamOptions(bootstrap_servers="127.0.0.1:1", group="g", topics=("dead",), transactional_id="g-0", **more)  # type: ignore[arg-type]


def write(monkeypatch: pytest.MonkeyPatch, client: Client, values: list[bytes]) -> set[int]:
    monkeypatch.setattr(module, "Producer", lambda *_, **__: client)
    return TransactionWriter(options(), None, dict).write(
        [Outgoing("content", 0, None, value, []) for value in values], []
    )


def test_many_refused_records_in_one_batch_are_left_out_and_the_others_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = [b"%d" % n for n in range(14)]
    client = Client(refused=set(values[::2]))
    assert write(monkeypatch, client, values) == set(range(0, 14, 2))
    assert client.written == values[1::2]


def test_a_transaction_that_keeps_failing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(refused=set(), always_lost=True)
    with pytest.raises(UnavailableError, match="failed 5 times"):
        write(monkeypatch, client, [b"0", b"1"])
    assert client.written == []


def test_a_transaction_that_was_aborted_is_done_again_by_a_new_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka gives sequence numbers of an aborted transaction out again."""
    failing, good = Client(refused=set(), always_lost=True), Client(refused=set())
    clients: list[Client] = [good, failing]
    monkeypatch.setattr(module, "Producer", lambda *_, **__: clients.pop())
    assert TransactionWriter(options(), None, dict).write([RECORD], []) == set()
    assert (failing.written, good.written) == ([], [b"0"])


def test_a_client_that_hangs_is_replaced_and_the_transaction_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    hanging, good = HangingClient(back), Client(refused=set())
    clients: list[Client] = [good, hanging]
    monkeypatch.setattr(module, "Producer", lambda *_, **__: clients.pop())
    monkeypatch.setattr(module, "_OVERDUE_S", 0.05)
    try:
        assert TransactionWriter(options(), None, dict).write([RECORD], []) == set()
        assert (hanging.written, good.written) == ([], [b"0"])
    finally:
        back.set()


def test_clients_that_hang_are_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    monkeypatch.setattr(module, "Producer", lambda *_, **__: HangingClient(back))
    monkeypatch.setattr(module, "_OVERDUE_S", 0.05)
    writer = TransactionWriter(options(), None, dict)
    try:
        with pytest.raises(UnavailableError, match="failed 5 times: the client hangs"):
            writer.write([], [])
        writer.close()
    finally:
        back.set()


def test_who_begins_anew_does_not_take_over_from_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other has moved on while this one hung."""
    back = threading.Event()
    hanging, good = HangingClient(back), Client(refused=set())
    clients: list[Client] = [good, hanging]
    monkeypatch.setattr(module, "Producer", lambda *_, **__: clients.pop())
    monkeypatch.setattr(module, "_OVERDUE_S", 0.05)
    stands = iter([{0: 7}, {0: 9}])
    try:
        with pytest.raises(ConflictError, match="another run"):
            TransactionWriter(options(), None, lambda: next(stands)).write([RECORD], [TopicPartition("dead", 0, 8)])
        assert good.written == []
    finally:
        back.set()


def test_a_connection_that_breaks_in_a_commit_is_the_last_of_its_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: list[Client] = []

    def make(config: dict[str, Callable[[KafkaError], None]], **_: object) -> Client:
        clients.append(Client(refused=set(), tell=config["error_cb"]))
        return clients[-1]

    monkeypatch.setattr(module, "Producer", make)
    stand: dict[int, int] = {0: 7}
    writer = TransactionWriter(options(), None, lambda: stand)
    clients[0].breaks = True
    for position in (8, 9, 10):
        writer.write([RECORD], [TopicPartition("dead", 0, position)])
        stand = {0: position}
    assert [len(client.written) for client in clients] == [1, 2]


@pytest.mark.parametrize("kind", ["client", "producer"])
def test_options_that_the_client_refuses_are_a_wrong_setting(kind: str) -> None:
    with pytest.raises(SettingsError, match=r"kafka\.client, kafka\.producer\): No such configuration property"):
        TransactionWriter(options(**{kind: {"no.such.option": "1"}}), None, dict)
