"""The bundle `security` that ships: it passes the gates, beats its baseline, and reads logs as they come."""

import json

import numpy as np
import pytest

from streamtag.domain.thresholds import problems
from streamtag.events.decoder import Decoder
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.parity import PARITY_TEXTS
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.model.training.readers.security_labels import LABELS, TACTICS
from streamtag.model.training.security.bundle import FIXTURES
from streamtag.settings import EventsSettings
from streamtag.tagger.infer import infer

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_scorer(find_bundle("security", []), batch=64)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(find_bundle("security", []))


def test_it_has_the_tactics_and_web_attacks_and_valid_default_thresholds(bundle: Bundle) -> None:
    assert bundle.labels == LABELS
    assert len(TACTICS) == 14
    assert problems(bundle.default_thresholds, bundle.labels) == []


def test_it_is_small_and_its_only_texts_are_harmless_fixtures(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 3 * MIB
    assert tuple(fixture.text for fixture in bundle.parity.fixtures) == (*PARITY_TEXTS, *FIXTURES)


@pytest.mark.parametrize("part", ["tactics", "web"])
def test_it_beats_its_baseline_on_groups_it_never_saw(bundle: Bundle, part: str) -> None:
    evaluation = bundle.manifest.evaluation[part]
    for figure in ("micro", "macro"):
        found, other = evaluation["bundle"][figure], evaluation["tfidf"][figure]
        assert found["low"] <= found["value"] <= found["high"]
        assert found["value"] > other["value"]
    assert evaluation["bundle"]["rows"] == evaluation["tfidf"]["rows"] > 500


def test_it_records_what_it_was_made_of(bundle: Bundle) -> None:
    training = bundle.manifest.training
    assert {source["name"].partition("/")[0] for source in training["data"]} == set(training["recipe"]["sets"])
    assert all(len(source["sha256"]) == 64 for source in training["data"])


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_version_of_before_passes_its_gates_still(version: str) -> None:
    found = read_bundle(find_bundle(f"security@{version}", []))
    assert found.manifest.preprocessing.kind == f"rendered-log/{version}"
    assert load_scorer(found.path, batch=64).labels == LABELS


@pytest.mark.parametrize(
    "beside",
    [
        {"name": "a", "value": "b"},
        {f"a{i:03}": "x" for i in range(400)},
        {"title": "!" * 2_000},
        {"method": "!" * 1_500},
    ],
)
def test_what_stands_beside_a_request_does_not_hide_it(scorer: Scorer, beside: dict[str, str]) -> None:
    request = "/show?file=../../../../etc/passwd"
    score = scorer.score([json.dumps({**beside, "uri": request})])[0, scorer.labels.index("attack-lfi")]
    without = scorer.score([json.dumps(beside)])[0, scorer.labels.index("attack-lfi")]
    assert score > 10 * without


LOG = {
    "eventName": "StopLogging",
    "eventSource": "cloudtrail.amazonaws.com",
    "eventID": "2877",
    "userIdentity": {"type": "IAMUser", "userName": "test"},
}


def test_a_log_is_scored_alike_as_text_and_through_the_mapping_whatever_the_order_of_its_keys(scorer: Scorer) -> None:
    decoder = Decoder(EventsSettings.model_validate({"mapping": "log"}))
    turned = dict(reversed(LOG.items()))
    events = [
        decoder.decode(json.dumps(log).encode(), key=None, headers=[], position=("logs", 0, i))
        for i, log in enumerate((LOG, turned))
    ]
    micro, refused = infer(events, scorer)
    assert not refused
    assert (micro[0] == micro[1]).all()
    assert np.allclose(micro[0] / 1e6, scorer.score([json.dumps(LOG, indent=1)])[0], atol=1e-6)


def test_it_tells_harmless_events_from_textbook_ones(scorer: Scorer) -> None:
    texts = [
        json.dumps(LOG),
        json.dumps({"method": "GET", "uri": "/list?id=1%27%20or%20%271%27=%271"}),
        json.dumps({"method": "GET", "uri": "/show?file=../../../../etc/passwd"}),
        json.dumps({"method": "GET", "uri": "/about?page=2", "headers": {"Host": "localhost"}}),
        "The committee met on Tuesday.",
    ]
    scores = scorer.score(texts)
    label = scorer.labels.index
    assert scores[0, label("defense-evasion")] == scores[0, :14].max()
    assert scores[1, 14:].argmax() + 14 == label("attack-sqli")
    assert scores[2, 14:].argmax() + 14 == label("attack-lfi")
    tagged = scores >= np.array([scorer.bundle.default_thresholds.labels[name] for name in scorer.labels])
    assert not tagged[3, 14:].any()
