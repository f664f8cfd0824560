"""Starting experiments, changing their share, and ending them; by compare-and-set, with author and reason.

An experiment compares the champion, as its control, with one candidate. Both stay what they are: a change of the
champion ends what its evidence can say, and `champion_warnings` is what whoever makes one is told first.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from streamtag.control.approval import ApprovalError, ApprovalPolicy, Permit, Ungoverned
from streamtag.control.champion import champion_to_change
from streamtag.control.documents import Stored, seal
from streamtag.control.experiment_documents import (
    ExperimentChange,
    ExperimentDocument,
    ExperimentId,
    Phase,
    Run,
    VerdictId,
)
from streamtag.control.experiment_log import Experiment, ExperimentHeads, ExperimentLog, Step
from streamtag.control.experiment_request import NewCandidate, Request, request_problems, share_problems
from streamtag.control.experiment_words import (
    candidate_note,
    champion_warnings,
    describe_change,
    step_audit,
    verdict_problems,
)
from streamtag.control.freeze import frozen_error
from streamtag.control.proposal import Proposal, Who, compose, conflict
from streamtag.control.release_documents import Bundle, Cutoffs, ReleaseId
from streamtag.control.store import Current, Heads
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.domain.thresholds import problems
from streamtag.errors import ConflictError, NotFoundError, RefusedError

__all__ = ["ExperimentChanges", "champion_warnings", "describe_change"]

_TRIES = 10  # to store a verdict beside others' changes, each of which makes one in vain

_NO_SHARE_ALONE = (
    "No change request holds a share. The ramp of an approved experiment takes its larger shares by itself; or stop "
    "this one, and ask for another (`experiment start … --ask`). Where nobody can be reached, --break-glass makes it "
    "all the same, and the audit says so."
)
"""To who wants a larger share of a split that a second person must approve."""


@dataclass(frozen=True)
class _Ground:
    """What runs, as one reading: the base of a change."""

    heads: ExperimentHeads
    running: tuple[Run, ...]


class ExperimentChanges:
    """The changes an operator can make to the experiments of one namespace.

    All raise `UnavailableError` when Redis does not answer, `RefusedError` with every problem, `NotFoundError`, and
    `ConflictError` when somebody else was first. Nothing was written then, except that a time-out while committing
    leaves it unknown, and the message says so.

    Args:
        log: the experiments.
        policy: which need a second person: none where the candidate only looks on. Their end needs none.
        permit: what a change is made on: a person's word, or a change request.
        now: the clock that dates documents.
    """

    def __init__(
        self,
        log: ExperimentLog,
        *,
        policy: ApprovalPolicy = ApprovalPolicy(),  # noqa: B008 - immutable
        permit: Permit = Ungoverned(),  # noqa: B008 - immutable
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._store = log.store
        self._policy = policy
        self._permit = permit
        self._now = now

    def start(
        self,
        request: Request,
        candidate: Current | NewCandidate,
        who: Who,
        *,
        expected: ReleaseId | None = None,
    ) -> Experiment:
        """Compares ``candidate``, a release (see `release`) or one to be made, with the champion from now on.

        A conflict where ``expected``, or what the candidate's cut-offs rest on, is not the champion.
        """
        base, heads = champion_to_change(self._store)
        if expected is None and isinstance(candidate, NewCandidate):
            expected = candidate.base
        if expected is not None and expected != base.id:
            raise conflict(base, based_on=f"release {expected.number}", before=self._store.load(expected))
        ground = self._ground()
        labels, found = _scored(candidate, base)
        running = self._log.running_of(ground.running)
        found = [*who.problems(), *found, *request_problems(request, _labels(base), labels, running)]
        _refuse(found, "the experiment cannot be started")
        allowed = self._permit.settle(self._policy.for_experiment(base, request, candidate))
        at, number = self._now(), ground.heads.experiment + 1
        release = candidate
        if isinstance(release, NewCandidate):
            release = _compose(release, base, heads, who, number, at)
        made = release is not candidate
        document = seal(
            ExperimentDocument(
                number=number,
                control=base.ref,
                candidate=release.ref,
                unit=request.unit,  # type: ignore[arg-type]  # `request_problems` has looked
                salt=os.urandom(16).hex(),
                plan=request.over(labels),
                base_rates=dict(request.base_rates),
                author=who.author,
                reason=who.reason,
                at=at,
                rollout=request.rollout,
            )
        )
        run = Run(ExperimentId(number, document.sha256), (Phase(request.share, at),))
        step = Step(
            _change(ground, "start", run, who, at),
            document,
            release.release if made else None,
            release.revision if made and release.revision != base.revision else None,
        )
        experiment = Experiment(run.experiment, document.document, run.phases)
        self._commit(step, ground, experiment, champion=(heads, base), bound=True, allowed=allowed)
        return experiment

    def set_share(self, number: int, share: float, who: Who, *, expected: Sequence[Phase] | None = None) -> Experiment:
        """Begins a new phase with another share. Evidence goes on: it is composed over the phases.

        A conflict where ``expected`` are not the phases there are.
        """
        base, heads = champion_to_change(self._store)
        ground = self._ground()
        experiment = self._running(number, ground)
        if expected is not None and tuple(expected) != experiment.phases:
            raise ConflictError(f"somebody has set the share of experiment {number} to {experiment.share:g}")
        document = experiment.document
        found = [*who.problems(), *share_problems(document.plan.mode, share)]
        if share == experiment.share:
            found.append(f"share: it is {share:g} already")
        if base.ref != document.control:
            found.append(
                f"control: release {base.id.number} decides now, and the experiment compares with "
                f"release {document.control.number}; stop it, and start a new one"
            )
        _refuse(found, f"the share of experiment {number} cannot be changed")
        allowed = self._settle_share(self._share_reasons(base, experiment, share))
        at = self._now()
        run = Run(experiment.id, (*experiment.phases, Phase(share, at)))
        changed = Experiment(experiment.id, document, run.phases)
        step = Step(_change(ground, "phase", run, who, at))
        self._commit(step, ground, changed, champion=(heads, base), bound=True, allowed=allowed)
        return changed

    def _share_reasons(self, base: Current, experiment: Experiment, share: float) -> list[str]:
        """Of a larger share of a split. One that was approved with the experiment stands in its ramp."""
        if experiment.document.plan.mode == "shadow" or share < experiment.share:
            return []
        ref = experiment.document.candidate
        return self._policy.for_release(base, self._store.load(ReleaseId(ref.number, ref.sha256)))

    def _settle_share(self, reasons: list[str]) -> Mapping[str, str]:
        try:
            return self._permit.settle(reasons)
        except ApprovalError as error:
            raise ApprovalError(error.message, problems=error.problems, hint=_NO_SHARE_ALONE) from None

    def stop(self, number: int, who: Who, *, action: Literal["stop", "return"] = "stop") -> Experiment:
        """Ends an experiment. It is never taken up again; its counts and its history stay.

        Args:
            number: of the experiment.
            who: ends it, and why.
            action: ``return`` where no person does, but the policy of its rollout.
        """
        ground = self._ground()
        experiment = self._running(number, ground)
        _refuse(who.problems(), f"experiment {number} cannot be stopped")
        return self._end(ground, experiment, Step(_change(ground, action, experiment.run, who, self._now())))

    def conclude(self, number: int, verdict: VerdictDocument, who: Who) -> Experiment:
        """Stores the verdict on an experiment, which ends it. The same verdict can be stored again and again.

        Whatever else changed meanwhile does not count: neither another experiment nor the champion makes evidence that
        was enough any less. An experiment that has ended otherwise is a conflict.
        """
        stored = seal(verdict)
        wanted = VerdictId(verdict.state, stored.sha256)
        for attempt in range(1, _TRIES + 1):
            ground = self._ground()
            if number not in (run.experiment.number for run in ground.running):
                ended = self._log.find(number)
                if ended.verdict == wanted:
                    return ended
            experiment = self._running(number, ground)
            found = [*who.problems(), *verdict_problems(verdict, experiment)]
            _refuse(found, f"experiment {number} cannot be concluded")
            change = _change(ground, "verdict", experiment.run, who, self._now(), wanted)
            try:
                return self._end(ground, experiment, Step(change, verdict=stored))
            except ConflictError:
                if attempt == _TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    def release(self, number: int) -> Current:
        """A release of the champion's history, or the candidate of an earlier experiment."""
        for release in self._store.releases():
            if release.document.number == number:
                return Current(release, self._store.revision(release.document.thresholds))
        for experiment in self._log.experiments():
            if experiment.document.candidate.number == number:
                return self._store.load(ReleaseId(number, experiment.document.candidate.sha256))
        raise NotFoundError(
            f"there is no release {number} in the champion's history, nor was it a candidate",
            hint="`streamtag release history` lists them; --bundle and --thresholds make a new one.",
        )

    def _ground(self) -> _Ground:
        heads = self._log.heads()
        latest = self._log.change(heads.latest)
        return _Ground(heads, latest.document.running if latest else ())

    def _running(self, number: int, ground: _Ground) -> Experiment:
        for experiment in self._log.running_of(ground.running):
            if experiment.id.number == number:
                return experiment
        ended = self._log.find(number).ended
        assert ended is not None, "an experiment that is in the log runs, or has ended"
        raise ConflictError(
            f"{describe_change(ended)}; nothing was written",
            hint="An experiment is never taken up again: start a new one.",
        )

    def _end(self, ground: _Ground, experiment: Experiment, step: Step) -> Experiment:
        ended = Experiment(experiment.id, experiment.document, experiment.phases, step.change.document)
        self._commit(step, ground, ended)
        return ended

    def _commit(
        self,
        step: Step,
        ground: _Ground,
        experiment: Experiment,
        champion: tuple[Heads, Current] | None = None,
        *,
        bound: bool = False,
        allowed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        alias = champion[0].alias if champion else b""
        request, about = self._permit.step(experiment.id)
        audit = {**step_audit(step.change.document, experiment), **about, **allowed}
        outcome, detail = self._log.commit(
            step, expected=ground.heads.alias, champion=alias, audit=audit, bound=bound, request=request
        )
        if outcome == "frozen":
            raise frozen_error(detail)
        if outcome == "request moved":
            raise ConflictError("somebody changed the change request in this very moment; nothing was written")
        if outcome == "conflict" and detail == "champion" and champion is not None:
            base = champion[1]
            raise conflict(self._store.current(), based_on=f"release {base.id.number}", before=base)
        if outcome == "conflict":
            latest = self._log.latest()
            first = (
                "somebody was first" if latest is None else f"somebody was first: {describe_change(latest.document)}"
            )
            raise ConflictError(
                f"{first}. Nothing was written", hint="Look at `streamtag experiment list`, then decide again."
            )
        if outcome == "taken":
            raise RefusedError(
                f"{detail} exists in Redis already, and documents are never overwritten",
                hint=f"The counters in {self._store.keys.heads} lag behind: set them to the highest numbers there are.",
            )


def _scored(candidate: Current | NewCandidate, base: Current) -> tuple[list[str], list[str]]:
    """Labels that the candidate scores, and why it could not decide at all."""
    if isinstance(candidate, Current):
        return _labels(candidate), []
    labels = _labels(base) if candidate.bundle is None else list(candidate.labels)
    return labels, problems(candidate.thresholds or base.thresholds, labels)


def _compose(candidate: NewCandidate, base: Current, heads: Heads, who: Who, experiment: int, at: datetime) -> Current:
    wanted, bundle = candidate.thresholds, candidate.bundle or base.ref.bundle
    proposal = Proposal(
        "experiment",
        Bundle(bundle.name, bundle.version, bundle.sha256),
        None if wanted is None or Cutoffs.of(wanted) == Cutoffs.of(base.thresholds) else wanted,
        who,
        note=candidate_note(experiment),
        critical=tuple(candidate.critical) if candidate.bundle else None,
    )
    return compose(proposal, base, heads, at)


def _change(
    ground: _Ground,
    action: Literal["start", "phase", "stop", "return", "verdict"],
    run: Run,
    who: Who,
    at: datetime,
    verdict: VerdictId | None = None,
) -> Stored[ExperimentChange]:
    heads = ground.heads
    return seal(
        ExperimentChange(
            number=max(heads.change, heads.latest.number if heads.latest else 0) + 1,
            parent=heads.latest,
            action=action,
            run=run,
            others=tuple(other for other in ground.running if other.experiment != run.experiment),
            author=who.author,
            reason=who.reason,
            at=at,
            change=os.urandom(8).hex(),
            verdict=verdict,
        )
    )


def _labels(current: Current) -> list[str]:
    """Validated together with its bundle, a release scores exactly the labels of its thresholds."""
    return list(current.thresholds.labels)


def _refuse(found: Sequence[str], what: str) -> None:
    if found:
        raise RefusedError(what, problems=found)
