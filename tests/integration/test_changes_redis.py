"""Change requests and the audit chain on a real Redis: many at once, and a Redis killed in the middle of it."""

import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from change_rig import Rig
from services import Redis

from streamtag.control.change_requests import ChangeRequests
from streamtag.control.freeze import FrozenError
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.devstack.redis import RedisServer
from streamtag.domain.audit_chain import verify
from streamtag.domain.change import State
from streamtag.errors import ConflictError, RefusedError, StreamtagError
from streamtag.settings import RedisSettings

pytestmark = pytest.mark.services


@pytest.fixture
def make_rig(namespace: str) -> Callable[[str], Rig]:
    def make(url: str) -> Rig:
        settings = {"url": url, "namespace": namespace, "timeout_s": 1.0}
        return Rig(ControlStore(RedisSettings.model_validate(settings)))

    return make


def chain_stands(store: ControlStore) -> int:
    """How many entries were proven."""
    found = verify(store.audit_log.entries(), store.audit_log.head())
    assert found.fault is None, found.fault
    return found.entries


def test_of_many_who_publish_on_one_label_one_wins_and_the_others_learn_who(
    make_rig: Callable[[str], Rig], redis_server: Redis
) -> None:
    rig = make_rig(redis_server.url).seed()
    for n in range(16):
        rig.open(Who(f"operator-{n}", "my turn"), spam=(51 + n) / 100)

    def publish(number: int) -> str:
        try:
            return make_rig(redis_server.url).requests.publish(number, "anna").request.author
        except ConflictError as error:
            return error.message

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(publish, range(1, 17)))
    (winner,) = (text for text in results if " " not in text)
    losers = [text for text in results if " " in text]
    assert len(losers) == 15
    assert all(text.startswith(f"{winner} was first") for text in losers)
    page = rig.requests.log.page(50, states=[State.LIVE])
    assert [request.author for request in page] == [winner]
    assert chain_stands(rig.store) == 18


def test_a_second_person_approves_once_however_many_press_at_once(
    make_rig: Callable[[str], Rig], redis_server: Redis
) -> None:
    rig = make_rig(redis_server.url).seed()
    rig.open(threat=0.6)

    def approve(n: int) -> bool:
        try:
            make_rig(redis_server.url).requests.say(1, "approve", Who(f"boss-{n}", "fine"))
        except (ConflictError, RefusedError):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(approve, range(8))) == 1
    assert [step.action for step in rig.requests.log.find(1)[0].steps] == ["approve"]
    assert chain_stands(rig.store) == 3


def test_a_freeze_lets_nothing_through_that_comes_after_it(make_rig: Callable[[str], Rig], redis_server: Redis) -> None:
    rig = make_rig(redis_server.url).seed()
    stop, committed, refused = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def change(n: int) -> None:
        releases = make_rig(redis_server.url).releases
        dice = random.Random(n)
        while not stop.is_set():
            wanted = {"spam": round(dice.uniform(0.51, 0.6), 3)}
            try:
                if releases.set_thresholds(wanted, Who(f"o{n}", "again")).committed:
                    committed.release()
            except ConflictError:  # another of them was first
                continue
            except FrozenError:
                refused.release()

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(change, n) for n in range(4)]
        try:
            assert committed.acquire(timeout=60)
            rig.freezes.begin(Who("carla", "stop"))
            frozen_at = rig.store.heads().release
            rig.releases.restore(1, Who("carla", "back"))
            for _ in range(20):
                assert refused.acquire(timeout=60)
        finally:
            stop.set()
        for job in jobs:
            job.result()
    later = [entry.fields["action"] for entry in rig.store.audit(500)]
    assert later[: later.index("freeze")] == ["restore"]
    assert rig.store.heads().release - frozen_at == 1
    chain_stands(rig.store)


def test_a_redis_killed_in_the_middle_of_edits_holds_no_half_made_change(
    make_rig: Callable[[str], Rig], own_redis: RedisServer
) -> None:
    rig = make_rig(own_redis.url).seed()
    stop, done = threading.Event(), threading.Semaphore(0)

    def work(n: int) -> None:
        mine = make_rig(own_redis.url)
        mine.time = datetime.now(UTC)
        dice, me, other = random.Random(n), Who(f"o{n}", "edit"), Who(f"boss-{n}", "fine")
        while not stop.is_set():
            with suppress(StreamtagError):
                _edit(mine, mine.requests, dice, me, other)
            done.release()

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(work, n) for n in range(4)]
        for _ in range(3):
            for _ in range(20):
                assert done.acquire(timeout=60)
            own_redis.kill()
            own_redis.start()
        for _ in range(20):
            assert done.acquire(timeout=60)
        stop.set()
        for job in jobs:
            job.result()

    assert chain_stands(rig.store) > 20
    made: dict[str, Mapping[str, str]] = {}
    for entry in rig.store.audit(100_000):
        if "request" in entry.fields:
            made.setdefault(entry.fields["request"], entry.fields)
    requests = rig.requests.log.page(100_000)
    assert len(requests) == len(made)
    releases = {stored.document.number: stored.document for stored in rig.store.releases()}
    for request in requests:
        assert made[str(request.number)]["request_state"] == request.state, "the request and its record agree"
        published = [step for step in request.steps if step.action == "publish"]
        assert (request.made is not None) == bool(published)
        if request.made is not None:
            document = releases[request.made.number]
            assert (document.author, document.note) == (request.author, f"change {request.number}")
    notes = [document.note for document in releases.values() if document.note.startswith("change ")]
    assert len(notes) == len(set(notes)), "none was made twice"


def _edit(rig: Rig, requests: ChangeRequests, dice: random.Random, me: Who, other: Who) -> None:
    label, cutoff = dice.choice(["spam", "insult", "threat"]), round(dice.uniform(0.4, 0.8), 3)
    opened = requests.open(rig.moves(**{label: cutoff}), me, lasts=timedelta(seconds=1))
    if opened.needs:
        requests.say(opened.number, "approve", other)
    requests.publish(opened.number, me.author)
    if dice.random() < 0.5:
        rig.time += timedelta(seconds=2)
        requests.expire(opened.number)
    else:
        requests.restore(opened.number, other)
