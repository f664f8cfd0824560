"""What the long run calls its capacity: found by even loads, not at full speed."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from soak.run import _capacity


class _Pipe:
    """An upstream of a pipeline that keeps up with so many records a second, and falls behind by 30 s of the rest."""

    def __init__(self, keeps_up: float) -> None:
        self.rate, self.tried, self._keeps_up = 0.0, list[float](), keeps_up
        self.gaps: list[tuple[str, float]] = []

    def pace(self, rate: float) -> None:
        self.rate = rate
        self.tried.append(rate)

    def until(self, ordinal: int) -> None:
        self.rate = 0.0

    def pause(self) -> None:
        self.gaps.append(("from", self.rate))

    def resume(self) -> None:
        self.gaps.append(("to", self.rate))

    def due(self) -> int:
        return round(max(0.1 * self.rate, 30 * (self.rate - self._keeps_up)))


@pytest.mark.parametrize("keeps_up", [0.0, 3_000.0, 16_000.0, 23_000.0])
def test_capacity_is_the_most_that_stays_level(keeps_up: float) -> None:
    pipe = _Pipe(keeps_up)
    services = SimpleNamespace(cluster=SimpleNamespace(brokers=[pipe]))
    stage: Any = SimpleNamespace(checker=SimpleNamespace(verified_to=lambda: [0, 0]), services=services)
    said: list[str] = []
    found = _capacity(stage, cast(Any, pipe), 23_000.0, 0.0, said.append)
    tolerated = keeps_up * 30 / 29  # a second of work may be left
    assert found <= tolerated
    assert found >= min(tolerated, 23_000.0) - 23_000.0 / 64
    assert len(said) == len(pipe.tried) == 6
    assert pipe.gaps == [(end, rate) for rate in pipe.tried for end in ("from", "to")], "each under its load"
