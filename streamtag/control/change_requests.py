"""Change requests carried out: opened, approved by a second person, published, taken back, expired.

Each step is one script with its audit entry; one that changes what decides is the script that makes the release, so
nothing is ever live of a request that is not, nor the other way round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from streamtag.control.approval import ApprovalError, ApprovalPolicy
from streamtag.control.champion import champion_to_change
from streamtag.control.champion_guard import ChampionChange, ChampionGuard
from streamtag.control.change_back import around, cutoffs_back, release_back
from streamtag.control.change_carrier import ASK, Carrier, advanced
from streamtag.control.change_content import Aim, Composer, aim_of, candidate_of, refuse_stale
from streamtag.control.change_documents import (
    CandidatePromotion,
    ChangeRequest,
    Content,
    ExperimentStart,
    Promotion,
    ThresholdMoves,
)
from streamtag.control.change_log import ChangeLog
from streamtag.control.changes import Outcome, ReleaseChanges
from streamtag.control.documents import in_utc
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiments import ExperimentChanges, champion_warnings
from streamtag.control.freeze import Freezes
from streamtag.control.proposal import Who
from streamtag.control.reverts import Revert, told_reverts
from streamtag.control.store import ControlStore, Current
from streamtag.domain.change import Action, State, problems
from streamtag.domain.moves import with_moves
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import ConflictError, NotFoundError, RefusedError, StreamtagError, UnavailableError

__all__ = ["SCHEDULER", "ChangeRequests", "Published"]

SCHEDULER = "streamtag (schedule)"
_LOOKED_AT = 200  # newest requests that may lie above one another


@dataclass(frozen=True)
class Published:
    """A request that was carried out or taken back.

    Attributes:
        request: as it is since.
        change: of what decides; None where nothing does otherwise.
        experiment: that was started; None where none was.
    """

    request: ChangeRequest
    change: ChampionChange | None = None
    experiment: Experiment | None = None


class ChangeRequests:
    """The change requests of one namespace.

    All raise `UnavailableError` when Redis does not answer, `RefusedError` with every problem, `NotFoundError`, and
    `ConflictError` when somebody else was first. Nothing was written then, except that a time-out while writing leaves
    it unknown, and the message says so.

    Args:
        store: the control plane.
        policy: which changes need a second person.
        max_step: a request with a larger step needs one, too.
        now: the clock that dates documents.
    """

    def __init__(
        self,
        store: ControlStore,
        *,
        policy: ApprovalPolicy,
        max_step: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = store
        self.log = ChangeLog(store)
        self._policy = policy
        self._max_step = max_step
        self._now = now

    def compose(self) -> Composer:
        """Composes what a request asks for from what decides now."""
        return Composer(champion_to_change(self.store)[0])

    def open(
        self,
        content: Content,
        who: Who,
        *,
        ticket: str = "",
        not_before: datetime | None = None,
        lasts: timedelta | None = None,
        end_experiments: bool = False,
    ) -> ChangeRequest:
        """Opens a request; nothing is live yet."""
        base, _ = champion_to_change(self.store)
        aim = self.aim(content, base)
        at, found = self._now(), who.problems()
        if lasts is not None and lasts < timedelta(seconds=1):
            found.append("for: less than a second")
        if lasts is not None and isinstance(content, ExperimentStart):
            found.append("for: an experiment ends by its plan (max_hours)")
        if not_before is not None and not_before <= at:
            found.append("at: has passed")
        if not aim.labels and not isinstance(content, ExperimentStart):
            found.append("change: nothing would differ from what decides now")
        _refuse(found, "the change cannot be opened")
        request = ChangeRequest(
            number=1,
            state=State.DRAFT,
            author=who.author,
            reason=who.reason,
            at=at,
            ticket=ticket,
            content=content,
            labels=aim.labels,
            needs=aim.reasons,
            not_before=None if not_before is None else in_utc(not_before),
            lasts_s=None if lasts is None else round(lasts.total_seconds()),
            end_experiments=end_experiments,
        )
        return self.log.open(request)

    def aim(self, content: Content, base: Current | None = None) -> Aim:
        """What would decide once it is live, and why a second person must approve that."""
        present = base or champion_to_change(self.store)[0]
        return aim_of(content, present, self.store, self._policy, self._max_step)

    def say(self, number: int, action: Action, who: Who) -> ChangeRequest:
        """Approves, rejects, withdraws or comments; the reason is the comment, and may be empty but for a comment."""
        request, raw = self.log.find(number)
        now = self._now()
        found = problems(request.facts, action, who.author, now)
        if action in ("comment", "reject") and not who.reason.strip():
            found.append("comment: empty")
        if not who.author.strip():
            found.append("author: empty")
        _refuse(found, f"change {number} cannot be {_DONE[action]}")
        forward = advanced(request, action, who.author, now, comment=who.reason)
        self.log.advance(raw, forward)
        return forward

    def obstacles(self, request: ChangeRequest) -> list[str]:
        """Everything that keeps a request that waits from being published now; empty when nothing does."""
        try:
            return self._obstacles(request) if request.state.waits else []
        except UnavailableError:
            raise
        except StreamtagError as error:  # whoever looks at a request, or has just said something, is told as much
            return [f"unreadable: {error.message}"]

    def _obstacles(self, request: ChangeRequest) -> list[str]:
        found = problems(request.facts, "publish", request.author, self._now())
        freeze = Freezes(self.store).current()
        if freeze is not None:
            found.append(f"freeze: {freeze}")
        try:
            base, _ = champion_to_change(self.store)
            refuse_stale(request.content, base, self.store)
            found += self._needed_by_now(request, base)
        except (ConflictError, NotFoundError, RefusedError) as error:
            return [*found, f"conflict: {error.message}"]
        found += self._verdict_missing(request.content)
        if not request.end_experiments and not isinstance(request.content, ExperimentStart):
            running = ExperimentLog(self.store).running()
            found += [f"experiments: {warning}" for warning in champion_warnings(running, base.id)]
        return found

    def _needed_by_now(self, request: ChangeRequest, base: Current) -> list[str]:
        """What asks for a second person and did not when the request was opened; nothing where one has approved."""
        if request.approved_by:
            return []
        reasons = self.aim(request.content, base).reasons
        return [f"approval: needs a second person by now, as {one}" for one in reasons if one not in request.needs]

    def _verdict_missing(self, content: Content) -> list[str]:
        if not isinstance(content, CandidatePromotion):
            return []
        experiment = ExperimentLog(self.store).find(content.experiment.number)
        return [] if experiment.passed else [f"verdict: experiment {experiment.id.number} has not passed"]

    def publish(self, number: int, by: str, *, warn: Callable[[str], None] = lambda _: None) -> Published:
        """Makes a request live, if nothing speaks against it."""
        request, raw = self.log.find(number)
        found = problems(request.facts, "publish", by, self._now())
        if request.needs and request.state is State.DRAFT:
            raise ApprovalError(f"change {number} cannot be published", problems=found, hint=ASK)
        _refuse(found, f"change {number} cannot be published")
        carrier = Carrier(request, raw, "publish", by, self._now())
        if isinstance(request.content, ExperimentStart):
            return self._start(request.content, carrier)
        guard = ChampionGuard(ExperimentLog(self.store), request.end_experiments)
        outcome = self._carry_out(request.content, self._releases(carrier, guard), carrier)
        return self._settled(carrier, outcome, guard, warn)

    def withdraw_scheduled(self, who: Who) -> list[int]:
        """Withdraws what waits for its hour, as far as it can be read; numbers.

        For a Redis that was restored from an older state: what waits there may have been live, and back, already.
        """
        comment = f"Redis was restored from an older state, and this may have been live already: {who.reason}"
        found = []
        for number in self.log.due():
            try:
                request, raw = self.log.find(number)
            except (NotFoundError, RefusedError):
                continue  # the schedule cannot read it either
            if request.state.waits:
                self.log.advance(raw, advanced(request, "withdraw", who.author, self._now(), comment=comment))
                found.append(number)
        return found

    def restore(
        self,
        number: int,
        who: Who,
        *,
        end_experiments: bool = False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Published:
        """Takes back what a live request has changed, as far as nobody has changed it since."""
        return self._go_back(number, "restore", who, ChampionGuard(ExperimentLog(self.store), end_experiments), warn)

    def expire(self, number: int, *, warn: Callable[[str], None] = lambda _: None) -> Published:
        """The same when its time has ended. Experiments that began meanwhile end with it: its end was agreed before."""
        request, _ = self.log.find(number)
        span = timedelta(seconds=request.lasts_s or 0)
        reason = f"change {number} of {request.author} was for {span}: {request.reason}"
        guard = ChampionGuard(ExperimentLog(self.store), agreed=True)
        return self._go_back(number, "expire", Who(SCHEDULER, reason), guard, warn)

    def _start(self, content: ExperimentStart, carrier: Carrier) -> Published:
        changes = ExperimentChanges(ExperimentLog(self.store), policy=self._policy, permit=carrier, now=self._now)
        candidate = candidate_of(content, self.store)
        experiment = changes.start(content.request, candidate, carrier.author, expected=content.base)
        return Published(carrier.made, experiment=experiment)

    def _carry_out(self, content: Content, changes: ReleaseChanges, carrier: Carrier) -> Outcome:
        who, note = carrier.author, f"change {carrier.request.number}"
        if isinstance(content, ThresholdMoves):
            return changes.revise(self._with(content, carrier), who, action="thresholds", note=note)
        refuse_stale(content, champion_to_change(self.store)[0], self.store)
        if isinstance(content, CandidatePromotion):
            return changes.promote_candidate(ExperimentLog(self.store).find(content.experiment.number), who)
        assert isinstance(content, Promotion), "experiments are started"
        bundle = content.bundle
        return changes.promote(
            BundleRef(bundle.name, bundle.version, bundle.sha256),
            content.labels,
            who,
            thresholds=None if content.thresholds is None else content.thresholds.to_set(),
            critical=content.critical,
            force=True,
            expected=content.base,
        )

    def _with(self, content: ThresholdMoves, carrier: Carrier) -> Callable[[Current], ThresholdSet]:
        def make(base: Current) -> ThresholdSet:
            refuse_stale(content, base, self.store)
            aim = self.aim(content, base)
            # Measured against what decides by now: others may have moved what an override replaces.
            carrier.settle(list(aim.reasons))
            return aim.thresholds

        return make

    def _go_back(
        self, number: int, action: Action, who: Who, guard: ChampionGuard, warn: Callable[[str], None]
    ) -> Published:
        request, raw = self.log.find(number)
        _refuse(
            [*who.problems(), *problems(request.facts, action, who.author, self._now())],
            f"change {number} cannot be {_DONE[action]}",
        )
        carrier = Carrier(request, raw, action, who.author, self._now(), who.reason)
        changes = self._releases(carrier, guard)
        outcome: Outcome | None
        if isinstance(request.content, ThresholdMoves):
            outcome = self._revised(
                carrier, changes, lambda base: cutoffs_back(request, base, self.store, self.log.page(_LOOKED_AT))
            )
        else:
            outcome = self._release_back(carrier, changes, warn)
        return self._settled(carrier, outcome, guard, warn)

    @staticmethod
    def _revised(
        carrier: Carrier, changes: ReleaseChanges, back: Callable[[Current], tuple[ThresholdSet, list[str]]]
    ) -> Outcome:
        def make(base: Current) -> ThresholdSet:
            found, kept = back(base)
            carrier.keep(kept)
            return found

        action: Literal["expire", "restore"] = "expire" if carrier.action == "expire" else "restore"
        return changes.revise(make, carrier.author, action=action, note=f"way back of change {carrier.request.number}")

    def _release_back(self, carrier: Carrier, changes: ReleaseChanges, warn: Callable[[str], None]) -> Outcome | None:
        """The release before decides again; None where the bundle that this one brought does not decide any more."""
        request, (base, _) = carrier.request, champion_to_change(self.store)
        if request.made == base.id:
            action: Literal["expire", "return"] = "expire" if carrier.action == "expire" else "return"
            return changes.return_to(None, carrier.author, action=action, expected=base.id)
        document = base.release.document
        since = f"release {document.number} of {document.author} decides since"
        made, before = around(request, self.store)
        if document.bundle != made.release.document.bundle:
            carrier.keep([since])
            return None
        if document.bundle == before.release.document.bundle:
            return self._revised(carrier, changes, lambda now: release_back(made, before, now))
        if carrier.action == "expire":
            # Whoever changed cut-offs meant them for this bundle: only a person knows what the other one shall have.
            raise ConflictError(
                f"{since}, with the bundle of change {request.number}, which stays until a person takes it back",
                hint=f"`streamtag change restore {request.number}`: bundle and cut-offs before it decide again.",
            )
        warn(f"{since}: its cut-offs go with the bundle")
        return changes.return_to(before.id.number, carrier.author, expected=base.id)

    def _settled(
        self, carrier: Carrier, outcome: Outcome | None, guard: ChampionGuard, warn: Callable[[str], None]
    ) -> Published:
        if outcome is None or not outcome.committed:
            # Nothing that decides differs: only the request goes on.
            forward = carrier.forward(None)
            self.log.advance(carrier.raw, forward)
            return Published(forward)
        ended = guard.settle(outcome, carrier.author, warn)
        return Published(carrier.made, ChampionChange(outcome, ended, self._reverts(carrier, outcome, warn)))

    def _reverts(self, carrier: Carrier, outcome: Outcome, warn: Callable[[str], None]) -> Sequence[Revert]:
        """Of a request that was published for good."""
        content = carrier.request.content
        if carrier.action != "publish" or carrier.request.lasts_s or not isinstance(content, ThresholdMoves):
            return ()
        return told_reverts(with_moves(ThresholdSet({}), content.moves), outcome.current, self.store, warn)

    def _releases(self, carrier: Carrier, guard: ChampionGuard) -> ReleaseChanges:
        return ReleaseChanges(
            self.store,
            max_step=self._max_step,
            before=guard.check,
            policy=self._policy,
            permit=carrier,
            now=self._now,
        )


_DONE: Mapping[Action, str] = {
    "approve": "approved",
    "reject": "rejected",
    "withdraw": "withdrawn",
    "comment": "commented on",
    "publish": "published",
    "restore": "taken back",
    "expire": "ended",
}


def _refuse(found: Sequence[str], what: str) -> None:
    if found:
        raise RefusedError(what, problems=found)
