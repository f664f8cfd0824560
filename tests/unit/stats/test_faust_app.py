"""What the app does when it is given the panes, when another is, and when anything goes wrong: it ends."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from faust.types import TP

from streamtag.errors import ConflictError, UnavailableError
from streamtag.stats import faust_app as room
from streamtag.telemetry.health import Health
from streamtag.telemetry.metrics import Metrics

PANES = TP("panes", 0)
ENDS = [(ConflictError("overtaken"), 70), (ZeroDivisionError(), 70), (UnavailableError("Kafka is away"), 6)]


class Rig:
    """The app's own part, of which Faust, the state and the health are made up."""

    def __init__(self) -> None:
        self.assigned = {PANES}
        self.state = MagicMock(latest={}, end=lambda: 0, kept=lambda: 0)
        self.telemetry = MagicMock(metrics=Metrics.in_memory())
        app = MagicMock()
        app.consumer.assignment = lambda: self.assigned
        self.follower = room._Follower(app, PANES, None, self.telemetry, self.state)

    def look(self) -> None:
        asyncio.run(self.follower._look())

    def follow(self, count: int) -> None:
        """A stream of so many records."""

        async def events() -> AsyncIterator[Any]:
            for offset in range(count):
                yield SimpleNamespace(message=SimpleNamespace(offset=offset), value=b"pane")

        asyncio.run(self.follower._follow(MagicMock(events=events)))


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """How the process would have ended: what was done last, and its exit code. It raises `SystemExit` instead."""
    found: list[object] = []

    def end(code: int) -> None:
        found.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(logging, "shutdown", lambda: found.append("logs are written"))
    monkeypatch.setattr(os, "_exit", end)
    return found


def test_an_app_whose_partition_another_gets_hides_what_it_has_shown(rig: Rig) -> None:
    rig.look()
    rig.telemetry.metrics.set("streamtag.label.rate", 0.5, label="spam", window="1m")
    rig.state.stand_by.assert_not_called()
    rig.assigned.clear()
    for _ in range(2):
        rig.look()
    rig.state.stand_by.assert_called_once_with()
    assert rig.telemetry.metrics.series("streamtag.label.rate") == {}
    rig.assigned.add(PANES)
    rig.look()
    assert rig.state.restore.call_count == 2


def test_a_record_that_comes_while_the_app_stands_by_is_fed_to_a_state_that_was_restored(rig: Rig) -> None:
    rig.assigned.clear()
    rig.follow(1)
    rig.look()
    rig.follow(1)
    called = [call[0] for call in rig.state.method_calls if call[0] in {"restore", "feed", "stand_by"}]
    assert called == ["restore", "feed", "stand_by", "restore", "feed"]


@pytest.mark.parametrize(("error", "code"), ENDS)
def test_a_record_that_cannot_be_fed_ends_the_process_before_the_next(
    rig: Rig, ended: list[object], error: Exception, code: int
) -> None:
    rig.state.feed.side_effect = error
    with pytest.raises(SystemExit):
        rig.follow(3)
    rig.state.feed.assert_called_once_with(0, b"pane")
    assert ended == ["logs are written", code]


@pytest.mark.parametrize(("error", "code"), ENDS)
def test_a_look_that_cannot_go_on_ends_the_process(rig: Rig, ended: list[object], error: Exception, code: int) -> None:
    rig.state.keep_up.side_effect = error
    with pytest.raises(SystemExit):
        rig.look()
    assert ended == ["logs are written", code]


def test_a_look_that_redis_interrupts_is_told_and_made_again(rig: Rig) -> None:
    rig.state.flush.side_effect = [UnavailableError("Redis is away"), None]
    for ready, reason in ((False, "Redis is away"), (True, "")):
        rig.look()
        rig.telemetry.health.set_ready.assert_called_with("panes", ready, reason)


def test_an_app_that_may_not_join_its_group_says_so_and_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(room, "_TELL_S", 0.0)
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    telemetry: Any = SimpleNamespace(metrics=Metrics.in_memory(), health=Health())
    follower = room._Follower(MagicMock(), PANES, None, telemetry, MagicMock())
    met = "Unexpected error during coordination "  # so Faust's client says it
    follower._give_up("following the group", RuntimeError(f"{met}GroupAuthorizationFailedError('team-a-stats')"))
    follower._give_up("following the group", RuntimeError(f"{met}ValueError()"))
    assert ended == [UnavailableError.exit_code, room.EXIT_BROKEN]
    _, [reason] = telemetry.health.ready()
    assert reason.startswith("kafka: following the group: GROUP_AUTHORIZATION_FAILED")
    assert "team-a-stats" in reason
    assert telemetry.metrics.value("streamtag.kafka.errors", code="GROUP_AUTHORIZATION_FAILED") == 1
