"""All releases there are: those that decide or have decided, and candidates, which may never have."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from streamtag.control.documents import Stored
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_words import candidate_note
from streamtag.control.release_documents import ReleaseDocument, ReleaseId

__all__ = ["ListedRelease", "listed_releases"]

State = Literal["champion", "earlier", "candidate", "former candidate"]


@dataclass(frozen=True)
class ListedRelease:
    """One release.

    Attributes:
        stored: its document.
        state: ``champion`` decides, ``earlier`` has decided, ``candidate`` takes part in an experiment that runs,
            ``former candidate`` took part in one that has ended. The first that is true.
        experiments: in which it is or was the candidate, ascending.
        verdict: of the latest of them, where it has one.
    """

    stored: Stored[ReleaseDocument]
    state: State
    experiments: tuple[int, ...] = ()
    verdict: str = ""

    @property
    def text(self) -> str:
        """``candidate (experiment 3)``, ``former candidate (experiment 2: FAIL)``."""
        if not self.experiments:
            return self.state
        verdict = f": {self.verdict}" if self.verdict else ""
        return f"{self.state} (experiment {self.experiments[-1]}{verdict})"


def listed_releases(log: ExperimentLog, limit: int, *, below: int | None = None) -> list[ListedRelease]:
    """At most ``limit`` releases, the highest number first; each is proven by a document that names its hash.

    Args:
        log: the experiments, whose candidates are listed, too.
        limit: of the list.
        below: only numbers below this one; None: all.

    Raises:
        As `ExperimentLog`.
    """
    champion = log.store.champion()
    decided = list(islice((one for one in log.store.releases() if _below(one.document.number, below)), limit))
    # Those below the last one shown cannot be told from champions of old without reading on, and are not shown.
    least = decided[-1].document.number if len(decided) == limit else 0
    tried: dict[ReleaseId, list[Experiment]] = {}

    def enough(experiment: Experiment) -> bool:
        """Whether none that began before it has a candidate on this page."""
        document = experiment.document
        if document.control.number < least:  # it began before `least` was made, and so did they
            return True
        numbers = {one.document.number for one in decided} | {one.number for one in tried if _below(one.number, below)}
        if len(numbers) < limit or document.candidate.number > sorted(numbers)[-limit]:
            return False
        # Where the page is full, and this candidate was made for it: those that were there before have lower numbers.
        candidate = log.store.release(ReleaseId(document.candidate.number, document.candidate.sha256))
        return candidate.document.note == candidate_note(document.number)

    for experiment in log.experiments(until=enough):
        ref = experiment.document.candidate
        tried.setdefault(ReleaseId(ref.number, ref.sha256), []).append(experiment)
    found = [_listed(stored, tried.pop(_id(stored), []), champion, decided=True) for stored in decided]
    found += [
        _listed(log.store.release(wanted), experiments, champion, decided=False)
        for wanted, experiments in tried.items()
        if wanted.number > least and _below(wanted.number, below)
    ]
    return sorted(found, key=lambda one: one.stored.document.number, reverse=True)[:limit]


def _below(number: int, limit: int | None) -> bool:
    return limit is None or number < limit


def _listed(
    stored: Stored[ReleaseDocument], experiments: Sequence[Experiment], champion: ReleaseId | None, *, decided: bool
) -> ListedRelease:
    state: State
    if decided:
        state = "champion" if _id(stored) == champion else "earlier"
    else:
        state = "candidate" if any(experiment.ended is None for experiment in experiments) else "former candidate"
    ordered = sorted(experiments, key=lambda experiment: experiment.id.number)
    verdict = ordered[-1].verdict if ordered else None
    numbers = tuple(experiment.id.number for experiment in ordered)
    return ListedRelease(stored, state, numbers, verdict.state.value if verdict else "")


def _id(stored: Stored[ReleaseDocument]) -> ReleaseId:
    return ReleaseId(stored.document.number, stored.sha256)
