"""Redis and Kafka away, frozen, emptied, set back or lying: the worker keeps its last good release, and lives."""

import itertools
import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import redis
from commands import streamtag
from pipeline import Ledger, Outputs, check_all, events, read_outputs, wait_covered
from services import MakeTopics, wait_until
from tiny_bundle import build_tiny_bundle
from workers import Fleet, Worker

from streamtag.control.changes import ReleaseChanges, Who
from streamtag.control.documents import sha256_of
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore
from streamtag.devstack.kafka import KafkaServer
from streamtag.devstack.redis import RedisServer
from streamtag.domain.release import BundleRef
from streamtag.model.bundle import PARITY, read_bundle, write_bundle
from streamtag.settings import RedisSettings

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

WHO = Who("test", "outage")


@pytest.fixture
def own_fleet(fleet: Fleet, own_redis: RedisServer) -> Fleet:
    """A fleet on a Redis of its own, to be hurt."""
    fleet.redis_url = own_redis.url
    return fleet


def store_of(fleet: Fleet) -> ControlStore:
    return ControlStore(RedisSettings(url=fleet.redis_url, namespace=fleet.namespace))  # type: ignore[call-arg]


def changes_of(fleet: Fleet) -> ReleaseChanges:
    return ReleaseChanges(store_of(fleet), max_step=1.0)


def with_revision_2(fleet: Fleet) -> Worker:
    """A worker that decides by revision 2, which is not what the bundle proposes."""
    worker = fleet.start().wait_ready()
    changes_of(fleet).set_thresholds({"spam": 0.6}, WHO)
    wait_until(lambda: "revision 2" in worker.log.read_text(), 10, "revision 2 applied")
    return worker


def revisions_of(outputs: Outputs) -> set[int]:
    """The threshold revisions that have decided."""
    return {tag.event["release"]["thresholds"]["revision"] for tag in outputs.tags}


def test_redis_away_or_frozen_never_stops_tagging_and_says_so(
    own_fleet: Fleet, ledger: Ledger, own_redis: RedisServer
) -> None:
    worker = with_revision_2(own_fleet)
    own_redis.pause()
    ledger.write(list(events(500, seed=21)))
    wait_covered(ledger, 30)
    worker.wait_unready("Redis")
    own_redis.resume()
    worker.wait_ready()
    own_redis.kill()
    ledger.write(list(events(500, seed=22)))
    wait_covered(ledger, 30)
    worker.wait_unready("Redis")
    second = own_fleet.start()  # starts from the snapshot of this host
    wait_until(lambda: "snapshot" in second.log.read_text(), 30, "deciding by the snapshot")
    assert worker.stop() == 0
    ledger.write(list(events(500, seed=23)))
    wait_covered(ledger, 60)
    assert second.alive
    own_redis.restart()
    second.wait_ready()
    outputs, problems = check_all(ledger, own_fleet)
    assert not problems, problems[:5]
    assert revisions_of(outputs) == {2}


def test_a_redis_that_comes_back_empty_is_not_seeded_over_the_snapshot_and_can_be_restored(
    own_fleet: Fleet, ledger: Ledger, own_redis: RedisServer
) -> None:
    worker = own_fleet.start().wait_ready()
    changed = changes_of(own_fleet).set_thresholds({"spam": 0.4}, WHO)
    wait_until(lambda: "revision 2" in worker.log.read_text(), 10, "revision 2 applied")
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()
    reasons = worker.wait_unready("restore-snapshot")
    assert "empty" in " ".join(reasons)
    ledger.write(list(events(200, seed=24)))
    wait_covered(ledger, 30)
    assert revisions_of(read_outputs(ledger.topics)) == {2}
    worker.stop()
    restarted = own_fleet.start()
    restarted.wait_unready("restore-snapshot")
    back = streamtag(own_fleet.settings(), "release", "restore-snapshot", "--reason", "Redis was emptied")
    assert back.code == 0, back.err
    restarted.wait_ready()
    current = store_of(own_fleet).current()
    assert current is not None
    assert current.thresholds == changed.current.thresholds
    assert current.id.number > changed.current.id.number


