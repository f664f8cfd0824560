"""A configured taxonomy: threshold sets of any age are read for the bundle that decides, and each reading is told."""

from collections.abc import Callable
from pathlib import Path

import fakeredis
import pytest
from control_plane import ANNA, BUNDLE, DEFAULTS, LABELS, current, new_store

from streamtag.control.changes import ReleaseChanges
from streamtag.control.threshold_reader import by_taxonomy
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import RefusedError
from streamtag.model.taxonomy_file import parse_taxonomy

TAXONOMY = parse_taxonomy(
    """
taxonomy: letters
version: 2
labels:
  - {id: spam, name: Spam, owner: post, since: 1}
  - {id: advert, name: Adverts, owner: post, since: 1, deprecated_by: spam}
  - {id: rudeness, name: Rude words, owner: post, since: 2, renamed_from: [insult]}
""",
    "taxonomy.yaml",
)
NEW = BundleRef("demo", "2", "b" * 64)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def changes(told: list[str]) -> ReleaseChanges:
    store = new_store()
    made = ReleaseChanges(store, max_step=0.25, read=by_taxonomy(TAXONOMY, told.append))
    made.seed(BUNDLE, LABELS, DEFAULTS)
    return made


def cutoffs(outcome: object) -> dict[str, float]:
    return dict(outcome.current.thresholds.labels)  # type: ignore[attr-defined]


def test_a_file_by_newer_ids_applies_to_an_older_bundle(changes: ReleaseChanges, told: list[str]) -> None:
    outcome = changes.apply(ThresholdSet({"advert": 0.6, "rudeness": 0.7}), ANNA)
    assert cutoffs(outcome) == {"spam": 0.6, "insult": 0.7}
    assert told == [
        "labels.advert: read as spam, by taxonomy letters 2",
        "labels.rudeness: read as insult, by taxonomy letters 2",
    ]


def test_a_single_cut_off_is_moved_by_any_id(changes: ReleaseChanges, told: list[str]) -> None:
    assert cutoffs(changes.set_thresholds({"rudeness": 0.7}, ANNA)) == {"spam": 0.5, "insult": 0.7}
    assert len(told) == 1


def test_thresholds_go_along_with_a_bundle_that_has_newer_ids_and_back(changes: ReleaseChanges) -> None:
    assert cutoffs(changes.promote(NEW, ("spam", "rudeness"), ANNA)) == {"spam": 0.5, "rudeness": 0.6}
    changes.set_thresholds({"insult": 0.65}, ANNA)
    assert cutoffs(changes.restore(1, ANNA)) == {"spam": 0.5, "rudeness": 0.6}


def test_what_can_be_read_in_two_ways_changes_nothing(changes: ReleaseChanges) -> None:
    with pytest.raises(RefusedError) as caught:
        changes.apply(ThresholdSet({"advert": 0.6, "spam": 0.5, "rudeness": 0.6}), ANNA)
    assert caught.value.problems == ("labels.advert: means spam, which has another value here (0.5)",)
    assert "taxonomy map" in caught.value.hint


def test_without_a_taxonomy_an_id_is_what_it_is(told: list[str]) -> None:
    store = new_store(fakeredis.FakeServer())
    made = ReleaseChanges(store, max_step=0.25, read=by_taxonomy(None, told.append))
    made.seed(BUNDLE, LABELS, DEFAULTS)
    with pytest.raises(RefusedError):
        made.apply(ThresholdSet({"spam": 0.5, "rudeness": 0.6}), ANNA)
    assert current(store).id.number == 1
    assert not told


def test_the_rules_are_read_from_the_file_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    from streamtag.model.taxonomy_file import configured_taxonomy
    from streamtag.settings import ModelSettings

    file = tmp_path / "taxonomy.yaml"
    file.write_text("taxonomy: t\nversion: 1\nlabels: [{id: a, name: A, owner: o, since: 1, renamed_from: [b]}]")
    read: Callable[..., ThresholdSet] = by_taxonomy(
        configured_taxonomy(ModelSettings.model_validate({"taxonomy": str(file)})), told.append
    )
    assert read(ThresholdSet({"b": 0.5}), ("a",)).labels == {"a": 0.5}
    assert configured_taxonomy(ModelSettings.model_validate({})) is None
