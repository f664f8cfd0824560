"""The fleet: "live everywhere" is a fact or unknown, and heartbeats never hold a worker up."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest
from control_plane import BUNDLE, RecordedMetrics, heartbeat, new_store
from hypothesis import given
from hypothesis import strategies as st
from services import wait_until

from streamtag.control.fleet import Heartbeat, HeartbeatSender, live_everywhere, read_fleet, send
from streamtag.domain.release import ReleaseRef
from streamtag.settings import Settings

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
REF = ReleaseRef(7, "7" * 64, BUNDLE, 6, "6" * 64)


def beat(
    worker: str, release: int | None = 7, *, age_s: float = 0.5, sha256: str = "7" * 64, at_ms: int = 1_000
) -> Heartbeat:
    return heartbeat(
        worker,
        beat_at=NOW - timedelta(seconds=age_s),
        release=release,
        release_sha256=sha256 if release is not None else None,
        applied_at_ms=at_ms,
    )


def test_it_is_live_since_the_last_worker_applied_it() -> None:
    found = live_everywhere({"m-a", "m-b"}, [beat("a", at_ms=5_000), beat("b", at_ms=9_000)], REF, NOW)
    assert (found.answer, found.since) == ("yes", datetime.fromtimestamp(9, UTC))


def test_a_worker_that_is_no_member_does_not_move_the_time_since() -> None:
    found = live_everywhere({"m-a"}, [beat("a", at_ms=5_000), beat("b", at_ms=9_000)], REF, NOW)
    assert (found.answer, found.since) == ("yes", datetime.fromtimestamp(5, UTC))


def test_a_member_without_a_heartbeat_makes_it_unknown() -> None:
    found = live_everywhere({"m-a", "m-b"}, [beat("a")], REF, NOW)
    assert (found.answer, found.reasons) == ("unknown", ("no fresh heartbeat of group member m-b",))


def test_a_stale_heartbeat_counts_as_none() -> None:
    assert live_everywhere({"m-a"}, [beat("a", age_s=5)], REF, NOW).answer == "unknown"


def test_a_worker_on_another_release_makes_it_no() -> None:
    found = live_everywhere({"m-a", "m-b"}, [beat("a"), beat("b", 6)], REF, NOW)
    assert (found.answer, found.reasons) == ("no", ("worker b decides by release 6, not 7",))


def test_the_same_number_with_other_content_is_another_release() -> None:
    found = live_everywhere({"m-a"}, [beat("a", sha256="8" * 64)], REF, NOW)
    assert found.answer == "no"
    assert "same number, other content" in found.reasons[0]


def test_a_worker_that_has_not_joined_yet_counts_too() -> None:
    assert live_everywhere({"m-a"}, [beat("a"), beat("b", None)], REF, NOW).answer == "no"


def test_an_empty_group_is_unknown_not_live() -> None:
    assert live_everywhere(set(), [], REF, NOW).answer == "unknown"
    assert live_everywhere(set(), [beat("a")], REF, NOW).answer == "unknown"


workers = st.sampled_from("abcd")
beats = st.lists(
    st.builds(
        beat,
        workers,
        st.sampled_from([None, 6, 7, 8]),
        age_s=st.floats(0, 10),
        sha256=st.sampled_from(["7" * 64, "8" * 64]),
        at_ms=st.integers(1, 100_000),
    ),
    max_size=6,
)


@given(st.sets(workers.map(lambda name: f"m-{name}")), beats)
def test_yes_means_that_every_member_and_every_fresh_worker_said_so(members: set[str], said: list[Heartbeat]) -> None:
    found = live_everywhere(members, said, REF, NOW)
    fresh = [b for b in said if (NOW - b.beat_at).total_seconds() < 5]
    agree = [b for b in fresh if (b.release, b.release_sha256) == (REF.number, REF.sha256)]
    if found.answer == "yes":
        assert members
        assert agree == fresh
        assert members <= {b.member_id for b in agree}
        assert found.since is not None
        assert found.since.timestamp() * 1000 in {b.applied_at_ms for b in agree if b.member_id in members}
    else:
        assert found.reasons
        assert (found.answer == "no") == (agree != fresh)


@given(st.sets(workers.map(lambda name: f"m-{name}"), min_size=1), beats)
def test_losing_a_heartbeat_never_turns_an_answer_into_yes_by_silence(members: set[str], said: list[Heartbeat]) -> None:
    agreeing = [b for b in said if (b.release, b.release_sha256) == (REF.number, REF.sha256)]
    if live_everywhere(members, agreeing, REF, NOW).answer == "unknown":
        assert all(live_everywhere(members, agreeing[:n], REF, NOW).answer == "unknown" for n in range(len(agreeing)))


def test_heartbeats_are_dated_by_redis_not_by_the_workers_clock() -> None:
    store = new_store()
    send(store, beat("a", age_s=9_999_999), 1.0)
    fleet = read_fleet(store)
    assert abs((fleet.now - fleet.heartbeats[0].beat_at).total_seconds()) < 5


def test_the_fleet_is_read_by_group_or_whole() -> None:
    store = new_store()
    send(store, heartbeat("a", group="one"), 1.0)
    send(store, heartbeat("b", group="two"), 1.0)
    assert [b.worker for b in read_fleet(store, "two").heartbeats] == ["b"]
    assert [b.worker for b in read_fleet(store).heartbeats] == ["a", "b"]
    assert read_fleet(store, "three").heartbeats == ()


def test_a_heartbeat_of_an_unknown_form_counts_as_silence() -> None:
    store = new_store()
    send(store, heartbeat("a"), 1.0)
    store.client.set(store.keys.heartbeat("g/a"), b'{"version": 9}')
    assert read_fleet(store).heartbeats == ()


def test_a_heartbeat_of_a_version_before_or_after_this_one_is_read() -> None:
    store = new_store()
    send(store, heartbeat("a", latency_p50_ms=12, latency_p99_ms=40), 1.0)
    place = store.keys.heartbeat("g/a")
    raw: Any = store.client.get(place)
    said = json.loads(raw)
    for name in ("latency_p50_ms", "latency_p99_ms"):
        del said[name]
    store.client.set(place, json.dumps(said))
    [before] = read_fleet(store).heartbeats
    assert (before.worker, before.latency_p50_ms, before.latency_p99_ms) == ("a", None, None)
    store.client.set(place, json.dumps({**said, "latency_p99_ms": 40, "what_a_later_one_says": {}}))
    [after] = read_fleet(store).heartbeats
    assert (after.worker, after.latency_p99_ms) == ("a", 40)


def quick() -> Settings:
    return Settings.model_validate({"redis": {"heartbeat_s": 0.02}})


def test_a_worker_that_leaves_says_so() -> None:
    store = new_store()
    sender = HeartbeatSender(store, quick(), lambda: heartbeat("a"))
    sender.start()
    wait_until(lambda: read_fleet(store).heartbeats, 5, "a heartbeat")
    sender.close()
    assert read_fleet(store).heartbeats == ()


def test_waking_sends_at_once() -> None:
    store = new_store()
    sent = threading.Semaphore(0)

    def collect() -> Heartbeat:
        sent.release()
        return heartbeat("a")

    sender = HeartbeatSender(store, Settings.model_validate({"redis": {"heartbeat_s": 60}}), collect)
    sender.start()
    assert sent.acquire(timeout=5)
    sender.wake()
    assert sent.acquire(timeout=5)
    sender.close()


def test_neither_an_outage_nor_a_failing_worker_ends_the_heartbeats(caplog: pytest.LogCaptureFixture) -> None:
    server, metrics, calls = fakeredis.FakeServer(), RecordedMetrics(), iter(range(1_000_000))

    def collect() -> Heartbeat:
        call = next(calls)
        if call == 0:
            raise RuntimeError("not yet")
        # A path that is no UTF-8, as Python reads it, cannot be encoded.
        return heartbeat("a", last_error="snapshot /state/\udcff" if call == 1 else None)

    store = new_store(server)
    sender = HeartbeatSender(store, quick(), collect, metrics=metrics)
    server.connected = False
    sender.start()
    wait_until(lambda: metrics.counts.get("streamtag.redis.errors/heartbeat", 0) >= 2, 5, "two failed heartbeats")
    server.connected = True
    wait_until(lambda: read_fleet(store).heartbeats, 5, "a heartbeat")
    sender.close()
    assert sum("heartbeat could not be made" in record.message for record in caplog.records) == 2
    assert sum("heartbeats do not arrive" in record.message for record in caplog.records) == 1
