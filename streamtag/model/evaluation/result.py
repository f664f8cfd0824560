"""What an evaluation found, as data: made by `evaluate`, drawn by `report`, kept as JSON."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from streamtag.errors import RefusedError
from streamtag.model.evaluation.metrics import BY_LABEL, DEBIASED, OVERALL, Interval

__all__ = ["SLICED", "Curves", "Disguise", "Evaluation", "Slice", "TermBias", "from_document"]

SLICED = (*OVERALL, DEBIASED["mean_ece"])
"""The figures of a slice."""


@dataclass(frozen=True)
class Slice:
    """Overall figures on some of the documents."""

    by: str
    value: str
    rows: int
    figures: dict[str, Interval]


@dataclass(frozen=True)
class TermBias:
    """How well a label is told apart where an identity term is mentioned (Borkan et al. 2019, arXiv 1903.04561).

    Attributes:
        subgroup_auc: among documents with the term.
        bpsn_auc: positives without the term against negatives with it; low: the term alone raises the score.
        bnsp_auc: positives with the term against negatives without it; low: the term alone lowers the score.
    """

    term: str
    label: str
    rows: int
    positives: int
    subgroup_auc: float
    bpsn_auc: float
    bnsp_auc: float


@dataclass(frozen=True)
class Curves:
    """Points to draw: (mean score, share of positives, rows) of each bin, and (recall, precision)."""

    reliability: list[tuple[float, float, int]]
    precision_recall: list[tuple[float, float]]


@dataclass(frozen=True)
class Disguise:
    """Documents in a disguised spelling less their clean text, paired; below 0 is lost."""

    kind: str
    mean_roc_auc: Interval
    macro_f1: Interval


@dataclass(frozen=True)
class Evaluation:
    """All of it. Lists by label are in the order of ``labels``; `metrics` names the figures.

    What was not measured is empty: curves, too, in what older versions kept.
    """

    labels: tuple[str, ...]
    rows: int
    groups: int
    draws: int
    known: list[int]
    positives: list[int]
    cutoffs: list[float]
    figures: dict[str, list[Interval]]
    ece_null_95: list[float]
    slices: list[Slice] = field(default_factory=list)
    terms: list[TermBias] = field(default_factory=list)
    cooccurrence: list[list[float]] = field(default_factory=list)
    curves: list[Curves] = field(default_factory=list)
    robustness: list[Disguise] = field(default_factory=list)


def from_document(document: Mapping[str, object]) -> Evaluation:
    """An `Evaluation` from its JSON document, in which a figure that nothing supports is null.

    Raises:
        RefusedError: it is no such document; names the place.
    """
    try:
        found = msgspec.convert(_with_nan(document), Evaluation)
    except msgspec.ValidationError as error:
        raise RefusedError(
            f"these are no figures of an evaluation: {error}",
            hint="Write them with: streamtag model evaluate --labels FILE --output json",
        ) from None
    if problems := list(_problems(found)):
        raise RefusedError(f"these are no figures of {len(found.labels)} labels", problems=problems)
    return found


def _problems(found: Evaluation) -> Iterator[str]:
    """What a report would stumble over."""
    labels = len(found.labels)
    for name in ("known", "positives", "cutoffs", "ece_null_95", "curves", "cooccurrence"):
        entries = len(getattr(found, name))
        if entries != labels and (entries or name not in {"curves", "cooccurrence"}):
            yield f"{name} has {entries} entries"
    wanted = {
        **dict.fromkeys((*BY_LABEL, DEBIASED["ece"]), labels),
        **dict.fromkeys((*OVERALL, DEBIASED["mean_ece"]), 1),
    }
    for name, entries in wanted.items():
        if len(found.figures.get(name, ())) != entries:
            yield f"figures.{name} must have {entries} entries"
    yield from _impossible(found)
    for i, one in enumerate(found.slices):
        yield from (f"slices[{i}].figures.{name} is missing" for name in SLICED if name not in one.figures)


def _impossible(found: Evaluation) -> Iterator[str]:
    """Counts and shares that are none."""
    for j, (known, positives) in enumerate(zip(found.known, found.positives, strict=False)):
        if not 0 <= positives <= known:
            yield f"positives[{j}] must lie between 0 and known[{j}]"
    for j, curves in enumerate(found.curves):
        if curves.reliability and not any(found.known[j : j + 1]):
            yield f"curves[{j}].reliability must be empty where no row is known"
        if any(rows < 1 for _, _, rows in curves.reliability):
            yield f"curves[{j}].reliability: rows must be 1 or more"
        shares = [each[:2] for each in curves.reliability] + curves.precision_recall
        if not all(0 <= value <= 1 for each in shares for value in each):
            yield f"curves[{j}]: scores and shares must lie between 0 and 1"


def _with_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _with_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nan(one) for one in value]
    return math.nan if value is None else value
