"""Taxonomies: which labels there are, who owns them, and what became of every id that was ever used.

An id names one meaning for ever. It may be *renamed* (a label says what it was called before), *deprecated* (another
label takes its place, and both are still scored somewhere) or *retired* (it is no label any more). In each case it
stays on record, so that a tag event or a threshold set of any age can be read by the newest taxonomy.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

LABEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class TaxonomyLabel:
    """One label that is in use.

    Attributes:
        id: stable name.
        name: for people.
        owner: the team that decides what it means and where it is cut off.
        since: version of the taxonomy that brought this id.
        description: what it means.
        critical: whether a miss of it is worse than a false alarm.
        parent: id of the label that it is a kind of.
        deprecated_by: id of the label that takes its place.
        renamed_from: ids it had before, all of the same meaning.
    """

    id: str
    name: str
    owner: str
    since: int
    description: str = ""
    critical: bool = False
    parent: str | None = None
    deprecated_by: str | None = None
    renamed_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retired:
    """An id that is no label any more, and never will be again.

    Attributes:
        id: what it was called.
        until: version of the taxonomy that retired it.
        replaced_by: id of the label that its old tags and cut-offs belong to; None where there is none.
    """

    id: str
    until: int
    replaced_by: str | None = None


@dataclass(frozen=True)
class Taxonomy:
    """One version of a taxonomy; see `problems` for what makes it a sound one."""

    name: str
    version: int
    labels: tuple[TaxonomyLabel, ...]
    retired: tuple[Retired, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, TaxonomyLabel]:
        """The labels in use, by id."""
        return {label.id: label for label in self.labels}

    @cached_property
    def following(self) -> Mapping[str, str | None]:
        """Every id ever used, and the one after it: itself for a label that stands, None for one that ended."""
        found: dict[str, str | None] = {retired.id: retired.replaced_by for retired in self.retired}
        for label in self.labels:
            found.update(dict.fromkeys(label.renamed_from, label.id))
        found.update({label.id: label.deprecated_by or label.id for label in self.labels})
        return found

    @cached_property
    def known(self) -> frozenset[str]:
        """Every id that was ever used."""
        return frozenset(self.following)

    def critical(self, label: str) -> bool:
        """Whether ``label``, or what it has become, is critical; False where it is not known."""
        now = self.current(label) if label in self.known else None
        return now is not None and self.by_id[now].critical

    def current(self, label: str) -> str | None:
        """The id that ``label`` has today; None when it was retired without a successor.

        Raises:
            KeyError: no version ever had this id.
        """
        at = label
        for _ in range(len(self.following)):
            then = self.following[at]
            if then is None or then == at:
                return then
            at = then
        raise ValueError(f"{label} is replaced in a circle")  # `problems` refuses such a taxonomy

    def translate(self, labels: Iterable[str]) -> dict[str, str | None]:
        """`current` of each of ``labels``, in their order; an id that no version knows stands for itself.

        >>> spam = TaxonomyLabel("spam", "Spam", "trust", since=2, renamed_from=("advert",))
        >>> Taxonomy("t", 2, (spam,)).translate(["advert", "spam"])
        {'advert': 'spam', 'spam': 'spam'}
        """
        return {label: self.current(label) if label in self.known else label for label in labels}


def problems(taxonomy: Taxonomy) -> list[str]:
    """Everything that contradicts itself in ``taxonomy``; empty when it is sound."""
    found = [] if taxonomy.labels else ["labels: empty"]
    if taxonomy.version < 1:
        found.append(f"version: {taxonomy.version} is below 1")
    found += _bad_ids(taxonomy)
    for label in taxonomy.labels:
        found += _label_problems(taxonomy, label)
    for retired in taxonomy.retired:
        if not 1 < retired.until <= taxonomy.version:
            text = f"{retired.until} must be above 1 and at most this version, {taxonomy.version}"
            found.append(f"retired.{retired.id}.until: {text}")
        if retired.replaced_by is not None and retired.replaced_by not in taxonomy.known:
            found.append(f"retired.{retired.id}.replaced_by: {retired.replaced_by} is no id of this taxonomy")
    return found + _circles(taxonomy)


def bundle_problems(taxonomy: Taxonomy, labels: Iterable[str]) -> list[str]:
    """What keeps a bundle that scores ``labels`` from deciding under ``taxonomy``: ids that no version ever had."""
    where = f"taxonomy {taxonomy.name} {taxonomy.version}"
    return [f"label {label}: unknown to {where}" for label in labels if label not in taxonomy.known]


def outdated(taxonomy: Taxonomy, labels: Iterable[str]) -> list[str]:
    """In words, which of ``labels`` have another id by now, or none."""
    found = []
    for label, now in taxonomy.translate(labels).items():
        if now is None:
            found.append(f"label {label} is retired, and nothing replaces it")
        elif now != label:
            found.append(f"label {label} is {now} by now")
    return found


def _bad_ids(taxonomy: Taxonomy) -> list[str]:
    places: dict[str, list[str]] = {}
    for label in taxonomy.labels:
        places.setdefault(label.id, []).append("labels")
        for old in label.renamed_from:
            places.setdefault(old, []).append(f"labels.{label.id}.renamed_from")
    for retired in taxonomy.retired:
        places.setdefault(retired.id, []).append("retired")
    found = [
        f"{', '.join(where)}: id {name} stands {len(where)} times; an id has one meaning, and is never used again"
        for name, where in places.items()
        if len(where) > 1
    ]
    for name, where in places.items():
        if not LABEL_ID.fullmatch(name):
            found.append(f"{where[0]}: id {name!r} must be letters, digits, dot, dash or underscore")
    return found


def _label_problems(taxonomy: Taxonomy, label: TaxonomyLabel) -> list[str]:
    where = f"labels.{label.id}"
    found = [f"{where}.{field}: empty" for field in ("name", "owner") if not getattr(label, field).strip()]
    if not 1 <= label.since <= taxonomy.version:
        found.append(f"{where}.since: {label.since} is outside 1 … {taxonomy.version}, the versions there are")
    for field in ("parent", "deprecated_by"):
        other = getattr(label, field)
        if other is not None and other not in taxonomy.by_id:
            found.append(f"{where}.{field}: {other} is no label of this taxonomy")
    return found


def _circles(taxonomy: Taxonomy) -> list[str]:
    parents = {label.id: label.parent for label in taxonomy.labels}
    replaced = {name: then for name, then in taxonomy.following.items() if then != name}
    found = [f"labels.{label.id}.deprecated_by: itself" for label in taxonomy.labels if label.deprecated_by == label.id]
    for what, step in (("parent", parents), ("successor", replaced)):
        circles: dict[frozenset[str], list[str]] = {}
        for way in filter(None, (_circle(name, step) for name in step)):
            circles.setdefault(frozenset(way), way)
        found += [f"{' -> '.join([*way, way[0]])}: each is the {what} of the one before" for way in circles.values()]
    return found


def _circle(start: str, step: Mapping[str, str | None]) -> list[str]:
    """The ids on the way from ``start`` when it comes back there; empty when it does not."""
    way, at = [start], step.get(start)
    while at is not None and at not in way:
        way.append(at)
        at = step.get(at)
    return way if at == start else []
