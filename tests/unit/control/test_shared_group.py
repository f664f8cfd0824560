"""Who is in the group, for many who look at once: one asks, a few wait, nobody else does."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from services import wait_until

from streamtag.control.group import GroupReader
from streamtag.control.shared_group import SharedGroup
from streamtag.errors import UnavailableError
from streamtag.settings import KafkaSettings

Said = frozenset[str] | Exception
MEMBERS, OTHERS = frozenset({"m-1"}), frozenset({"m-1", "m-2"})
AWAY = UnavailableError("Kafka is away")
LONG_S = 60.0


class FakeKafka(GroupReader):
    """Says what it is told to; holds each question until then."""

    def __init__(self) -> None:
        super().__init__(KafkaSettings.model_validate({}), "g")
        self.questions: list[Future[frozenset[str]]] = []

    def members(self, timeout_s: float) -> frozenset[str]:
        self.questions.append(Future())
        return self.questions[-1].result(timeout_s)

    def say(self, said: Said) -> None:
        wait_until(lambda: self.questions and not self.questions[-1].done(), 30, "a question")
        if isinstance(said, Exception):
            self.questions[-1].set_exception(said)
        else:
            self.questions[-1].set_result(said)


class OneAtATime(FakeKafka):
    """Answers at once, and takes it ill where two ask at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.place = threading.Semaphore(1)

    def members(self, timeout_s: float) -> frozenset[str]:
        assert self.place.acquire(blocking=False)
        time.sleep(0)
        self.place.release()
        return MEMBERS


class Rig:
    def __init__(self) -> None:
        self.kafka, self.now = FakeKafka(), 100.0
        self.group = SharedGroup(self.kafka, lambda: self.now)
        self.pool = ThreadPoolExecutor(16)

    def look(self, timeout_s: float = LONG_S) -> Future[frozenset[str]]:
        return self.pool.submit(self.group.members, timeout_s)

    def asked(self, said: Said) -> None:
        """One looks, and Kafka says this."""
        one = self.look()
        self.kafka.say(said)
        one.exception(LONG_S)

    def under_way(self, waiting: int) -> list[Future[frozenset[str]]]:
        """One that asks Kafka, and others that wait for its answer."""
        count = len(self.kafka.questions)
        found = [self.look()]
        wait_until(lambda: len(self.kafka.questions) > count, 30, "a question")
        found += [self.look() for _ in range(waiting)]
        wait_until(lambda: self.group._waiting == waiting, 30, "those who wait")
        return found


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.pool.shutdown(wait=False, cancel_futures=True)


def told(look: Callable[[], Future[frozenset[str]]]) -> str:
    """Why one who looks is told nothing, at once."""
    with pytest.raises(UnavailableError) as error:
        look().result(LONG_S)
    return error.value.message


def test_those_who_look_while_one_asks_take_its_answer(rig: Rig) -> None:
    looks = rig.under_way(waiting=4)
    rig.kafka.say(MEMBERS)
    assert [look.result(LONG_S) for look in looks] == [MEMBERS] * 5
    assert len(rig.kafka.questions) == 1


def test_only_a_few_wait_and_others_are_told_at_once_that_it_is_unknown(rig: Rig) -> None:
    looks = rig.under_way(waiting=4)
    for _ in range(20):
        assert "has not told yet" in told(rig.look)
    rig.kafka.say(AWAY)
    assert [str(look.exception(LONG_S)) for look in looks] == ["Kafka is away"] * 5
    assert len(rig.kafka.questions) == 1


def test_who_waits_does_so_no_longer_than_its_own_time(rig: Rig) -> None:
    looks = rig.under_way(waiting=0)
    assert "did not tell in time" in told(lambda: rig.look(timeout_s=0.01))
    rig.kafka.say(MEMBERS)
    assert looks[0].result(LONG_S) == MEMBERS


def test_an_answer_holds_for_half_a_second(rig: Rig) -> None:
    rig.asked(MEMBERS)
    rig.now += 0.4
    assert rig.look().result(LONG_S) == MEMBERS
    rig.now += 0.2
    looks = rig.under_way(waiting=1)
    rig.kafka.say(OTHERS)
    assert [look.result(LONG_S) for look in looks] == [OTHERS] * 2
    assert len(rig.kafka.questions) == 2


def test_after_a_failure_nobody_asks_for_two_seconds_and_then_one_alone(rig: Rig) -> None:
    rig.asked(AWAY)
    rig.now += 1.9
    assert told(rig.look) == "Kafka is away"
    assert len(rig.kafka.questions) == 1
    rig.now += 0.2
    again = rig.under_way(waiting=0)
    assert told(rig.look) == "Kafka is away", "while it is asked again, too"
    rig.kafka.say(MEMBERS)
    assert (again[0].result(LONG_S), rig.look().result(LONG_S)) == (MEMBERS, MEMBERS)


def test_a_question_that_ends_in_a_surprise_leaves_nobody_waiting_and_is_asked_anew(rig: Rig) -> None:
    asks, waits = rig.under_way(waiting=1)
    rig.kafka.say(ZeroDivisionError())
    assert isinstance(asks.exception(LONG_S), ZeroDivisionError)
    assert isinstance(waits.exception(LONG_S), UnavailableError)
    rig.asked(MEMBERS)
    assert rig.look().result(LONG_S) == MEMBERS


def test_each_of_many_who_look_is_told(rig: Rig) -> None:
    """Whoever comes first, just before or just after the answer: nobody is forgotten, and Kafka hears one at a time."""
    together, group = threading.Barrier(16), SharedGroup(OneAtATime(), lambda: rig.now)

    def look() -> int:
        heard = 0
        for _ in range(200):
            together.wait(LONG_S)
            rig.now += 1
            try:
                heard += group.members(LONG_S) == MEMBERS
            except UnavailableError:
                heard += 1
        return heard

    assert [one.result(LONG_S) for one in [rig.pool.submit(look) for _ in range(16)]] == [200] * 16
