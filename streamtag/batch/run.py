"""A job from its plan to its end; a run after a kill goes on after the units that are done."""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from streamtag.batch.places import Output, Source
from streamtag.batch.plan import Plan, Unit, differences, make_plan
from streamtag.batch.pool import Ended, Progress, work_off
from streamtag.batch.unit_scoring import DONE, REJECTS, Job, UnitDone, part_name, rejects_name
from streamtag.control.breakers import ActiveBreakers
from streamtag.errors import ConflictError

__all__ = ["PLAN", "SUCCESS", "Report", "Watch", "prepared", "run"]

PLAN, SUCCESS, ALL_REJECTS = "_plan.json", "_SUCCESS", "_rejects.jsonl"
_PART = re.compile(r"part-\d{6,}\.\w+")


class Report(msgspec.Struct, frozen=True):
    """A job that is done; ``run_…`` and what follows are of this run alone.

    Attributes:
        scored, rejected: documents of the whole job.
        second: those of them that stage 2 scored, of a bundle with two stages; stage 1 settled the others.
        units: parts.
        run_documents: documents of this run.
        wall_s, cpu_s: seconds on the clock, and of processor time over all processes.
        peak_rss_bytes: the most memory of one process.
        documents_per_s: by the clock.
        cpu_s_per_million: processor seconds for a million documents.
        cost_per_million: its price, where the price of a processor hour is given.
    """

    output: str
    scored: int
    rejected: int
    second: int
    units: int
    run_documents: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    documents_per_s: float | None
    cpu_s_per_million: float | None
    cost_per_million: float | None


@dataclass(frozen=True)
class Watch:
    """Who wants to know how it goes: told of the job's size, of rows, and of units with their weight."""

    start: Callable[[int, int, int], None] = lambda weight, done_weight, done_rows: None
    rows: Callable[[int], None] = lambda rows: None
    unit: Callable[[int], None] = lambda weight: None


@contextmanager
def prepared(
    output: Output,
    sources: Sequence[Source],
    columns: Mapping[str, str],
    decides: Mapping[str, Any],
    *,
    breakers: ActiveBreakers | None = None,
    restart: bool,
) -> Iterator[Plan]:
    """The plan to follow: the one that stands in the output, or a new one, written there; others are kept off.

    A new plan removes what belongs to the old one, so nobody may be at work by it, nor begin to until this one is
    worked off: `run` belongs into the block.

    Args:
        output: directory of the job.
        sources: input files.
        columns: field to name of its column, in tables.
        decides: what parts depend on beside their rows.
        breakers: as they are now, for a new plan; one that stands keeps its own. None: the job knows of none.
        restart: remove what an earlier job left there.

    Raises:
        ConflictError: another run is at work there, another job's parts are there, or files without a plan.
        RefusedError: some inputs cannot be read.
    """
    with output.locked():
        yield _plan(output, sources, columns, decides, breakers, restart=restart)


def _plan(
    output: Output,
    sources: Sequence[Source],
    columns: Mapping[str, str],
    decides: Mapping[str, Any],
    breakers: ActiveBreakers | None,
    *,
    restart: bool,
) -> Plan:
    raw = output.read(PLAN)
    if raw is None and output.names():
        raise ConflictError(f"{output.url} is not empty, and holds no batch job", hint="Choose another output.")
    if raw is None or restart:
        plan = make_plan(sources, columns, decides, breakers)
        if raw is not None:
            _clear(output)
        output.write(PLAN, plan.encode())
        return plan
    plan = Plan.decode(raw, f"{output.url}/{PLAN}")
    found = differences(plan, sources, decides)
    if found:
        raise ConflictError(
            f"{output.url} holds another job: " + "; ".join(found),
            hint="Choose another output, or begin anew with --restart.",
        )
    return plan


def run(
    job: Job, plan: Plan, *, processes: int, cpu_hour_price: float | None = None, watch: Watch | None = None
) -> Report:
    """Works off what is left of ``plan``, and marks the output as whole; inside of `prepared`, which keeps others off.

    Raises:
        StreamtagError: the first failure; another run goes on after what is done.
    """
    output = Output(job.output)
    output.tidy()  # of a run that was killed
    try:
        return _run(job, plan, output, processes, cpu_hour_price, watch or Watch())
    finally:
        output.tidy()


def _run(job: Job, plan: Plan, output: Output, processes: int, price: float | None, watch: Watch) -> Report:
    done = {found.number: found for found in _done(output, plan, job)}
    left = [unit for unit in plan.units if unit.number not in done]
    before = sum(found.scored + found.rejected for found in done.values())
    watch.start(_weight(plan.units), _weight(plan.units) - _weight(left), before)
    started, cpu_started = time.monotonic(), time.process_time()
    cpu_s, peak, weights = 0.0, 0, {unit.number: unit.weight for unit in left}
    for message in work_off(job, left, processes):
        if isinstance(message, Progress):
            watch.rows(message.rows)
        elif isinstance(message, Ended):
            cpu_s += message.cpu_s
            peak = max(peak, message.peak_rss_bytes)
        else:
            done[message.number] = message
            watch.unit(weights[message.number])
    cpu_s += time.process_time() - cpu_started
    report = _report(job, done.values(), before, time.monotonic() - started, cpu_s, peak, price)
    _finish(output, plan, done)
    return report


def _clear(output: Output) -> None:
    """Removes what an earlier job wrote, the plan last: until then it is known whose the rest is."""
    parts = [name for name in output.names() if _PART.fullmatch(name)]
    output.remove([SUCCESS, ALL_REJECTS, DONE, REJECTS, *parts, PLAN])


def _finish(output: Output, plan: Plan, done: Mapping[int, UnitDone]) -> None:
    """Gathers the rejects, then says that the output is whole."""
    if output.read(SUCCESS) is not None:
        return
    with_rejects = [unit.number for unit in plan.units if done[unit.number].rejected]
    output.append_all(ALL_REJECTS, list(map(rejects_name, with_rejects)))
    output.write(SUCCESS, b"")


def _done(output: Output, plan: Plan, job: Job) -> Iterator[UnitDone]:
    """Units that are done, and whose parts are still there."""
    parts = set(output.names())
    known = {unit.number for unit in plan.units}
    for name in output.names(DONE):
        found = msgspec.json.decode(output.read(f"{DONE}/{name}") or b"", type=UnitDone)
        if found.number in known and part_name(found.number, job.output_format) in parts:
            yield found


def _weight(units: Sequence[Unit]) -> int:
    return sum(unit.weight for unit in units)


def _report(
    job: Job, done: Collection[UnitDone], before: int, wall_s: float, cpu_s: float, peak: int, price: float | None
) -> Report:
    scored, rejected = sum(found.scored for found in done), sum(found.rejected for found in done)
    documents = scored + rejected - before
    per_million = cpu_s / documents * 1e6 if documents else None
    return Report(
        output=job.output,
        scored=scored,
        rejected=rejected,
        second=sum(found.second for found in done),
        units=len(done),
        run_documents=documents,
        wall_s=round(wall_s, 3),
        cpu_s=round(cpu_s, 3),
        peak_rss_bytes=peak,
        documents_per_s=round(documents / wall_s, 1) if documents else None,
        cpu_s_per_million=None if per_million is None else round(per_million, 3),
        cost_per_million=None if per_million is None or price is None else per_million / 3600 * price,
    )
