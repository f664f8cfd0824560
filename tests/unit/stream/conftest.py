"""A loop per test, which is always ended."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_broker import FakeBroker
from loop import Loop


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker(content=2)


@pytest.fixture
def make_loop(monkeypatch: pytest.MonkeyPatch, broker: FakeBroker) -> Iterator[Callable[..., Loop]]:
    """Makes a loop on `broker`; keyword arguments are `StreamOptions`."""
    made: list[Loop] = []

    def make(**options: Any) -> Loop:
        made.append(Loop(monkeypatch, broker, options))
        return made[-1]

    yield make
    for loop in made:
        loop.processor.before = lambda records: None
        loop.while_committing = lambda: None
        if loop._thread.is_alive():
            loop.stop()
