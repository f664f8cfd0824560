"""The end of a campaign of the read side: everything is drained, stopped, and counted again."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services import wait_until

from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.errors import StreamtagError
from streamtag.settings import RedisSettings
from streamtag.stats.read_model import ReadModel

from . import statistics_recount as recount
from .archive import Archive, Outcomes
from .campaign import Say
from .experimenter import Experimenter
from .read_side import PANE_S, ReadSide, settings_of
from .rows_recount import Subject
from .statistics_recount import Counted, Logs

_DRAIN_S = 90


@dataclass
class Compared:
    """What was compared, for the report."""

    panes: int = 0
    addenda: int = 0
    windows: dict[str, int] = field(default_factory=dict)
    integers: int = 0
    ledger: dict[str, int] = field(default_factory=dict)
    took_part: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    evidence: int = 0
    verified: int = 0


def wind_up(side: ReadSide, archive: Archive, say: Say) -> Compared:
    """No more input, no more faults: all of it must come out, and be right."""
    stage = side.stage
    operator = stage.operator
    assert isinstance(operator, Experimenter)
    stage.upstream.stop()
    if failed := stage.upstream.failed:
        stage.findings.add("writer", failed)
    with operator.gate:
        say("the writer has stopped, waiting for the rest")
        logs = _drained(side)
        evidence = _evidence(side)
        operator.sync()
        held = operator.held()
    _stop(side)
    say("everything has stopped, counting again")
    return _compare(side, archive, logs, evidence, held, say)


def _drained(side: ReadSide) -> Logs:
    """Waits until all input is in summaries, all summaries in panes, all panes in windows; what is not is a finding."""
    stage = side.stage
    with contextlib.suppress(AssertionError):  # `Checker.finish` counts what is missing
        wait_until(
            lambda: not stage.reader.unread() and stage.checker.backlog() == 0, _DRAIN_S, "the rest", every_s=0.3
        )
    logs = Logs.read(stage.topics)
    wanted = sum(cell.events for _, _, one in logs.summaries for cell in one.panes)

    def held() -> bool:
        nonlocal logs
        logs = Logs.read(stage.topics)
        return sum(cell.events for pane in logs.reader.every() for cell in pane.cells) == wanted

    try:
        wait_until(held, _DRAIN_S, f"panes hold {wanted} events", every_s=1)
        wait_until(lambda: side.progress.added_up >= len(logs.panes), _DRAIN_S, "windows hold all panes", every_s=0.2)
    except AssertionError as late:
        stage.findings.add("drained", str(late))
    return logs


def _evidence(side: ReadSide) -> list[VerdictDocument]:
    """Of the experiments that still run, as far as they are known now that nothing more comes."""
    operator, stage = side.stage.operator, side.stage
    assert isinstance(operator, Experimenter)
    settings = RedisSettings(url=stage.services.redis.url, namespace=stage.namespace)  # type: ignore[call-arg]
    model = ReadModel(ControlStore(settings))
    found: dict[ExperimentId, VerdictDocument | None] = {}
    before: Any = None

    def settled() -> bool:
        """The same at two looks of the app, one of which began after everything was added up."""
        nonlocal before
        operator.learn()
        now = {one.id: model.evidence(one.id) for one in operator.running()}
        same, before = now == before, now
        found.clear()
        found.update(now)
        return same and all(one is not None for one in now.values())

    try:
        wait_until(settled, 30, "evidence of what runs", every_s=3)
    except (AssertionError, StreamtagError) as late:
        stage.findings.add("drained", str(late))
    finally:
        model.store.close()
    return [one for one in found.values() if one is not None]


def _stop(side: ReadSide) -> None:
    stage = side.stage
    for seat in (*stage.working, *side.working):
        seat.stop()
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not stage.reader.unread(), 30, "everything is read", every_s=0.2)
    for place in stage.reader.unread():
        stage.findings.add("unread", place)
    for seat in (*stage.seats, *side.seats):
        for exit_ in seat.unexpected:
            stage.findings.add("exited", exit_)
    stage.reader.close()
    # How long a superseded release goes on deciding is the other campaign's subject.
    stage.checker.finish([], bound_ms=3_600_000)


def _compare(
    side: ReadSide, archive: Archive, logs: Logs, evidence: list[VerdictDocument], held: set[int], say: Say
) -> Compared:
    stage, findings, settings = side.stage, side.stage.findings, settings_of(side.stage)
    operator = stage.operator
    assert isinstance(operator, Experimenter)
    subjects = {str(wanted): subject for wanted, subject in operator.subjects.items()}
    recount.check_panes(logs, findings)
    say(f"panes: {len(logs.panes):,} records compared with {len(logs.summaries):,} summaries")
    checker = stage.checker
    counted = Counted(
        Outcomes(archive.events(), checker.rows, checker.splits, checker.scored), subjects, logs, findings
    )
    recount.check_against_events(logs.reader.every(), counted, 1_000 * PANE_S, findings)
    windows = recount.read_windows(settings)
    recount.check_windows(windows, counted, findings)
    say(f"windows: {len(windows)} compared with the tag events")
    verdicts = list(operator.verdicts.values())
    recount.check_verdicts([*verdicts, *evidence], subjects, counted, logs, findings)
    if not verdicts:
        findings.add("verdicts", "there was none")
    if not any(part.arm != "both" for parts in counted.parts.values() for here in parts.values() for part in here):
        findings.add("rows", "nobody took part in a split")
    say(f"verdicts: {len(verdicts)}, and the evidence of {len(evidence)} that run, counted again")
    sums = recount.check_ledger(settings, logs, findings)
    verified = recount.check_commands(settings, sorted(held), findings)
    return Compared(
        panes=len(logs.panes) - len(logs.reader.addenda),
        addenda=len(logs.reader.addenda),
        windows={size: sum(one.size == size for one in windows) for size in recount.SIZES},
        integers=len(counted.numbers(1_000 * PANE_S)) + sum(len(counted.numbers(w)) for w in recount.SIZES.values()),
        ledger=sums,
        took_part=_took_part(subjects, counted),
        verdicts=_tally(verdicts, subjects),
        evidence=len(evidence),
        verified=verified,
    )


def _took_part(subjects: Mapping[str, Subject], counted: Counted) -> Mapping[str, int]:
    """Rows of experiments by their sort, and events that a candidate did not score in time."""
    found: Counter[str] = Counter()
    for wanted, parts in counted.parts.items():
        for part in itertools.chain.from_iterable(parts.values()):
            found[_sort(subjects[wanted])] += len(part.events)
            found["shed"] += part.shed
    return dict(sorted(found.items()))


def _tally(verdicts: Iterable[VerdictDocument], subjects: Mapping[str, Subject]) -> Mapping[str, int]:
    found = Counter(
        f"{_sort(subjects[str(ExperimentId(one.number, one.experiment_sha256))])}: {one.state}" for one in verdicts
    )
    return dict(sorted(found.items()))


def _sort(subject: Subject) -> str:
    mode = subject.experiment.document.plan.mode
    return f"{mode}, bundle of its own" if subject.own_bundle else mode
