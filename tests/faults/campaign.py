"""Hurts a pipeline at random moments, waits each time until every partition commits again, and checks all of it."""

import contextlib
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

from services import wait_until

from . import service_faults, worker_faults
from .errands import Errand
from .fault import Fault
from .operator import CHANGES
from .reading import now_ms
from .seats import Seat
from .stage import Stage
from .staleness import Blur

ALL_KINDS = (*worker_faults.KINDS, *service_faults.KINDS)

RECOVERY_DEADLINE_S = 60.0
PROPAGATION_BOUND_MS = 3_000
"""A superseded release decides no longer than this while Redis can be reached (twice this for another bundle)."""

_TOGETHER = 0.4  # share of rounds in which two faults come at once
_BLUR_AFTER_MS = 1_000  # a worker that is back looks at Redis at the next poll
_BACKLOG_S = 5.0  # the writer rests when workers are this far behind

Say = Callable[[str], None]


@dataclass
class Plan:
    """What to do.

    Attributes:
        seed: of input, changes and faults.
        minutes: of faults, at least; the end of the campaign comes on top.
        rate: input, records per second at most.
        kinds: fault classes to draw from.
        until: end at the first violation of one of these classes.
        each: go on until each kind has happened so often …
        at_most_minutes: … but no longer than this.
    """

    seed: int
    minutes: float
    rate: float
    kinds: Sequence[type[Fault]] = ALL_KINDS
    until: frozenset[str] = frozenset()
    each: int = 0
    at_most_minutes: float = 0.0


@dataclass
class Course:
    """What happened. ``recovery_s`` has faults that came alone; together, recovery belongs to both."""

    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    points: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    blurs: list[Blur] = field(default_factory=list)
    rounds: int = 0
    together: int = 0
    missed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unreached: list[str] = field(default_factory=list)
    minutes: float = 0.0


def happened(stage: Stage, plan: Plan, course: Course) -> dict[str, int]:
    """How often each kind has, of those that this machine can have; changes of the release are kinds, too."""
    kinds = [kind.name for kind in plan.kinds if kind.possible(stage)]
    return {kind: course.faults.get(kind, 0) for kind in sorted(kinds)} | {
        change: stage.operator.made[change] for change in CHANGES
    }


class Weighted(Protocol):
    """Comes up as often as its weight says."""

    weight: ClassVar[int]


K = TypeVar("K", bound=Weighted)


def deal(kinds: Sequence[type[K]], choose: random.Random) -> Iterator[type[K]]:
    """Kinds for ever, each as often as its weight says: a deck is shuffled, dealt to the end, and shuffled again."""
    deck = [kind for kind in kinds for _ in range(kind.weight)]
    while True:
        choose.shuffle(deck)
        yield from deck


def rounds(stage: Stage, plan: Plan) -> Iterator[tuple[float, list[Fault]]]:
    """Pause before each round, and its faults: a function of the seed alone."""
    choose = random.Random(plan.seed)
    dealt = deal([kind for kind in plan.kinds if kind.possible(stage)], choose)
    waiting: type[Fault] | None = None
    while True:
        first = waiting or next(dealt)
        waiting = None
        faults = [first(stage, choose)]
        if choose.random() < _TOGETHER:
            second = next(dealt)
            if second.hurts == first.hurts:
                waiting = second
            else:
                faults.append(second(stage, choose))
        yield choose.uniform(0.2, 1.5), faults


def run(stage: Stage, plan: Plan, say: Say) -> Course:
    """The campaign; violations are in ``stage.findings``."""
    course = Course(unreached=[kind.name for kind in plan.kinds if not kind.possible(stage)])
    stage.upstream.pace(plan.rate)
    await_commits(stage, now_ms(), "all partitions commit for the first time")
    begun = time.monotonic()
    with Watch(stage, plan.rate):
        for pause_s, drawn in rounds(stage, plan):
            faults = _wanted(stage, plan, course, drawn)
            if not faults:
                continue
            time.sleep(pause_s)  # the moment of a fault is random: nothing waits for it
            course.minutes = (time.monotonic() - begun) / 60
            if _over(stage, plan, course):
                break
            strike(stage, faults, course, say)
    if not _noticed(stage, plan):
        wind_up(stage, course, say)
    return course


def _over(stage: Stage, plan: Plan, course: Course) -> bool:
    if stage.upstream.finished or _noticed(stage, plan):
        return True
    until = max(plan.minutes, plan.at_most_minutes) if _short(stage, plan, course) else plan.minutes
    return course.minutes >= until


