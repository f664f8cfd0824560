"""Lifting a stop lets pass what the input topics hold, on librdkafka's mock broker."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer
from control_plane import new_store

from streamtag.control.fleet import Heartbeat, send
from streamtag.control.stops import StopMark, StopStore
from streamtag.dead_letters.lift import lift_stop
from streamtag.devstack.mock_kafka import MockKafka
from streamtag.errors import NotFoundError, UnavailableError
from streamtag.settings import Settings, load_settings
from streamtag.stream import topic_reader

MARK = StopMark(group="g", reason="500 in a row", at=datetime(2026, 11, 23, 3, tzinfo=UTC), worker="w1")


def settings_of(tmp_path: Path, bootstrap: str, topics: str) -> Settings:
    overrides = {
        "kafka.bootstrap_servers": bootstrap,
        "topics.input": topics,
        "tagger.group": "g",
        "state_dir": str(tmp_path),
    }
    return load_settings(config=None, environ={}, overrides=overrides).settings


def test_what_each_partition_holds_now_may_pass(tmp_path: Path) -> None:
    with MockKafka({"content": 2}) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for partition in (0, 0, 0, 1):
            producer.produce("content", value=b"{}", partition=partition)
        assert producer.flush(20) == 0
        settings = settings_of(tmp_path, kafka.bootstrap, "[content]")
        store = new_store()
        stops = StopStore(settings, store=store)
        stops.set(MARK)
        found = lift_stop(settings, store, "anna", "producer fixed")
    assert (found.marks, found.until) == ([MARK], {"content/0": 3, "content/1": 1})
    mark, pardon = stops.look("g")
    assert mark is None
    assert pardon is not None
    assert pardon.until == found.until


def test_the_topics_are_those_that_the_workers_read(tmp_path: Path) -> None:
    """Whoever lifts has the settings of another pipeline, and names the group alone."""
    store = new_store()
    at = datetime.now(UTC)
    beat = Heartbeat(
        worker="w1",
        host="h",
        pid=1,
        group="g",
        member_id="",
        slot="s",
        started_at=at,
        beat_at=at,
        positions={"posts/0": 3},
    )
    send(store, beat, heartbeat_s=60)
    with MockKafka({"posts": 1}) as kafka:
        settings = settings_of(tmp_path, kafka.bootstrap, "[content]")
        StopStore(settings, store=store).set(MARK)
        assert lift_stop(settings, store, "anna", "producer fixed").until == {"posts/0": 0}


def test_a_group_none_of_whose_topics_exists_stays_stopped(tmp_path: Path) -> None:
    store = new_store()
    with MockKafka({"posts": 1}) as kafka:
        settings = settings_of(tmp_path, kafka.bootstrap, "[content]")
        StopStore(settings, store=store).set(MARK)
        with pytest.raises(NotFoundError, match="none of the topics of group g exists: content"):
            lift_stop(settings, store, "anna", "producer fixed")
    assert StopStore(settings, store=store).get("g") == MARK


def test_a_group_that_is_not_stopped_is_said_before_kafka_is_asked(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "127.0.0.1:1", "[content]")
    with pytest.raises(NotFoundError, match="group g is not stopped"):
        lift_stop(settings, new_store(), "anna", "producer fixed")


def test_nothing_is_lifted_without_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_reader, "CALL_S", 0.2)
    settings = settings_of(tmp_path, "127.0.0.1:1", "[content]")
    store = new_store()
    stops = StopStore(settings, store=store)
    stops.set(MARK)
    with pytest.raises(UnavailableError, match="cannot read where content ends"):
        lift_stop(settings, store, "anna", "producer fixed")
    assert stops.get("g") == MARK
