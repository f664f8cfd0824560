"""Changing the champion: whoever does is told first which experiments that ends, and ends them with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamtag.control.approval import Permit, Ungoverned, policy_of
from streamtag.control.changes import Outcome, ReleaseChanges
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiments import ExperimentChanges, champion_warnings
from streamtag.control.proposal import Who
from streamtag.control.release_documents import ReleaseId
from streamtag.control.reverts import Revert, told_reverts
from streamtag.control.store import ControlStore
from streamtag.control.threshold_reader import by_taxonomy
from streamtag.domain.thresholds import Change, ThresholdSet, diff
from streamtag.errors import RefusedError, StreamtagError
from streamtag.model.taxonomy_file import configured_taxonomy
from streamtag.settings import Settings

__all__ = ["ChampionChange", "ChampionGuard", "change_champion"]


@dataclass(frozen=True)
class ChampionChange:
    """What has become of a change, the experiments that it ended, and what of it goes back by itself all the same."""

    outcome: Outcome
    ended: Sequence[Experiment]
    reverts: Sequence[Revert] = ()

    @property
    def changes(self) -> list[Change]:
        """Of cut-offs, against the release before."""
        before = self.outcome.before
        return diff(before.thresholds, self.outcome.current.thresholds) if before else []

    def facts(self) -> dict[str, Any]:
        """For programs: the release that decides now, whether this change made it, what it ended, what goes back."""
        return {
            "committed": self.outcome.committed,
            **self.outcome.current.facts(),
            "ended_experiments": [one.id.number for one in self.ended],
            "reverts": [fact for one in self.reverts for fact in one.facts()],
        }


def change_champion(
    store: ControlStore,
    settings: Settings,
    who: Who,
    make: Callable[[ReleaseChanges], Outcome],
    *,
    end_experiments: bool,
    warn: Callable[[str], None],
    permit: Permit = Ungoverned(),  # noqa: B008 - immutable
) -> ChampionChange:
    """Makes a change of what decides, under the configured guard rail and taxonomy, and stops the experiments it ends.

    Args:
        store: the control plane.
        settings: of the pipeline.
        who: author and reason.
        make: the change.
        end_experiments: whoever makes the change knows that experiments end.
        warn: told in words what else they should know.
        permit: what the change is made on: a person's word, or broken glass.

    Raises:
        ApprovalError: it needs a second person, and has none.
        RefusedError: experiments compare with the present champion, and ``end_experiments`` is not set; or the change
            itself is refused, see `ReleaseChanges`.
    """
    guard = ChampionGuard(ExperimentLog(store), end_experiments)

    def read(thresholds: ThresholdSet, labels: Sequence[str]) -> ThresholdSet:  # not before somebody brings cut-offs
        return by_taxonomy(configured_taxonomy(settings.model), warn)(thresholds, labels)

    changes = ReleaseChanges(
        store,
        max_step=settings.thresholds.max_step,
        read=read,
        before=guard.check,
        policy=policy_of(settings),
        permit=permit,
    )
    outcome = make(changes)
    ended = guard.settle(outcome, who, warn)
    reverts = [] if outcome.asked is None else told_reverts(outcome.asked, outcome.current, store, warn)
    return ChampionChange(outcome, ended, reverts)


@dataclass
class ChampionGuard:
    """Of one change.

    Attributes:
        log: the experiments.
        agreed: whoever makes the change knows that experiments end.
    """

    log: ExperimentLog
    agreed: bool

    def check(self, champion: ReleaseId) -> None:
        """To be called before another release takes the place of ``champion``.

        Raises:
            RefusedError: experiments compare with it, and nobody has agreed to end them.
        """
        found = [] if self.agreed else champion_warnings(self.log.running(), champion)
        if found:
            raise RefusedError(
                "experiments compare with the release that decides now",
                problems=found,
                hint="`--end-experiments` makes the change all the same, and stops them.",
            )

    def settle(self, outcome: Outcome, who: Who, warn: Callable[[str], None]) -> list[Experiment]:
        """To be called after the change, which stands: stops the experiments it has ended.

        Where nobody has agreed, one that was started in the very moment of the change is only warned of.
        """
        if not outcome.committed or outcome.before is None:
            return []
        ended: list[Experiment] = []
        try:
            for experiment in self.log.running():
                found = champion_warnings([experiment], outcome.before.id)
                if found and self.agreed:
                    reason = f"release {outcome.current.id.number} decides now: {who.reason}"
                    ended.append(ExperimentChanges(self.log).stop(experiment.id.number, Who(who.author, reason)))
                elif found:
                    warn(found[0])
        except StreamtagError as error:
            warn(f"the change stands, but experiments that it ends may still run: {error.message}")
        return ended