def _short(stage: Stage, plan: Plan, course: Course) -> set[str]:
    """Kinds that have not happened often enough."""
    return {kind for kind, times in happened(stage, plan, course).items() if times < plan.each}


def _wanted(stage: Stage, plan: Plan, course: Course, drawn: Sequence[Fault]) -> Sequence[Fault]:
    """All of them; once the planned minutes are over, those of kinds that have not happened often enough."""
    short = _short(stage, plan, course) & {kind.name for kind in plan.kinds}
    if course.minutes < plan.minutes or not short:
        return drawn
    return [fault for fault in drawn if fault.name in short]


def strike(stage: Stage, faults: Sequence[Fault], course: Course, say: Say) -> None:
    """One round: the faults together, then the wait until every partition commits again."""
    begun = time.monotonic()
    for future in [stage.services.pool.submit(fault.run) for fault in faults]:
        future.result()
    healed_ms, healed = now_ms(), time.monotonic()
    names = " + ".join(str(fault) for fault in faults)
    recovered = await_commits(stage, healed_ms, f"all partitions commit again after {names}")
    took_s = time.monotonic() - healed
    course.rounds += 1
    course.together += len(faults) > 1
    for fault in faults:
        if not fault.counts:
            course.missed[str(fault)] += 1
        else:
            course.faults[fault.name] += 1
            if str(fault) != fault.name:
                course.points[str(fault)] += 1
            if len(faults) == 1 and recovered:
                course.recovery_s[fault.name].append(took_s if fault.outage_s is None else fault.outage_s)
        if seats := fault.blurred():
            course.blurs.append(Blur(fault.begun_ms, fault.healed_ms + _BLUR_AFTER_MS, _writers(stage, seats)))
    checker = stage.checker
    say(
        f"{course.rounds:>3}  {names}: {healed - begun:.1f} s, recovered after {took_s:.1f} s"
        f"  [{checker.events:,} tag events, backlog {checker.backlog():,}]"
    )
    for example in stage.findings.examples():
        say(f"     VIOLATION {example}")


def _writers(stage: Stage, seats: Sequence[Seat]) -> frozenset[str] | None:
    """Who sits there; None for everybody."""
    if len(seats) == len(stage.seats):
        return None
    return frozenset(writer for seat in seats if (writer := seat.writer()) is not None)


def await_commits(stage: Stage, since_ms: int, what: str) -> bool:
    """Waits until every partition has committed after ``since_ms``; False, and new workers, when one does not."""
    try:
        wait_until(lambda: stage.reader.committed_since(since_ms), RECOVERY_DEADLINE_S, what)
    except AssertionError as late:
        stage.findings.add("unrecovered", str(late))
        for seat in stage.working:
            seat.replace()
        return False
    return True


def _noticed(stage: Stage, plan: Plan) -> bool:
    return any(kind in stage.findings.violations() for kind in plan.until)


def wind_up(stage: Stage, course: Course, say: Say) -> None:
    """Everything is whole: the rest of the input must come out, and every worker must drain."""
    stage.upstream.stop()
    if failed := stage.upstream.failed:
        stage.findings.add("writer", failed)
    say("the writer has stopped, waiting for the rest")
    with contextlib.suppress(AssertionError):  # `Checker.finish` counts what is missing
        wait_until(lambda: not stage.reader.unread() and stage.checker.backlog() == 0, 90, "the rest", every_s=0.3)
    stage.operator.sync()
    for seat in stage.working:
        seat.stop()
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not stage.reader.unread(), 30, "everything is read", every_s=0.2)
    for place in stage.reader.unread():
        stage.findings.add("unread", place)
    for seat in stage.seats:
        for exit_ in seat.unexpected:
            stage.findings.add("exited", exit_)
    stage.reader.close()
    stage.checker.finish(course.blurs, bound_ms=PROPAGATION_BOUND_MS)


class Watch:
    """Paces the writer by the backlog, and notes workers that end by themselves."""

    def __init__(self, stage: Stage, rate: float) -> None:
        self._stage = stage
        self._rate = rate
        self._stop = threading.Event()
        self._thread = Errand(self._run, "watch", stage.findings)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.finish(10)

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            rested = self._stage.checker.backlog() > self._rate * _BACKLOG_S
            self._stage.upstream.pace(0 if rested else self._rate)
            for seat in self._stage.seats:
                seat.look()
