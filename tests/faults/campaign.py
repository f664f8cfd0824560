"""Hurts a pipeline at random moments, waits each time until every partition commits again, and checks all of it."""

import contextlib
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from services import wait_until

from . import service_faults, worker_faults
from .fault import Fault
from .reading import now_ms
from .stage import Stage

ALL_KINDS = (*worker_faults.KINDS, *service_faults.KINDS)

RECOVERY_DEADLINE_S = 60.0
PROPAGATION_BOUND_MS = 3_000
"""A superseded release decides no longer than this while Redis can be reached (twice this for another bundle)."""

_TOGETHER = 0.25  # share of rounds in which two faults come at once
_BACKLOG_S = 5.0  # the writer rests when workers are this far behind

Say = Callable[[str], None]


@dataclass
class Plan:
    """What to do.

    Attributes:
        seed: of input, changes and faults.
        minutes: of faults; the end of the campaign comes on top.
        rate: input, records per second at most.
        kinds: fault classes to draw from.
        stop_early: end at the first violation.
    """

    seed: int
    minutes: float
    rate: float
    kinds: Sequence[type[Fault]] = ALL_KINDS
    stop_early: bool = False


@dataclass
class Course:
    """What happened. ``recovery_s`` has faults that came alone; together, recovery belongs to both."""

    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    blurred: list[tuple[int, int]] = field(default_factory=list)
    rounds: int = 0
    together: int = 0
    missed: int = 0
    unreached: list[str] = field(default_factory=list)


def deal(kinds: Sequence[type[Fault]], choose: random.Random) -> Iterator[type[Fault]]:
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
    watch = _Watch(stage, plan.rate)
    with watch:
        end = time.monotonic() + plan.minutes * 60
        for pause_s, faults in rounds(stage, plan):
            time.sleep(pause_s)  # the moment of a fault is random: nothing waits for it
            if time.monotonic() > end or stage.upstream.finished or (plan.stop_early and _violated(stage)):
                break
            strike(stage, faults, course, say)
    wind_up(stage, course, say)
    return course


def strike(stage: Stage, faults: Sequence[Fault], course: Course, say: Say) -> None:
    """One round: the faults together, then the wait until every partition commits again."""
    begun_ms, begun = now_ms(), time.monotonic()
    for future in [stage.services.pool.submit(fault.run) for fault in faults]:
        future.result()
    healed_ms, healed = now_ms(), time.monotonic()
    names = " + ".join(_words(fault) for fault in faults)
    recovered = await_commits(stage, healed_ms, f"all partitions commit again after {names}")
    took_s = time.monotonic() - healed
    course.rounds += 1
    course.together += len(faults) > 1
    for fault in faults:
        if isinstance(fault, worker_faults.AtPoint) and not fault.struck:
            course.missed += 1  # the worker has not come to the point: nothing was hurt
            continue
        course.faults[fault.name] += 1
        if len(faults) == 1 and recovered:
            course.recovery_s[fault.name].append(took_s)
    if any(fault.blurs or fault.hurts == "kafka" for fault in faults):
        course.blurred.append((begun_ms, now_ms() + 1_000))
    checker = stage.checker
    say(
        f"{course.rounds:>3}  {names}: {healed - begun:.1f} s, recovered after {took_s:.1f} s"
        f"  [{checker.events:,} tag events, backlog {checker.backlog():,}]"
    )
    for example in stage.findings.examples():
        say(f"     VIOLATION {example}")


def _words(fault: Fault) -> str:
    point = (
        f" ({fault.point}{'' if fault.struck else ', not reached'})" if isinstance(fault, worker_faults.AtPoint) else ""
    )
    return fault.name + point


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


def _violated(stage: Stage) -> bool:
    return bool(stage.findings.violations())


def wind_up(stage: Stage, course: Course, say: Say) -> None:
    """Everything is whole: the rest of the input must come out, and every worker must drain."""
    stage.upstream.stop()
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
    stage.checker.finish(course.blurred, bound_ms=PROPAGATION_BOUND_MS)
    _bound_repeats(stage, course)


def _bound_repeats(stage: Stage, course: Course) -> None:
    """At least once: each interruption of a partition repeats at most what one commit of it covers.

    A fault is reckoned to interrupt every partition three times: as its owner goes, as the group settles, and as an
    owner that had been given up comes back. With exactly_once any doubling is a violation anyway.
    """
    faults = sum(course.faults.values())
    bound = 3 * (faults + 1) * stage.topics.partitions * stage.checker.longest
    if stage.findings.count("doubled") > bound:
        stage.findings.add("unbounded", f"{stage.findings.count('doubled')} doubled, {bound} is the bound")


class _Watch:
    """Paces the writer by the backlog, and notes workers that end by themselves."""

    def __init__(self, stage: Stage, rate: float) -> None:
        self._stage = stage
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            rested = self._stage.checker.backlog() > self._rate * _BACKLOG_S
            self._stage.upstream.pace(0 if rested else self._rate)
            for seat in self._stage.seats:
                seat.look()
