"""Threshold sets by ids of another version than the bundle's."""

from streamtag.domain.taxonomy import Retired, Taxonomy, TaxonomyLabel
from streamtag.domain.threshold_labels import align
from streamtag.domain.thresholds import Override, ThresholdSet, problems


def label(name: str, **fields: object) -> TaxonomyLabel:
    return TaxonomyLabel(name, name, "garden", 1, **fields)  # type: ignore[arg-type]


TAXONOMY = Taxonomy(
    "plants",
    3,
    (label("tree", renamed_from=("timber",)), label("shrub"), label("bush", deprecated_by="shrub")),
    (Retired("hedge", 2, "shrub"), Retired("moss", 3)),
)


def test_an_old_file_is_read_for_a_new_bundle_with_a_word_on_each_label() -> None:
    given = ThresholdSet({"timber": 0.4, "bush": 0.5}, (Override({"lang": "de"}, {"hedge": 0.6}),))
    found = align(TAXONOMY, given, ("tree", "shrub"))
    assert found.thresholds == ThresholdSet({"tree": 0.4, "shrub": 0.5}, (Override({"lang": "de"}, {"shrub": 0.6}),))
    assert found.problems == ()
    assert found.warnings == (
        "labels.timber: read as tree, by taxonomy plants 3",
        "labels.bush: read as shrub, by taxonomy plants 3",
        "segments[0].labels.hedge: read as shrub, by taxonomy plants 3",
    )
    assert problems(found.thresholds, ("tree", "shrub")) == []


def test_a_new_file_is_read_for_an_old_bundle() -> None:
    found = align(TAXONOMY, ThresholdSet({"tree": 0.4, "shrub": 0.5}), ("timber", "bush"))
    assert found.thresholds.labels == {"timber": 0.4, "bush": 0.5}
    assert not found.problems


def test_what_the_bundle_scores_is_taken_as_it_stands() -> None:
    given = ThresholdSet({"bush": 0.4, "shrub": 0.5})
    found = align(TAXONOMY, given, ("bush", "shrub"))
    assert (found.thresholds, found.warnings, found.problems) == (given, (), ())


def test_two_ids_of_one_meaning_must_agree() -> None:
    differ = align(TAXONOMY, ThresholdSet({"bush": 0.4, "shrub": 0.5}), ("shrub",))
    assert differ.problems == ("labels.bush: means shrub, which has another value here (0.5)",)
    agree = align(TAXONOMY, ThresholdSet({"bush": 0.5, "hedge": 0.5}), ("shrub",))
    assert agree.thresholds.labels == {"shrub": 0.5}
    assert not agree.problems


def test_an_id_that_means_two_labels_of_the_bundle_is_refused() -> None:
    taxonomy = Taxonomy("t", 2, (label("c", renamed_from=("a",)), label("b", deprecated_by="c")))
    found = align(taxonomy, ThresholdSet({"c": 0.5}), ("a", "b"))
    assert found.problems == ("labels.c: means each of a, b; name the one that is meant",)


def test_what_means_nothing_is_left_for_validation_to_refuse() -> None:
    found = align(TAXONOMY, ThresholdSet({"tree": 0.4, "moss": 0.5, "river": 0.5}), ("tree",))
    assert found.thresholds.labels == {"tree": 0.4, "moss": 0.5, "river": 0.5}
    assert len(problems(found.thresholds, ("tree",))) == 2
