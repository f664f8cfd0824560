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
