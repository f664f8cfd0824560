"""The candidate that an experiment is asked for: an earlier release, or one to be made of a bundle and cut-offs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from streamtag.control.champion import champion_to_change
from streamtag.control.experiment_names import request_by_taxonomy
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore, Current
from streamtag.control.threshold_reader import ReadThresholds, by_taxonomy
from streamtag.domain.thresholds import ThresholdSet, diff, problems, with_changes
from streamtag.errors import RefusedError, SettingsError
from streamtag.model.admission import read_admitted
from streamtag.model.bundle import Bundle
from streamtag.model.registry import find_bundle
from streamtag.model.taxonomy_file import configured_taxonomy
from streamtag.settings.services import ModelSettings

__all__ = ["Choice", "candidate_of", "read_by_taxonomy"]


@dataclass(frozen=True)
class Choice:
    """What somebody names: a release as it is, or a bundle and cut-offs.

    Attributes:
        challenger: an earlier release, or the candidate of an earlier experiment.
        bundle: ``name``, ``name@version`` or a path; None: the champion's.
        thresholds: a set, ``keep`` (the champion's) or ``defaults`` (the bundle's own); None: nothing was said.
        labels: cut-offs that differ from these.
        when: the segment that ``labels`` are of; empty: all events.
    """

    challenger: int | None = None
    bundle: str | None = None
    thresholds: ThresholdSet | Literal["keep", "defaults"] | None = None
    labels: Mapping[str, float] = field(default_factory=dict)
    when: Mapping[str, str] = field(default_factory=dict)


def candidate_of(
    choice: Choice, changes: ExperimentChanges, store: ControlStore, model: ModelSettings, warn: Callable[[str], None]
) -> Current | NewCandidate:
    """The candidate, with its cut-offs in the words of its bundle.

    Args:
        choice: what was named.
        changes: finds earlier releases.
        store: holds the champion.
        model: where bundles are found, and what is asked of them.
        warn: told of each id that is read as another.

    Raises:
        SettingsError: what was named contradicts itself, or names nothing to compare.
        NotFoundError: there is no such release or bundle.
        RefusedError: the bundle is not admitted, or the cut-offs cannot be read.
        UnavailableError: Redis or a place of bundles does not answer.
    """
    if choice.challenger is not None:
        if choice.bundle is not None or choice.thresholds is not None or choice.labels:
            raise SettingsError("challenger names a whole release: give either it, or bundle, thresholds and labels")
        return changes.release(choice.challenger)
    if choice.when and not choice.labels:
        raise SettingsError("when names the segment of labels: give labels, too")
    if choice.bundle is None and choice.thresholds in (None, "keep") and not choice.labels:
        raise SettingsError("nothing to compare: give challenger, bundle, thresholds or labels")
    found = None if choice.bundle is None else read_admitted(find_bundle(choice.bundle, model.directories), model)
    wanted, base = _cutoffs(choice, found, store, by_taxonomy(configured_taxonomy(model), warn))
    if found is None:
        return NewCandidate(thresholds=wanted, base=base)
    return NewCandidate(found.ref, found.labels, wanted, found.critical, base)


def read_by_taxonomy(
    request: Request, store: ControlStore, model: ModelSettings, warn: Callable[[str], None]
) -> Request:
    """The request in the champion's words, with what the configured taxonomy calls critical; raises as `candidate_of`.

    Args:
        request: what was asked, by ids of any age.
        store: holds the champion.
        model: names the taxonomy; without one the request stays as it is.
        warn: told of each id that is read as another.
    """
    taxonomy = configured_taxonomy(model)
    if taxonomy is None:
        return request
    request = request_by_taxonomy(request, taxonomy, list(champion_to_change(store)[0].thresholds.labels), warn)
    return replace(request, critical=frozenset(filter(taxonomy.critical, taxonomy.known)))


def _cutoffs(
    choice: Choice, bundle: Bundle | None, store: ControlStore, read: ReadThresholds
) -> tuple[ThresholdSet | None, ReleaseId | None]:
    """Those of the candidate, in the words of its bundle (None: the champion's), and the champion that they rest on.

    Raises:
        RefusedError: they cannot decide; or labels were named, and nothing differs from the champion.
    """
    wanted = _thresholds(choice, bundle)
    if wanted is None and not choice.labels:
        return None, None
    champion, _ = champion_to_change(store)
    base = champion.id if wanted is None else None
    labels = list(champion.thresholds.labels) if bundle is None else bundle.labels
    wanted = champion.thresholds if wanted is None else read(wanted, labels)
    if choice.labels:
        wanted = with_changes(wanted, read(ThresholdSet(choice.labels), labels).labels, choice.when)
    found = problems(wanted, labels)
    same_bundle = bundle is None or bundle.ref == champion.ref.bundle
    if choice.labels and same_bundle and not found and not diff(champion.thresholds, wanted):
        found = ["labels: these are the cut-offs that decide now"]
    if found:
        raise RefusedError("the candidate's cut-offs are not valid", problems=found)
    return wanted, base


def _thresholds(choice: Choice, bundle: Bundle | None) -> ThresholdSet | None:
    if isinstance(choice.thresholds, ThresholdSet):
        return choice.thresholds
    if choice.thresholds != "defaults":
        return None
    if bundle is None:
        raise SettingsError("thresholds: defaults takes those of a bundle: name it with bundle")
    return bundle.default_thresholds
