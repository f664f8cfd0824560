"""Explanations add up to the logit, whatever the text, and point at the characters as they were written."""

import itertools
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.alignment import aligned
from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.model.explain import Explainer, Explanation, explain, tokens
from streamtag.model.json_leaves import leaves
from streamtag.model.loading import load_scorer
from streamtag.model.ngrams import Featuriser, NgramContract
from streamtag.model.occlusion import occlude
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer

SCORER = load_scorer(find_bundle("moderation@1", []), batch=64)
EXPLAINER = Explainer(SCORER)
# Letters, accents apart and composed, ligatures, lookalikes, zero-width signs, jamo, marks, surrogates, an emoji.
ALPHABET = "ab é é ﬁ ＡｂС о\u200b\u00ad\u0345\u1100\u1161\u11a8 ß İ が ｶﾞ ㎏ ﷺ \ud800 🌊 \t\n.!?"
TEXTS = st.text(st.sampled_from(ALPHABET), max_size=30) | st.text(max_size=30)


def explainer_of(spec: str) -> Explainer:
    return Explainer(load_scorer(find_bundle(spec, []), batch=64))


def total(found: Explanation) -> float:
    return found.bias + math.fsum(span.weight for span in found.spans)


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


@pytest.mark.parametrize("explainer", [EXPLAINER, *map(explainer_of, ("moderation@2", "moderation@3"))])
@settings(max_examples=20)
@given(TEXTS, st.integers(1, 120))
@example("", 1)
@example("harbour lights ", 200)
def test_what_the_words_give_adds_up_to_the_logit(explainer: Explainer, text: str, times: int) -> None:
    text = text * times  # above 2,000 characters, the middle is cut out
    scores = explainer._scorer.score([text])[0].tolist()
    for found, score in zip(explainer.explain(text), scores, strict=True):
        assert found.method == "exact"
        assert total(found) == pytest.approx(found.logit, abs=1e-3)
        assert sigmoid(total(found)) == pytest.approx(score, abs=1e-5)
        spans = found.spans
        assert all(span.start < span.end <= len(text) for span in spans)
        assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


@given(TEXTS, st.sampled_from([(2_000, 500), (7, 3), (5, 0)]))
def test_characters_are_followed_from_the_text_to_the_bytes_that_are_hashed(text: str, cut: tuple[int, int]) -> None:
    contract = NgramContract(head_chars=cut[0], tail_chars=cut[1])
    buckets = np.arange(2, dtype=np.uint32)
    featuriser = Featuriser(contract, buckets, np.ones(2, dtype=np.uint16))
    found = aligned(text, contract)
    assert "".join(c.value for c in found).encode("utf-8", "replace") == featuriser.encode(text)
    assert all(0 <= c.start <= c.end <= len(text) for c in found)
    assert [c.start for c in found] == sorted(c.start for c in found)


def test_characters_that_are_folded_apart_keep_their_places() -> None:
    text = "ＳＨut\u200b ｕｐ ﬁx"
    found = aligned(text, NgramContract())
    assert [(c.value, text[c.start : c.end]) for c in found if c.value in "sfiu"] == [
        ("s", "Ｓ"),
        ("u", "u"),
        ("u", "ｕ"),
        ("f", "ﬁ"),
        ("i", "ﬁ"),
    ]


def test_the_word_that_matters_is_the_one_that_is_shown() -> None:
    text = "you are a\u200b pathetic іdiot, see you on Tuesday"
    (found,) = explain(SCORER, text, ["toxic"])
    heaviest = max(found.spans, key=lambda span: span.weight)
    assert text[heaviest.start : heaviest.end] == "іdiot"
    lightest = min(found.spans, key=lambda span: span.weight)
    assert lightest.weight < 0
    assert found.bias == pytest.approx(-4.0098, abs=1e-3)  # the logit of an empty text


def test_labels_come_as_they_are_asked_for() -> None:
    assert [found.label for found in EXPLAINER.explain("x", ["threat", "toxic"])] == ["threat", "toxic"]
    with pytest.raises(NotFoundError, match="no label nonsense; the bundle has toxic"):
        EXPLAINER.explain("x", ["nonsense"])


def test_tokens_are_the_text() -> None:
    text = "a\u0301b  c\u200bd!? \u00e9_1"
    assert [text[a:b] for a, b in tokens(text)] == ["a\u0301b", "  ", "c\u200bd", "!?", " ", "\u00e9_1"]


