"""An app whose client has given its group up must not stand by as if nothing were: the real client, no broker."""

import asyncio
import queue
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator  # type: ignore[import-untyped]
from aiokafka.consumer.subscription_state import SubscriptionState  # type: ignore[import-untyped]
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from streamtag.stats.membership import Neglect, check_membership, watch_membership


class Client:
    """Fails as aiokafka's does when metadata names no broker."""

    def __init__(self, *, fails: bool) -> None:
        self.cluster = MagicMock()
        self._fails = fails

    def add_topic(self, _topic: str) -> None:
        pass

    def set_topics(self, _topics: object) -> Any:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    async def coordinator_lookup(self, *_: object) -> int:
        if self._fails:
            raise AssertionError("Did we not perform bootstrap?")
        await asyncio.sleep(3_600)
        return 0


async def membership(*, fails: bool) -> None:
    subscription = SubscriptionState()
    subscription.subscribe({"panes"})
    subscription.register_fetch_waiters(set())
    coordinator = GroupCoordinator(Client(fails=fails), subscription, group_id="g")
    task = coordinator._coordination_task
    await asyncio.wait([task], timeout=10 if fails else 0.1)
    try:
        # As Faust's consumer holds it; the attributes are private, so they are looked for here.
        assert "_consumer" in AIOKafkaConsumerThread.__annotations__
        check_membership(SimpleNamespace(_thread=SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator))))
    finally:
        task.cancel()


def test_a_client_that_has_given_its_group_up_is_noticed() -> None:
    with pytest.raises(Exception, match="Did we not perform bootstrap"):
        asyncio.run(membership(fails=True))


def test_a_client_that_looks_for_its_group_is_left_alone() -> None:
    asyncio.run(membership(fails=False))
    check_membership(None)


def test_it_is_noticed_before_faust_has_started_too() -> None:
    """Both apps of a campaign had lost their group while Faust, which begins its timers later, waited for it."""
    consumers: list[Any] = [None]
    ends: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    thread = watch_membership(lambda: consumers[-1], ends.put, every_s=0.01)
    coordinator = SimpleNamespace(_coordination_task=Ended())
    consumers.append(SimpleNamespace(_thread=SimpleNamespace(_consumer=SimpleNamespace(_coordinator=coordinator))))
    assert ends.get(timeout=30) is Ended.error
    thread.join(30)
    assert not thread.is_alive()
    assert ends.empty()


class Ended:
    """A task that an error has ended."""

    error = AssertionError("Did we not perform bootstrap?")

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def exception(self) -> BaseException:
        return self.error


def test_a_log_that_grows_and_that_nobody_adds_up_is_noticed() -> None:
    neglect = Neglect(most=3)
    assert [neglect.seen(7, end) for end in (9, 9, 10, 11)] == [False, False, False, True]


def test_nothing_is_neglected_where_somebody_goes_on_or_nothing_is_left() -> None:
    neglect = Neglect(most=2)
    assert not any(neglect.seen(position, position + 5) for position in range(20))
    assert not any(neglect.seen(25, 25) for _ in range(20))
    assert [neglect.seen(25, 26), neglect.seen(26, 27), neglect.seen(26, 28)] == [False, False, False]
