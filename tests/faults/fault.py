"""What a fault is."""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from .reading import now_ms
from .seats import Seat
from .stage import Stage


class Damage(ABC):
    """What is hurt for a while.

    Attributes:
        hold_s: between `inject` and `heal`, seconds.
        begun_ms, healed_ms: when, Unix milliseconds.
    """

    hold_s: float
    begun_ms = healed_ms = 0

    @abstractmethod
    def inject(self) -> None:
        """Begins it."""

    def heal(self) -> None:  # noqa: B027 - some faults are over at once
        """Ends it, as far as somebody has to."""

    def run(self) -> None:
        """All of it; returns when the damage is over and recovery can begin."""
        self.begun_ms = now_ms()
        try:
            self.inject()
            time.sleep(self.hold_s)  # the length of the damage, not a wait for anything
        finally:
            self.heal()
            self.healed_ms = now_ms()


class Fault(Damage):
    """One way to hurt a pipeline. Made for one occasion: all it will do is drawn from ``choose`` beforehand.

    Attributes:
        name: kind, in the report.
        hurts: faults that hurt the same thing are never under way together.
        weight: how often it comes up, compared with others.
    """

    name: ClassVar[str]
    hurts: ClassVar[str]
    weight: ClassVar[int] = 1
    brokers: ClassVar[int] = 1
    """How many it needs."""
    ends_worker: bool = False
    """Whether the process on `seat` ends of it."""
    outage_s: float | None = None
    """How long it took until every partition committed again, of a fault that others make good while it lasts."""

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        self.stage = stage
        self.seat = choose.choice(stage.working)
        self.hold_s = choose.uniform(*self.holds())

    @classmethod
    def holds(cls) -> tuple[float, float]:
        """Least and longest time between `inject` and `heal`, seconds."""
        return 0.0, 0.0

    @classmethod
    def possible(cls, stage: Stage) -> bool:
        """Whether this machine can have it."""
        return len(stage.services.cluster.brokers) >= cls.brokers

    @property
    def counts(self) -> bool:
        """False when nothing was hurt after all."""
        return True

    def blurred(self) -> Sequence[Seat]:
        """Seats whose worker may decide under a superseded release, because it cannot know."""
        return ()

    def __str__(self) -> str:
        return self.name
