"""Changing what decides: every change is a new release, committed by compare-and-set, with author and reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from streamtag.control.approval import ApprovalPolicy, Permit, Ungoverned
from streamtag.control.champion import by_worker, champion_to_change
from streamtag.control.documents import Stored
from streamtag.control.experiment_log import Experiment
from streamtag.control.fleet import Heartbeat, read_fleet
from streamtag.control.proposal import Proposal, Who, conflict
from streamtag.control.release_documents import Bundle, Cutoffs, ReleaseId, RevisionId, ThresholdRevision
from streamtag.control.release_writer import BACK, Outcome, ReleaseWriter
from streamtag.control.store import RESTORE_HINT, ControlStore, Current, Heads
from streamtag.control.threshold_reader import ReadThresholds, as_they_are
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import Override, ThresholdSet, problems, too_large, with_changes
from streamtag.errors import ConflictError, NotFoundError, RefusedError

__all__ = ["FIRST_AUTHOR", "Outcome", "ReleaseChanges", "Who"]

FIRST_AUTHOR = "streamtag (first start)"


class ReleaseChanges:
    """The changes an operator (or the first worker) can make to one namespace.

    All raise `UnavailableError` when Redis does not answer, `RefusedError` with every problem, and `ConflictError`
    when somebody else was first. Nothing was written then, except that a time-out while committing leaves it
    unknown, and the message says so.

    Args:
        store: the control plane.
        max_step: guard rail, the largest change of one cut-off without ``force``.
        read: how thresholds that were made for other labels are read, see `streamtag.control.threshold_reader`.
        before: called with the champion when another is about to take its place; may raise, and nothing is written.
        policy: which changes need a second person. The way back needs none.
        permit: what a change is made on: a person's word, or a change request.
        now: the clock that dates documents.
    """

    def __init__(
        self,
        store: ControlStore,
        *,
        max_step: float,
        read: ReadThresholds = as_they_are,
        before: Callable[[ReleaseId], None] = lambda _: None,
        policy: ApprovalPolicy = ApprovalPolicy(),  # noqa: B008 - immutable
        permit: Permit = Ungoverned(),  # noqa: B008 - immutable
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._max_step = max_step
        self._read = read
        self._before = before
        self._policy = policy
        self._permit = permit
        self._writer = ReleaseWriter(store, permit, now)

    def seed(
        self, bundle: BundleRef, labels: Sequence[str], thresholds: ThresholdSet, *, critical: Sequence[str] = ()
    ) -> Outcome:
        """Release 1 of a Redis that never held one; a conflict anywhere else."""
        heads = self._store.heads()
        if not heads.blank:
            raise ConflictError("Redis holds releases of this namespace already: not a first start")
        ahead = [beat for beat in read_fleet(self._store).heartbeats if beat.release is not None]
        _refuse(by_worker(ahead), "Redis is empty, but workers decide by releases it has lost", hint=RESTORE_HINT)
        _refuse(problems(thresholds, labels), f"the default thresholds of bundle {bundle} are not valid")
        who = Who(FIRST_AUTHOR, f"defaults of bundle {bundle}")
        note = "first start"
        proposal = Proposal("seed", _wire(bundle), thresholds, who, note=note, critical=tuple(critical))
        return self._writer.commit(None, heads, proposal, {})

    def set_thresholds(
        self,
        changes: Mapping[str, float],
        who: Who,
        *,
        when: Mapping[str, str] | None = None,
        expected: RevisionId | None = None,
        force: bool = False,
    ) -> Outcome:
        """Moves some cut-offs: the base ones, or those of the segment ``when``.

        A conflict where ``expected`` is not the current revision.
        """
        base, heads = self._based_on(expected)
        cutoffs = self._read(ThresholdSet(changes), _labels(base)).labels
        outcome = self._change(base, heads, with_changes(base.thresholds, cutoffs, when or {}), who, force=force)
        return replace(outcome, asked=ThresholdSet({}, (Override(when, cutoffs),)) if when else ThresholdSet(cutoffs))

    def apply(
        self,
        thresholds: ThresholdSet,
        who: Who,
        *,
        expected: int | None = None,
        expected_sha256: str | None = None,
        force: bool = False,
    ) -> Outcome:
        """Replaces the whole set; a conflict where ``expected`` (and its hash, if given) is not the current one."""
        base, heads = champion_to_change(self._store)
        present = base.release.document.thresholds
        if expected is not None and (expected, expected_sha256 or present.sha256) != (present.revision, present.sha256):
            raise conflict(base, based_on=f"revision {expected}", before=self._release_of(expected))
        wanted = self._read(thresholds, _labels(base))
        return replace(self._change(base, heads, wanted, who, force=force), asked=wanted)

    def restore(self, revision: int, who: Who, *, expected: RevisionId | None = None) -> Outcome:
        """A new revision with the content of an earlier one. The way back is free of the guard rail.

        Where it never decided with the present bundle it is no way back: it needs whom a change of cut-offs needs. A
        conflict where ``expected`` is not the current one.
        """
        base, heads = self._based_on(expected)
        wanted = self._read(self.revision(revision).document.thresholds.to_set(), _labels(base))
        found = [*who.problems(), *problems(wanted, _labels(base))]
        _refuse(found, f"revision {revision} cannot decide for bundle {base.ref.bundle}")
        note = f"restore of revision {revision}"
        action: Literal["restore", "thresholds"] = "restore" if self._decided(revision, base) else "thresholds"
        proposal = Proposal(action, _wire(base.ref.bundle), wanted, who, note=note)
        return replace(self._unless_same(base, heads, proposal), asked=wanted)

    def promote(
        self,
        bundle: BundleRef,
        labels: Sequence[str],
        who: Who,
        *,
        thresholds: ThresholdSet | None = None,
        critical: Sequence[str] = (),
        force: bool = False,
        expected: ReleaseId | None = None,
    ) -> Outcome:
        """Makes ``bundle`` decide, with ``thresholds`` or, when None, the current ones.

        The guard rail counts only where the bundle stays: cut-offs of two bundles are not steps of one another.
        ``critical`` are labels that the bundle calls so. A conflict where ``expected`` does not decide now.
        """
        base, heads = self._expecting(expected)
        wanted = self._read(base.thresholds if thresholds is None else thresholds, labels)
        _refuse(
            [*who.problems(), *problems(wanted, labels)],
            f"bundle {bundle} and these thresholds cannot decide together",
            hint="`--thresholds defaults` takes the bundle's own; a file can name every label.",
        )
        if bundle == base.ref.bundle and not force:
            self._guard(base.thresholds, wanted)
        kept = None if _same(base.thresholds, wanted) else wanted
        note = f"promotion of {bundle}"
        proposal = Proposal("promote", _wire(bundle), kept, who, note=note, critical=tuple(critical))
        return self._unless_same(base, heads, proposal)

    def promote_candidate(self, experiment: Experiment, who: Who, *, force: bool = False) -> Outcome:
        """Makes the candidate of ``experiment`` decide if its control still does, and the verdict is PASS.

        Free of the guard rail, which is for changes that nobody has tried. With ``force``, the verdict does not count.
        """
        base, heads = champion_to_change(self._store)
        document, number = experiment.document, experiment.id.number
        if base.ref != document.control:
            raise conflict(base, based_on=f"release {document.control.number}, the control of experiment {number}")
        candidate = self._store.load(ReleaseId(document.candidate.number, document.candidate.sha256))
        found = [] if force or experiment.passed else [f"verdict: experiment {number} has not passed"]
        _refuse(
            [*who.problems(), *found],
            f"release {candidate.id.number}, candidate of experiment {number}, cannot be promoted",
            hint="`--force` promotes it all the same." if found else "",
        )
        note = f"promotion of release {candidate.id.number}, candidate of experiment {number}"
        return self._take_over("promote", candidate, note, base, heads, who)

    def return_to(
        self,
        number: int | None,
        who: Who,
        *,
        action: Literal["return", "expire"] = "return",
        expected: ReleaseId | None = None,
    ) -> Outcome:
        """A new release with the content of an earlier one of the champion's history; None: the one before it.

        The way back is free of the guard rail. A conflict where ``expected`` does not decide now; and where neither it
        nor a number is given, and somebody has just gone back: of two who undo the same, the second would redo it.
        """
        base, heads = self._expecting(expected)
        _refuse(who.problems(), "a return needs an author and a reason")
        parent = base.release.document.parent
        if number is None and expected is None and parent is not None:
            self._refuse_redoing(base, parent)
        wanted = number if number is not None else parent and parent.number
        if wanted is None:
            raise NotFoundError(f"release {base.id.number} is the first: there is none to return to")
        for release in self._store.releases():
            if release.document.number == wanted:
                earlier = Current(release, self._store.revision(release.document.thresholds))
                return self._take_over(action, earlier, f"return to release {earlier.id.number}", base, heads, who)
        raise NotFoundError(
            f"there is no release {wanted} in the champion's history",
            hint="`streamtag release history` lists them; a candidate is promoted with `streamtag experiment promote`.",
        )

    def _refuse_redoing(self, base: Current, parent: ReleaseId) -> None:
        """A conflict where ``base`` says again what decided before its parent."""
        try:
            undone = self._store.load(parent)
            earlier = undone.release.document.parent and self._store.load(undone.release.document.parent)
        except (NotFoundError, RefusedError):
            return  # history does not reach so far
        document = base.release.document
        if earlier and earlier.ref.bundle == base.ref.bundle and _same(earlier.thresholds, base.thresholds):
            again = parent.number
            raise ConflictError(
                f"{document.author} has gone back already, at {document.at:%Y-%m-%d %H:%M:%S} UTC: release "
                f"{base.id.number} decides as release {earlier.id.number} did. Nothing was written",
                hint=f"If release {again} shall decide again, name it: `streamtag release return {again}`.",
            )

    def restore_snapshot(
        self, snapshot: Current, who: Who, *, force: bool = False, first: Callable[[], object] = lambda: None
    ) -> Outcome:
        """Brings a worker's last good release back into a Redis that was emptied or restored from an older state.

        Its numbers lie above all that Redis, the snapshot and the running workers know: every worker takes it for
        newer, and no number is given twice. Refused without ``force`` where Redis or a worker knows a later release.
        ``first`` is called once nothing speaks against it, before the release decides.
        """
        _refuse(who.problems(), "a change needs an author and a reason")
        heads = self._store.heads(damaged=True)
        present = self._writer.readable(heads)
        release, revision = snapshot.release.document, snapshot.revision.document
        beats = read_fleet(self._store).heartbeats
        if not force:
            _refuse(
                _later_than(snapshot, present, beats, heads),
                f"the snapshot of release {release.number} is not the last good state",
                hint="Take the snapshot of the host that has the latest; --force restores this one all the same.",
            )
        proposal = Proposal(
            "restore-snapshot",
            release.bundle,
            snapshot.thresholds,
            who,
            note=f"restore of release {release.number}, revision {revision.revision}, from a worker's snapshot",
            least_release=max([release.number, *(beat.release or 0 for beat in beats)]),
            least_revision=max([revision.revision, *(beat.revision or 0 for beat in beats)]),
            critical=release.critical,
        )
        first()
        return self._writer.commit(present, heads, proposal, {})

    def revise(
        self,
        make: Callable[[Current], ThresholdSet],
        who: Who,
        *,
        action: Literal["thresholds", "restore", "expire"],
        note: str,
    ) -> Outcome:
        """The cut-offs that ``make`` finds for what decides now, free of the guard rail; for change requests."""
        base, heads = champion_to_change(self._store)
        wanted = make(base)
        _refuse([*who.problems(), *problems(wanted, _labels(base))], "the change is not valid")
        return self._unless_same(base, heads, Proposal(action, _wire(base.ref.bundle), wanted, who, note=note))

    def revision(self, number: int) -> Stored[ThresholdRevision]:
        """A revision of the champion's history.

        Raises:
            NotFoundError: there is none of this number.
        """
        for found in self._store.revisions():
            if found.document.revision <= number:
                if found.document.revision == number:
                    return found
                break
        raise NotFoundError(
            f"there is no threshold revision {number} in the champion's history",
            hint="`streamtag thresholds history` lists them.",
        )

    def _expecting(self, expected: ReleaseId | None) -> tuple[Current, Heads]:
        base, heads = champion_to_change(self._store)
        if expected is not None and expected != base.id:
            raise conflict(base, based_on=f"release {expected.number}")
        return base, heads

    def _based_on(self, expected: RevisionId | None) -> tuple[Current, Heads]:
        """What decides, where its cut-offs are ``expected``; None: whatever they are."""
        base, heads = champion_to_change(self._store)
        if expected is not None and expected != base.release.document.thresholds:
            raise conflict(base, based_on=f"revision {expected.revision}", before=self._release_of(expected.revision))
        return base, heads

    def _change(self, base: Current, heads: Heads, wanted: ThresholdSet, who: Who, *, force: bool) -> Outcome:
        # The active pair was validated, so the labels of its bundle are exactly those of its thresholds: an operator
        # needs no copy of the bundle to change a cut-off.
        _refuse([*who.problems(), *problems(wanted, _labels(base))], "the change is not valid")
        if not force:
            self._guard(base.thresholds, wanted)
        return self._unless_same(base, heads, Proposal("thresholds", _wire(base.ref.bundle), wanted, who))

    def _guard(self, before: ThresholdSet, after: ThresholdSet) -> None:
        _refuse(
            too_large(before, after, self._max_step),
            "too large a step",
            hint="If it is meant, repeat it with --force; the setting thresholds.max_step is the guard rail.",
        )

    def _take_over(
        self,
        action: Literal["promote", "return", "expire"],
        wanted: Current,
        note: str,
        base: Current,
        heads: Heads,
        who: Who,
    ) -> Outcome:
        """Exactly the content of ``wanted``, a pair that was valid when it was made."""
        kept = None if _same(base.thresholds, wanted.thresholds) else wanted.thresholds
        document = wanted.release.document
        proposal = Proposal(action, document.bundle, kept, who, note=note, critical=document.critical)
        return self._unless_same(base, heads, proposal)

    def _unless_same(self, base: Current, heads: Heads, proposal: Proposal) -> Outcome:
        thresholds_stay = proposal.thresholds is None or _same(base.thresholds, proposal.thresholds)
        if thresholds_stay and proposal.bundle == base.release.document.bundle:
            return Outcome(base, base, committed=False)
        allowed = {} if proposal.action in BACK else self._permit.settle(self._reasons(base, proposal))
        self._before(base.id)
        return self._writer.commit(base, heads, proposal, allowed)

    def _reasons(self, base: Current, proposal: Proposal) -> list[str]:
        return self._policy.reasons(
            base,
            base.thresholds if proposal.thresholds is None else proposal.thresholds,
            bundle_changes=proposal.bundle != base.release.document.bundle,
            critical=proposal.critical or (),
        )

    def _decided(self, revision: int, base: Current) -> bool:
        """Whether history says that this revision decided together with the bundle of ``base``."""
        try:
            for release in self._store.releases():
                document = release.document
                if document.thresholds.revision < revision:
                    return False
                if document.thresholds.revision == revision and document.bundle == base.release.document.bundle:
                    return True
        except (NotFoundError, RefusedError):
            return False  # history does not reach so far
        return False

    def _release_of(self, revision: int) -> Current | None:
        """The latest release with this revision, to say what has changed since; None where history lacks it."""
        try:
            for release in self._store.releases():
                if release.document.thresholds.revision == revision:
                    return Current(release, self._store.revision(release.document.thresholds))
        except (NotFoundError, RefusedError):
            return None
        return None


def _same(one: ThresholdSet, other: ThresholdSet) -> bool:
    """Equal cut-offs, overrides in the same order: a later one wins, so order has a meaning."""
    return Cutoffs.of(one) == Cutoffs.of(other)


def _later_than(snapshot: Current, present: Current | None, beats: Sequence[Heartbeat], heads: Heads) -> list[str]:
    number = snapshot.id.number
    found = by_worker([beat for beat in beats if (beat.release or 0) > number])
    if present is not None and ((present.id == snapshot.id and not heads.damaged) or present.id.number > number):
        found.append(f"Redis has lost nothing: its champion is release {present.id.number}")
    if present is None and heads.champion is not None and heads.champion.number > number:
        # Another host may have it whole.
        found.append(f"Redis' champion is release {heads.champion.number}, whose documents cannot be read")
    return found


def _refuse(found: Sequence[str], what: str, *, hint: str = "") -> None:
    if found:
        raise RefusedError(what, problems=found, hint=hint)


def _labels(base: Current) -> list[str]:
    return list(base.revision.document.thresholds.labels)


def _wire(bundle: BundleRef) -> Bundle:
    return Bundle(bundle.name, bundle.version, bundle.sha256)
