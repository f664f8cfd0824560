"""What the read side holds in the end, against a recount from tag events; every difference is a finding."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pane_numbers import Numbers, PaneReader, of_panes, of_summaries
from services import Topics, read_all

from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.events import panes, summary
from streamtag.events.panes import Pane
from streamtag.events.summary import CommitSummary
from streamtag.settings import RedisSettings
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import WindowDocument

from . import verdict_recount
from .archive import Outcomes
from .cell_numbers import Decided, differences, numbers, of_cells
from .findings import Findings
from .rows_recount import Part, Place, RowsRecount, Subject

SIZES = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000}

Parts = Mapping[str, Mapping[Place, Sequence[Part]]]


@dataclass
class Logs:
    """All records of two topics.

    Attributes:
        summaries: with their partition and offset.
        panes: by offset, and whatever is wrong with the topic as such.
        reader: which of them count.
    """

    summaries: list[tuple[int, int, CommitSummary]]
    panes: list[Pane]
    reader: PaneReader

    @classmethod
    def read(cls, topics: Topics) -> "Logs":
        """As they are now."""
        records = read_all(topics.bootstrap, topics.stats, deadline_s=120)
        summaries = [(r.partition() or 0, r.offset() or 0, summary.decode(r.value() or b"")) for r in records]
        reader, found = PaneReader(), []
        for due, record in enumerate(read_all(topics.bootstrap, topics.panes, deadline_s=120)):
            if record.offset() != due:
                reader.problems.append(f"position {due} is missing")
            reader.read(record)
            found.append(panes.decode(record.value() or b""))
        return cls(summaries, found, reader)


def check_panes(logs: Logs, findings: Findings) -> None:
    """Newest revisions and addenda hold every integer of the summaries, and the topic keeps its own rules."""
    for problem in logs.reader.problems:
        findings.add("panes", problem)
    for problem in differences(of_panes(logs.reader.every()), of_summaries(logs.summaries)):
        findings.add("panes", problem)
    for pane in logs.panes:
        if not pane.exact:
            findings.add("inexact", f"pane {pane.shard}/{pane.start_ms}, n {pane.n}")


class Counted:
    """Everything that follows from tag events and from who took part in experiments.

    Args:
        outcomes: all that was decided.
        subjects: experiments by id.
        logs: for the summaries' rows.
        findings: takes rows that do not fit the events.
    """

    def __init__(self, outcomes: Outcomes, subjects: Mapping[str, Subject], logs: Logs, findings: Findings) -> None:
        recount = RowsRecount(outcomes, subjects, findings)
        for placed in logs.summaries:
            recount.add(*placed)
        recount.finish()
        self.parts: Parts = recount.parts
        self._numbers: dict[int, Numbers] = {}
        self._releases = [row.release_sha256 for row in outcomes.rows]
        events = outcomes.events
        control, candidate = events.take(~events.candidate), events.take(events.candidate)
        self._decided = [
            Decided(control, control.row, control.tagged),
            Decided(candidate, candidate.row, candidate.tagged, "candidate"),
        ]
        for wanted, parts in recount.parts.items():
            subject = subjects[wanted]
            if subject.experiment.document.plan.mode == "split":
                continue  # its events are tag events of their own
            taking = events.take(np.concatenate([part.events for here in parts.values() for part in here]))
            self._releases.append(subject.experiment.document.candidate.sha256)
            release = np.full(len(taking), len(self._releases) - 1)
            shadow = subject.as_candidate(taking, outcomes)
            self._decided.append(Decided(shadow, release, shadow.tagged, "candidate", shadow=True))

    def numbers(self, width_ms: int) -> Numbers:
        """Of all spans of this width."""
        if width_ms not in self._numbers:
            found: Numbers = Counter()
            for decided in self._decided:
                found.update(numbers(decided, self._releases, width_ms))
            self._numbers[width_ms] = found
        return self._numbers[width_ms]


def check_against_events(said: Iterable[Pane], counted: Counted, pane_ms: int, findings: Findings) -> None:
    """Panes (newest revisions and addenda) hold what was decided."""
    held = of_cells((pane.start_ms, pane.pane_ms, pane.cells) for pane in said)
    for problem in differences(held, counted.numbers(pane_ms)):
        findings.add("panes of events", problem)


def check_windows(windows: Sequence[WindowDocument], counted: Counted, findings: Findings) -> None:
    """Windows of every size hold what was decided, and know themselves to be exact."""
    for size, width_ms in SIZES.items():
        held = [one for one in windows if one.size == size]
        said = of_cells((one.start_ms, width_ms, one.cells) for one in held)
        for problem in differences(said, counted.numbers(width_ms)):
            findings.add("windows", f"{size}: {problem}")
        for one in held:
            if not one.exact:
                findings.add("inexact", f"window {size} {one.start_ms}")


def check_verdicts(
    verdicts: Iterable[VerdictDocument],
    subjects: Mapping[str, Subject],
    counted: Counted,
    logs: Logs,
    findings: Findings,
) -> None:
    """Verdicts, and evidence that is none yet, say what was counted."""
    for said in verdicts:
        wanted = str(ExperimentId(said.number, said.experiment_sha256))
        subject = subjects[wanted]
        started_ms = round(subject.experiment.document.at.timestamp() * 1000)
        for problem in verdict_recount.problems(said, subject, logs.panes, counted.parts.get(wanted, {}), started_ms):
            findings.add("verdicts", f"experiment {said.number}, {said.state}: {problem}")


def read_windows(settings: Mapping[str, str]) -> list[WindowDocument]:
    """All windows that Redis holds."""
    store = ControlStore(RedisSettings(url=settings["redis.url"], namespace=settings["redis.namespace"]))  # type: ignore[call-arg]
    try:
        model = ReadModel(store)
        keys = [key.decode().removeprefix(model.prefix) for key in store.client.scan_iter(f"{model.prefix}*", 10_000)]
        places = [(size, int(start)) for size, _, start in (key.partition(":") for key in keys) if size in SIZES]
        return [one for one in model.read(places) if one is not None]
    finally:
        store.close()


def command(settings: Mapping[str, str], *arguments: str) -> Any:
    """What a command of `streamtag` prints as JSON, or None and what went wrong as a string."""
    sets = [f"--set={name}={value}" for name, value in settings.items()]
    program = [sys.executable, "-m", "streamtag", *sets, *arguments, "--output", "json"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return f"exit code {done.returncode}: {done.stderr[-400:]}"


def check_ledger(settings: Mapping[str, str], logs: Logs, findings: Findings) -> dict[str, int]:
    """`streamtag ledger` finds nothing wrong and adds up as the summaries do."""
    said = command(settings, "ledger")
    if isinstance(said, str) or not said["ok"]:
        findings.add("ledger", str(said)[:1_000])
        return {}
    wanted: Counter[str] = Counter()
    for _, _, one in logs.summaries:
        for name in ("tagged", "clean", "dead", "skipped"):
            wanted[name] += getattr(one, name)
        wanted["in"] += one.in_
    sums = {name: sum(row[name] for row in said["partitions"]) for name in wanted}
    if sums != dict(wanted):
        findings.add("ledger", f"it adds up to {sums}, the summaries to {dict(wanted)}")
    return sums


def check_commands(settings: Mapping[str, str], numbers_: Iterable[int], findings: Findings) -> int:
    """`streamtag experiment verify` agrees with every verdict, from panes and from summaries; how many were asked."""
    asked = 0
    for number in numbers_:
        for source in ((), ("--from-source",)):
            said = command(settings, "experiment", "verify", str(number), *source)
            asked += 1
            if isinstance(said, str) or not said["equal"]:
                findings.add("verify", f"experiment {number} {' '.join(source)}: {str(said)[:1_000]}")
    return asked
