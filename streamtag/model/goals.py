"""Cut-offs by goal: what an operator wants of a label, and the cut-off that gives it on labelled documents.

A goal is one of::

    recall | precision >= 0.9          as much recall as there is where precision holds
    precision | recall >= 0.8
    fbeta(2)                           recall counts twice as much as precision
    alerts_per_hour <= 40              as much recall as there is within the budget; needs the events per hour
    cost(miss=5, false_alarm=1)

A bound on precision or recall is asked of the lower end of its Clopper-Pearson interval (one-sided), not of the point:
ten hits of ten do not show a precision of 0.9. The bound is that of one cut-off; the best of many is a little
optimistic, so certify on documents of another period.

A cost may be least where nothing is alerted on; the cut-off is then just above the highest score seen.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from streamtag.errors import RefusedError

__all__ = ["Choice", "Goal", "choose", "choose_by", "parse_goal"]

_NUMBER = r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
_FORMS = {
    "recall": re.compile(rf"recall \| precision >= {_NUMBER}"),
    "precision": re.compile(rf"precision \| recall >= {_NUMBER}"),
    "fbeta": re.compile(rf"fbeta\( ?{_NUMBER} ?\)"),
    "alerts": re.compile(rf"(?:recall \| )?alerts_per_hour <= {_NUMBER}"),
    "cost": re.compile(rf"cost\( ?miss ?= ?{_NUMBER} ?, ?false_alarm ?= ?{_NUMBER} ?\)"),
}


_LARGEST_BETA = 1_000_000
"""Beyond it recall alone counts, and its square is no float at last."""


@dataclass(frozen=True)
class Goal:
    """What is wanted.

    Attributes:
        kind: ``recall`` at a precision, ``precision`` at a recall, ``fbeta``, ``alerts`` per hour, or ``cost``.
        value: the bound, beta, the alerts per hour, or the cost of a miss.
        false_alarm: cost of a false alarm, in the unit of a miss.
    """

    kind: Literal["recall", "precision", "fbeta", "alerts", "cost"]
    value: float
    false_alarm: float = 1.0


@dataclass(frozen=True)
class Choice:
    """The cut-off of one label, or why there is none.

    Attributes:
        cutoff: at most six decimals; None where the label is undecided.
        undecided: why, for people; empty where it is decided.
        rows, positives: documents whose label is known.
        alerts, hits: documents at or above the cut-off, and those of them that are positive; 0 where no alert is best.
        precision, recall: (low, point, high), two-sided Clopper-Pearson; None where nothing is counted.
    """

    cutoff: float | None
    undecided: str
    rows: int
    positives: int
    alerts: int = 0
    hits: int = 0
    precision: tuple[float, float, float] | None = None
    recall: tuple[float, float, float] | None = None


def parse_goal(text: str) -> Goal:
    """Reads one of the forms above.

    Raises:
        RefusedError: it is none of them, or a number is out of range.

    >>> parse_goal("recall | precision >= 0.9")
    Goal(kind='recall', value=0.9, false_alarm=1.0)
    """
    plain = re.sub(r"\s+", " ", re.sub(r"\s*(\||>=|<=)\s*", r" \1 ", text)).strip()
    for kind, form in _FORMS.items():
        if (match := form.fullmatch(plain)) is None:
            continue
        numbers = [float(number) for number in match.groups()]
        if kind in ("recall", "precision") and not 0 < numbers[0] < 1:
            raise RefusedError(f"goal {text!r}: the bound must lie between 0 and 1", hint="0.9 means 90 %.")
        if not all(0 < number < float("inf") for number in numbers):
            raise RefusedError(f"goal {text!r}: numbers must be above 0 and finite")
        if kind == "fbeta" and numbers[0] > _LARGEST_BETA:
            raise RefusedError(f"goal {text!r}: beta must be {_LARGEST_BETA:,} at most")
        return Goal(kind, *numbers)  # type: ignore[arg-type]
    raise RefusedError(
        f"goal {text!r} is not understood",
        hint="Forms: recall | precision >= 0.9, precision | recall >= 0.8, fbeta(2), alerts_per_hour <= 40, "
        "cost(miss=5, false_alarm=1).",
    )


def choose(
    goal: Goal,
    scores: NDArray[np.floating],
    targets: NDArray[np.int8],
    *,
    min_positives: int,
    confidence: float = 0.95,
    events_per_hour: float | None = None,
) -> Choice:
    """The cut-off of one label by ``goal``; of equally good ones the highest, which alerts least.

    Never alerting is chosen for a cost alone, and only where it costs less than every score as the cut-off.

    Args:
        goal: what is wanted.
        scores: [n], probabilities.
        targets: int8 [n]: 1 yes, 0 no, -1 unknown; unknown rows are left out.
        min_positives: with fewer, or with fewer negatives, the label is undecided.
        confidence: of the bounds.
        events_per_hour: traffic that the documents stand for; needed for ``alerts``.
    """
    known = targets >= 0
    micro = _micro(scores[known])
    target = targets[known] == 1
    rows, positives = len(target), int(target.sum())
    if positives < min_positives or rows - positives < min_positives:
        few, what = min((positives, "positives"), (rows - positives, "negatives"))
        return Choice(None, f"{few} {what}, fewer than {min_positives}", rows, positives)
    order = np.argsort(-micro, kind="stable")
    ends = np.append(np.nonzero(np.diff(micro[order]))[0], rows - 1)  # last row of each distinct score
    alerts, hits = ends + 1, np.cumsum(target[order])[ends]
    value = _worth(goal, rows, positives, alerts, hits, confidence, events_per_hour)
    best = int(np.argmax(value))
    if value[best] == -np.inf:
        return Choice(None, _unreachable(goal, confidence), rows, positives)
    if goal.kind == "cost" and value[best] < -goal.value * positives:
        return _never(int(micro.max()), rows, positives, confidence)
    found, right = int(alerts[best]), int(hits[best])
    return Choice(
        cutoff=float(micro[order][ends[best]]) / 1e6,
        undecided="",
        rows=rows,
        positives=positives,
        alerts=found,
        hits=right,
        precision=interval(right, found, confidence),
        recall=interval(right, positives, confidence),
    )


def choose_by(
    goal: Goal,
    scores: NDArray[np.floating],
    targets: NDArray[np.int8],
    segments: NDArray[np.str_],
    *,
    min_positives: int,
    confidence: float = 0.95,
    events_per_hour: float | None = None,
) -> tuple[Choice, dict[str, Choice]]:
    """The cut-off of one label, and those of segments, which reach the goal together.

    A segment is decided by its own documents: it has its share of the traffic, and the same share of a budget of
    alerts. The base, which decides all other events, is chosen on the documents that are left; on all documents where
    these are too few. Where the whole would then miss the goal, no segment keeps a cut-off of its own.

    Args:
        goal: as of `choose`, like all that is not said here.
        scores: [n].
        targets: int8 [n].
        segments: str [n], the segment of each document; empty where it is of none.
        min_positives: of a segment, and of the others.
        confidence: of the bounds.
        events_per_hour: of all segments together.

    Returns:
        The base, and the choice of each segment.
    """

    def chosen(of: NDArray[np.bool_]) -> Choice:
        return choose(
            goal,
            scores[of],
            targets[of],
            min_positives=min_positives,
            confidence=confidence,
            events_per_hour=events_per_hour,
        )

    found = {value: chosen(segments == value) for value in sorted(set(segments.tolist()) - {""})}
    own = {value: one.cutoff for value, one in found.items() if one.cutoff is not None}
    left = chosen(~np.isin(segments, list(own)))
    if not own or left.cutoff is not None:
        return left, found
    base = chosen(np.ones(len(targets), dtype=np.bool_))
    if base.cutoff is None:
        return base, found
    cutoffs = np.array([own.get(value, base.cutoff) for value in segments.tolist()])
    if _reached(goal, scores, targets, cutoffs, confidence, events_per_hour):
        return base, found
    why = "other documents are too few for a cut-off of their own, and with that of all the whole misses the goal"
    return base, {v: Choice(None, why, c.rows, c.positives) if v in own else c for v, c in found.items()}


def _reached(
    goal: Goal,
    scores: NDArray[np.floating],
    targets: NDArray[np.int8],
    cutoffs: NDArray[np.float64],
    confidence: float,
    events_per_hour: float | None,
) -> bool:
    """Whether the bound of the goal holds on all documents, each with its own cut-off."""
    known = targets >= 0
    alerted = known & (_micro(scores) >= _micro(cutoffs))
    alerts, hits = (np.array([count.sum()]) for count in (alerted, alerted & (targets == 1)))
    positives = int((targets == 1).sum())
    return bool(_worth(goal, int(known.sum()), positives, alerts, hits, confidence, events_per_hour)[0] > -np.inf)


def _micro(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """In micro-units, as the tagger compares them."""
    return np.rint(np.asarray(values, dtype=np.float64) * 1e6).astype(np.int64)


def _never(highest: int, rows: int, positives: int, confidence: float) -> Choice:
    """No alert on any document: the cut-off is one millionth above the ``highest`` score, in micro-units."""
    if highest >= 1_000_000:  # a cut-off is 1 at most, and that score reaches it
        return Choice(None, "never alerting is cheapest, and no cut-off is above the highest score", rows, positives)
    return Choice((highest + 1) / 1e6, "", rows, positives, recall=interval(0, positives, confidence))


def _worth(
    goal: Goal,
    rows: int,
    positives: int,
    alerts: NDArray[np.int64],
    hits: NDArray[np.int64],
    confidence: float,
    events_per_hour: float | None,
) -> NDArray[np.float64]:
    """What each cut-off is worth, float64 [cut-offs]; -inf where it does not meet the bound."""
    if goal.kind == "cost":
        return -(goal.value * (positives - hits) + goal.false_alarm * (alerts - hits)).astype(np.float64)
    if goal.kind == "fbeta":
        square = goal.value**2
        return np.asarray((1 + square) * hits / (square * positives + alerts), dtype=np.float64)
    if goal.kind == "alerts":
        if events_per_hour is None:
            raise RefusedError("alerts per hour need to know the traffic", hint="Give --events-per-hour.")
        return np.where(alerts / rows * events_per_hour <= goal.value, hits / positives, -np.inf)
    if goal.kind == "recall":
        return np.where(lower_bound(hits, alerts, confidence) >= goal.value, hits / positives, -np.inf)
    held = lower_bound(hits, np.full_like(hits, positives), confidence) >= goal.value
    return np.where(held, hits / alerts, -np.inf)


def _unreachable(goal: Goal, confidence: float) -> str:
    if goal.kind == "alerts":
        return f"even the highest score alerts more than {goal.value:g} times an hour"
    bound = "precision" if goal.kind == "recall" else "recall"
    return f"no cut-off shows {bound} >= {goal.value:g} with {confidence:.0%} confidence"


def lower_bound(hits: NDArray[np.int64], of: NDArray[np.int64], confidence: float) -> NDArray[np.float64]:
    """One-sided Clopper-Pearson lower bound of ``hits / of`` (Clopper & Pearson 1934): a quantile of Beta(k, n-k+1)."""
    bound = betaincinv(np.maximum(hits, 1), of - hits + 1, 1 - confidence)
    return np.where(hits > 0, bound, 0.0)


def interval(hits: int, of: int, confidence: float) -> tuple[float, float, float] | None:
    """Two-sided Clopper-Pearson ``(low, point, high)``; None of nothing."""
    if of == 0:
        return None
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, of - hits + 1, tail))
    high = 1.0 if hits == of else float(betaincinv(hits + 1, of - hits, 1 - tail))
    return low, hits / of, high
