"""Versions of a taxonomy: whatever is done to one by the rules, old ids keep their meaning."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.domain.taxonomy import Retired, Taxonomy, TaxonomyLabel, problems
from streamtag.domain.taxonomy_changes import changes, succession_problems


def label(name: str, since: int = 1, **fields: object) -> TaxonomyLabel:
    return TaxonomyLabel(name, name.title(), "garden", since, **fields)  # type: ignore[arg-type]


OLD = Taxonomy(
    "plants",
    2,
    (label("tree"), label("shrub"), label("fern", 2, renamed_from=("bracken",))),
    (Retired("moss", 2, "fern"),),
)
NEW = replace(OLD, version=3)


def _edit(old: Taxonomy, draw: st.DataObject, number: int) -> Taxonomy:
    """One step that the rules allow, at random; a taxonomy that cannot be edited so is returned as it is."""
    version = old.version + 1
    edited = replace(old, version=version)
    what = draw.draw(st.sampled_from(["add", "rename", "deprecate", "retire"]))
    fresh = f"new{number}"
    if what == "add":
        return replace(edited, labels=(*old.labels, label(fresh, version)))
    one = draw.draw(st.sampled_from(old.labels))
    others = [other for other in old.labels if other.id != one.id]
    if what == "rename":
        renamed = replace(one, id=fresh, since=version, renamed_from=(*one.renamed_from, one.id))
        kept = (replace(o, deprecated_by=fresh) if o.deprecated_by == one.id else o for o in others)
        return replace(edited, labels=(*kept, renamed))
    targets = [other.id for other in others if old.current(other.id) != old.current(one.id)]  # no circles
    if not targets:
        return edited
    then = draw.draw(st.sampled_from(targets))
    if what == "deprecate":
        return edited if one.deprecated_by else replace(edited, labels=(*others, replace(one, deprecated_by=then)))
    then = one.deprecated_by or then
    kept = (replace(o, deprecated_by=then) if o.deprecated_by == one.id else o for o in others)
    # what it was called before goes on record with it, and follows it
    ended = [Retired(name, version, then) for name in (one.id, *one.renamed_from)]
    return replace(edited, labels=tuple(kept), retired=(*old.retired, *ended))


@settings(max_examples=50)
@given(st.data(), st.integers(1, 12))
def test_reading_by_one_version_after_the_other_is_reading_by_the_newest(data: st.DataObject, steps: int) -> None:
    versions = [Taxonomy("t", 1, (label("a"), label("b"), label("c")))]
    for number in range(steps):
        edited = _edit(versions[-1], data, number)
        assert problems(edited) == []
        assert succession_problems(versions[-1], edited) == []
        versions.append(edited)
    newest = versions[-1]
    for at, version in enumerate(versions):
        assert version.known <= newest.known
        for name in version.known:
            read = name
            for later in versions[at:]:
                then = later.current(read)
                assert then is not None
                read = then
            assert read == newest.current(name)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (replace(NEW, name="stones"), "taxonomy: 'stones'"),
        (replace(NEW, version=2), "version: 2 must be above 2"),
        (replace(NEW, labels=OLD.labels[1:]), "labels.tree: tree is on record no more"),
        (replace(NEW, retired=()), "retired: moss is on record no more"),
        (
            replace(NEW, labels=(*OLD.labels[:2], label("fern", 2))),
            "an older name of fern: bracken is on record no more",
        ),
        (replace(NEW, labels=(*OLD.labels, label("moss", 3)), retired=()), "labels.moss: this id was retired"),
        (
            replace(NEW, labels=(*OLD.labels[:2], label("fern", 2), label("bracken", 3))),
            "labels.bracken: this id was an older name of fern",
        ),
        (replace(NEW, labels=(*OLD.labels, label("rose", 2))), "labels.rose.since: 2 must be above 2"),
        (replace(NEW, labels=(*OLD.labels[:2], replace(OLD.labels[2], since=1))), "labels.fern.since: 1, and was 2"),
        (replace(NEW, retired=(*OLD.retired, Retired("reed", 2))), "retired.reed.until: 2 must be above 2"),
        (replace(NEW, retired=(Retired("moss", 3, "fern"),)), "retired.moss.until: 3, and was 2"),
        (replace(NEW, retired=(Retired("moss", 2, "tree"),)), "moss: was fern in version 2, and is tree now"),
    ],
)
def test_what_may_not_follow_is_named(new: Taxonomy, said: str) -> None:
    found = succession_problems(OLD, new)
    assert any(said in problem for problem in found), found


def test_every_kind_of_change_is_named() -> None:
    new = Taxonomy(
        "plants",
        3,
        (
            replace(OLD.labels[0], critical=True, owner="forest"),
            replace(OLD.labels[1], deprecated_by="tree"),
            replace(OLD.labels[2], id="ferns", since=3, renamed_from=("bracken", "fern")),
            label("rose", 3),
        ),
        (*OLD.retired, Retired("reed", 3)),
    )
    assert succession_problems(OLD, new) == []
    assert [(change.kind, change.label, change.text) for change in changes(OLD, new)] == [
        ("changed", "tree", "owner: garden -> forest"),
        ("changed", "tree", "critical: no -> yes"),
        ("deprecated", "shrub", "tree takes its place"),
        ("renamed", "ferns", "was fern"),
        ("added", "rose", "Rose, owned by garden"),
        ("retired", "reed", "nothing takes its place"),
    ]
    assert changes(OLD, OLD) == []
