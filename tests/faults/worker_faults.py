"""Faults of workers: killed, frozen, drained, joined, failing, with a clock that jumps."""

import random
import signal
from collections.abc import Sequence

from streamtag.stream.faultpoints import POINTS

from .fault import Fault
from .seats import SESSION_MS, TRANSACTION_MS, Action, Seat
from .stage import Stage

_BEYOND_SESSION_S = SESSION_MS / 1000 + 0.6
_WITHIN_TRANSACTION_S = TRANSACTION_MS / 1000 - 0.4
_BEYOND_TRANSACTION_S = TRANSACTION_MS / 1000 + 1.5
_AT_START = ("connect.after", "resolve.after")  # passed at the start only
_PROCESSING = ("begin.", "produce.", "summaries.", "offsets.", "commit.")


class Killed(Fault):
    name, hurts = "worker killed", "workers"
    ends_worker = True

    def inject(self) -> None:
        self.seat.kill()

    def heal(self) -> None:
        self.seat.start()


class Drained(Fault):
    name, hurts = "worker drained", "workers"
    ends_worker = True

    def inject(self) -> None:
        self.seat.stop()

    def heal(self) -> None:
        self.seat.start()


class FrozenBeyondSession(Fault):
    """Out of the group, with a transaction that is still open when it wakes."""

    name, hurts = "worker frozen beyond the session", "workers"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return _BEYOND_SESSION_S, _WITHIN_TRANSACTION_S

    def blurred(self) -> Sequence[Seat]:
        return [self.seat]

    def inject(self) -> None:
        self.seat.freeze()

    def heal(self) -> None:
        self.seat.thaw()


class Zombie(FrozenBeyondSession):
    """Out of the group, and its transaction has been aborted for it."""

    name = "worker frozen beyond session and transaction"

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return _BEYOND_TRANSACTION_S, _BEYOND_TRANSACTION_S + 1.5


class Storm(Fault):
    """Members come and go faster than the group settles."""

    name, hurts = "join and leave storm", "workers"
    ends_worker = True

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        super().__init__(stage, choose)
        self._hard = [choose.random() < 0.5 for _ in range(2)]
        self._gap_s = [choose.uniform(1.5, 3.0) for _ in range(2)]

    def inject(self) -> None:
        spare = self.stage.spare
        for hard, gap_s in zip(self._hard, self._gap_s, strict=True):
            spare.start()
            spare.lives_for(gap_s)  # time for it to join, or not quite
            self.seat.stop()
            self.seat.start()
            if hard:
                spare.kill()
            else:
                spare.stop()
        spare.worker = None


class AtPoint(Fault):
    """A worker strikes itself at a named point of its transaction."""

    hurts = "workers"
    action: Action
    points: tuple[str, ...] = POINTS

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        super().__init__(stage, choose)
        self.point = choose.choice(self.points)
        self._skip = choose.randrange(5)
        self.struck = False
        self.ends_worker = self.action == "kill" or self.point in _AT_START

    @property
    def counts(self) -> bool:
        return self.struck

    def __str__(self) -> str:
        return f"{self.name} ({self.point}{'' if self.struck else ', not reached'})"

    def inject(self) -> None:
        seat, point = self.seat, self.point
        if point in _AT_START:
            seat.kill()
            seat.start()
            seat.arm(point, 0, self.action)
        elif point.startswith("abort."):
            seat.arm(point, 0, self.action)
            seat.arm("produce.after", self._skip, "raise")
        elif point.startswith("revoke."):
            seat.arm(point, 0, self.action)
            self.stage.spare.start()  # takes partitions from the others
        else:
            seat.arm(point, self._skip, self.action)
        self.struck = seat.wait_struck(point, self.action, 12)

    def heal(self) -> None:
        if not self.struck:
            self.seat.disarm()
        if self.stage.spare.worker is not None:
            self.stage.spare.leave()
            self.stage.spare.worker = None


class KilledAtPoint(AtPoint):
    name, action, weight = "worker killed at a point", "kill", 2

    def heal(self) -> None:
        super().heal()
        if self.struck:
            self.seat.start()


class FrozenAtPoint(AtPoint):
    """The zombie at its most dangerous: it wakes in the middle of a commit."""

    name, action = "worker frozen at a point", "freeze"

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        super().__init__(stage, choose)
        short = choose.random() < 0.6
        self.hold_s = choose.uniform(_BEYOND_SESSION_S, _WITHIN_TRANSACTION_S) if short else _BEYOND_TRANSACTION_S

    def blurred(self) -> Sequence[Seat]:
        return [self.seat]

    def heal(self) -> None:
        if self.struck:
            self.seat.current().signal(signal.SIGCONT)
        super().heal()


class FrozenInCommit(FrozenAtPoint):
    """Out of the group when it wakes, its transaction still open: only the broker can refuse the commit."""

    name = "worker frozen in a commit"
    points = ("produce.after", "summaries.after", "offsets.before")

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        super().__init__(stage, choose)
        self.hold_s = choose.uniform(_BEYOND_SESSION_S, _WITHIN_TRANSACTION_S)


class Failing(AtPoint):
    name, action = "processing fails at a point", "raise"
    points = tuple(p for p in POINTS if p.startswith(_PROCESSING))


class AnswerLost(AtPoint):
    """The broker did what it was asked to, and the worker cannot know."""

    name, action = "answer lost at a point", "undo"
    points = tuple(p for p in POINTS if p.startswith(_PROCESSING))


class ClockStepped(Fault):
    """By hours: what Python takes for the wall clock; the client library's own timestamps are not reached."""

    name, hurts = "clock stepped", "workers"

    def __init__(self, stage: Stage, choose: random.Random) -> None:
        super().__init__(stage, choose)
        self._by_s = choose.choice((-86_400, -3_600, 30, 3_600, 86_400))

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 1.0, 3.0

    def inject(self) -> None:
        self.seat.current().tell(f"clock {self._by_s}")

    def heal(self) -> None:
        self.seat.current().tell("clock 0")


class DiskFull(Fault):
    """The snapshot of the last good release cannot be written."""

    name, hurts = "snapshot disk full", "disk"

    @classmethod
    def possible(cls, stage: Stage) -> bool:
        return stage.disk.small

    @classmethod
    def holds(cls) -> tuple[float, float]:
        return 2.0, 5.0  # the operator changes something every 2 s

    def inject(self) -> None:
        self.stage.disk.fill()

    def heal(self) -> None:
        self.stage.disk.free()


KINDS: tuple[type[Fault], ...] = (
    Killed,
    Drained,
    FrozenBeyondSession,
    Zombie,
    Storm,
    KilledAtPoint,
    FrozenAtPoint,
    FrozenInCommit,
    Failing,
    AnswerLost,
    ClockStepped,
    DiskFull,
)
