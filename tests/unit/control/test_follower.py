"""The thread under every watcher: it looks at once, at every word and every poll, and nothing it meets ends it."""

import threading
import time
from collections.abc import Callable, Iterator

import fakeredis
import pytest
from control_plane import new_store
from services import wait_until

from streamtag.control.follower import Follower
from streamtag.control.subscription import Subscription
from streamtag.errors import UnavailableError
from streamtag.settings import RedisSettings


class Rig:
    """Counts looks, which go wrong as often as the test says; keeps what the follower tells."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.store = new_store(self.server)
        self.looks = 0
        self.wrong: list[Exception] = []
        self.failures: list[Exception] = []
        self.outages: list[UnavailableError] = []
        self.deaf: list[str] = []
        self.running: list[Follower] = []
        self.goes_on = threading.Event()  # cleared: a look hangs
        self.goes_on.set()

    def start(self, poll_interval_s: float, away: Callable[[UnavailableError], float] | None = None) -> None:
        settings = RedisSettings.model_validate({"poll_interval_s": poll_interval_s})
        made = Follower(
            self.store, settings, self.look, failed=self.failures.append, away=away, deaf=self.deaf.append, name="test"
        )
        self.running.append(made)
        made.start()

    def look(self) -> None:
        self.goes_on.wait()
        if self.wrong:
            raise self.wrong.pop(0)
        self.store.heads()
        self.looks += 1

    def looked(self, times: int) -> None:
        wait_until(lambda: self.looks >= times, 5, f"{times} looks")

    def say(self) -> None:
        """Word of a change, to whoever listens."""
        self.store.client.publish(self.store.keys.channel, b"a change")

    def soon(self, error: UnavailableError) -> float:
        self.outages.append(error)
        return 0.01


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.server.connected = True
    made.goes_on.set()
    for follower in made.running:
        follower.close()
        assert not follower._thread.is_alive()


def test_it_looks_at_once_and_at_every_poll(rig: Rig) -> None:
    rig.start(0.02)
    rig.looked(5)


def test_it_says_since_when_it_has_been_looking(rig: Rig) -> None:
    rig.start(0.02)
    (follower,) = rig.running
    rig.looked(1)
    first = follower.turned_at
    wait_until(lambda: follower.turned_at > first, 5, "a turn")
    rig.goes_on.clear()
    wait_until(lambda: time.monotonic() > follower.turned_at + 0.5, 5, "a look that hangs")
    stood = follower.turned_at
    rig.goes_on.set()
    wait_until(lambda: follower.turned_at > stood, 5, "it turns again")


def test_it_looks_at_every_word_of_a_change(rig: Rig) -> None:
    rig.start(60)
    rig.looked(1)
    rig.say()
    rig.looked(2)


def test_an_outage_is_told_and_tried_again_as_soon_as_wanted_and_then_it_listens_anew(rig: Rig) -> None:
    rig.server.connected = False
    rig.start(60, rig.soon)
    wait_until(lambda: len(rig.outages) >= 3, 5, "three tries")
    assert rig.looks == 0
    rig.server.connected = True
    rig.looked(1)
    rig.say()
    rig.looked(2)
    rig.wrong.append(UnavailableError("Redis is away"))
    rig.say()
    wait_until(lambda: str(rig.outages[-1]) == "Redis is away", 5, "the outage of a look")
    rig.looked(3)
    assert not rig.failures


def test_whoever_says_nothing_of_an_outage_is_followed_again_after_a_poll(rig: Rig) -> None:
    rig.wrong.append(UnavailableError("Redis is away"))
    rig.start(0.02)
    rig.looked(1)
    assert not rig.failures


def test_whoever_cannot_listen_looks_at_every_poll(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    full = UnavailableError("Redis has no room for another client")

    def refuse(_subscription: Subscription) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(Subscription, "ensure", refuse)
        rig.start(0.02, rig.soon)
        rig.looked(3)
        assert set(rig.deaf) == {full.message}
    wait_until(lambda: rig.deaf[-1] == "", 5, "it listens")
    assert not rig.outages
    assert not rig.failures


def test_no_defect_ends_it(rig: Rig) -> None:
    rig.wrong += [RuntimeError("a look"), UnavailableError("Redis is away")]
    rig.start(0.02, lambda _error: 1 / 0)
    rig.looked(1)
    assert [type(error) for error in rig.failures] == [RuntimeError, ZeroDivisionError]
