"""Experiments as Redis holds them: a chain of changes whose head is one alias, ``experiments``.

The latest change names all that runs, by number and hash, and the change before it: whatever is read from the alias
on is proven, byte for byte, and so is the whole history.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from streamtag.control.connection import guarded, run_script
from streamtag.control.documents import Stored
from streamtag.control.experiment_documents import (
    ChangeId,
    ExperimentChange,
    ExperimentDocument,
    ExperimentId,
    Phase,
    Run,
    VerdictId,
    decode_change,
    decode_experiment,
)
from streamtag.control.release_documents import ReleaseDocument, ThresholdRevision
from streamtag.control.store import NO_STEP, ControlStore, RequestStep
from streamtag.control.verdict_documents import VerdictDocument, decode_verdict
from streamtag.domain.verdict import State
from streamtag.errors import NotFoundError, RefusedError

__all__ = ["Experiment", "ExperimentHeads", "ExperimentLog", "Step"]

_LOST = "Experiments can be started anew: their evidence begins again, too."


@dataclass(frozen=True)
class Experiment:
    """An experiment: what was agreed when it started, and how far it has come.

    Attributes:
        id: number and hash.
        document: what it compares and how it is judged.
        phases: the last one is the present.
        ended: the change that ended it; None while it runs.
    """

    id: ExperimentId
    document: ExperimentDocument
    phases: tuple[Phase, ...]
    ended: ExperimentChange | None = None

    @property
    def share(self) -> float:
        """Of units given to the candidate (split), or scored by both (shadow), now or when it ended."""
        return self.phases[-1].share

    @property
    def verdict(self) -> VerdictId | None:
        """What it came to; None where it runs, or something else ended it."""
        return self.ended.verdict if self.ended is not None else None

    @property
    def passed(self) -> bool:
        """Whether its verdict is PASS."""
        return self.verdict is not None and self.verdict.state is State.PASS

    @property
    def run(self) -> Run:
        """As changes write it."""
        return Run(self.id, self.phases)


@dataclass(frozen=True)
class ExperimentHeads:
    """The latest change, and the highest numbers ever given here (0 = none)."""

    latest: ChangeId | None
    change: int
    experiment: int
    alias: bytes = b""
    """As it stands in Redis: what a commit compares with."""


@dataclass(frozen=True)
class Step:
    """A change of experiments, and the documents that are new with it."""

    change: Stored[ExperimentChange]
    experiment: Stored[ExperimentDocument] | None = None
    release: Stored[ReleaseDocument] | None = None
    revision: Stored[ThresholdRevision] | None = None
    verdict: Stored[VerdictDocument] | None = None


class ExperimentLog:
    """Reads and extends the chain of one namespace.

    All raise `UnavailableError` when Redis does not answer in time, `NotFoundError` when a document is missing, and
    `RefusedError` when something is not what was published.
    """

    def __init__(self, store: ControlStore) -> None:
        self.store = store

    def heads(self) -> ExperimentHeads:
        """Where the chain ends; one round trip."""
        keys = self.store.keys
        with guarded(self.store.where, "read what experiments run"):
            pipeline = self.store.client.pipeline(transaction=True)
            pipeline.get(keys.experiments)
            pipeline.hmget(keys.heads, ["experiment-change", "experiment"])
            alias, numbers = pipeline.execute()
        try:
            latest = None if alias is None else msgspec.json.decode(alias, type=ChangeId)
            change, experiment = (int(number or 0) for number in numbers)
        except (msgspec.DecodeError, ValueError) as error:
            raise RefusedError(f"what experiments run in Redis cannot be read: {error}", hint=_LOST) from None
        return ExperimentHeads(latest, change, experiment, alias or b"")

    def latest(self) -> Stored[ExperimentChange] | None:
        """The latest change, which says what runs; None where there was no experiment ever."""
        return self.change(self.heads().latest)

    def change(self, wanted: ChangeId | None) -> Stored[ExperimentChange] | None:
        """One change; None where none is wanted."""
        if wanted is None:
            return None
        key = self.store.keys.experiment_change(wanted.number)
        return decode_change(self._get(key, f"experiment change {wanted.number}"), wanted)

    def changes(self, start: ChangeId | None = None) -> Iterator[Stored[ExperimentChange]]:
        """From ``start`` (None: the latest) back to the first, each proven by the one after it."""
        change = self.latest() if start is None else self.change(start)
        while change is not None:
            yield change
            change = self.change(change.document.parent)

    def running(self) -> list[Experiment]:
        """Experiments that run, the oldest first."""
        latest = self.latest()
        return self.running_of(latest.document.running if latest else ())

    def running_of(self, runs: Iterable[Run]) -> list[Experiment]:
        """With their documents."""
        return [self._experiment(run) for run in runs]

    def experiments(
        self, start: ChangeId | None = None, *, until: Callable[[Experiment], bool] = lambda _: False
    ) -> Iterator[Experiment]:
        """All there ever were, the one that was changed last first; as they were after the change ``start``, if any.

        None that began before one of which ``until`` is true.
        """
        seen: dict[ExperimentId, Experiment] = {}
        for stored in self.changes(start):
            change = stored.document
            if change.run.experiment not in seen:
                seen[change.run.experiment] = self._experiment(change.run, change if change.ends else None)
                yield seen[change.run.experiment]
            if change.action == "start" and until(seen[change.run.experiment]):
                return

    def find(self, number: int) -> Experiment:
        """The experiment of this number."""
        for experiment in self.experiments():
            if experiment.id.number == number:
                return experiment
        raise NotFoundError(f"there is no experiment {number}", hint="`streamtag experiment list` names them.")

    def verdict(self, experiment: Experiment) -> Stored[VerdictDocument] | None:
        """What ended ``experiment``; None where it runs, or something else did."""
        if experiment.verdict is None:
            return None
        raw = self._get(self.store.keys.verdict(experiment.id.number), f"verdict on experiment {experiment.id.number}")
        return decode_verdict(raw, experiment.id, experiment.verdict)

    def commit(
        self,
        step: Step,
        *,
        expected: bytes,
        champion: bytes = b"",
        audit: Mapping[str, str],
        bound: bool = False,
        request: RequestStep = NO_STEP,
    ) -> tuple[Literal["committed", "conflict", "taken", "frozen", "request moved"], str]:
        """Appends the change if the alias is still ``expected``: one atomic script, safe to repeat.

        Args:
            step: the change, and what is new with it.
            expected: `ExperimentHeads.alias` that the change was made from.
            champion: `streamtag.control.store.Heads.alias` that must still stand, too; empty = whichever does.
            audit: fields of the audit entry.
            bound: whether a freeze holds it up.
            request: step of a change request that this carries out.

        Returns:
            What became of it; and what is not as expected (``experiments`` or ``champion``), what was taken, or the
            freeze that holds it up.
        """
        keys = self.store.keys
        change = step.change
        latest = msgspec.json.encode(ChangeId(change.document.number, change.sha256))
        places: list[str] = []
        arguments: list[str | bytes | int] = [expected, latest, champion, keys.channel]
        for place, number, raw in (
            (keys.experiment_change, change.document.number, change.raw),
            (keys.experiment, *_numbered(step.experiment)),
            (keys.release, *_numbered(step.release)),
            (keys.revision, *_numbered(step.revision)),
            (keys.verdict, *_numbered(step.verdict)),
        ):
            places.append(place(number))
            arguments += [number, raw]
        arguments += ["bound" if bound else "", *request.arguments]
        audited = [keys.audit, keys.audit_head, keys.freeze, keys.change_request(request.number), keys.requests_due]
        audited.append(keys.requests_by_state)
        with guarded(self.store.where, "change what experiments run; whether it was committed is unknown"):
            reply = self.store.audit_log.append(
                audit,
                lambda entry: run_script(
                    self.store.client,
                    "experiment",
                    [keys.experiments, keys.champion, keys.heads, *places, *audited],
                    [*arguments, *entry],
                ),
            )
        outcome, *detail = (part.decode() for part in reply)
        return outcome, detail[0] if detail else ""

    def _experiment(self, run: Run, ended: ExperimentChange | None = None) -> Experiment:
        wanted = run.experiment
        raw = self._get(self.store.keys.experiment(wanted.number), f"experiment {wanted.number}")
        return Experiment(wanted, decode_experiment(raw, wanted).document, run.phases, ended)

    def _get(self, key: str, what: str) -> bytes:
        with guarded(self.store.where, f"read {what}"):
            raw: Any = self.store.client.get(key)
        if raw is None:
            raise NotFoundError(f"{what} is missing in Redis (key {key})", hint=_LOST)
        return bytes(raw)


def _numbered(
    stored: Stored[ExperimentDocument]
    | Stored[ReleaseDocument]
    | Stored[ThresholdRevision]
    | Stored[VerdictDocument]
    | None,
) -> tuple[int, bytes]:
    return (stored.document.number, stored.raw) if stored else (0, b"")
