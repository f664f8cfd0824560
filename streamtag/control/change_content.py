"""What a change request asks for: composing it from what decides now, and measuring it against what decides later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamtag.control.approval import ApprovalPolicy
from streamtag.control.change_documents import (
    CandidatePromotion,
    Content,
    ExperimentStart,
    Promotion,
    ThresholdMoves,
)
from streamtag.control.documents import Stored
from streamtag.control.experiment_log import Experiment
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.proposal import conflict
from streamtag.control.release_documents import Bundle, Cutoffs, ReleaseId, RevisionId, ThresholdRevision
from streamtag.control.store import ControlStore, Current
from streamtag.domain.moves import Move, apart, cutoff, moves_between, with_moves
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet, diff, problems, with_changes
from streamtag.errors import ConflictError, NotFoundError, RefusedError

__all__ = ["Aim", "Composer", "aim_of", "candidate_of", "refuse_stale"]


class Composer:
    """Composes the contents of change requests from one reading of what decides.

    Args:
        base: what decides now.
    """

    def __init__(self, base: Current) -> None:
        self._base = base
        self._id = base.id

    @property
    def labels(self) -> list[str]:
        """That have a cut-off now."""
        return list(self._base.thresholds.labels)

    def moves(self, changes: Mapping[str, float], when: Mapping[str, str]) -> ThresholdMoves:
        """Some cut-offs, of the base or of a segment."""
        return self._moved(with_changes(self._base.thresholds, changes, when))

    def replacement(self, wanted: ThresholdSet) -> ThresholdMoves:
        """A whole set, as the cut-offs that move.

        Raises:
            RefusedError: its overrides stand in another order, which no moves of cut-offs say.
        """
        moves = moves_between(self._base.thresholds, wanted)
        if not problems(wanted, self.labels) and diff(with_moves(self._base.thresholds, moves), wanted):
            raise RefusedError(
                "this set puts overrides into another order, and a change request moves single cut-offs only",
                hint='`streamtag thresholds apply FILE --reason "…"` takes it as it is.',
            )
        return self._moved(wanted)

    def promotion(
        self, bundle: BundleRef, labels: Sequence[str], critical: Sequence[str], thresholds: ThresholdSet | None
    ) -> Promotion:
        """A bundle, with these cut-offs or those that decide then."""
        cutoffs = None if thresholds is None else Cutoffs.of(thresholds)
        found = problems(thresholds or self._base.thresholds, labels)
        if found:
            raise RefusedError(f"bundle {bundle} and these thresholds cannot decide together", problems=found)
        return Promotion(
            bundle=_wire(bundle), labels=tuple(labels), critical=tuple(critical), thresholds=cutoffs, base=self._id
        )

    def candidate(self, experiment: Experiment) -> CandidatePromotion:
        """The candidate of an experiment, in the place of its control."""
        document = experiment.document
        candidate = ReleaseId(document.candidate.number, document.candidate.sha256)
        control = ReleaseId(document.control.number, document.control.sha256)
        return CandidatePromotion(experiment=experiment.id, candidate=candidate, base=control)

    def experiment(self, request: Request, candidate: Current | NewCandidate) -> ExperimentStart:
        """An experiment against what decides now."""
        if isinstance(candidate, Current):
            return ExperimentStart(
                request=request,
                challenger=candidate.ref,
                bundle=None,
                labels=(),
                critical=(),
                thresholds=None,
                base=self._id,
            )
        thresholds = None if candidate.thresholds is None else Cutoffs.of(candidate.thresholds)
        return ExperimentStart(
            request=request,
            challenger=None,
            bundle=None if candidate.bundle is None else _wire(candidate.bundle),
            labels=tuple(candidate.labels),
            critical=tuple(candidate.critical),
            thresholds=thresholds,
            base=candidate.base or self._id,
        )

    def _moved(self, wanted: ThresholdSet) -> ThresholdMoves:
        found = problems(wanted, self.labels)
        moves = moves_between(self._base.thresholds, wanted)
        if not found and not moves:
            found = ["labels: these are the cut-offs that decide now"]
        if found:
            raise RefusedError("the change is not valid", problems=found)
        revision = self._base.revision
        base = RevisionId(revision.document.revision, revision.sha256)
        return ThresholdMoves(moves=tuple(moves), bundle=self._base.release.document.bundle, base=base)


@dataclass(frozen=True)
class Aim:
    """What would decide once a request is live.

    Attributes:
        thresholds: the cut-offs.
        bundle: that would score.
        labels: that the change touches.
        reasons: why it needs a second person.
    """

    thresholds: ThresholdSet
    bundle: str
    labels: tuple[str, ...]
    reasons: tuple[str, ...]


def aim_of(content: Content, base: Current, store: ControlStore, policy: ApprovalPolicy, max_step: float) -> Aim:
    """Measures ``content`` against ``base``, what decides now."""
    if isinstance(content, ThresholdMoves):
        wanted = with_moves(base.thresholds, content.moves)
        return _aim(base, wanted, None, policy.reasons(base, wanted, max_step=max_step))
    if isinstance(content, Promotion):
        wanted = base.thresholds if content.thresholds is None else content.thresholds.to_set()
        bundle = None if content.bundle == base.release.document.bundle else content.bundle
        reasons = policy.reasons(
            base, wanted, bundle_changes=bundle is not None, critical=content.critical, max_step=max_step
        )
        return _aim(base, wanted, bundle, reasons)
    if isinstance(content, CandidatePromotion):
        candidate = store.load(content.candidate)
        return _aim(base, candidate.thresholds, _other(candidate, base), policy.for_release(base, candidate))
    found = candidate_of(content, store)
    reasons = policy.for_experiment(base, content.request, found)
    if isinstance(found, Current):
        return _aim(base, found.thresholds, _other(found, base), reasons)
    return _aim(base, found.thresholds or base.thresholds, content.bundle, reasons)


def candidate_of(content: ExperimentStart, store: ControlStore) -> Current | NewCandidate:
    """The candidate that the experiment shall have."""
    if content.challenger is not None:
        return store.load(ReleaseId(content.challenger.number, content.challenger.sha256))
    bundle = content.bundle
    return NewCandidate(
        None if bundle is None else BundleRef(bundle.name, bundle.version, bundle.sha256),
        content.labels,
        None if content.thresholds is None else content.thresholds.to_set(),
        content.critical,
    )


def refuse_stale(content: Content, base: Current, store: ControlStore) -> None:
    """Refuses to carry out what rests on a state that is not the present one.

    Raises:
        ConflictError: somebody has changed what this would change; it says who, when, why, and what differs.
    """
    if not isinstance(content, ThresholdMoves):
        if content.base != base.id:
            raise conflict(base, based_on=f"release {content.base.number}", before=_load(store, content.base))
        return
    if content.bundle not in (None, base.release.document.bundle):
        raise conflict(base, based_on=f"the scores of bundle {_name(content.bundle)}")
    elsewhere = apart(base.thresholds, content.moves)
    if elsewhere:
        lines = [_told(store, move, there) for move, there in elsewhere]
        raise ConflictError(
            f"{'; '.join(lines)}. Nothing was written",
            hint="Look at the present state, withdraw this change and open another one.",
        )


def _told(store: ControlStore, move: Move, there: float | None) -> str:
    present = "none" if there is None else f"{there:g}"
    revision = _mover(store, move, there)
    who = "somebody" if revision is None else revision.document.author
    when = (
        ""
        if revision is None
        else f" (revision {revision.document.revision}, {revision.document.at:%Y-%m-%d %H:%M:%S} UTC, "
        f'"{revision.document.reason}")'
    )
    return f"{who} was first: {move.where + ' ' if move.when else ''}{move.label} is {present}{when}, not {move.before}"


def _mover(store: ControlStore, move: Move, there: float | None) -> Stored[ThresholdRevision] | None:
    """The revision that gave the cut-off its present value; None where history cannot say."""
    try:
        newest = None
        for newest, before in pairwise(store.revisions()):
            if cutoff(before.document.thresholds.to_set(), move.when, move.label) != there:
                return newest
    except (NotFoundError, RefusedError):
        return None
    return None


def _load(store: ControlStore, release: ReleaseId) -> Current | None:
    try:
        return store.load(release)
    except (NotFoundError, RefusedError):
        return None


def _aim(base: Current, wanted: ThresholdSet, bundle: Bundle | None, reasons: Sequence[str]) -> Aim:
    touched = {change.label for change in diff(base.thresholds, wanted)}
    if bundle is not None:
        touched = {*base.thresholds.labels, *wanted.labels}
    name = str(base.ref.bundle) if bundle is None else _name(bundle)
    return Aim(wanted, name, tuple(sorted(touched)), tuple(reasons))


def _other(wanted: Current, base: Current) -> Bundle | None:
    bundle = wanted.release.document.bundle
    return None if bundle == base.release.document.bundle else bundle


def _name(bundle: Bundle | None) -> str:
    return "" if bundle is None else f"{bundle.name}@{bundle.version}"


def _wire(bundle: BundleRef) -> Bundle:
    return Bundle(bundle.name, bundle.version, bundle.sha256)
