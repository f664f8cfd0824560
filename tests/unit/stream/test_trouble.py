"""Trouble with the brokers: told once a minute and as long as it lasts; fatal only where no retry can help."""

import logging

import pytest
from confluent_kafka import KafkaError

from streamtag.errors import StreamtagError
from streamtag.stream.client_log import ClientLog
from streamtag.stream.trouble import Trouble
from streamtag.telemetry.metrics import InMemoryMetrics, Metrics

REFUSED = KafkaError(KafkaError._TRANSPORT, "connection refused")
DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "all brokers are down")
# So librdkafka 2.16 tells it: in place of a message, with the broker's words in its text only.
HELD = KafkaError(KafkaError._FATAL, f"Fatal error: {KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()}")
FENCED = KafkaError(KafkaError._FATAL, "Fatal error: Broker: Static consumer fenced by other consumer")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> InMemoryMetrics:
    return Metrics.in_memory()


@pytest.fixture
def trouble(metrics: Metrics, clock: Clock) -> Trouble:
    return Trouble(metrics, clock)


def test_what_comes_a_thousand_times_in_turns_is_two_lines_and_counted(
    trouble: Trouble, metrics: InMemoryMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1_000):
        trouble.note(REFUSED, "client")
        trouble.note(DOWN, "client")
    assert len(caplog.records) == 2
    assert metrics.value("streamtag.kafka.errors", code="_TRANSPORT") == 1_000


def test_trouble_is_over_when_the_broker_answers(trouble: Trouble) -> None:
    trouble.note(DOWN, "client")
    assert "all brokers are down" in (trouble.reason or "")
    trouble.check()
    trouble.over()
    assert trouble.reason is None


def test_an_answer_does_not_end_what_stands_until_it_has_not_come_for_a_while(trouble: Trouble, clock: Clock) -> None:
    for _ in range(10):
        trouble.note(KafkaError(KafkaError._BAD_COMPRESSION), "reading content/0 at 7", stands=True, hint="Raise it.")
        clock.now += 0.5
        trouble.over()
        assert "content/0 at 7" in (trouble.reason or "")
    clock.now += 3.0
    trouble.over()
    assert trouble.reason is None


@pytest.mark.parametrize(
    "code", [KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.GROUP_MAX_SIZE_REACHED, KafkaError.UNKNOWN]
)
def test_what_kip_848_clients_call_fatal_and_others_wait_out_passes(trouble: Trouble, code: int) -> None:
    text = f"Fatal error: {KafkaError(KafkaError._FATAL).str()}: {KafkaError(code).str()}"
    trouble.note(KafkaError(KafkaError._FATAL, text), "polling")
    assert trouble.passing()
    assert not trouble.unreleased()
    trouble.survived()
    trouble.check()
    assert KafkaError(code).str() in (trouble.reason or "")


def test_what_stays_wrong_is_fatal_and_blames_no_twin(trouble: Trouble) -> None:
    trouble.note(KafkaError(KafkaError._FATAL, KafkaError(KafkaError.UNSUPPORTED_VERSION).str()), "polling")
    assert not trouble.passing()
    with pytest.raises(StreamtagError) as caught:
        trouble.check()
    assert "group_instance_id" not in caught.value.hint


@pytest.mark.parametrize("error", [HELD, FENCED, KafkaError(KafkaError._FENCED, "fenced", True)])
def test_what_no_retry_can_mend_is_fatal(trouble: Trouble, error: KafkaError) -> None:
    trouble.note(error, "polling")
    assert trouble.unreleased() == (error is HELD)
    with pytest.raises(StreamtagError, match=r"failed for good.*") as caught:
        trouble.check()
    assert "group_instance_id" in caught.value.hint


def test_a_consumer_that_was_replaced_is_doubted_for_a_while(trouble: Trouble, clock: Clock) -> None:
    trouble.note(HELD, "polling")
    trouble.survived()
    trouble.check()
    trouble.over()
    assert trouble.reason is not None
    clock.now += 4.0
    trouble.over()
    assert trouble.reason is None


def test_the_client_says_each_kind_of_thing_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    log = ClientLog(logging.getLogger("streamtag.test"))
    for i in range(100):
        client = f"worker#producer-{i // 10}"  # made anew now and then
        log.log(logging.ERROR, "%s [%s] %s", "FAIL", client, f"refused after {i} ms")
        log.log(logging.WARNING, "%s [%s] %s", "REQTMOUT", client, "timed out")
    assert [record.getMessage() for record in caplog.records] == [
        "FAIL [worker#producer-0] refused after 0 ms",
        "REQTMOUT [worker#producer-0] timed out",
    ]


def test_the_client_names_each_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    log = ClientLog(logging.getLogger("streamtag.test"))
    for i in range(10):
        for broker in ("one:9092/1", "two:9092/2"):
            log.log(logging.ERROR, "%s [%s] %s", "FAIL", "worker", f"[thrd:{broker}]: {broker}: refused after {i} ms")
    assert [record.getMessage().partition("]: ")[2] for record in caplog.records] == [
        "one:9092/1: refused after 0 ms",
        "two:9092/2: refused after 0 ms",
    ]


def test_who_may_not_join_the_group_is_told_until_its_coordinator_answers(trouble: Trouble) -> None:
    """The client tells it once, and topics can be listed all the while."""
    trouble.note(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "Group authorization failed"), "polling")
    trouble.over(group=False)
    assert trouble.reason == "polling: GROUP_AUTHORIZATION_FAILED (Group authorization failed)"
    trouble.over()
    assert trouble.reason is None