def test_a_redis_set_back_to_an_older_state_does_not_set_back_the_worker(
    own_fleet: Fleet, own_redis: RedisServer
) -> None:
    worker = own_fleet.start().wait_ready()
    with redis.Redis.from_url(own_redis.url) as client:
        before = {key: client.dump(key) for key in client.scan_iter()}
        changes_of(own_fleet).set_thresholds({"spam": 0.4}, WHO)
        wait_until(lambda: "revision 2" in worker.log.read_text(), 10, "revision 2 applied")
        client.flushall()
        for key, value in before.items():
            client.restore(key, 0, value, replace=True)
    worker.wait_unready("older state")
    refused = streamtag(own_fleet.settings(), "thresholds", "set", "spam=0.45", "--reason", "x")
    assert refused.code != 0
    assert "older state" in refused.err


@pytest.mark.parametrize(
    ("stored", "hashed", "says"),
    [
        pytest.param(b"{", b"{", "cannot be read", id="not JSON"),
        pytest.param(b"{", b"[", "not what was published", id="wrong hash"),
        pytest.param(None, b"{", "release 3 is missing", id="missing"),
    ],
)
def test_a_corrupt_release_is_refused_and_the_old_one_keeps_deciding(
    fleet: Fleet, fleet_store: ControlStore, ledger: Ledger, stored: bytes | None, hashed: bytes, says: str
) -> None:
    worker = with_revision_2(fleet)
    keys, client, sound = fleet_store.keys, fleet_store.client, fleet_store.heads().alias
    if stored is not None:
        client.set(keys.release(3), stored)
    client.set(keys.champion, msgspec.json.encode(ReleaseId(3, sha256_of(hashed))))
    worker.wait_unready(says)
    ledger.write(list(events(200, seed=25)))
    wait_covered(ledger, 30)
    client.set(keys.champion, sound)
    worker.wait_ready()
    outputs, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
    assert revisions_of(outputs) == {2}


def test_a_bundle_with_a_wrong_hash_or_that_is_nowhere_is_refused(
    fleet: Fleet, ledger: Ledger, tmp_path: Path, bundles: Path
) -> None:
    fleet.bundles = tmp_path / "bundles"
    shutil.copytree(bundles, fleet.bundles)
    worker = fleet.start().wait_ready()
    sound = read_bundle(fleet.bundles / "tiny" / "2")
    model = fleet.bundles / "tiny" / "2" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    changes_of(fleet).promote(sound.ref, sound.labels, WHO)  # by somebody whose copy is sound
    worker.wait_unready("model.onnx")
    ledger.write(list(events(200, seed=26)))
    wait_covered(ledger, 30)
    refused = streamtag(fleet.settings(), "release", "promote", "tiny@2", "--reason", "x")
    assert refused.code == 3, refused.out + refused.err
    assert "model.onnx" in refused.err
    first = read_bundle(fleet.bundles / "tiny" / "1")
    changes_of(fleet).promote(first.ref, first.labels, WHO)
    worker.wait_ready()
    ghost = BundleRef("tiny", "9", "0" * 64)
    changes_of(fleet).promote(ghost, first.labels, WHO)
    worker.wait_unready("tiny@9")
    ledger.write(list(events(200, seed=27)))
    wait_covered(ledger, 30)
    outputs, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
    assert {tag.event["release"]["bundle"]["version"] for tag in outputs.tags} == {"1"}