class Words:
    """A model with an interaction: ``hot`` counts with ``dog`` only; ``calm`` always counts against."""

    labels = ("hotdog", "noise")
    reads_features = True

    def __init__(self) -> None:
        self.bundle = None
        self.scored = 0

    @property
    def featuriser(self) -> Featuriser:
        raise TypeError("reads no hashed n-grams")

    def score(self, texts: Sequence[str], features: Sequence[FeatureRow | None]) -> NDArray[np.float32]:
        self.scored += len(texts)
        assert len(features) == len(texts)
        hungry = np.array([float((row or {}).get("hungry") or 0) for row in features])
        both = np.array([("hot" in text) and ("dog" in text) for text in texts])
        calm = np.array(["calm" in text for text in texts])
        logits = np.stack([-2 + 4.0 * both - 1.0 * calm + hungry, np.array([len(text) / 50 for text in texts])], axis=1)
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)


def occluded(text: str, max_runs: int = 256) -> tuple[list[Explanation], Words]:
    model = Words()
    scorer: Scorer = model  # type: ignore[assignment]
    return Explainer(scorer, max_runs=max_runs).explain(text), model


def test_occlusion_shares_what_two_words_do_together() -> None:
    text = "a hot day, calm dog"
    (found, _), _ = occluded(text)
    weights = {text[span.start : span.end]: span.weight for span in found.spans if abs(span.weight) > 1e-5}
    assert weights == pytest.approx({"hot": 2, "dog": 2, "calm": -1}, abs=1e-4)
    assert found.method == "occlusion"
    assert found.bias == pytest.approx(-2, abs=1e-4)


def test_features_stay_and_what_they_give_is_in_the_bias() -> None:
    scorer: Scorer = Words()  # type: ignore[assignment]
    found, _ = Explainer(scorer).explain("a hot dog", features={"hungry": 1.5})
    assert found.bias == pytest.approx(-0.5, abs=1e-4)
    assert found.logit == pytest.approx(3.5, abs=1e-4)
    with pytest.raises(RefusedError, match="no scores to explain"):
        Explainer(scorer).explain("a hot dog", features={"hungry": math.nan})


@given(st.lists(st.sampled_from(["hot", "dog", "calm", "é", ",", "\n"]), max_size=60).map(" ".join), st.integers(2, 64))
def test_occlusion_adds_up_within_its_runs(text: str, max_runs: int) -> None:
    explanations, model = occluded(text, max_runs)
    for found in explanations:
        assert total(found) == pytest.approx(found.logit, abs=1e-4)
        assert sigmoid(found.logit) == pytest.approx(found.score, abs=1e-6)
    assert model.scored <= max_runs + 3


def test_in_json_the_values_are_left_out_and_their_shape_stays() -> None:
    text = '{"hot": ["dog \\"hot\\" \\u0064og", {"calm": "a calm\\\\day"}], "n": -1.5e3, "on": true, "no": null}'
    assert [text[leaf.start : leaf.end] for leaf in leaves(text) or ()] == [
        *("dog", '\\"', "hot", '\\"', "\\u0064og"),
        *("a", "calm", "\\\\", "day"),
        *("-1.5e3", "true"),
    ]
    assert [leaves(other) for other in ("hot dog", "{hot}", "[1, 2", '{"a": "\ud800"}', "")] == [None] * 5
    assert leaves("[null]") == []
    asked: list[str] = []

    def logits(texts: list[str]) -> NDArray[np.float64]:
        asked.extend(texts)
        return np.array([[text.count("dog") + text.count("-1.5e3")] for text in texts], dtype=np.float64)

    found = occlude(text, tokens(text), logits, max_runs=60)
    shapes = {json.dumps(json.loads(one), sort_keys=True).count(":") for one in asked}
    assert shapes == {5}
    assert found.bias.tolist() == [0]
    weights = {text[slice(*span)]: weight for span, weight in zip(found.spans, found.weights[:, 0], strict=True)}
    assert {word: weight for word, weight in weights.items() if weight} == {"dog": 1, "-1.5e3": 1}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ),
    st.booleans(),
)
def test_whatever_is_left_out_of_json_what_is_left_is_json(document: object, escape: bool) -> None:
    text = json.dumps([document], ensure_ascii=escape)
    asked: list[str] = []

    def logits(texts: list[str]) -> NDArray[np.float64]:
        asked.extend(texts)
        return np.zeros((len(texts), 1))

    occlude(text, tokens(text), logits, max_runs=20)
    for one in asked:
        json.loads(one)


def test_a_label_that_does_not_add_up_is_occluded(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = EXPLAINER._graph
    assert graph is not None
    exact = graph.explain("some words here")

    class Bent:
        def explain(self, text: str) -> object:
            holds = exact.holds.copy()
            holds[0] = False
            return type(exact)(exact.characters, exact.bias, exact.logit, holds)

    explainer = Explainer(SCORER)
    monkeypatch.setattr(explainer, "_graph", Bent())
    found = explainer.explain("some words here")
    assert [e.method for e in found[:2]] == ["occlusion", "exact"]
    for one in found[:2]:
        assert total(one) == pytest.approx(one.logit, abs=1e-3)
