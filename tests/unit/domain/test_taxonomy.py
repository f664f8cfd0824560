"""What makes a taxonomy sound, and how ids of any age are read by it."""

from dataclasses import replace

import pytest

from streamtag.domain.taxonomy import Retired, Taxonomy, TaxonomyLabel, bundle_problems, outdated, problems


def label(name: str, since: int = 1, **fields: object) -> TaxonomyLabel:
    return TaxonomyLabel(name, name.title(), "garden", since, **fields)  # type: ignore[arg-type]


SOUND = Taxonomy(
    "plants",
    4,
    (
        label("plant"),
        label("shrub", parent="plant", critical=True),
        label("tree", 2, parent="plant", renamed_from=("timber", "wood")),
        label("bush", deprecated_by="shrub"),
    ),
    (Retired("hedge", 3, "bush"), Retired("moss", 4)),
)


def test_a_sound_taxonomy_has_no_problems() -> None:
    assert problems(SOUND) == []


def test_old_ids_are_read_as_what_they_have_become() -> None:
    ids = ("tree", "timber", "wood", "bush", "hedge", "moss", "river")
    today = ("tree", "tree", "tree", "shrub", "shrub", None, "river")
    assert SOUND.translate(ids) == dict(zip(ids, today, strict=True))
    with pytest.raises(KeyError):
        SOUND.current("river")


def test_criticality_is_that_of_what_the_id_has_become() -> None:
    assert [SOUND.critical(name) for name in ("shrub", "hedge", "tree", "moss", "river")] == [True, True, *[False] * 3]


def test_a_bundle_may_score_what_was_ever_a_label_and_nothing_else() -> None:
    assert bundle_problems(SOUND, ["tree", "timber", "moss"]) == []
    assert bundle_problems(SOUND, ["tree", "river", "lake"]) == [
        "label river: unknown to taxonomy plants 4",
        "label lake: unknown to taxonomy plants 4",
    ]
    assert outdated(SOUND, ["tree", "timber", "moss"]) == [
        "label timber is tree by now",
        "label moss is retired, and nothing replaces it",
    ]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (replace(SOUND, labels=()), "labels: empty"),
        (replace(SOUND, version=0), "version: 0"),
        (replace(SOUND, labels=(*SOUND.labels, label("tree"))), "id tree stands 2 times"),
        (replace(SOUND, labels=(*SOUND.labels, label("moss"))), "id moss stands 2 times"),
        (replace(SOUND, labels=(*SOUND.labels, label("wood"))), "id wood stands 2 times"),
        (replace(SOUND, labels=(*SOUND.labels, label("a b"))), "id 'a b' must be letters"),
        (replace(SOUND, labels=(*SOUND.labels, label("new", 5))), "labels.new.since: 5"),
        (replace(SOUND, labels=(*SOUND.labels, label("new", parent="moss"))), "labels.new.parent: moss"),
        (
            replace(SOUND, labels=(*SOUND.labels, label("new", deprecated_by="hedge"))),
            "labels.new.deprecated_by: hedge",
        ),
        (replace(SOUND, labels=(*SOUND.labels, replace(label("new"), owner=" "))), "labels.new.owner: empty"),
        (replace(SOUND, labels=(*SOUND.labels, label("me", deprecated_by="me"))), "labels.me.deprecated_by: itself"),
        (replace(SOUND, labels=(*SOUND.labels, label("me", parent="me"))), "me -> me: each is the parent"),
        (replace(SOUND, retired=(Retired("moss", 5),)), "retired.moss.until: 5"),
        (replace(SOUND, retired=(Retired("moss", 1),)), "retired.moss.until: 1"),
        (replace(SOUND, retired=(Retired("moss", 3, "river"),)), "retired.moss.replaced_by: river"),
        (
            replace(SOUND, labels=(label("a", parent="b"), label("b", parent="c"), label("c", parent="a"))),
            "a -> b -> c -> a: each is the parent",
        ),
        (
            replace(SOUND, labels=(label("a", deprecated_by="b"), label("b", deprecated_by="a"))),
            "a -> b -> a: each is the successor",
        ),
        (
            replace(SOUND, retired=(Retired("x", 2, "y"), Retired("y", 2, "x"))),
            "x -> y -> x: each is the successor",
        ),
    ],
)
def test_what_contradicts_itself_is_named(broken: Taxonomy, said: str) -> None:
    found = problems(broken)
    assert any(said in problem for problem in found), found


def test_every_problem_is_named_at_once_and_a_circle_once() -> None:
    broken = Taxonomy("t", 0, (label("a", parent="b"), label("b", parent="a"), label("c", parent="z")))
    found = problems(broken)
    assert len([problem for problem in found if "each is the parent" in problem]) == 1
    assert any("version" in problem for problem in found)
    assert any("labels.c.parent: z" in problem for problem in found)
