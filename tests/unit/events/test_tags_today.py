"""Tag events of any age by today's ids: what was decided still follows from the event."""

from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.taxonomy import Retired, Taxonomy, TaxonomyLabel
from streamtag.events.tags_today import tags_today


def label(name: str, **fields: object) -> TaxonomyLabel:
    return TaxonomyLabel(name, name, "garden", 1, **fields)  # type: ignore[arg-type]


TAXONOMY = Taxonomy(
    "plants",
    3,
    (label("tree", renamed_from=("timber",)), label("shrub"), label("bush", deprecated_by="shrub")),
    (Retired("hedge", 2, "shrub"), Retired("moss", 3)),
)
IDS = ("tree", "timber", "shrub", "bush", "hedge", "moss", "river")


def test_an_old_event_is_read_by_todays_ids_and_keeps_all_else() -> None:
    event = {
        "id": "e1",
        "tags": [{"label": "timber", "score": 0.9, "threshold": 0.5, "action": "tag"}],
        "scores": {"timber": 0.9, "moss": 0.4, "river": 0.1},
        "thresholds": {"timber": 0.5, "moss": 0.5, "river": 0.5},
    }
    assert tags_today(event, TAXONOMY) == {
        "id": "e1",
        "tags": [{"label": "tree", "score": 0.9, "threshold": 0.5, "action": "tag"}],
        "scores": {"tree": 0.9, "river": 0.1},
        "thresholds": {"tree": 0.5, "river": 0.5},
    }


def test_of_labels_that_are_one_by_now_a_tagged_one_stands_before_a_higher_score() -> None:
    event = {
        "tags": [{"label": "bush", "score": 0.4, "threshold": 0.3}],
        "scores": {"shrub": 0.6, "bush": 0.4},
        "thresholds": {"shrub": 0.7, "bush": 0.3},
    }
    found = tags_today(event, TAXONOMY)
    assert found["tags"] == [{"label": "shrub", "score": 0.4, "threshold": 0.3}]
    assert (found["scores"], found["thresholds"]) == ({"shrub": 0.4}, {"shrub": 0.3})


def test_an_event_without_scores_is_read_by_its_tags() -> None:
    event = {
        "tags": [{"label": "hedge", "score": 0.4, "threshold": 0.3}, {"label": "moss", "score": 1, "threshold": 0}]
    }
    assert tags_today(event, TAXONOMY) == {"tags": [{"label": "shrub", "score": 0.4, "threshold": 0.3}]}


@given(st.dictionaries(st.sampled_from(IDS), st.tuples(st.floats(0, 1), st.floats(0, 1))))
def test_a_label_is_tagged_today_if_any_that_it_was_is_and_the_event_says_why(
    decided: dict[str, tuple[float, float]],
) -> None:
    tagged = [name for name, (score, cutoff) in decided.items() if score >= cutoff]
    event = {
        "tags": [{"label": name, "score": decided[name][0], "threshold": decided[name][1]} for name in tagged],
        "scores": {name: score for name, (score, _) in decided.items()},
        "thresholds": {name: cutoff for name, (_, cutoff) in decided.items()},
    }
    found = tags_today(event, TAXONOMY)
    today = {tag["label"] for tag in found["tags"]}
    assert today == {now for now in TAXONOMY.translate(tagged).values() if now is not None}
    assert today == {name for name, score in found["scores"].items() if score >= found["thresholds"][name]}
    assert tags_today(found, TAXONOMY) == found
