"""Threshold sets: what they may say, how two differ, and how they are compiled for deciding.

A set gives one cut-off per label, and *segment overrides*: other cut-offs for some labels where an event's
language, channel or tenant matches. Overrides apply in the order they stand in; a later one wins.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamtag.domain.conditions import Compatible, Condition, Matching, key_of

DIMENSIONS = ("lang", "channel", "tenant")

Segment = tuple[str | None, str | None, str | None]
"""(lang, channel, tenant) of an event; None where the event has none."""


@dataclass(frozen=True)
class Override:
    """Other cut-offs for events that match every dimension named in ``when``."""

    when: Mapping[str, str]
    labels: Mapping[str, float]


@dataclass(frozen=True)
class ThresholdSet:
    """One cut-off per label: an event is tagged with a label when ``score >= threshold``."""

    labels: Mapping[str, float]
    segments: Sequence[Override] = field(default=())

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> "ThresholdSet":
        """Reads ``{"labels": {…}, "segments": [{"when": {…}, "labels": {…}}]}``; values are checked by `problems`."""
        segments = [Override(dict(s.get("when", {})), dict(s.get("labels", {}))) for s in raw.get("segments") or ()]
        return ThresholdSet(dict(raw.get("labels", {})), tuple(segments))

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`, with plain dicts and lists."""
        out: dict[str, Any] = {"labels": dict(self.labels)}
        if self.segments:
            out["segments"] = [{"when": dict(s.when), "labels": dict(s.labels)} for s in self.segments]
        return out

    def effective(self, segment: Segment) -> dict[str, float]:
        """The cut-offs that decide an event of ``segment``."""
        found = dict(zip(DIMENSIONS, segment, strict=True))
        result = dict(self.labels)
        for override in self.segments:
            if all(found[dimension] == value for dimension, value in override.when.items()):
                result.update(override.labels)
        return result


def condition_name(when: Mapping[str, str]) -> str:
    """A condition in words, another for each; empty for the base.

    >>> condition_name({"tenant": "x", "lang": "de"}), condition_name({"lang": "de,tenant=x"})
    ('lang=de,tenant=x', 'lang="de,tenant=x"')
    """
    return ",".join(f"{dimension}={_quoted(value)}" for dimension, value in sorted(when.items()))


def _quoted(value: str) -> str:
    # What the name itself is made of is quoted: what somebody else chose must not read as another condition.
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',="') else value


def with_changes(base: ThresholdSet, changes: Mapping[str, float], when: Mapping[str, str]) -> ThresholdSet:
    """``base`` with some cut-offs moved: its own, or those of the segment ``when``."""
    if not when:
        return ThresholdSet({**base.labels, **changes}, base.segments)
    if all(dict(segment.when) != dict(when) for segment in base.segments):
        return ThresholdSet(base.labels, (*base.segments, Override(dict(when), dict(changes))))
    segments = (Override(s.when, {**s.labels, **changes}) if dict(s.when) == dict(when) else s for s in base.segments)
    return ThresholdSet(base.labels, tuple(segments))


def problems(candidate: ThresholdSet, labels: Iterable[str]) -> list[str]:
    """Everything that keeps ``candidate`` from deciding for a bundle with these ``labels``; empty when it is valid."""
    known = list(labels)
    found = [f"labels.{name}: missing; the bundle scores it" for name in known if name not in candidate.labels]
    found += _bad_values("labels", candidate.labels, known)
    for i, override in enumerate(candidate.segments):
        where = f"segments[{i}]"
        if not override.when:
            found.append(f"{where}.when: empty; name at least one of {', '.join(DIMENSIONS)}")
        found += [f"{where}.when.{d}: unknown dimension" for d in override.when if d not in DIMENSIONS]
        found += [f"{where}.when.{d}: must be text" for d, v in override.when.items() if not isinstance(v, str)]
        if not override.labels:
            found.append(f"{where}.labels: empty")
        found += _bad_values(f"{where}.labels", override.labels, known)
    return found


