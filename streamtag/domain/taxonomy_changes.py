"""Two versions of a taxonomy: what changed, and whether the newer one may follow the older."""

from dataclasses import dataclass
from typing import Literal

from streamtag.domain.taxonomy import Taxonomy, TaxonomyLabel

Kind = Literal["added", "renamed", "deprecated", "retired", "changed"]

_FIELDS = ("name", "description", "owner", "critical", "parent")


@dataclass(frozen=True)
class TaxonomyChange:
    """One thing that differs: the label it is about (its newer id), and what happened in words."""

    kind: Kind
    label: str
    text: str


def changes(old: Taxonomy, new: Taxonomy) -> list[TaxonomyChange]:
    """All that differs, label by label; in the order of ``new``, then what was retired."""
    found = []
    for label in new.labels:
        before = _before(old, label)
        if before is None:
            found.append(TaxonomyChange("added", label.id, f"{label.name}, owned by {label.owner}"))
            continue
        if before.id != label.id:
            found.append(TaxonomyChange("renamed", label.id, f"was {before.id}"))
        if label.deprecated_by is not None and before.deprecated_by is None:
            found.append(TaxonomyChange("deprecated", label.id, f"{label.deprecated_by} takes its place"))
        elif label.deprecated_by != before.deprecated_by:
            found.append(_changed(label.id, "deprecated_by", before.deprecated_by, label.deprecated_by))
        found += [
            _changed(label.id, field, getattr(before, field), getattr(label, field))
            for field in _FIELDS
            if getattr(before, field) != getattr(label, field)
        ]
    gone = {retired.id for retired in old.retired}
    for retired in new.retired:
        if retired.id not in gone:
            text = f"{retired.replaced_by} takes its place" if retired.replaced_by else "nothing takes its place"
            found.append(TaxonomyChange("retired", retired.id, text))
    return found


def succession_problems(old: Taxonomy, new: Taxonomy) -> list[str]:
    """Everything that keeps ``new`` from following ``old``, both sound in themselves; empty when nothing does.

    What is kept is that reading is free of the order of versions: an id read by ``old`` and then by ``new`` is the id
    read by ``new`` at once.
    """
    found = []
    if new.name != old.name:
        found.append(f"taxonomy: {new.name!r} is another one than {old.name!r}")
    if new.version <= old.version:
        found.append(f"version: {new.version} must be above {old.version}")
    for label in new.labels:
        found += _label_problems(old, new, label)
    found += [
        f"{_place(old, name)}: {name} is on record no more; say what became of it (renamed_from or retired)"
        for name in sorted(old.known - new.known)
    ]
    before = {retired.id: retired for retired in old.retired}
    for retired in new.retired:
        then = before.get(retired.id)
        if then is None and retired.until <= old.version:
            found.append(f"retired.{retired.id}.until: {retired.until} must be above {old.version}: it is new here")
        if then is not None and then.until != retired.until:
            found.append(f"retired.{retired.id}.until: {retired.until}, and was {then.until}")
    return found + _meanings(old, new)


def _label_problems(old: Taxonomy, new: Taxonomy, label: TaxonomyLabel) -> list[str]:
    before = old.by_id.get(label.id)
    if before is not None:
        return (
            [] if before.since == label.since else [f"labels.{label.id}.since: {label.since}, and was {before.since}"]
        )
    if label.id in old.known:
        return [f"labels.{label.id}: this id was {_place(old, label.id)} in version {old.version}; take another"]
    if label.since <= old.version:
        return [f"labels.{label.id}.since: {label.since} must be above {old.version}: it is new in {new.version}"]
    return []


def _meanings(old: Taxonomy, new: Taxonomy) -> list[str]:
    found = []
    for name in sorted(old.known & new.known):
        then = old.current(name)
        if then is None or then not in new.known or then == name:
            continue
        if new.current(name) != new.current(then):
            found.append(f"{name}: was {then} in version {old.version}, and is {new.current(name)} now")
    return found


def _before(old: Taxonomy, label: TaxonomyLabel) -> TaxonomyLabel | None:
    names = (label.id, *label.renamed_from)
    return next((old.by_id[name] for name in names if name in old.by_id), None)


def _place(taxonomy: Taxonomy, name: str) -> str:
    if name in taxonomy.by_id:
        return f"labels.{name}"
    holder = next((label.id for label in taxonomy.labels if name in label.renamed_from), None)
    return f"an older name of {holder}" if holder else "retired"


def _changed(label: str, field: str, before: object, after: object) -> TaxonomyChange:
    return TaxonomyChange("changed", label, f"{field}: {_word(before)} -> {_word(after)}")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
