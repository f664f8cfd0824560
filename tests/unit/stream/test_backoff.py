"""Waiting for the next attempt: longer each time, never past what was asked, and for ever if need be."""

import pytest

from streamtag.stream import backoff
from streamtag.stream.backoff import back_off, wait


def test_each_wait_is_twice_the_last_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(backoff, "wait", lambda seconds, _stopping: waits.append(seconds))
    # The last: 85 minutes of one attempt every 5 s. As a float, 2**1024 is an error.
    for attempt in (0, 1, 2, 10, 1_024, 10**6):
        back_off(attempt, lambda: False, first_s=0.5, most_s=3.0)
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_whoever_stops_is_not_kept_waiting() -> None:
    looks = iter([False, False, True])
    wait(3_600, lambda: next(looks))