def _bad_values(where: str, values: Mapping[str, float], known: Sequence[str]) -> list[str]:
    found = []
    for name, value in values.items():
        if name not in known:
            found.append(f"{where}.{name}: the bundle does not score this label")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            found.append(f"{where}.{name}: must be a number, not {type(value).__name__}")
        elif not 0 <= value <= 1:  # nor is NaN
            found.append(f"{where}.{name}: {value} is outside 0 … 1")
        elif round(value, 6) != value:
            found.append(f"{where}.{name}: {value!r} has more than 6 decimals; scores are compared in millionths")
    return found


@dataclass(frozen=True)
class Change:
    """One cut-off that differs between two sets; ``None`` where one side has none."""

    where: str
    label: str
    before: float | None
    after: float | None

    @property
    def step(self) -> float:
        """Size of the change; 0 where a label came or went."""
        return 0.0 if self.before is None or self.after is None else abs(self.after - self.before)


def diff(before: ThresholdSet, after: ThresholdSet) -> list[Change]:
    """All cut-offs that differ: base set, overrides by their condition, and where overrides meet in another order."""
    changes = _diff_labels("", before.labels, after.labels)
    old, new = _by_condition(before), _by_condition(after)
    for name in [*old, *(n for n in new if n not in old)]:
        changes += _diff_labels(name, old.get(name, {}), new.get(name, {}))
    # By name: that is injective, so no condition hides behind another.
    named = {(change.where, change.label) for change in changes}
    conditions = [{}, *(override.when for override in (*before.segments, *after.segments))]
    matching, names = Matching(conditions), {key_of(when): condition_name(when) for when in conditions}
    for place, *both in effective_pairs(before, after):
        known = [names[condition] for condition in matching.at(place)]
        met = _diff_labels(condition_name(place), *both)
        changes += [change for change in met if not any((name, change.label) in named for name in known)]
    return changes


def too_large(before: ThresholdSet, after: ThresholdSet, max_step: float) -> list[str]:
    """Guard rail: every *effective* change larger than ``max_step``, in words.

    An override that comes or goes is measured against the value it replaces, so it cannot slip past.
    """
    found = []
    for place, old, new in effective_pairs(before, after):
        for label in old:
            if label in new and abs(new[label] - old[label]) > max_step + 1e-9:
                text = f"{label}: {old[label]:g} -> {new[label]:g} is a step of {abs(new[label] - old[label]):g}"
                where = f"{condition_name(place)} " if place else ""
                found.append(f"{where}{text}, above the guard rail of {max_step:g}")
    return found


def effective_pairs(
    before: ThresholdSet, after: ThresholdSet
) -> Iterator[tuple[Mapping[str, str], Mapping[str, float], Mapping[str, float]]]:
    """Every segment that either set treats in its own way, the base (no condition) first, with the cut-offs of both.

    The cut-offs of an event are those of one of the segments that it matches.
    """
    old, new = _Effective(before), _Effective(after)
    for place in _places(before, after):
        yield place, old.at(place), new.at(place)


def _places(before: ThresholdSet, after: ThresholdSet) -> list[Mapping[str, str]]:
    """The segments at which to compare two sets, each once, the base first.

    Some cut-off decides an event before, and some after: the segment that matches just the conditions of these two
    sees the same change, so no other segment needs to be looked at.
    """
    found: dict[Condition, Mapping[str, str]] = {}
    compatible = Compatible(_conditions(after))
    for old in _conditions(before):
        for new in compatible.to(old):
            place = {**old, **new}
            found.setdefault(key_of(place), place)
    return list(found.values())


def _conditions(thresholds: ThresholdSet) -> list[Mapping[str, str]]:
    """The conditions of a set, each once, the base first."""
    found: dict[Condition, Mapping[str, str]] = {(): {}}
    for override in thresholds.segments:
        found.setdefault(key_of(override.when), override.when)
    return list(found.values())


