"""The control plane on a real Redis: two operators at once, and a Redis killed, emptied, rewound, frozen."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from confluent_kafka import Consumer
from services import Kafka, Redis, Topics, wait_until

from streamtag.control.changes import Outcome, ReleaseChanges
from streamtag.control.fleet import Heartbeat, HeartbeatSender
from streamtag.control.group import GroupReader
from streamtag.control.liveness import LivenessProbe
from streamtag.control.proposal import Who
from streamtag.control.snapshot import SnapshotFile
from streamtag.control.store import ControlStore, Current
from streamtag.control.watcher import ReleaseWatcher
from streamtag.devstack.redis import RedisServer
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import ConflictError, UnavailableError
from streamtag.settings import Settings
from streamtag.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from streamtag.model.scorer import Scorer

pytestmark = pytest.mark.services

BUNDLE = BundleRef("demo", "1", "a" * 64)
LABELS = ("spam", "insult")
DEFAULTS = ThresholdSet({"spam": 0.5, "insult": 0.6})
ANNA = Who("anna", "a test")


class Labels:
    """A scorer as far as the control plane knows one."""

    labels = LABELS


class FirstBundle:
    ref = BUNDLE
    labels = LABELS
    default_thresholds = DEFAULTS
    critical: tuple[str, ...] = ()


@dataclass
class Plane:
    """A control plane on one Redis, and the watchers of one host."""

    url: str
    namespace: str
    state_dir: Path
    watchers: list[ReleaseWatcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = Settings.model_validate(
            {
                "state_dir": self.state_dir,
                "redis": {
                    "url": self.url,
                    "namespace": self.namespace,
                    "timeout_s": 0.5,
                    "poll_interval_s": 0.2,
                    "heartbeat_s": 0.2,
                },
            }
        )
        self.store = ControlStore(self.settings.redis)
        self.changes = self.operator()

    def operator(self) -> ReleaseChanges:
        """With connections of its own."""
        return ReleaseChanges(ControlStore(self.settings.redis), max_step=1.0)

    def seed(self) -> None:
        self.changes.seed(BUNDLE, LABELS, DEFAULTS)

    def watch(self) -> ReleaseWatcher:
        watcher = ReleaseWatcher(
            self.settings,
            load=lambda _bundle: cast("Scorer", Labels()),
            metrics=Metrics.in_memory(),
            first_bundle=FirstBundle,
        )
        self.watchers.append(watcher)
        watcher.start()
        assert watcher.wait_first(10)
        return watcher

    def present(self) -> Current:
        found = self.store.current()
        assert found is not None
        return found


@pytest.fixture
def make_plane(tmp_path: Path, namespace: str) -> Iterator[Callable[[str], Plane]]:
    made: list[Plane] = []

    def make(url: str) -> Plane:
        made.append(Plane(url, namespace, tmp_path / "state"))
        return made[-1]

    yield make
    for plane in made:
        for watcher in plane.watchers:
            watcher.close()


@pytest.fixture
def plane(make_plane: Callable[[str], Plane], redis_server: Redis) -> Plane:
    """On the session's Redis."""
    return make_plane(redis_server.url)


def decides_by(watcher: ReleaseWatcher, number: int) -> Callable[[], bool]:
    def check() -> bool:
        found = watcher.current()
        return found is not None and found.ref.number == number

    return check


def says(watcher: ReleaseWatcher, text: str) -> Callable[[], bool]:
    return lambda: any(text in reason for reason in watcher.status().reasons)


def test_of_fifty_operators_at_once_one_wins_each_round_and_every_loser_learns_who(plane: Plane) -> None:
    plane.seed()
    operators = 50
    start = threading.Barrier(operators)

    def once(n: int) -> Outcome | ConflictError:
        changes = plane.operator()
        start.wait()
        try:
            return changes.set_thresholds({"spam": (100 + n) / 1000}, Who(f"operator-{n:02}", "my turn"))
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(operators) as pool:
        results = list(pool.map(once, range(operators)))
    won = [r.current for r in results if isinstance(r, Outcome)]
    lost = [r for r in results if isinstance(r, ConflictError)]
    numbers = sorted(release.id.number for release in won)
    assert numbers == list(range(2, 2 + len(won))), "every number exactly once"
    assert sorted(release.ref.revision for release in won) == numbers
    assert lost, "fifty at once must collide"
    winners = {release.release.document.author for release in won}
    assert all(any(error.message.startswith(f"{winner} was first") for winner in winners) for error in lost)
    assert {r.document.author for r in plane.store.revisions()} == winners | {"streamtag (first start)"}
    assert len(plane.store.audit(1000)) == 1 + len(won)


