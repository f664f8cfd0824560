"""The campaign in several processes: which batch is next, what became of it, who died or hangs of it.

Batch ``i`` of seed ``s`` is always the same: a finding names both, and `batch_of` makes it again.
"""

import multiprocessing
import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from .generators import GENERATORS, SETUPS, Generator
from .subject import Attack, Subject, active_release

HANG_S = 1.0
"""One input may not take more CPU time, in the one thread that everything runs in."""
_LONG_S = 0.01
SILENT_S = 60.0
"""A process that finishes no batch for this long (wall time) hangs, whatever in it."""
_BY_SHARE = [generator for generator in GENERATORS for _ in range(generator.share)]


@dataclass(frozen=True)
class Plan:
    """How much, from which seed, by how many.

    Attributes:
        inputs: records to send, at least.
        seed: of everything.
        jobs: processes at the same time.
        bundles: those that the setups name (`Setup.bundle`).
        deadline: Unix time, None for none.
    """

    inputs: int
    seed: int
    jobs: int
    bundles: Mapping[str, Path]
    deadline: float | None = None


class Finding(NamedTuple):
    """Something that must not happen, and how to make it again."""

    kind: str  # death, hang or unaccounted
    generator: str
    batch: int
    inputs: tuple[int, ...]  # of the batch; empty: all of it together
    what: str


@dataclass
class Progress:
    """What one generator has sent so far."""

    inputs: int = 0
    batches: int = 0
    seconds: float = 0.0
    slowest_batch: int = -1
    slowest_batch_s: float = 0.0
    slowest_input_s: float = 0.0

    def add(self, inputs: int, batch: int, took: float) -> None:
        """One batch more."""
        self.inputs += inputs
        self.batches += 1
        self.seconds += took
        if took > self.slowest_batch_s:
            self.slowest_batch, self.slowest_batch_s = batch, took


