"""Lifting a stop lets pass what the input topics hold, on librdkafka's mock broker."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer
from control_plane import new_store

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
        stops = StopStore(settings, store=new_store())
        stops.set(MARK)
        found = lift_stop(settings, stops, "anna", "producer fixed")
    assert (found.marks, found.until) == ([MARK], {"content/0": 3, "content/1": 1})
    pardon = stops.pardon("g")
    assert pardon is not None
    assert pardon.until == found.until
    assert stops.get("g") is None


def test_a_group_that_is_not_stopped_is_said_before_kafka_is_asked(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "127.0.0.1:1", "[content]")
    with pytest.raises(NotFoundError, match="group g is not stopped"):
        lift_stop(settings, StopStore(settings, store=new_store()), "anna", "producer fixed")


def test_nothing_is_lifted_without_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_reader, "CALL_S", 0.2)
    settings = settings_of(tmp_path, "127.0.0.1:1", "[content]")
    stops = StopStore(settings, store=new_store())
    stops.set(MARK)
    with pytest.raises(UnavailableError, match="cannot read where content ends"):
        lift_stop(settings, stops, "anna", "producer fixed")
    assert stops.get("g") == MARK