class _Effective:
    """The cut-offs of a set at many segments: as `ThresholdSet.effective`, from the overrides that match alone."""

    def __init__(self, thresholds: ThresholdSet) -> None:
        self._base = thresholds.labels
        self._matching = Matching(override.when for override in thresholds.segments)
        # Of a condition that stands more than once, the last word on each label, and where it stands.
        self._overrides: dict[Condition, dict[str, tuple[int, float]]] = {}
        for i, override in enumerate(thresholds.segments):
            said = {label: (i, cutoff) for label, cutoff in override.labels.items()}
            self._overrides.setdefault(key_of(override.when), {}).update(said)
        self._made: dict[tuple[Condition, ...], dict[str, float]] = {}

    def at(self, place: Mapping[str, str]) -> Mapping[str, float]:
        """The cut-offs that decide an event of this segment."""
        matching = tuple(self._matching.at(place))
        if matching not in self._made:
            self._made[matching] = self._make(matching)
        return self._made[matching]

    def _make(self, matching: Iterable[Condition]) -> dict[str, float]:
        last: dict[str, tuple[int, float]] = {}
        for condition in matching:
            for label, said in self._overrides[condition].items():
                last[label] = max(last.get(label, said), said)
        return {**self._base, **{label: cutoff for label, (_, cutoff) in last.items()}}


def _by_condition(thresholds: ThresholdSet) -> dict[str, dict[str, float]]:
    """Cut-offs of the overrides; those of a condition that stands more than once together."""
    found: dict[str, dict[str, float]] = {}
    for override in thresholds.segments:
        found.setdefault(condition_name(override.when), {}).update(override.labels)
    return found


def _diff_labels(where: str, old: Mapping[str, float], new: Mapping[str, float]) -> list[Change]:
    names = [*old, *(n for n in new if n not in old)]
    return [Change(where, n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]


class Compiled:
    """A threshold set as a matrix, one row per combination of overrides met so far.

    Not thread-safe: one decider owns it. Rows are bounded by the values the overrides name, not by traffic.
    """

    def __init__(self, thresholds: ThresholdSet, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._set = thresholds
        self._named = tuple({s.when[d] for s in thresholds.segments if d in s.when} for d in DIMENSIONS)
        self._told_by = itemgetter(*[d for d, named in enumerate(self._named) if named] or [0])
        self._rows: dict[Segment, int] = {}
        self.matrix = np.empty((0, len(self.labels)), dtype=np.float64)
        """Cut-offs, float64 [rows, labels]."""
        self.row((None, None, None))

    @property
    def uniform(self) -> bool:
        """True when no override exists: row 0 decides everything."""
        return not self._set.segments

    def row(self, segment: Segment) -> int:
        """Index into `matrix` of the cut-offs for ``segment``."""
        key = tuple(value if value in named else None for value, named in zip(segment, self._named, strict=True))
        found = self._rows.get(key)  # type: ignore[arg-type]
        if found is None:
            effective = self._set.effective(key)  # type: ignore[arg-type]
            cutoffs = np.array([[effective[label] for label in self.labels]], dtype=np.float64)
            self.matrix = np.concatenate([self.matrix, cutoffs])
            found = self._rows[key] = len(self.matrix) - 1  # type: ignore[index]
        return found

    def rows(self, segments: Sequence[Segment]) -> NDArray[np.intp]:
        """`row` for each of ``segments``, intp [n]; those alike in all that overrides name are one look."""
        keys = list(map(self._told_by, segments))
        found = {key: self.row(segment) for key, segment in dict(zip(keys, segments, strict=True)).items()}
        return np.fromiter(map(found.__getitem__, keys), dtype=np.intp, count=len(segments))


def decide(scores: NDArray[np.float64], cutoffs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which labels each event gets.

    Args:
        scores: float64 [n, labels], on the grid of `streamtag.domain.scores`.
        cutoffs: float64 [n, labels] or [labels].

    Returns:
        bool [n, labels]: ``scores >= cutoffs``.
    """
    return scores >= cutoffs