@dataclass
class Result:
    """Of the whole campaign."""

    by_generator: dict[str, Progress] = field(default_factory=lambda: {g.name: Progress() for g in GENERATORS})
    findings: list[Finding] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    rss_mb: list[dict[str, int]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        """All that were sent and have their outcome."""
        return sum(progress.inputs for progress in self.by_generator.values())


def batch_of(seed: int, index: int) -> tuple[Generator, list[Attack]]:
    """The batch with this number."""
    choose = random.Random(f"{seed}/{index}")
    generator = choose.choice(_BY_SHARE)
    return generator, generator.make(choose)


# -- one process -----------------------------------------------------------------------------------------------------


class _Attacker:
    def __init__(self, plan: Plan, pipe: Connection) -> None:
        self._plan = plan
        self._pipe = pipe
        self._releases = {name: active_release(bundle) for name, bundle in plan.bundles.items()}
        self._subjects = {setup.name: self._subject(setup.name) for setup in SETUPS}
        self._slowest: dict[str, tuple[float, int]] = {}

    def run(self, first: int, step: int) -> None:
        """Batches ``first``, ``first + step`` … until the parent has had enough."""
        index, settled = first, 0
        while not self._pipe.poll():
            self._attack(index)
            index += step
            settled = settled or (_rss_mb() if index > first + 200 * step else 0)
        for subject in self._subjects.values():
            self._pipe.send(("outcomes", subject.outcomes))
        for name, (_, slow) in self._slowest.items():
            self._pipe.send(("slowest", name, max(self._alone(slow).values(), default=0.0)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self._pipe.send(("memory", {"after_200_batches": settled, "end": _rss_mb(), "peak": peak}))
        self._pipe.send(("end",))

    def _attack(self, index: int) -> None:
        self._pipe.send(("begin", index))
        generator, attacks = batch_of(self._plan.seed, index)
        subject = self._subjects[generator.setup]
        try:
            took = subject.process(attacks)
        except Exception as error:  # noqa: BLE001 - whatever leaves the tagger is what is looked for
            subject.undo()
            self._blame(generator, index, attacks, error)
            return
        if took > self._slowest.get(generator.name, (0.0, 0))[0]:
            self._slowest[generator.name] = took, index
        if took > HANG_S:
            slow = tuple(i for i, seconds in self._alone(index).items() if seconds > HANG_S)
            if slow:
                self._pipe.send(("finding", Finding("hang", generator.name, index, slow, f"{took:.2f} s the batch")))
        self._pipe.send(("done", generator.name, index, len(attacks), took))

    def _blame(self, generator: Generator, index: int, attacks: Sequence[Attack], error: Exception) -> None:
        guilty = []
        for i, attack in enumerate(attacks):
            subject = self._subject(generator.setup)
            try:
                subject.process([attack])
                subject.commit()
            except Exception:  # noqa: BLE001 - as above
                guilty.append(i)
        kind = "unaccounted" if isinstance(error, AssertionError) else "death"
        self._pipe.send(
            ("finding", Finding(kind, generator.name, index, tuple(guilty), f"{type(error).__name__}: {error}"[:300]))
        )

    def _alone(self, index: int) -> Mapping[int, float]:
        """CPU seconds that each input of a batch takes alone; where that is long, the better of two attempts."""
        generator, attacks = batch_of(self._plan.seed, index)
        subject = self._subject(generator.setup)
        found = {}
        for i, attack in enumerate(attacks):
            took = subject.process([attack])
            found[i] = took if took < _LONG_S else min(took, subject.process([attack]))
        return found

    def _subject(self, name: str) -> Subject:
        setup = next(setup for setup in SETUPS if setup.name == name)
        return Subject(setup, self._releases[setup.bundle])


def _rss_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


def _attack(plan: Plan, first: int, pipe: Connection) -> None:
    _Attacker(plan, pipe).run(first, plan.jobs)


# -- the parent ------------------------------------------------------------------------------------------------------


class _Lane:
    """One process at a time, on every n-th batch; a successor goes on behind what its predecessor fell over."""

    def __init__(self, plan: Plan, number: int, result: Result, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._result = result
        self._say = say
        self._at = number
        self.ended = False
        self._start(number)

    def _start(self, first: int) -> None:
        # Spawned, not forked: onnxruntime's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self._process: BaseProcess = context.Process(target=_attack, args=(self._plan, first, far), daemon=True)
        self._process.start()
        far.close()
        self._heard = time.monotonic()

    def finish(self) -> None:
        """Asks for the end; what was measured comes first."""
        if not self.ended:
            self.pipe.send("enough")

    def take(self) -> None:
        """Takes one message, or notices a death."""
        try:
            kind, *facts = self.pipe.recv()
        except EOFError:
            self._process.join()
            self._replace("death", f"exit code {self._process.exitcode}")
            return
        self._heard = time.monotonic()
        result = self._result
        match kind, *facts:
            case "begin", int(index):
                self._at = index
            case "done", str(name), int(index), int(inputs), float(took):
                result.by_generator[name].add(inputs, index, took)
            case "finding", Finding() as finding:
                self._note(finding)
            case "outcomes", dict(outcomes):
                for outcome, n in outcomes.items():
                    result.outcomes[outcome] = result.outcomes.get(outcome, 0) + n
            case "slowest", str(name), float(seconds):
                progress = result.by_generator[name]
                progress.slowest_input_s = max(progress.slowest_input_s, seconds)
            case "memory", dict(memory):
                result.rss_mb.append(memory)
            case _:
                self.ended = True
                self._process.join()

    def look(self) -> None:
        """Ends a process that has been silent for too long."""
        if not self.ended and time.monotonic() - self._heard > SILENT_S:
            self._process.kill()
            self._process.join()
            self._replace("hang", f"silent for {SILENT_S:g} s")

    def _note(self, finding: Finding) -> None:
        self._result.findings.append(finding)
        self._say(
            f"{finding.kind}: {finding.generator}, batch {finding.batch}, inputs {finding.inputs}: {finding.what}"
        )

    def _replace(self, kind: str, what: str) -> None:
        self.pipe.close()
        generator, _ = batch_of(self._plan.seed, self._at)
        self._note(Finding(kind, generator.name, self._at, (), what))
        self._start(self._at + self._plan.jobs)


def run(plan: Plan, say: Callable[[str], None]) -> Result:
    """The whole campaign."""
    began = time.monotonic()
    result = Result()
    lanes = [_Lane(plan, number, result, say) for number in range(plan.jobs)]
    asked, said = False, 0.0
    while not all(lane.ended for lane in lanes):
        by_pipe = {lane.pipe: lane for lane in lanes if not lane.ended}
        for pipe in wait(list(by_pipe), timeout=1.0):
            by_pipe[pipe].take()  # type: ignore[index]
        for lane in lanes:
            lane.look()
        late = plan.deadline is not None and time.time() > plan.deadline
        if not asked and (result.inputs >= plan.inputs or late):
            asked = True
            for lane in lanes:
                lane.finish()
        if time.monotonic() - said > 15:
            said = time.monotonic()
            say(f"{result.inputs:,} inputs, {len(result.findings)} findings, {said - began:.0f} s")
    result.seconds = time.monotonic() - began
    return result
