"""The campaign of the read side: many faults at once, each on a timetable of its own, and one recount at the end."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from services import wait_until

from . import service_faults, worker_faults
from .campaign import RECOVERY_DEADLINE_S, K, Say, Watch, await_commits, deal
from .fault import Fault
from .progress import Recoveries
from .read_side import ReadSide
from .read_side_faults import APP_KINDS, WINDOWER_KINDS, ReadSideFault
from .reading import now_ms
from .seats import Seat

_TAGGER_KINDS: tuple[type[Fault], ...] = (
    worker_faults.Killed,
    worker_faults.Drained,
    worker_faults.FrozenBeyondSession,
    worker_faults.Zombie,
)
_SERVICE_KINDS: tuple[type[Fault], ...] = (
    service_faults.BrokerKilled,
    service_faults.BrokerRestarted,
    service_faults.BrokerFrozen,
    service_faults.RedisKilled,
    service_faults.RedisFrozen,
    service_faults.RedisEmptied,
)
SORTS = ("kills", "freezes", "rebalances")
ROLES = ("windows", "stats")

F = TypeVar("F")

# Whoever is still down after so long is left alone until it has recovered.
_REST_S = 15.0
_SAY_EVERY_S = 15.0


@dataclass
class Plan:
    """What to do.

    Attributes:
        seed: of input, changes and faults.
        minutes: of faults, at least; the end of the campaign comes on top.
        rate: input, records per second at most.
        each: go on until each sort of fault has happened so often to windowers and to apps …
        at_most_minutes: … but no longer than this.
        pace: pauses between faults are so many times as long.
    """

    seed: int
    minutes: float
    rate: float
    each: int = 0
    at_most_minutes: float = 0.0
    pace: float = 1.0


@dataclass
class Course:
    """What happened."""

    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By victim and kind."""
    sorts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By victim and sort."""
    minutes: float = 0.0
    recoveries: Recoveries | None = None


class Lane:
    """Hurts one thing after another, on a thread of its own.

    Args:
        role: that it hurts.
        draws: pauses, seconds, each with the fault that follows.
        strike: carries a fault out, to its end.
        rests: whether it must wait.
    """

    def __init__(
        self,
        role: str,
        draws: Iterator[tuple[float, Fault | ReadSideFault]],
        strike: Callable[[str, Fault | ReadSideFault], None],
        rests: Callable[[str], bool],
    ) -> None:
        self._role, self._draws, self._strike, self._rests = role, draws, strike, rests
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lane {role}", daemon=True)
        self.failed: BaseException | None = None

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def end(self) -> None:
        """No further fault; the one that is under way is healed."""
        self._stop.set()

    def join(self) -> None:
        """Waits for that."""
        self._thread.join(120)

    def _run(self) -> None:
        try:
            for pause_s, fault in self._draws:
                if self._stop.wait(pause_s):
                    return
                while self._rests(self._role):
                    if self._stop.wait(0.5):
                        return
                self._strike(self._role, fault)
        except BaseException as error:
            self.failed = error
            raise


class Campaign:
    """One run on a read side that is up.

    Args:
        side: to be hurt.
        plan: how.
        say: takes lines for people.
    """

    def __init__(self, side: ReadSide, plan: Plan, say: Say) -> None:
        self._side, self._stage, self._plan, self._say = side, side.stage, plan, say
        self.course = Course()
        self.recoveries = Recoveries(RECOVERY_DEADLINE_S, side.stage.findings)
        self._lock = threading.Lock()

    def run(self) -> Course:
        """Faults, until the plan is fulfilled; everything is up and has recovered when it returns."""
        stage, plan = self._stage, self._plan
        stage.upstream.pace(plan.rate)
        await_commits(stage, now_ms(), "all partitions commit for the first time")
        wait_until(lambda: self._side.progress.added_up > 0, 90, "windows are in Redis for the first time")
        lanes = self._lanes()
        began, said = time.monotonic(), 0.0
        with Watch(stage, plan.rate):
            for lane in lanes:
                lane.start()
            while not self._over():
                time.sleep(0.2)
                self.recoveries.look()
                for seat in self._side.working:
                    seat.look()
                for lane in lanes:
                    if lane.failed is not None:
                        raise AssertionError("a lane has failed") from lane.failed
                self.course.minutes = (time.monotonic() - began) / 60
                if time.monotonic() - said > _SAY_EVERY_S:
                    said = time.monotonic()
                    self._tell()
            for lane in lanes:
                lane.end()
            for lane in lanes:
                lane.join()
            # Who does not is a finding after so much patience; a starved machine takes its time to have that.
            wait_until(self.recoveries.look, 5 * RECOVERY_DEADLINE_S, "everybody has recovered", every_s=0.2)
        return self.course

    def _over(self) -> bool:
        course, plan = self.course, self._plan
        short = min(course.sorts[role, sort] for role in ROLES for sort in SORTS) < plan.each
        return course.minutes >= (max(plan.minutes, plan.at_most_minutes) if short else plan.minutes)

    def _tell(self) -> None:
        course, checker = self.course, self._stage.checker
        sorts = ", ".join(f"{role} {'/'.join(str(course.sorts[role, sort]) for sort in SORTS)}" for role in ROLES)
        others = sum(n for (role, _), n in course.faults.items() if role not in ROLES)
        self._say(
            f"{course.minutes:5.1f} min  {sorts} {'/'.join(SORTS)}, {others} others  [{checker.events:,} tag events, "
            f"backlog {checker.backlog():,}, panes {self._side.progress.end:,}, in windows "
            f"{self._side.progress.added_up:,}]"
        )
        for example in self._stage.findings.examples():
            self._say(f"     VIOLATION {example}")

    # -- lanes -------------------------------------------------------------------------------------------------------

    def _lanes(self) -> list[Lane]:
        side, pace = self._side, self._plan.pace
        lanes = [self._seat_lane("windows", seat, WINDOWER_KINDS, (1.5, 6.0)) for seat in side.windowers[:-1]]
        lanes += [self._seat_lane("stats", seat, APP_KINDS, (1.0, 5.0)) for seat in side.stats[:-1]]
        for role, kinds, pause in (("taggers", _TAGGER_KINDS, (4.0, 15.0)), ("services", _SERVICE_KINDS, (8.0, 25.0))):
            draws = drawn(self._choose(role), kinds, pause, pace, lambda kind, choose: kind(self._stage, choose))
            lanes.append(Lane(role, draws, self._strike, self._rests))
        return lanes

    def _seat_lane(
        self, role: str, seat: Seat, kinds: Sequence[type[ReadSideFault]], pause: tuple[float, float]
    ) -> Lane:
        draws = drawn(
            self._choose(f"{role}-{seat.index}"),
            kinds,
            pause,
            self._plan.pace,
            lambda kind, choose: kind(self._side, seat, choose),
        )
        return Lane(role, draws, self._strike, self._rests)

    def _choose(self, lane: str) -> random.Random:
        return random.Random(f"{self._plan.seed} {lane}")

    def _rests(self, role: str) -> bool:
        return max(self.recoveries.waits_s(role), self.recoveries.waits_s("services")) > _REST_S

    def _strike(self, role: str, fault: Fault | ReadSideFault) -> None:
        self._stage.services.pool.submit(fault.run).result() if role == "services" else fault.run()
        if not fault.counts:
            return
        with self._lock:
            self.course.faults[role, fault.name] += 1
            if isinstance(fault, ReadSideFault):
                self.course.sorts[role, fault.sort] += fault.times
        self.recoveries.add(fault.name, role, self._recovered(role))

    # -- recovery ----------------------------------------------------------------------------------------------------

    def _recovered(self, role: str) -> Callable[[], bool]:
        """What shows that whoever was hurt works again on what has come since now."""
        stage, progress = self._stage, self._side.progress
        since_ms, end = now_ms(), progress.end
        summaries = {p.partition: p.offset for p in stage.reader.positions() if p.topic == stage.topics.stats}
        shown: dict[str, Callable[[], bool]] = {
            "taggers": lambda: stage.reader.committed_since(since_ms),
            "windows": lambda: all(progress.published[shard] > at for shard, at in summaries.items()),
            "stats": lambda: progress.added_up > end,
        }
        return shown[role] if role in shown else lambda: all(each() for each in shown.values())


def drawn(
    choose: random.Random,
    kinds: Sequence[type[K]],
    pause: tuple[float, float],
    pace: float,
    make: Callable[[type[K], random.Random], F],
) -> Iterator[tuple[float, F]]:
    """Pauses, seconds, each with what is made of the kind that follows: for ever, and a function of ``choose``."""
    for kind in deal(kinds, choose):
        yield pace * choose.uniform(*pause), make(kind, choose)
