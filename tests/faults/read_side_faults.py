"""Faults of windowers and Faust apps: killed, frozen beyond their session, drained, joined by another."""

import os
import random
import signal
from abc import abstractmethod
from contextlib import suppress
from typing import ClassVar

from services import wait_until

from streamtag.stats.supervisor import GRACE_S

from .fault import Damage
from .read_side import APP_SESSION_S, WINDOWER_SESSION_MS, ReadSide, StatsSeat
from .seats import Seat


class ReadSideFault(Damage):
    """One way to hurt a seat; all it will do is drawn from ``choose`` beforehand.

    Attributes:
        name: kind, in the report.
        sort: what it is counted as, in the report: kills, freezes, or rebalances that somebody has asked for.
        times: as how many of these.
        weight: how often it comes up, compared with others of its lane.
    """

    name: ClassVar[str]
    sort: ClassVar[str]
    times: ClassVar[int] = 1
    weight: ClassVar[int] = 1
    hold: ClassVar[tuple[float, float]] = (0.0, 0.0)
    """Least and longest time between `inject` and `heal`, seconds."""

    def __init__(self, side: ReadSide, seat: Seat, choose: random.Random) -> None:
        self.side = side
        self.seat = seat
        self.hold_s = choose.uniform(*self.hold)
        self.counts = True
        """False when nothing was hurt after all."""

    @abstractmethod
    def heal(self) -> None:
        """Ends it."""


class WindowerKilled(ReadSideFault):
    name, sort, hold = "windower killed", "kills", (0.0, 1.0)

    def inject(self) -> None:
        self.seat.kill()

    def heal(self) -> None:
        self.seat.start()


class WindowerFrozen(ReadSideFault):
    name, sort = "windower frozen beyond its session", "freezes"
    hold = (WINDOWER_SESSION_MS / 1000 + 0.5, WINDOWER_SESSION_MS / 1000 + 2.0)

    def inject(self) -> None:
        self.seat.freeze()

    def heal(self) -> None:
        self.seat.thaw()


class WindowerDrained(ReadSideFault):
    """Leaves, and joins again."""

    name, sort, times, hold = "windower drained", "rebalances", 2, (0.0, 1.0)

    def inject(self) -> None:
        self.seat.stop()

    def heal(self) -> None:
        self.seat.start()


class AppFault(ReadSideFault):
    """Of a Faust app alone, or with its supervisor."""

    def __init__(self, side: ReadSide, seat: Seat, choose: random.Random) -> None:
        super().__init__(side, seat, choose)
        assert isinstance(seat, StatsSeat)
        self.stats = seat

    def signal_app(self, number: signal.Signals) -> bool:
        """Whether there was an app to be signalled; one that is about to be started is waited for."""
        with suppress(AssertionError):
            wait_until(lambda: self.stats.app() is not None, 5, "the supervisor has an app")
        return self.stats.signal_app(number)


class AppKilled(AppFault):
    """The supervisor starts another."""

    name, sort, weight = "app killed", "kills", 2

    def inject(self) -> None:
        if self.stats.worn:
            self.stats.kill()
        else:
            self.counts = self.signal_app(signal.SIGKILL)

    def heal(self) -> None:
        if not self.stats.current().alive:
            self.stats.start()


class StatsKilled(AppFault):
    name, sort, hold = "app and supervisor killed", "kills", (0.0, 1.0)

    def inject(self) -> None:
        self.stats.kill()

    def heal(self) -> None:
        self.stats.start()


class SupervisorKilled(AppFault):
    """Its app, which nobody watches any more, must end by itself."""

    name, sort = "supervisor killed", "kills"

    def inject(self) -> None:
        app = self.stats.app()
        Seat.kill(self.stats)
        if app is not None:
            try:
                wait_until(lambda: not _lives(app), GRACE_S + 15, "an app without a supervisor has ended", every_s=0.1)
            except AssertionError as late:
                self.side.stage.findings.add("orphan", str(late))
                os.kill(app, signal.SIGKILL)

    def heal(self) -> None:
        self.stats.start()


class AppFrozen(AppFault):
    name, sort, weight = "app frozen beyond its session", "freezes", 4
    hold = (APP_SESSION_S + 0.5, APP_SESSION_S + 2.0)

    def inject(self) -> None:
        if self.stats.worn:  # whoever wakes may find that another has gone on, and end
            self.stats.kill()
            self.stats.start()
            self.counts = False
        else:
            self.counts = self.signal_app(signal.SIGSTOP)

    def heal(self) -> None:
        self.stats.signal_app(signal.SIGCONT)


class StatsDrained(AppFault):
    """Leaves, and joins again."""

    name, sort, times, weight, hold = "app drained", "rebalances", 2, 4, (0.0, 1.0)

    def inject(self) -> None:
        self.stats.stop()

    def heal(self) -> None:
        self.stats.start()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


WINDOWER_KINDS: tuple[type[ReadSideFault], ...] = (WindowerKilled, WindowerFrozen, WindowerDrained)
APP_KINDS: tuple[type[ReadSideFault], ...] = (AppKilled, StatsKilled, SupervisorKilled, AppFrozen, StatsDrained)
