"""Telling whoever is about to change the champion which experiments that ends, and ending them with it."""

from collections.abc import Callable
from dataclasses import dataclass

from streamtag.control.changes import Outcome
from streamtag.control.documents import ReleaseId
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiments import ExperimentChanges, champion_warnings
from streamtag.control.proposal import Who
from streamtag.errors import RefusedError, StreamtagError

__all__ = ["ChampionGuard"]


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