def test_a_bundle_that_fails_parity_or_does_not_match_its_thresholds_is_refused(
    fleet: Fleet, ledger: Ledger, tmp_path: Path, bundles: Path
) -> None:
    fleet.bundles = tmp_path / "bundles"
    shutil.copytree(bundles, fleet.bundles)
    sound = read_bundle(fleet.bundles / "tiny" / "2")
    files = {name: (sound.path / name).read_bytes() for name in sound.manifest.files}
    parity = json.loads(files[PARITY])
    parity["fixtures"][4]["scores"][0] += 0.01
    files[PARITY] = json.dumps(parity).encode()
    manifest = msgspec.structs.replace(sound.manifest, version="5", files={})
    lying = read_bundle(write_bundle(fleet.bundles, manifest, files))
    other = read_bundle(build_tiny_bundle(fleet.bundles, ("spam", "advert"), version="6"))

    worker = fleet.start().wait_ready()
    changes_of(fleet).promote(lying.ref, lying.labels, WHO)
    worker.wait_unready("parity")
    changes_of(fleet).promote(other.ref, sound.labels, WHO)  # somebody claims that it has the old labels
    worker.wait_unready("do not match")
    ledger.write(list(events(200, seed=28)))
    wait_covered(ledger, 30)
    outputs, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
    assert {tag.event["release"]["number"] for tag in outputs.tags} == {1}


@pytest.mark.parametrize("how", ["killed", "frozen beyond the transaction timeout"])
def test_a_broker_that_is_away_is_waited_for(
    fleet: Fleet, own_kafka: KafkaServer, make_topics: MakeTopics, how: str
) -> None:
    """By a worker of each delivery, at once."""
    pipelines: dict[str, tuple[Ledger, Worker]] = {}
    for delivery in ("exactly_once", "at_least_once"):
        fleet.topics = make_topics(bootstrap=own_kafka.bootstrap)
        worker = fleet.start(tagger__delivery=delivery, tagger__group=f"{fleet.group}-{delivery}")
        pipelines[delivery] = Ledger(fleet.topics), worker
    ledgers, workers = zip(*pipelines.values(), strict=True)
    write_to_all(ledgers, 300, seed=30)
    for worker in workers:
        worker.wait_ready(60)
    for seed in (31, 32):
        write_to_all(ledgers, 3_000, seed)
        if how == "killed":
            own_kafka.kill()
            for worker in workers:
                worker.wait_unready("kafka")
            own_kafka.restart()
        else:
            own_kafka.pause()
            time.sleep(7)  # the transaction timeout is 4 s, the session 3 s
            own_kafka.resume()
        for worker in workers:
            assert worker.alive, worker
    for delivery, (ledger, worker) in pipelines.items():
        wait_covered(ledger, 90)
        worker.wait_ready(60)
        _, problems = check_all(ledger, fleet)
        excused = ("doubled", "overlap", "recount", "order") if delivery == "at_least_once" else ()
        serious = [problem for problem in problems if not problem.startswith(excused)]
        assert not serious, (delivery, serious[:5])
        assert worker.stop() == 0


def write_to_all(ledgers: Sequence[Ledger], count: int, seed: int) -> None:
    """At the same time: none is done before the last."""
    made = list(events(count, seed))
    with ThreadPoolExecutor(len(ledgers)) as pool:
        list(pool.map(lambda ledger: ledger.write(made), ledgers))


def test_a_broker_away_at_the_start_is_waited_for(
    fleet: Fleet, own_kafka: KafkaServer, make_topics: MakeTopics
) -> None:
    fleet.topics = make_topics(bootstrap=own_kafka.bootstrap)
    ledger = Ledger(fleet.topics)
    ledger.write(list(events(300, seed=33)))
    own_kafka.stop()
    worker = fleet.start()
    worker.wait_unready("kafka")
    own_kafka.restart()
    wait_covered(ledger, 60)
    worker.wait_ready()


def test_a_second_process_with_the_same_slot_leaves_one_worker_that_lost_nothing(fleet: Fleet, ledger: Ledger) -> None:
    twins = [fleet.start(tagger__slot="same") for _ in range(2)]
    made = iter(list(events(60_000, seed=34)))

    def one_gave_up() -> bool:
        """Not as long as both are fed, and the machine is slow."""
        ledger.write(list(itertools.islice(made, 500)))
        return any(not twin.alive for twin in twins)

    wait_until(one_gave_up, 60, "one twin gives up", every_s=0.1)
    gone = next(twin for twin in twins if not twin.alive)
    assert gone.process.returncode == 7
    assert "transactional.id" in gone.log.read_text()
    wait_covered(ledger, 60)
    _, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
