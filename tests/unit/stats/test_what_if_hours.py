"""What a preview's counts are divided by: the time in which all traffic has as many events."""

from typing import Any

import pytest

from streamtag.stats.what_if import Preview

HOUR_MS = 3_600_000


def preview(**changes: Any) -> Preview:
    """Of a day in which one bundle decided everything."""
    facts: dict[str, Any] = {"from_ms": 0, "to_ms": 24 * HOUR_MS, "recorded_ms": 0, "events": 2_400, "others": 0}
    return Preview(size="5m", windows=288, exact=True, effects=[], **facts | changes)


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        ({}, 24.0),
        # Promoted an hour ago: 100 of 2,400 events, so an hour of them.
        ({"events": 100, "others": 2_300}, 1.0),
        # Installed two hours ago.
        ({"recorded_ms": 22 * HOUR_MS}, 2.0),
        # Both: half of the events since.
        ({"recorded_ms": 22 * HOUR_MS, "events": 100, "others": 100}, 1.0),
        # Nothing of this bundle: nothing is divided either, but by no zero.
        ({"events": 0, "others": 2_400}, 24.0),
    ],
)
def test_a_rate_is_of_the_time_that_the_events_stand_for(changes: dict[str, Any], hours: float) -> None:
    assert preview(**changes).hours == pytest.approx(hours)
