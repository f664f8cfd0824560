"""The watcher: only validated releases are exposed, and the last good one outlives whatever happens to Redis."""

import errno
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import fakeredis
import pytest
from control_plane import (
    ANNA,
    BORIS,
    BUNDLE,
    DEFAULTS,
    LABELS,
    FakeBundle,
    FakeScorer,
    RecordedMetrics,
    current,
    new_changes,
    new_store,
)
from services import wait_until

from streamtag.control import watch_status
from streamtag.control.changes import ReleaseChanges
from streamtag.control.snapshot import SnapshotFile
from streamtag.control.store import ControlStore, Heads
from streamtag.control.subscription import Subscription
from streamtag.control.watch_status import Outage, WatchState, WatchStatus
from streamtag.control.watcher import ReleaseWatcher
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import BundleError, UnavailableError
from streamtag.settings import Settings

if TYPE_CHECKING:
    from streamtag.model.scorer import Scorer

NEXT = BundleRef("demo", "2", "b" * 64)


@dataclass
class Host:
    """One host with a state directory; starts watchers against one Redis."""

    state_dir: Path
    server: fakeredis.FakeServer = field(default_factory=fakeredis.FakeServer)
    metrics: RecordedMetrics = field(default_factory=RecordedMetrics)
    loaded: list[BundleRef] = field(default_factory=list)
    broken: dict[BundleRef, Exception] = field(default_factory=dict)
    labels: dict[BundleRef, tuple[str, ...]] = field(default_factory=dict)
    during: dict[BundleRef, Callable[[], object]] = field(default_factory=dict)
    """What happens the first time that a bundle is loaded, before it is."""
    running: list[ReleaseWatcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = new_store(self.server)
        self.changes: ReleaseChanges = new_changes(self.store)

    def load(self, bundle: BundleRef) -> "Scorer":
        self.loaded.append(bundle)
        self.during.pop(bundle, lambda: None)()
        if bundle in self.broken:
            raise self.broken[bundle]
        return cast("Scorer", FakeScorer(self.labels.get(bundle, LABELS)))

    def watcher(self, **redis: object) -> ReleaseWatcher:
        made = ReleaseWatcher(
            Settings.model_validate({"state_dir": self.state_dir, "redis": {"poll_interval_s": 0.02, **redis}}),
            load=self.load,
            metrics=self.metrics,
            store=new_store(self.server),
            first_bundle=FakeBundle,
        )
        self.running.append(made)
        made.start()
        return made

    def seed(self) -> None:
        self.changes.seed(BUNDLE, LABELS, DEFAULTS)

    def leave_snapshot(self, number: int) -> None:
        """As a worker that decided by release ``number`` leaves it; empties Redis."""
        self.seed()
        for n in range(2, number + 1):
            self.changes.set_thresholds({"spam": 0.5 + n / 100}, ANNA)
        SnapshotFile(self.state_dir, "default").write(current(self.store))
        self.store.client.flushall()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.server.connected = True
    for watcher in made.running:
        watcher.close()


def decides_by(watcher: ReleaseWatcher, number: int) -> Callable[[], bool]:
    def check() -> bool:
        found = watcher.current()
        return found is not None and found.ref.number == number

    return check


def reason(watcher: ReleaseWatcher) -> str:
    return " | ".join(watcher.status().reasons)


def says(watcher: ReleaseWatcher, text: str) -> Callable[[], bool]:
    return lambda: text in reason(watcher)


def test_the_first_worker_seeds_an_empty_redis(host: Host) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    found = watcher.current()
    assert found is not None
    assert (found.ref.number, found.ref.bundle, found.thresholds, found.source) == (1, BUNDLE, DEFAULTS, "redis")
    wait_until(lambda: watcher.status().ready, 5, "ready")
    assert watcher.status().reasons == ()


def test_workers_that_start_together_seed_once(host: Host) -> None:
    watchers = [host.watcher() for _ in range(4)]
    assert all(watcher.wait_first(5) for watcher in watchers)
    assert len(host.store.audit()) == 1


@pytest.mark.parametrize("interval_s", [0.02, 60.0], ids=["by the poll", "by the message"])
def test_a_change_arrives(host: Host, interval_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    if interval_s < 1:
        monkeypatch.setattr(host.store.keys, "channel", "nobody listens here")
    watcher = host.watcher(poll_interval_s=interval_s)
    assert watcher.wait_first(5)
    host.changes.set_thresholds({"spam": 0.6}, ANNA)
    wait_until(decides_by(watcher, 2), 5, "release 2")
    found = watcher.current()
    assert found is not None
    assert found.thresholds.labels["spam"] == 0.6
    assert host.loaded == [BUNDLE], "the bundle is the same: its scorer stays"
    wait_until(lambda: host.metrics.records.get("streamtag.release.propagation"), 5, "propagation measured")
    assert host.metrics.values["streamtag.release.number"] == 2


def test_a_promoted_bundle_is_loaded_and_swapped(host: Host) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    before = watcher.current()
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(decides_by(watcher, 2), 5, "release 2")
    found = watcher.current()
    assert found is not None
    assert before is not None
    assert found.ref.bundle == NEXT
    assert found.scorer is not before.scorer


def test_a_bundle_that_is_taken_back_while_it_is_loaded_never_decides(host: Host) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    before = watcher.current()
    host.during[NEXT] = lambda: host.changes.return_to(None, BORIS)
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(decides_by(watcher, 3), 5, "release 3")
    found = watcher.current()
    assert found is not None
    assert before is not None
    assert found.scorer is before.scorer
    assert host.loaded == [BUNDLE, NEXT], "what decides all the while is not loaded again"
    assert host.metrics.counts["streamtag.release.applied/applied"] == 2, "release 2 was not among them"
    wait_until(lambda: watcher.status().ready, 5, "ready")


def test_other_thresholds_while_a_bundle_is_loaded_do_not_load_it_again(host: Host) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.during[NEXT] = lambda: host.changes.set_thresholds({"spam": 0.6}, BORIS)
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(decides_by(watcher, 3), 5, "release 3")
    assert host.loaded == [BUNDLE, NEXT]


@pytest.mark.parametrize("lost", ["away", "emptied", "damaged"])
def test_a_bundle_is_not_taken_back_because_redis_is_lost_meanwhile(host: Host, lost: str) -> None:
    def lose() -> None:
        if lost == "away":
            host.server.connected = False
        elif lost == "emptied":
            host.store.client.flushall()
        else:
            host.store.client.set(host.store.keys.champion, b"garbage")

    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.during[NEXT] = lose
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(decides_by(watcher, 2), 5, "release 2")


def test_a_champion_overtaken_at_the_start_is_no_reason_to_decide_by_the_snapshot(host: Host) -> None:
    host.seed()
    SnapshotFile(host.state_dir, "default").write(current(host.store))
    last = BundleRef("demo", "3", "3" * 64)
    host.during[NEXT] = partial(host.changes.promote, last, LABELS, ANNA)
    host.changes.promote(NEXT, LABELS, ANNA)
    watcher = host.watcher()
    assert watcher.wait_first(5)
    assert decides_by(watcher, 3)()
    assert host.loaded == [NEXT, last], "nor does loading that hold up the champion"


def test_bundles_that_come_faster_than_they_load_do_not_hold_a_worker_for_ever(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = [BundleRef("demo", str(n), f"{n:064x}") for n in range(2, 10)]
    for bundle, following in itertools.pairwise(bundles):
        host.during[bundle] = partial(host.changes.promote, following, LABELS, ANNA)
    watcher = host.watcher()
    assert watcher.wait_first(5)
    decided: list[str] = []
    measured = host.metrics.set

    def note(name: str, value: float, **attributes: str | int) -> None:
        measured(name, value, **attributes)
        if name == "streamtag.release.number":
            decided.append(str(int(value)))

    monkeypatch.setattr(host.metrics, "set", note)
    host.changes.promote(bundles[0], LABELS, ANNA)
    wait_until(decides_by(watcher, 9), 5, "release 9")
    assert decided == ["5", "9"], "the fourth of those that were overtaken, and the last"
    assert host.loaded == [BUNDLE, *bundles]


@pytest.mark.parametrize("error", [BundleError("parity fails"), OSError("disk"), ValueError("any")], ids=repr)
def test_a_bundle_that_cannot_be_loaded_leaves_the_old_one_serving(host: Host, error: Exception) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.broken[NEXT] = error
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(says(watcher, "the champion is refused"), 5, "refused")
    assert decides_by(watcher, 1)()
    status = watcher.status()
    assert not status.ready
    assert str(error) in (status.last_error or "")
    assert "still deciding by release 1" in reason(watcher)
    assert host.metrics.counts["streamtag.release.applied/refused"] == 1


def test_a_refused_release_is_tried_again_and_can_become_good(host: Host) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.broken[NEXT] = BundleError("not copied here yet")
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(lambda: host.loaded.count(NEXT) >= 2, 5, "a second try")
    del host.broken[NEXT]
    wait_until(decides_by(watcher, 2), 5, "release 2")
    wait_until(lambda: watcher.status().ready, 5, "ready")
    assert host.metrics.counts["streamtag.release.applied/refused"] == 1, "one release, refused once"


def test_the_next_release_does_not_wait_for_a_refused_one(host: Host) -> None:
    watcher = host.watcher(poll_interval_s=60)
    assert watcher.wait_first(5)
    host.broken[NEXT] = BundleError("broken")
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(says(watcher, "broken"), 5, "refused")
    host.changes.promote(BUNDLE, LABELS, BORIS)
    wait_until(decides_by(watcher, 3), 5, "release 3")
    wait_until(lambda: watcher.status().ready, 5, "ready")


def test_a_refused_release_is_tried_ever_more_rarely(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    heads = ControlStore.heads

    def counted(store: ControlStore) -> Heads:
        nonlocal looks
        looks += 1
        return heads(store)

    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.broken[NEXT] = BundleError("broken")
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(says(watcher, "broken"), 5, "refused")
    monkeypatch.setattr(ControlStore, "heads", counted)
    wait_until(lambda: looks >= 20, 10, "twenty looks")
    assert host.loaded.count(NEXT) <= 8, "doubling delays leave five tries in twenty polls"


def test_a_bundle_whose_labels_do_not_match_is_refused(host: Host) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.labels[NEXT] = ("spam", "threat")
    host.changes.promote(NEXT, LABELS, ANNA)
    wait_until(says(watcher, "do not match"), 5, "refused")
    assert "labels.threat: missing" in reason(watcher)
    assert "labels.insult: the bundle does not score this label" in reason(watcher)
    assert decides_by(watcher, 1)()


@pytest.mark.parametrize(
    ("value", "says_what"),
    [
        (b"\xff", "the champion in Redis cannot be read"),
        (b'{"number": 0}', "the champion in Redis cannot be read"),
        (json.dumps({"number": 9, "sha256": "9" * 64}).encode(), "release 9 is missing"),
    ],
    ids=["garbage", "nonsense", "dangling"],
)
def test_a_damaged_alias_leaves_the_last_good_release(host: Host, value: bytes, says_what: str) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.store.client.set(host.store.keys.champion, value)
    wait_until(says(watcher, says_what), 5, says_what)
    assert not watcher.status().ready
    assert decides_by(watcher, 1)()


@pytest.mark.parametrize("document", ["release", "revision"])
@pytest.mark.parametrize("damage", ["gone", "bytes"])
def test_a_damaged_document_is_refused_and_a_repaired_one_taken(host: Host, document: str, damage: str) -> None:
    host.seed()
    host.changes.set_thresholds({"spam": 0.6}, ANNA)
    name = getattr(host.store.keys, document)(2)
    good = host.store.client.get(name)
    assert isinstance(good, bytes)
    if damage == "gone":
        host.store.client.delete(name)
    else:
        host.store.client.set(name, good.replace(b"anna", b"anne"))
    watcher = host.watcher()
    wait_until(says(watcher, "missing" if damage == "gone" else "not what was published"), 5, "refused")
    assert watcher.current() is None
    host.store.client.set(name, good)
    wait_until(decides_by(watcher, 2), 5, "release 2")


def test_without_redis_and_without_a_snapshot_nothing_decides(host: Host) -> None:
    host.server.connected = False
    watcher = host.watcher()
    wait_until(says(watcher, "cannot be reached"), 5, "a reason")
    assert watcher.current() is None
    assert not watcher.wait_first(0.05)
    assert not watcher.status().ready
    host.server.connected = True
    assert watcher.wait_first(5)


def test_a_restart_without_redis_decides_by_the_snapshot(host: Host) -> None:
    host.leave_snapshot(3)
    host.server.connected = False
    watcher = host.watcher()
    assert watcher.wait_first(5)
    found = watcher.current()
    assert found is not None
    assert (found.ref.number, found.source) == (3, "snapshot")
    assert "from this host's snapshot" in reason(watcher)


def test_an_outage_is_said_at_once_and_makes_unready_after_the_grace(host: Host) -> None:
    watcher = host.watcher(poll_interval_s=0.1)
    assert watcher.wait_first(5)
    host.server.connected = False
    wait_until(says(watcher, "cannot be reached"), 5, "a reason")
    wait_until(lambda: not watcher.status().ready, 5, "unready after the grace")
    assert decides_by(watcher, 1)()
    assert host.metrics.values["streamtag.redis.up"] == 0
    assert host.metrics.counts["streamtag.redis.errors/watch"] >= 1
    host.server.connected = True
    wait_until(lambda: watcher.status().ready, 5, "ready again")
    host.changes.set_thresholds({"spam": 0.6}, ANNA)
    wait_until(decides_by(watcher, 2), 5, "release 2")
    assert host.metrics.values["streamtag.redis.up"] == 1


def test_readiness_lasts_for_the_grace_of_five_polls() -> None:
    state = WatchState(deciding="release 1", outage=Outage(since=100.0, error="away"))
    assert state.status(100.0 + 9.9, poll_interval_s=2.0, looking_since=109.0).ready
    assert not state.status(100.0 + 10.0, poll_interval_s=2.0, looking_since=109.0).ready
    assert "away, for 10 s; still deciding by release 1" in state.status(110.0, 2.0, 109.0).reasons


@pytest.mark.parametrize("poll_interval_s", [2.0, 20.0])
def test_a_look_that_does_not_end_makes_a_worker_unready(poll_interval_s: float) -> None:
    state, longest_s = WatchState(deciding="release 1"), max(30.0, 5 * poll_interval_s)
    assert state.status(longest_s, poll_interval_s, looking_since=0.0) == WatchStatus(True)
    found = state.status(longest_s + 1, poll_interval_s, looking_since=0.0)
    assert not found.ready
    assert f"not been looked for for {longest_s + 1:.0f} s" in found.reasons[0]
    assert "still deciding by release 1" in found.reasons[0]


def test_a_bundle_that_takes_long_to_load_is_told_and_may_take_minutes() -> None:
    state = WatchState(deciding="release 1", loading="demo@2")
    assert state.status(30.0, 2.0, looking_since=0.0).reasons == ()
    for now, ready in [(31.0, True), (599.0, True), (600.0, False)]:
        found = state.status(now, 2.0, looking_since=0.0)
        assert found.ready is ready
        assert f"bundle demo@2 has been loading for {now:.0f} s" in found.reasons[0]


def test_a_bundle_from_a_store_that_hangs_is_told_while_the_old_one_decides(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = host.watcher()
    wait_until(lambda: watcher.status().ready, 5, "ready")
    monkeypatch.setattr(watch_status, "_LONGEST_LOOK_S", 0.2)
    monkeypatch.setattr(watch_status, "_LONGEST_LOAD_S", 0.5)
    hangs = threading.Event()
    host.during[NEXT] = hangs.wait
    host.changes.promote(NEXT, LABELS, ANNA)
    try:
        wait_until(lambda: not watcher.status().ready, 5, "unready")
        assert "bundle demo@2 has been loading" in reason(watcher)
        assert decides_by(watcher, 1)()
    finally:
        hangs.set()
    wait_until(lambda: watcher.status().ready, 5, "ready again")
    assert decides_by(watcher, 2)()
    assert reason(watcher) == ""


def test_a_worker_that_cannot_listen_follows_by_looking_and_says_so(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_subscription: Subscription) -> None:
        raise UnavailableError("no room for another client")

    with monkeypatch.context() as patch:
        patch.setattr(Subscription, "ensure", refuse)
        watcher = host.watcher()
        assert watcher.wait_first(5)
        host.changes.set_thresholds({"spam": 0.6}, ANNA)
        wait_until(decides_by(watcher, 2), 5, "release 2")
        wait_until(says(watcher, "no room for another client; changes are looked for every 0.02 s"), 5, "a reason")
        assert watcher.status().ready
        assert host.metrics.counts["streamtag.redis.errors/subscribe"] >= 1
        assert host.metrics.values["streamtag.redis.up"] == 1
    wait_until(lambda: not watcher.status().reasons, 5, "it listens")


def test_an_emptied_redis_is_no_first_start_while_a_release_decides(host: Host) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    host.store.client.flushall()
    wait_until(says(watcher, "Redis is empty"), 5, "a reason")
    assert "restore-snapshot" in reason(watcher)
    assert not watcher.status().ready
    assert decides_by(watcher, 1)()
    assert host.store.heads().blank


def test_an_emptied_redis_is_no_first_start_where_a_snapshot_lies(host: Host) -> None:
    host.leave_snapshot(3)
    watcher = host.watcher()
    assert watcher.wait_first(5)
    assert decides_by(watcher, 3)()
    wait_until(says(watcher, "Redis is empty"), 5, "a reason")
    assert not watcher.status().ready
    assert host.store.heads().blank


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("rewound_to", [2, 3], ids=["lower number", "same number, other content"])
def test_a_rewound_redis_is_not_followed_until_a_person_restores(host: Host, rewound_to: int, restart: bool) -> None:
    host.leave_snapshot(3)
    good = SnapshotFile(host.state_dir, "default").read().current
    assert good is not None
    if not restart:
        host.changes.restore_snapshot(good, ANNA)
    watcher = None if restart else host.watcher()
    number = 3
    if watcher is not None:
        wait_until(decides_by(watcher, 4), 5, "release 4")
        good, number, rewound_to = current(host.store), 4, rewound_to + 1
    behind = new_store()
    builder = new_changes(behind)
    builder.seed(BUNDLE, LABELS, DEFAULTS)
    for n in range(2, rewound_to + 1):
        builder.set_thresholds({"insult": 0.6 + n / 100}, BORIS)
    host.store.client.flushall()
    for key in behind.client.keys("*"):
        host.store.client.restore(key, 0, behind.client.dump(key), replace=True)  # type: ignore[arg-type]
    watcher = watcher or host.watcher()
    assert watcher.wait_first(5)
    wait_until(says(watcher, "restored from an older state"), 5, "a reason")
    assert decides_by(watcher, number)()
    assert not watcher.status().ready
    assert "streamtag release restore-snapshot" in reason(watcher)
    host.changes.restore_snapshot(good, ANNA)
    wait_until(decides_by(watcher, number + 1), 5, "the restored release")
    wait_until(lambda: watcher.status().ready, 5, "ready")
    found = watcher.current()
    assert found is not None
    assert found.thresholds == good.thresholds


def test_a_full_disk_does_not_stop_a_release(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    full = True

    write = SnapshotFile.write

    def sometimes(self: SnapshotFile, release: object) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, release)  # type: ignore[arg-type]

    monkeypatch.setattr(SnapshotFile, "write", sometimes)
    watcher = host.watcher()
    assert watcher.wait_first(5)
    wait_until(says(watcher, "No space left"), 5, "a reason")
    assert watcher.status().ready
    assert host.metrics.counts["streamtag.snapshot.errors"] >= 1
    full = False
    wait_until(lambda: not watcher.status().reasons, 5, "written at a later look")
    assert SnapshotFile(host.state_dir, "default").read().current == current(host.store)


def test_a_damaged_snapshot_is_named_and_redis_followed(host: Host) -> None:
    host.leave_snapshot(3)
    SnapshotFile(host.state_dir, "default").path.write_bytes(b"{")
    host.seed()
    watcher = host.watcher()
    assert watcher.wait_first(5)
    assert decides_by(watcher, 1)()
    assert "damaged" in (watcher.status().last_error or "")


def test_a_damaged_snapshot_and_an_empty_redis_are_no_first_start(host: Host) -> None:
    host.leave_snapshot(3)
    SnapshotFile(host.state_dir, "default").path.write_bytes(b"{")
    watcher = host.watcher()
    wait_until(says(watcher, "this is no first start"), 5, "a reason")
    assert watcher.current() is None
    assert host.store.heads().blank


def test_a_snapshot_that_cannot_decide_is_named(host: Host) -> None:
    host.leave_snapshot(3)
    host.server.connected = False
    host.broken[BUNDLE] = BundleError("wrong hash")
    watcher = host.watcher()
    wait_until(says(watcher, "the snapshot of release 3 cannot decide: wrong hash"), 5, "a reason")
    assert watcher.current() is None


def test_a_defect_in_the_watcher_is_said_and_survived(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = host.watcher()
    assert watcher.wait_first(5)
    save = watcher._save
    monkeypatch.setattr(watcher, "_save", lambda: 1 / 0)
    wait_until(says(watcher, "unexpected error"), 5, "a reason")
    assert decides_by(watcher, 1)()
    monkeypatch.setattr(watcher, "_save", save)
    wait_until(lambda: watcher.status().ready, 5, "ready again")


def test_defaults_that_do_not_fit_their_bundle_seed_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeBundle, "default_thresholds", ThresholdSet({"spam": 2.0}))
    watcher = host.watcher()
    wait_until(says(watcher, "labels.insult: missing"), 5, "a reason")
    assert host.store.heads().blank