def test_operators_who_try_again_all_get_through_and_nothing_is_lost(plane: Plane) -> None:
    plane.seed()

    def until_committed(n: int) -> int:
        changes = plane.operator()
        while True:
            try:
                return changes.set_thresholds({"spam": (100 + n) / 1000}, Who(f"o{n}", "again")).current.id.number
            except ConflictError:
                continue

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(until_committed, range(50)))
    assert sorted(numbers) == list(range(2, 52))
    history = list(plane.store.revisions())
    assert [revision.document.revision for revision in history] == list(range(51, 0, -1))
    assert len({revision.document.author for revision in history}) == 51


def test_changes_arrive_by_word_of_them_and_not_by_the_poll(plane: Plane) -> None:
    patient = plane.settings.redis.model_copy(update={"poll_interval_s": 60.0})
    plane.settings = plane.settings.model_copy(update={"redis": patient})
    watchers = [plane.watch() for _ in range(3)]
    for n in range(100):
        committed = plane.changes.set_thresholds({"spam": (100 + n) / 1000}, ANNA).current.id.number
        for watcher in watchers:
            wait_until(decides_by(watcher, committed), 30, f"release {committed}", every_s=0.0005)


def test_a_killed_redis_changes_nothing_and_comes_back(
    make_plane: Callable[[str], Plane], own_redis: RedisServer
) -> None:
    plane = make_plane(own_redis.url)
    watcher = plane.watch()
    plane.changes.set_thresholds({"spam": 0.6}, ANNA)
    wait_until(decides_by(watcher, 2), 5, "release 2")
    own_redis.kill()
    wait_until(lambda: not watcher.status().ready, 10, "unready after the grace")
    assert decides_by(watcher, 2)()
    with pytest.raises(UnavailableError):
        plane.changes.set_thresholds({"spam": 0.7}, ANNA)
    restarted = plane.watch()
    found = restarted.current()
    assert found is not None
    assert (found.ref.number, found.source) == (2, "snapshot")
    own_redis.start()
    for each in (watcher, restarted):
        wait_until(lambda each=each: each.status().ready, 10, "ready again")  # type: ignore[misc]
    plane.operator().set_thresholds({"spam": 0.7}, ANNA)
    for each in (watcher, restarted):
        wait_until(decides_by(each, 3), 5, "release 3")


def test_a_frozen_redis_never_holds_up_the_hot_path(make_plane: Callable[[str], Plane], own_redis: RedisServer) -> None:
    plane = make_plane(own_redis.url)
    watcher = plane.watch()
    own_redis.pause()
    try:
        wait_until(says(watcher, "did not answer in time"), 10, "the outage is said")
        begun = time.perf_counter()
        for _ in range(10_000):
            assert watcher.current() is not None
            watcher.status()
        assert time.perf_counter() - begun < 60, "asking once would take hours for all of them"
        wait_until(lambda: not watcher.status().ready, 10, "unready after the grace")
        begun = time.perf_counter()
        with pytest.raises(UnavailableError, match="did not answer in time"):
            plane.changes.set_thresholds({"spam": 0.6}, ANNA)
        assert time.perf_counter() - begun < 30
    finally:
        own_redis.resume()
    wait_until(lambda: watcher.status().ready, 10, "ready again")
    plane.operator().set_thresholds({"spam": 0.6}, ANNA)
    wait_until(decides_by(watcher, 2), 5, "release 2")


def test_a_redis_that_comes_back_empty_is_restored_by_a_person_only(
    make_plane: Callable[[str], Plane], own_redis: RedisServer
) -> None:
    plane = make_plane(own_redis.url)
    watcher = plane.watch()
    plane.changes.set_thresholds({"spam": 0.6}, ANNA)
    wait_until(decides_by(watcher, 2), 5, "release 2")
    own_redis.kill()
    shutil.rmtree(own_redis.data_dir / "appendonlydir")
    own_redis.start()
    wait_until(says(watcher, "Redis is empty"), 10, "a reason")
    restarted = plane.watch()
    wait_until(says(restarted, "Redis is empty"), 10, "a reason after a restart")
    assert decides_by(restarted, 2)()
    assert ControlStore(plane.settings.redis).heads().blank, "nobody seeds it"
    snapshot = SnapshotFile(plane.state_dir, plane.namespace).read().current
    assert snapshot is not None
    plane.operator().restore_snapshot(snapshot, ANNA)
    for each in (watcher, restarted):
        wait_until(decides_by(each, 3), 5, "the restored release")
        wait_until(lambda each=each: each.status().ready, 5, "ready")  # type: ignore[misc]
        found = each.current()
        assert found is not None
        assert found.thresholds.labels["spam"] == 0.6


