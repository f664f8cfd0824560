"""Sinks: outputs and positions go together, and every error of the client ends in one known way."""

import contextlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamtag.stream import backoff, delivery_sink, transaction_sink
from streamtag.stream.delivery_sink import DeliverySink
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Commit, Output
from streamtag.stream.sink import TwinError, Undone
from streamtag.stream.transaction_sink import TransactionSink
from streamtag.telemetry.metrics import InMemoryMetrics, Metrics

RETRIABLE = KafkaError(KafkaError._TIMED_OUT, "retriable", False, True, False)
ABORTABLE = KafkaError(KafkaError.INVALID_TXN_STATE, "abortable", False, False, True)
FENCED = KafkaError(KafkaError._FENCED, "fatal", True, False, False)
FATAL = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "fatal", True, False, False)
NOT_AUTHORISED = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "no", False, False, False)
REFUSED = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)

OPTIONS = StreamOptions(
    bootstrap_servers="127.0.0.1:1",
    group="g",
    topics=("content",),
    transactional_id="g-0",
    transaction_timeout_ms=10_000,
)
RECORD = Output("tags", b"key", b"value")
WRITTEN = Message(topic="tags")
COMMITS = {("content", 0): Commit(7, "p=4;")}


class FakeClient:
    """What all producers of one test have in common: calls in order, and errors ordered for the next ones."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: defaultdict[str, deque[KafkaError]] = defaultdict(deque)
        self.made = 0
        self.waits: list[float] = []
        self.buffer_full = 0
        self.offsets: list[TopicPartition] = []
        self.metadata: object = None
        self.trouble: defaultdict[str, list[KafkaError]] = defaultdict(list)
        """What a producer notes in the midst of a call, and tells as it is polled."""
        self.fails: KafkaError | None = None
        """What records are told that ask."""
        self.asked: list[bool] = []
        self.raises: KafkaError | None = None
        """As a producer is polled."""

    def order(self, call: str, *errors: KafkaError) -> None:
        self.errors[call].extend(errors)

    def make(self, config: dict[str, Any], **_: object) -> "FakeProducer":
        self.made += 1
        return FakeProducer(self, config.get("error_cb"))


class FakeProducer:
    """What the sinks use of a producer."""

    def __init__(self, client: FakeClient, tell: Callable[[KafkaError], None] | None) -> None:
        self._client, self._tell = client, tell
        self._untold: list[KafkaError] = []
        self._name = client.made
        self.waiting: list[Callable[[KafkaError | None, object], None]] = []
        self.outcomes: deque[KafkaError | None] = deque()  # of the next deliveries; none left = outstanding

    def _call(self, name: str) -> None:
        self._client.calls.append(f"{name} {self._name}")
        self._untold += self._client.trouble.pop(name, [])
        if self._client.errors[name]:
            raise KafkaException(self._client.errors[name].popleft())

    def init_transactions(self, _timeout: float) -> None:
        self._call("init")

    def begin_transaction(self) -> None:
        self._call("begin")

    def produce(self, _topic: str, _value: bytes, _key: bytes, **rest: Any) -> None:
        if self._client.buffer_full:
            self._client.buffer_full -= 1
            raise BufferError
        self._call("produce")
        self._client.asked.append(bool(rest.get("on_delivery")))
        if rest.get("on_delivery"):
            self.waiting.append(rest["on_delivery"])

    def poll(self, timeout: float) -> None:
        if timeout:
            self._call("poll")
        while self.waiting and self._client.fails:
            self.waiting.pop()(self._client.fails, WRITTEN)
        for error in self._untold:
            assert self._tell is not None, "only who asks is told"
            self._tell(error)
        self._untold.clear()
        if self._client.raises:
            raise KafkaException(self._client.raises)

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: object, _timeout: float) -> None:
        self._client.offsets, self._client.metadata = offsets, metadata
        self._call("offsets")

    def commit_transaction(self, _timeout: float) -> None:
        self._call("commit")

    def abort_transaction(self, _timeout: float) -> None:
        self._call("abort")

    def purge(self) -> None:
        self._call("purge")
        for report in self.waiting:
            report(KafkaError(KafkaError._PURGE_QUEUE), WRITTEN)
        self.waiting.clear()

    def flush(self, _timeout: float) -> int:
        while self.waiting and self.outcomes:
            self.waiting.pop(0)(self.outcomes.popleft(), WRITTEN)
        return len(self.waiting)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClient]:
    made = FakeClient()
    monkeypatch.setattr(transaction_sink, "Producer", made.make)
    monkeypatch.setattr(delivery_sink, "Producer", made.make)
    monkeypatch.setattr(backoff, "wait", lambda seconds, _stopping: made.waits.append(seconds))
    yield made
    assert not any(made.errors.values()), f"errors that were never met: {made.errors}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stopping() -> list[bool]:
    return []


@pytest.fixture
def metrics() -> InMemoryMetrics:
    return Metrics.in_memory()


@pytest.fixture
def sink(client: FakeClient, clock: Clock, stopping: list[bool], metrics: InMemoryMetrics) -> TransactionSink:
    return TransactionSink(
        OPTIONS,
        metrics,
        group_metadata=lambda: "generation 5",
        stopping=lambda: bool(stopping),
        clock=clock,
    )


def transact(sink: TransactionSink) -> None:
    sink.open()
    sink.produce([RECORD])
    sink.commit(COMMITS)


# -- exactly once ------------------------------------------------------------------------------------------------------


def test_outputs_then_positions_then_the_commit_go_into_one_transaction(
    sink: TransactionSink, client: FakeClient
) -> None:
    transact(sink)
    transact(sink)
    once = ["begin 1", "produce 1", "offsets 1", "commit 1"]
    assert client.calls == ["init 1", *once, *once]
    [offset] = client.offsets
    assert (offset.topic, offset.partition, offset.offset, offset.metadata) == ("content", 0, 7, "p=4;")
    assert client.metadata == "generation 5"


def test_a_transaction_that_is_doomed_sends_no_positions(client: FakeClient) -> None:
    def doomed() -> object:
        raise Undone("revoked")

    sink = TransactionSink(OPTIONS, Metrics.in_memory(), group_metadata=doomed, stopping=lambda: False)
    sink.open()
    sink.produce([RECORD])
    with pytest.raises(Undone, match="revoked"):
        sink.commit(COMMITS)
    sink.abort()
    assert client.calls == ["init 1", "begin 1", "produce 1", "abort 1", "purge 1"]


@pytest.mark.parametrize("call", ["init", "offsets", "commit"])
def test_a_retriable_call_is_repeated_until_it_succeeds(sink: TransactionSink, client: FakeClient, call: str) -> None:
    client.order(call, *[RETRIABLE] * 4)
    transact(sink)
    assert client.calls.count(f"{call} 1") == 5
    assert client.calls[-1] == "commit 1"
    assert client.made == 1


def test_a_call_that_fails_at_once_again_and_again_does_not_spin(sink: TransactionSink, client: FakeClient) -> None:
    client.order("commit", *[RETRIABLE] * 50)
    transact(sink)
    assert len(client.waits) == 50
    assert 1 < sum(client.waits) <= 50 * 0.25


@pytest.mark.parametrize("call", ["offsets", "commit"])
def test_whoever_stops_does_not_repeat_for_ever(
    sink: TransactionSink, client: FakeClient, stopping: list[bool], call: str
) -> None:
    client.order(call, RETRIABLE)
    sink.open()
    stopping.append(True)
    with pytest.raises(Undone, match="stopping"):
        sink.commit(COMMITS)


@pytest.mark.parametrize("call", ["begin", "produce", "offsets", "commit"])
@pytest.mark.parametrize("error", [ABORTABLE, NOT_AUTHORISED, REFUSED])
def test_an_error_that_cannot_be_retried_ends_the_transaction_and_its_producer(
    sink: TransactionSink, client: FakeClient, call: str, error: KafkaError
) -> None:
    """But where nothing was begun: librdkafka gives sequence numbers of an aborted transaction out again."""
    client.order(call, error)
    with pytest.raises(Undone, match=error.name()):
        transact(sink)
    sink.abort()
    transact(sink)
    made = 1 if call == "begin" else 2
    assert client.calls[-4:] == [f"begin {made}", f"produce {made}", f"offsets {made}", f"commit {made}"]
    assert ("abort 1" in client.calls) == (made == 2)


def test_records_that_failed_are_asked_for_their_reason_the_next_time_and_no_longer_than_that(
    sink: TransactionSink, client: FakeClient
) -> None:
    client.order("commit", *[KafkaError(KafkaError._INCONSISTENT, "1 message(s) failed", False, False, True)] * 2)
    client.fails = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    for cause in ("_INCONSISTENT", "TOPIC_AUTHORIZATION_FAILED"):
        with pytest.raises(Undone, match=cause):
            transact(sink)
        sink.abort()
    client.fails = None
    transact(sink)
    assert client.asked == [False, True, True]
    transact(sink)
    assert client.asked[-1] is False


BROKEN = KafkaError(KafkaError._TRANSPORT, "b:1/2: Disconnected: closed by peer (after 23518ms in state UP)")
REFUSED_CONNECTION = KafkaError(KafkaError._TRANSPORT, "b:1/2: Connect failed: refused (after 0ms in state CONNECT)")


@pytest.mark.parametrize(
    ("call", "error", "made"),
    [
        ("offsets", BROKEN, 2),
        ("commit", BROKEN, 2),
        ("produce", BROKEN, 2),  # the same, once more in the commit, would not be told
        ("init", BROKEN, 1),  # no transaction was open
        ("commit", REFUSED_CONNECTION, 1),  # nothing was asked for on that
    ],
)
def test_a_connection_that_breaks_gives_the_next_transaction_a_new_producer(
    sink: TransactionSink, client: FakeClient, call: str, error: KafkaError, made: int
) -> None:
    """What is left of the first request must not end the next transaction."""
    client.trouble[call].append(error)
    transact(sink)
    transact(sink)
    assert client.calls[-4:] == [f"begin {made}", f"produce {made}", f"offsets {made}", f"commit {made}"]
    transact(sink)
    assert client.made == made


@pytest.mark.parametrize("call", ["begin", "offsets", "commit"])
@pytest.mark.parametrize(("error", "cause"), [(FENCED, "fenced"), (FATAL, "OUT_OF_ORDER_SEQUENCE_NUMBER")])
def test_a_fatal_error_makes_a_new_producer_that_first_ends_what_is_open(
    sink: TransactionSink, client: FakeClient, call: str, error: KafkaError, cause: str
) -> None:
    client.order(call, error)
    with pytest.raises(Undone, match=cause):
        transact(sink)
    sink.abort()
    sink.settle()
    assert client.calls[-2:] == ["purge 1", "init 2"]
    transact(sink)
    assert client.calls[-4:] == ["begin 2", "produce 2", "offsets 2", "commit 2"]


@pytest.mark.parametrize("error", [RETRIABLE, ABORTABLE, FATAL, FENCED])
def test_an_abort_that_fails_is_left_to_the_next_producer(
    sink: TransactionSink, client: FakeClient, error: KafkaError
) -> None:
    for _ in range(2):
        client.order("abort", error)
        sink.open()
        sink.abort()
    transact(sink)
    once = ["abort 1", "purge 1", "init 2", "begin 2"]
    assert client.calls[2:] == [
        *once,
        *(call.replace("2", "3").replace("1", "2") for call in once),
        *("produce 3", "offsets 3", "commit 3"),
    ]


def test_a_fatal_error_that_is_told_early_ends_the_transaction_as_the_next_call_does(
    sink: TransactionSink, client: FakeClient
) -> None:
    """confluent-kafka raises it from a poll."""
    client.raises = FATAL
    client.order("offsets", FATAL)
    with pytest.raises(Undone, match="OUT_OF_ORDER_SEQUENCE_NUMBER"):
        transact(sink)
    client.raises = None
    sink.abort()
    sink.open()
    client.raises, client.buffer_full = FATAL, 1
    client.order("produce", FATAL)
    with pytest.raises(Undone, match="OUT_OF_ORDER_SEQUENCE_NUMBER"):
        sink.produce([RECORD])


def test_a_call_that_asks_to_be_repeated_past_the_transactions_timeout_gets_a_new_producer(
    sink: TransactionSink, client: FakeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_seconds: float, _stopping: object) -> None:
        clock.now += 1

    monkeypatch.setattr(backoff, "wait", wait)
    asked = OPTIONS.transaction_timeout_ms // 1_000 + 10
    client.order("commit", *[RETRIABLE] * (asked + 2))
    with pytest.raises(Undone, match="stranded"):
        transact(sink)
    assert clock.now == Clock().now + asked + 1
    transact(sink)
    assert client.calls[-5:] == ["init 2", "begin 2", "produce 2", "offsets 2", "commit 2"]


@pytest.mark.parametrize("told_by", ["commit", "abort"])
def test_fenced_three_times_within_the_transaction_timeout_is_a_twin(
    sink: TransactionSink, client: FakeClient, clock: Clock, told_by: str
) -> None:
    """Whatever was committed in between: two processes that fence each other in turn both get something done."""

    def fenced() -> None:
        client.order(told_by, FENCED)
        if told_by == "abort":  # the call before it says only that something is fatal
            client.order("produce", KafkaError(KafkaError._FATAL, "Local: Fatal error"))
        with contextlib.suppress(Undone):
            transact(sink)
        sink.abort()

    for _ in range(2):
        fenced()
        transact(sink)
        clock.now += OPTIONS.transaction_timeout_ms / 2_000 - 0.1
    with pytest.raises(TwinError, match="'g-0'") as caught:
        fenced()
    assert caught.value.exit_code == 7
    assert "slot" in caught.value.hint


def test_fenced_as_often_as_a_slow_broker_can_is_no_twin(
    sink: TransactionSink, client: FakeClient, clock: Clock
) -> None:
    client.order("commit", *[FENCED] * 6)
    for times in range(6):
        with pytest.raises(Undone, match="fenced"):
            transact(sink)
        clock.now += times % 2 * OPTIONS.transaction_timeout_ms / 1000
    transact(sink)


@pytest.mark.parametrize(("error", "outcome"), [(FENCED, "fenced"), (RETRIABLE, "aborted"), (None, "aborted")])
def test_a_transaction_is_counted_once_however_its_end_was_told(
    sink: TransactionSink, client: FakeClient, metrics: InMemoryMetrics, error: KafkaError | None, outcome: str
) -> None:
    client.order("abort", *[error] if error else [])
    sink.open()
    sink.abort()
    assert metrics.value("streamtag.transactions") == metrics.value("streamtag.transactions", outcome=outcome) == 1
    assert metrics.value("streamtag.kafka.errors") == (error is not None)


def test_another_fatal_error_twice_at_once_is_no_twin(sink: TransactionSink, client: FakeClient) -> None:
    client.order("commit", FENCED, FATAL)
    for cause in ("fenced", "OUT_OF_ORDER_SEQUENCE_NUMBER"):
        with pytest.raises(Undone, match=cause):
            transact(sink)
    transact(sink)


def test_a_producer_that_may_not_start_transactions_is_replaced_until_one_may(
    sink: TransactionSink, client: FakeClient
) -> None:
    client.order("init", NOT_AUTHORISED, FENCED, RETRIABLE)
    sink.settle()
    assert client.calls == ["init 1", "init 2", "init 3", "init 3"]


def test_why_transactions_do_not_start_is_told_until_they_do(
    sink: TransactionSink, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(backoff, "wait", lambda _seconds, _stopping: told.append(sink.complaint))
    client.order("init", NOT_AUTHORISED)
    sink.settle()
    assert told == ["TRANSACTIONAL_ID_AUTHORIZATION_FAILED (no)"]
    assert sink.complaint == ""


def test_a_right_that_is_taken_away_is_named_and_makes_a_new_producer(
    sink: TransactionSink, client: FakeClient
) -> None:
    """It is fatal to the client, as a twin would be."""
    for _ in range(2):
        client.order("offsets", KafkaError(NOT_AUTHORISED.code(), "no", True, False, False))
        with pytest.raises(Undone, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
            transact(sink)
        sink.abort()
    transact(sink)
    assert client.made == 3


def test_whoever_stops_does_not_wait_for_the_broker(
    sink: TransactionSink, client: FakeClient, stopping: list[bool]
) -> None:
    stopping.append(True)
    client.order("init", RETRIABLE)
    with pytest.raises(Undone, match="stopping"):
        sink.settle()


def test_a_full_queue_is_waited_for(sink: TransactionSink, client: FakeClient, stopping: list[bool]) -> None:
    sink.open()
    client.buffer_full = 3
    sink.produce([RECORD])
    assert client.calls[-4:] == ["poll 1", "poll 1", "poll 1", "produce 1"]
    client.buffer_full = 1
    stopping.append(True)
    with pytest.raises(Undone, match="stopping"):
        sink.produce([RECORD])


def test_closing_aborts_what_is_open(sink: TransactionSink, client: FakeClient) -> None:
    sink.close()
    assert client.calls == []
    sink.open()
    sink.close()
    sink.close()
    assert client.calls == ["init 1", "begin 1", "abort 1", "purge 1"]


def test_aborting_where_nothing_is_open_is_free(sink: TransactionSink, client: FakeClient) -> None:
    sink.abort()
    transact(sink)
    sink.abort()
    assert not any(call.startswith("abort") for call in client.calls)


# -- at least once -----------------------------------------------------------------------------------------------------


class Deliveries:
    """A `DeliverySink` whose deliveries end as told, and the positions it has committed."""

    def __init__(self, client: FakeClient) -> None:
        self.client = client
        self.positions: list[list[TopicPartition]] = []
        self.stopping = False
        self.unanswered = False
        self.sink = DeliverySink(
            OPTIONS, Metrics.in_memory(), commit_positions=self._commit, stopping=lambda: self.stopping
        )

    def _commit(self, positions: list[TopicPartition]) -> "Future[None]":
        self.client.calls.append("positions")
        done: Future[None] = Future()
        if self.client.errors["positions"]:
            done.set_exception(KafkaException(self.client.errors["positions"].popleft()))
        elif not self.unanswered:
            self.positions.append(positions)
            done.set_result(None)
        return done

    def transact(self, *outcomes: KafkaError | None, outstanding: int = 0) -> None:
        self.sink.open()
        producer = self.sink._producer
        assert isinstance(producer, FakeProducer)
        producer.outcomes.extend(outcomes)
        for _ in range(len(outcomes) + outstanding):
            self.sink.produce([RECORD])
        self.stopping = outstanding > 0
        self.sink.commit(COMMITS)


@pytest.fixture
def deliveries(client: FakeClient) -> Deliveries:
    return Deliveries(client)


def test_positions_are_committed_after_every_delivery_is_confirmed(deliveries: Deliveries) -> None:
    deliveries.transact(None, None)
    [[found]] = deliveries.positions
    assert (found.topic, found.partition, found.offset, found.metadata) == ("content", 0, 7, "p=4;")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([None, None, REFUSED, RETRIABLE]), max_size=4), max_size=6), st.data())
def test_positions_are_committed_exactly_where_nothing_failed_and_nothing_is_outstanding(
    client: FakeClient, attempts: list[list[KafkaError | None]], data: st.DataObject
) -> None:
    deliveries = Deliveries(client)
    for outcomes in attempts:
        outstanding = data.draw(st.integers(0, 2))
        before = len(deliveries.positions)
        complete = not outstanding and all(outcome is None for outcome in outcomes)
        try:
            deliveries.transact(*outcomes, outstanding=outstanding)
        except Undone:
            deliveries.sink.abort()
        assert (len(deliveries.positions) - before == 1) == complete


def test_what_could_not_be_written_is_named_with_its_topic(deliveries: Deliveries) -> None:
    with pytest.raises(Undone) as undone:
        deliveries.transact(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not allowed"))
    assert undone.value.cause == "TOPIC_AUTHORIZATION_FAILED"
    assert undone.value.said == "TOPIC_AUTHORIZATION_FAILED (writing tags: not allowed)"


def test_what_failed_before_an_abort_does_not_spoil_the_next_attempt(
    deliveries: Deliveries, client: FakeClient
) -> None:
    with pytest.raises(Undone, match="MSG_SIZE_TOO_LARGE"):
        deliveries.transact(None, REFUSED)
    deliveries.sink.abort()
    deliveries.transact(None)
    assert client.made == 2
    assert len(deliveries.positions) == 1


def test_a_commit_that_is_refused_undoes(deliveries: Deliveries, client: FakeClient) -> None:
    client.order("positions", KafkaError(KafkaError.ILLEGAL_GENERATION))
    with pytest.raises(Undone, match="ILLEGAL_GENERATION"):
        deliveries.transact(None)
    assert deliveries.positions == []


def test_a_commit_that_is_not_answered_is_waited_for_until_the_end(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is frozen for minutes: neither a failure nor a reason to go on."""
    monkeypatch.setattr(delivery_sink, "CALL_S", 0.001)
    deliveries.unanswered = True
    looks = iter([False] * 100 + [True])
    deliveries.sink._stopping = lambda: next(looks)
    with pytest.raises(Undone, match="stopping"):
        deliveries.transact(None)
    assert next(looks, None) is None


def test_where_no_position_moves_nothing_is_committed(deliveries: Deliveries) -> None:
    """A processor may lag behind: a client refuses a commit of no positions, so none is asked for."""
    deliveries.sink.open()
    deliveries.sink.commit({})
    assert "positions" not in deliveries.client.calls


def test_closing_drops_what_is_queued(deliveries: Deliveries, client: FakeClient) -> None:
    deliveries.sink.settle()
    deliveries.sink.close()
    assert client.calls == []
    deliveries.sink.open()
    deliveries.sink.produce([RECORD])
    deliveries.sink.close()
    assert client.calls == ["produce 1", "purge 1"]
    assert deliveries.positions == []
