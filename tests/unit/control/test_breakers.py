"""Breakers in Redis: one change, one audit entry, announced and followed; by the commands and the API alike."""

from datetime import UTC, datetime
from typing import Any

import pytest
from change_rig import Rig
from control_plane import ANNA, BORIS, RecordedMetrics, Run, new_store
from services import wait_until

from streamtag.control.breaker_watcher import BreakerWatcher
from streamtag.control.breakers import ActiveBreakers, BreakerLog
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.errors import NotFoundError, RefusedError, UnavailableError
from streamtag.settings import Settings, load_settings

pytest_plugins = ("command_line",)


def test_it_opens_and_closes_once_with_a_record_each() -> None:
    rig = Rig().seed()
    log = BreakerLog(rig.store, now=rig.now)
    assert log.active() == ActiveBreakers()
    assert log.open("spam", ANNA, events=100, alerts=50)
    assert not log.open("spam", BORIS, events=200, alerts=99), "it is open"
    assert log.active() == ActiveBreakers(1, frozenset({"spam"}))
    assert log.close("spam", BORIS)
    assert not log.close("spam", BORIS)
    assert log.active() == ActiveBreakers(2)
    state = log.present().labels["spam"]
    assert (state.open, state.by, state.at) == (False, "boris", rig.time)
    assert rig.actions() == ["breaker-close", "breaker-open", "seed"]
    assert log.at(1).labels["spam"].alerts == 50, "what it was stays on record"
    with pytest.raises(NotFoundError):
        log.at(3)


def test_what_cannot_be_closed_is_refused() -> None:
    log = BreakerLog(new_store())
    with pytest.raises(NotFoundError, match="no breaker"):
        log.close("spam", ANNA)
    with pytest.raises(RefusedError, match="cannot be closed"):
        log.close("spam", Who("anna", ""))


def test_a_change_is_announced_and_followed_and_what_was_known_holds_while_redis_is_away() -> None:
    store = new_store()
    pubsub = store.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    pubsub.subscribe(store.keys.channel)
    pubsub.get_message(timeout=1)
    watcher = BreakerWatcher(Settings(), metrics=RecordedMetrics(), store=store)
    watcher.look()
    nothing = watcher.current()
    BreakerLog(store, now=lambda: datetime(2026, 11, 23, tzinfo=UTC)).open("spam", ANNA, events=1, alerts=1)
    assert pubsub.get_message(timeout=1) is not None
    watcher.look()
    assert not nothing.labels
    assert watcher.current().labels == {"spam"}
    known = watcher.current()
    store.client.connection_pool.connection_kwargs["server"].connected = False
    with pytest.raises(UnavailableError):
        watcher.look()
    assert watcher.current() is known


def test_what_cannot_be_read_and_a_defect_end_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, metrics = new_store(), RecordedMetrics()
    log = BreakerLog(store)
    log.open("spam", ANNA, events=1, alerts=1)
    settings = load_settings(environ={}, overrides={"redis.poll_interval_s": "0.05"}).settings
    watcher = BreakerWatcher(settings, metrics=metrics, store=store)
    watcher.start()
    wait_until(lambda: watcher.current().labels, 5, "followed")
    sound: Any = store.client.get(log._key)
    store.client.set(log._key, b"by hand")
    wait_until(lambda: metrics.counts.get("streamtag.redis.errors/breakers", 0) >= 2, 5, "two looks in vain")
    with monkeypatch.context() as patch:
        patch.setattr(BreakerLog, "active", lambda _log: 1 / 0)
        wait_until(lambda: "unexpected error; it goes on" in caplog.text, 5, "a look that met a defect")
    assert watcher.current().labels == {"spam"}, "what was known holds"
    assert sum("cannot be read" in line for line in caplog.messages) == 1, "said once a minute"
    store.client.set(log._key, sound)
    log.close("spam", BORIS)
    wait_until(lambda: not watcher.current().labels, 5, "followed again")
    watcher.close()


def test_the_commands(store: ControlStore, run: Run) -> None:
    assert run("breaker", "list").strip() == "no breaker is open"
    BreakerLog(store).open("spam", Who("streamtag (breaker)", "50 of 100 events"), events=100, alerts=50)
    assert "50 of 100 events" in run("breaker", "list")
    assert "closed the breaker of spam" in run("breaker", "close", "spam", "-m", "a test of ours", "--author", "anna")
    assert run("breaker", "list", "-o", "json") == {"number": 2, "labels": {}}
    assert run("breaker", "list", "--all", "-o", "json")["labels"]["spam"]["by"] == "anna"


def test_a_redis_that_went_back_is_told(caplog: pytest.LogCaptureFixture) -> None:
    store, metrics = new_store(), RecordedMetrics()
    watcher = BreakerWatcher(Settings(), metrics=metrics, store=store)
    BreakerLog(store).open("spam", ANNA, events=1, alerts=1)
    watcher.look()
    store.client.flushall()
    watcher.look()
    watcher.look()
    assert watcher.current().labels == frozenset()
    assert metrics.counts == {"streamtag.redis.errors/breakers": 1}
    assert "one may be closed that was open" in caplog.text