def test_a_redis_restored_from_an_older_copy_is_not_followed(
    make_plane: Callable[[str], Plane], own_redis: RedisServer, tmp_path: Path
) -> None:
    plane = make_plane(own_redis.url)
    watcher = plane.watch()
    plane.changes.set_thresholds({"spam": 0.55}, ANNA)
    own_redis.stop()
    shutil.copytree(own_redis.data_dir / "appendonlydir", tmp_path / "copy")
    own_redis.start()
    plane.operator().set_thresholds({"spam": 0.6}, ANNA)
    plane.operator().set_thresholds({"spam": 0.65}, ANNA)
    wait_until(decides_by(watcher, 4), 10, "release 4")
    own_redis.kill()
    shutil.rmtree(own_redis.data_dir / "appendonlydir")
    shutil.copytree(tmp_path / "copy", own_redis.data_dir / "appendonlydir")
    own_redis.start()
    wait_until(says(watcher, "restored from an older state"), 10, "a reason")
    # Numbers 3 and 4 are given a second time, with other content: not what was good here.
    plane.operator().set_thresholds({"insult": 0.7}, ANNA)
    plane.operator().set_thresholds({"insult": 0.8}, ANNA)
    wait_until(says(watcher, "its champion is release 4"), 10, "the reused number is seen through")
    found = watcher.current()
    assert found is not None
    assert found.thresholds.labels == {"spam": 0.65, "insult": 0.6}
    assert not watcher.status().ready
    snapshot = SnapshotFile(plane.state_dir, plane.namespace).read().current
    assert snapshot is not None
    plane.operator().restore_snapshot(snapshot, ANNA)
    wait_until(decides_by(watcher, 5), 5, "the restored release")
    wait_until(lambda: watcher.status().ready, 5, "ready")
    found = watcher.current()
    assert found is not None
    assert found.thresholds.labels == {"spam": 0.65, "insult": 0.6}


def test_a_full_redis_refuses_the_change_and_keeps_the_champion(
    make_plane: Callable[[str], Plane], own_redis: RedisServer
) -> None:
    plane = make_plane(own_redis.url)
    plane.seed()
    plane.store.client.config_set("maxmemory", 1)
    with pytest.raises(UnavailableError, match="refused"):
        plane.changes.set_thresholds({"spam": 0.6}, ANNA)
    plane.store.client.config_set("maxmemory", 0)
    assert plane.present().id.number == 1
    assert len(plane.store.audit()) == 1


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_live_everywhere_is_measured_against_the_groups_members(
    plane: Plane, kafka: Kafka, topics: Topics, protocol: str
) -> None:
    group = f"group-{plane.namespace}-{protocol}"
    settings = plane.settings.model_copy(
        update={
            "kafka": plane.settings.kafka.model_copy(update={"bootstrap_servers": kafka.bootstrap}),
            "tagger": plane.settings.tagger.model_copy(update={"group": group}),
        }
    )
    plane.seed()
    probe = LivenessProbe(plane.store, settings)
    ref = plane.present().ref
    # A fresh broker first has to make its topic of offsets; until then it cannot tell.
    wait_until(lambda: "no members" in probe.check(ref).reasons[0], 60, "an empty group")
    assert probe.check(ref).answer == "unknown"

    options = {"bootstrap.servers": kafka.bootstrap, "group.id": group, "group.protocol": protocol}
    consumer = Consumer(options)
    sender = None
    try:
        consumer.subscribe([topics.input])
        wait_until(lambda: consumer.poll(0.05) is None and consumer.assignment(), 60, "an assignment")
        member = consumer.memberid()
        assert GroupReader(settings.kafka, group).members(5) == {member}
        assert probe.check(ref).reasons == (f"no fresh heartbeat of group member {member}",)

        def collect() -> Heartbeat:
            present = plane.present()
            return Heartbeat(
                worker="w1", host="h", pid=1, group=group, member_id=member, slot="0", ready=True,
                started_at=present.release.document.at, beat_at=present.release.document.at,
                release=ref.number, release_sha256=ref.sha256, revision=ref.revision, applied_at_ms=1_000,
            )  # fmt: skip

        sender = HeartbeatSender(plane.store, settings, collect)
        sender.start()
        found, _ = probe.wait(ref, 10)
        assert found.answer == "yes"
        newer = plane.changes.set_thresholds({"spam": 0.6}, ANNA).current.ref
        found, waited_s = probe.wait(newer, 0.5)
        assert (found.answer, found.reasons) == ("no", ("worker w1 decides by release 1, not 2",))
        assert waited_s >= 0.5
    finally:
        if sender is not None:
            sender.close()
        consumer.close()
    assert probe.check(ref).answer == "unknown", "nobody runs any more"


def test_a_broker_that_is_away_makes_it_unknown(plane: Plane) -> None:
    plane.seed()
    kafka = plane.settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})
    probe = LivenessProbe(plane.store, plane.settings.model_copy(update={"kafka": kafka}))
    found, waited_s = probe.wait(plane.present().ref, 30)
    assert (found.answer, "Kafka" in found.reasons[0]) == ("unknown", True)
    assert waited_s < 10
