"""`streamtag doctor` on the real Kafka and the real Redis."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from services import MIB, MakeTopics, Redis, Topics, wait_until
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.doctor import doctor
from streamtag.control.stops import StopMark, StopStore
from streamtag.settings import load_settings

pytestmark = pytest.mark.services

Overrides = dict[str, str]


@pytest.fixture
def overrides(redis_server: Redis, namespace: str, tmp_path: Path, bundles: Path) -> Overrides:
    return {
        "redis.url": redis_server.url,
        "redis.namespace": namespace,
        "state_dir": str(tmp_path / "state"),
        "model.bundle": "tiny",
        "model.directories": f"[{bundles}]",
        "tagger.group": f"doctor-{namespace}",
        "windows.group": f"doctor-windows-{namespace}",
    }


def _examine(
    monkeypatch: pytest.MonkeyPatch, topics: Topics, overrides: Overrides
) -> tuple[int, dict[str, list[dict[str, str]]]]:
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides={**topics.overrides(), **overrides}))
    app = typer.Typer()
    app.command()(doctor)
    result = CliRunner().invoke(app, ["--output", "json"])
    found: dict[str, list[dict[str, str]]] = {}
    for check in json.loads(result.stdout)["checks"]:
        found.setdefault(check["check"], []).append(check)
    return result.exit_code, found


def test_a_working_set_up_passes(monkeypatch: pytest.MonkeyPatch, topics: Topics, overrides: Overrides) -> None:
    def coordinated() -> bool:
        return "starting" not in _examine(monkeypatch, topics, overrides)[1]["kafka.group"][0]["action"]

    wait_until(coordinated, 120, "the group's coordinator, which takes its time on a new broker")
    code, found = _examine(monkeypatch, topics, overrides)
    failed = [check for checks in found.values() for check in checks if check["status"] == "fail"]
    assert (code, failed) == (0, [])
    kafka = ("broker", "features", "transactions", "group", "windows", "sizes")
    for name in (*(f"kafka.{check}" for check in kafka), "redis.server"):
        assert [check["status"] for check in found[name]] == ["ok"], found[name]
    assert found["redis.release"][0]["status"] == "warn"
    assert "no release yet" in found["redis.release"][0]["finding"]
    assert "4.0 or later" in found["kafka.features"][0]["finding"]
    assert found["bundle.first"][0]["status"] == "ok"
    assert found["redis.clock"][0]["status"] == "ok"


def test_a_missing_topic_fails_with_the_command_that_creates_it(
    monkeypatch: pytest.MonkeyPatch, topics: Topics, overrides: Overrides
) -> None:
    code, found = _examine(monkeypatch, topics, {**overrides, "topics.tags": "not-there"})
    assert code == 1
    (check,) = found["kafka.topic.not-there"]
    assert (check["status"], check["finding"]) == ("fail", "does not exist")
    assert "streamtag topics apply" in check["action"]


def test_an_input_larger_than_a_dead_letter_may_be_is_named(
    monkeypatch: pytest.MonkeyPatch, make_topics: MakeTopics, overrides: Overrides
) -> None:
    code, found = _examine(monkeypatch, make_topics(max_bytes=8 * MIB), overrides)
    assert code == 0
    assert found["kafka.sizes"][0]["status"] == "warn"
    assert "dead_letters.max_bytes" in found["kafka.sizes"][0]["finding"]


def test_a_stopped_group_fails_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, topics: Topics, overrides: Overrides
) -> None:
    settings = load_settings(environ={}, overrides=overrides).settings
    group = settings.tagger.group
    mark = StopMark(group=group, reason="600 of 2000 records were dead letters", at=datetime.now(UTC), worker="w")
    StopStore(settings).set(mark)
    code, found = _examine(monkeypatch, topics, overrides)
    assert code == 1
    assert found["redis.stops"][0]["status"] == "fail"
    assert "600 of 2000" in found["redis.stops"][0]["finding"]
