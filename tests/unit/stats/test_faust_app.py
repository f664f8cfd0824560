"""What the app does when it is given the panes, and when another is."""

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from faust.types import TP

from streamtag.stats import faust_app as room
from streamtag.telemetry.metrics import Metrics

PANES = TP("panes", 0)


def test_an_app_whose_partition_another_gets_hides_what_it_has_shown() -> None:
    assigned = {PANES}
    app = MagicMock()
    app.consumer.assignment = lambda: assigned
    state = MagicMock(latest={}, end=lambda: 0, kept=lambda: 0)
    telemetry: Any = SimpleNamespace(metrics=Metrics.in_memory(), health=MagicMock())
    follower = room._Follower(app, PANES, None, telemetry, state)
    asyncio.run(follower._look())
    telemetry.metrics.set("streamtag.label.rate", 0.5, label="spam", window="1m")
    state.stand_by.assert_not_called()
    assigned.clear()
    for _ in range(2):
        asyncio.run(follower._look())
    state.stand_by.assert_called_once_with()
    assert telemetry.metrics.series("streamtag.label.rate") == {}
    assigned.add(PANES)
    asyncio.run(follower._look())
    assert state.restore.call_count == 2


def test_a_record_that_comes_while_the_app_stands_by_is_fed_to_a_state_that_was_restored() -> None:
    app = MagicMock()
    app.consumer.assignment = set
    state = MagicMock(latest={}, end=lambda: 0, kept=lambda: 0)
    telemetry: Any = SimpleNamespace(metrics=Metrics.in_memory(), health=MagicMock())
    follower = room._Follower(app, PANES, None, telemetry, state)
    follower._feed(7, b"pane")
    asyncio.run(follower._look())
    follower._feed(8, b"pane")
    called = [call[0] for call in state.method_calls if call[0] in {"restore", "feed", "stand_by"}]
    assert called == ["restore", "feed", "stand_by", "restore", "feed"]
