"""The persisted stop: set at once, seen by all, lifted by a person only."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest
from services import wait_until
from tagging import FakeStops, mark, stop_of

from streamtag.control.stops import StopMark, StopStore
from streamtag.control.store import ControlStore
from streamtag.errors import UnavailableError
from streamtag.settings import load_settings
from streamtag.tagger.stop import Stop
from streamtag.telemetry.metrics import InMemoryMetrics, Metrics


@pytest.fixture
def metrics() -> InMemoryMetrics:
    return Metrics.in_memory()


@pytest.fixture
def store() -> FakeStops:
    return FakeStops()


@pytest.fixture
def stop(store: FakeStops, metrics: InMemoryMetrics) -> Iterator[Stop]:
    found = stop_of(store, metrics)
    yield found
    found.close()


def test_a_mark_of_an_earlier_run_holds_before_anything_is_processed(stop: Stop, store: FakeStops) -> None:
    store.mark = mark("too many")
    stop.start()
    assert stop.reason() == "stopped for dead letters at 2026-11-23T03:00:00Z by g-1: too many"
    assert stop.pardon() is None


def test_setting_it_stops_at_once_and_is_kept_soon(stop: Stop, store: FakeStops, metrics: InMemoryMetrics) -> None:
    stop.start()
    assert stop.reason() is None
    stop.set("51 in a row", dead=51, records=100)
    assert "51 in a row" in (stop.reason() or "")
    assert metrics.value("streamtag.dead_letters.stop") == 1
    wait_until(lambda: store.written, 5, "kept")
    assert (store.written[0].worker, store.written[0].group) == ("g-0", "g")
    assert store.written[0].counts == {"dead": 51, "records": 100}


def test_a_mark_that_cannot_be_kept_yet_stays_set_and_is_kept_later(
    stop: Stop, store: FakeStops, metrics: InMemoryMetrics
) -> None:
    store.away = UnavailableError("Redis is away")
    stop.start()
    stop.set("51 in a row")
    wait_until(lambda: metrics.value("streamtag.redis.errors", operation="stops") >= 2, 5, "tried twice, in vain")
    assert "51 in a row" in (stop.reason() or ""), "that Redis holds no mark is no lifting"
    store.away = None
    wait_until(lambda: store.written, 5, "kept")
    assert stop.reason()


def test_what_a_lifting_lets_pass_is_told_once(stop: Stop, store: FakeStops, metrics: InMemoryMetrics) -> None:
    store.mark = mark()
    stop.start()
    store.lift(p0=7)
    wait_until(lambda: stop.reason() is None, 5, "lifted")
    assert [stop.pardon(), stop.pardon()] == [store.pardoned, None]
    assert metrics.value("streamtag.dead_letters.stop") == 0


def test_a_worker_that_starts_after_a_lifting_hears_of_it(stop: Stop, store: FakeStops) -> None:
    store.lift(p0=7)
    stop.start()
    assert stop.pardon() == store.pardoned


def test_a_lifting_between_two_stops_is_heard_of(stop: Stop, store: FakeStops) -> None:
    """Lifted, and stopped again by another worker, all between two looks."""
    store.mark = mark("the first")
    stop.start()
    store.lift(p0=7)
    store.mark = mark("the second")
    wait_until(lambda: "the second" in (stop.reason() or ""), 5, "stopped again")
    assert stop.pardon() == store.pardoned


def test_a_stop_of_another_worker_is_found(stop: Stop, store: FakeStops) -> None:
    stop.start()
    store.mark = mark("by another")
    wait_until(stop.reason, 5, "found")


def test_closing_keeps_what_was_not_written_yet(store: FakeStops, metrics: InMemoryMetrics) -> None:
    stop = stop_of(store, metrics)
    stop.set("51 in a row")
    stop.start()
    stop.close()
    assert [one.reason for one in store.written] == ["51 in a row"]


def test_closing_writes_what_was_set_while_a_look_was_under_way(
    store: FakeStops, metrics: InMemoryMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = stop_of(store, metrics)
    stop.start()
    looking, answers = threading.Event(), threading.Event()

    def look(_group: str, _held: StopMark | None) -> tuple[StopMark | None, None]:
        looking.set()
        assert answers.wait(30)
        return store.mark, None

    monkeypatch.setattr(store, "look", look)
    assert looking.wait(30)
    stop.set("51 in a row")
    closing = threading.Thread(target=stop.close)
    closing.start()
    wait_until(stop._closing.is_set, 5, "closing")
    answers.set()
    closing.join(30)
    assert [one.reason for one in store.written] == ["51 in a row"]


def test_an_unexpected_error_does_not_end_the_watch(
    stop: Stop,
    store: FakeStops,
    metrics: InMemoryMetrics,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_group: str, _held: StopMark | None) -> None:
        monkeypatch.undo()  # the next look is as ever
        raise ZeroDivisionError

    stop.start()
    store.mark = mark("by another")
    monkeypatch.setattr(store, "look", broken)
    wait_until(stop.reason, 5, "found at a later look")
    assert metrics.value("streamtag.redis.errors", operation="stops") == 1
    assert "met an unexpected error" in caplog.text


def test_a_stop_of_another_host_outlasts_redis_and_a_restart(metrics: InMemoryMetrics, tmp_path: Path) -> None:
    """A host that did not set the stop must not go on because Redis, which told it, is away."""
    server = fakeredis.FakeServer()

    def store_on(host: str) -> StopStore:
        settings = load_settings(environ={}, overrides={"state_dir": str(tmp_path / host)}).settings
        client = fakeredis.FakeRedis(server=server, protocol=2)
        return StopStore(settings, store=ControlStore(settings.redis, client=client))

    def watch() -> Stop:
        found = Stop(store_on("this"), group="g", worker="g-0", metrics=metrics, poll_interval_s=0.005)
        found.start()
        return found

    store_on("other").set(mark("by another host"))
    for connected in (True, False, False):
        server.connected = connected
        found = watch()
        assert "by another host" in (found.reason() or "")
        server.connected = False
        found.close()  # looks for the last time
        assert "by another host" in (found.reason() or "")
    server.connected = True
    found = watch()
    store_on("other").lift("g", "anna", "checked", {})
    wait_until(found.pardon, 5, "lifted")
    assert found.reason() is None
    found.close()


def test_a_stop_that_has_no_place_on_the_disk_outlasts_redis(
    metrics: InMemoryMetrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis alone holds it, and is away before the disk can be written: the worker must not go on."""
    server = fakeredis.FakeServer()
    settings = load_settings(environ={}, overrides={"state_dir": str(tmp_path)}).settings

    def store() -> StopStore:
        client = fakeredis.FakeRedis(server=server, protocol=2)
        return StopStore(settings, store=ControlStore(settings.redis, client=client))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # Its looks are the test's, not those of its thread.
    stop = Stop(store(), group="g", worker="g-0", metrics=metrics, poll_interval_s=60)
    with monkeypatch.context() as patch:
        patch.setattr("streamtag.control.stops.replace_file", refuse)
        stop.set("51 in a row")
        stop._look()
        assert store().get("g") is not None
        server.connected = False
        for _ in range(3):
            stop._look()
            assert "51 in a row" in (stop.reason() or "")
        assert caplog.text.count("is not on disk") == 1
    stop._look()
    assert "51 in a row" in (stop.reason() or "")
    restarted = store().get("g")
    assert restarted is not None, "written as soon as it could be"
    assert restarted.reason == "51 in a row"
    server.connected = True
    store().lift("g", "anna", "checked", {})
    stop._look()
    assert stop.reason() is None


def test_a_lifted_stop_that_was_never_on_the_disk_does_not_come_there(
    metrics: InMemoryMetrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = fakeredis.FakeServer()
    settings = load_settings(environ={}, overrides={"state_dir": str(tmp_path)}).settings
    client = fakeredis.FakeRedis(server=server, protocol=2)
    store = StopStore(settings, store=ControlStore(settings.redis, client=client))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    stop = Stop(store, group="g", worker="g-0", metrics=metrics, poll_interval_s=60)
    with monkeypatch.context() as patch:
        patch.setattr("streamtag.control.stops.replace_file", refuse)
        stop.set("51 in a row")
        stop._look()
    store.lift("g", "anna", "checked", {})
    stop._look()
    assert stop.reason() is None
    server.connected = False
    assert store.get("g") is None
