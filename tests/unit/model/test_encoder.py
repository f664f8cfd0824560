"""An encoder beside n-grams: its graph against BERT written down once more, its vocabulary, its place in the mix."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from foreign_models import train_tokenizer
from numpy.typing import NDArray
from scipy.special import erf, expit, softmax

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.contracts.tokenizer import TOKENIZER, load_tokenizer
from streamtag.model.length_ngrams import LengthNgramContract
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import Calibration, Label
from streamtag.model.training.assemble import Fitted, Records, as_scorer, write_model
from streamtag.model.training.config import EncoderConfig
from streamtag.model.training.encoder import pretrained
from streamtag.model.training.encoder.beside import IDS, MASK, Beside, Mix, contract_of, fit_mix
from streamtag.model.training.encoder.nodes import quantised
from streamtag.model.training.encoder.pretrained import Encoder, Layer, read_encoder, tokenizer_problems
from streamtag.model.training.encoder.vocabulary import cut_vocabulary

WIDTH, HEADS, INNER, LONGEST, LABELS, BUCKETS = 16, 4, 32, 32, 3, 50
SOME_SHA256 = "a" * 64
OF_WEIGHTS = hashlib.sha256(b"weights").hexdigest()
Floats = NDArray[np.float32]


def normal(random: np.random.Generator, *shape: int) -> Floats:
    return (0.3 * random.standard_normal(shape)).astype(np.float32)


def norm(random: np.random.Generator) -> Floats:
    return np.stack([1 + normal(random, WIDTH), normal(random, WIDTH)])


def layer(random: np.random.Generator) -> Layer:
    return Layer(
        normal(random, WIDTH, 3 * WIDTH),
        normal(random, 3 * WIDTH),
        normal(random, WIDTH, WIDTH),
        normal(random, WIDTH),
        norm(random),
        normal(random, WIDTH, INNER),
        normal(random, INNER),
        normal(random, INNER, WIDTH),
        normal(random, WIDTH),
        norm(random),
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    random = np.random.default_rng(5)
    tokenizer = train_tokenizer()
    return Encoder(
        tokenizer.to_str().encode(),
        HEADS,
        normal(random, tokenizer.get_vocab_size(), WIDTH),
        normal(random, LONGEST, WIDTH),
        norm(random),
        [layer(random), layer(random)],
        {},
    )


@pytest.fixture(scope="module")
def beside(encoder: Encoder) -> Beside:
    random = np.random.default_rng(6)
    mix = Mix(np.array([0.5, 1.0, 0.0]), np.array([1.0, 0.5, 2.0]), np.array([0.1, -0.2, 0.3]))
    contract = contract_of(EncoderConfig(sha256=SOME_SHA256, max_tokens=LONGEST))
    return Beside(contract, encoder, normal(random, WIDTH, LABELS), normal(random, LABELS), mix)


def fitted(beside: Beside | None) -> Fitted:
    random = np.random.default_rng(7)
    names = ("meeting", "travel", "offer")
    buckets = np.sort(random.choice(1 << 12, BUCKETS, replace=False)).astype(np.uint32)
    return Fitted(
        [Label(name, "", 0.5, critical=False) for name in names],
        LengthNgramContract(bits=12),
        buckets,
        np.full(BUCKETS, 300, dtype=np.uint16),
        normal(random, BUCKETS + 1, LABELS),
        normal(random, LABELS),
        [Calibration(name, "platt", 1.0, 0.0, 100, 10) for name in names],
        beside=beside,
    )


def bert(encoder: Encoder, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of the last layer's rows of one text without padding, [width]; Devlin et al. 2019, in float64."""

    def normed(rows: Any, gain: Any) -> Any:
        centred = rows - rows.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * gain[0] + gain[1]

    rows = normed((encoder.tokens[ids] + encoder.positions[: len(ids)]).astype(np.float64), encoder.norm)
    for one in encoder.layers:
        parts = (rows @ one.attend + one.attend_bias).reshape(len(ids), 3, HEADS, WIDTH // HEADS)
        queries, keys, values = parts.transpose(1, 2, 0, 3)
        seen = softmax(queries @ keys.transpose(0, 2, 1) / np.sqrt(WIDTH // HEADS), axis=-1) @ values
        rows = normed(rows + seen.transpose(1, 0, 2).reshape(len(ids), WIDTH) @ one.out + one.out_bias, one.norm_1)
        thought = rows @ one.up + one.up_bias
        thought = thought / 2 * (1 + erf(thought / np.sqrt(2)))
        rows = normed(rows + thought @ one.down + one.down_bias, one.norm_2)
    return np.asarray(rows.mean(axis=0))


def rounded(encoder: Encoder) -> Encoder:
    """With the weights that the graph keeps: integers times scales."""

    def kept(weights: Floats, axis: int = 0) -> Floats:
        whole, scale = quantised(weights, axis)
        return np.asarray(whole * scale)

    layers = [
        replace(one, attend=kept(one.attend), out=kept(one.out), up=kept(one.up), down=kept(one.down))
        for one in encoder.layers
    ]
    return replace(encoder, tokens=kept(encoder.tokens, axis=1), layers=layers)


def test_the_graph_is_bert_mixed_with_the_linear_model(beside: Beside) -> None:
    model = fitted(beside)
    session = as_scorer(model, Records("deep", "1", "")).session
    random = np.random.default_rng(8)
    ids = random.integers(1, len(beside.encoder.tokens), (4, 16))
    lengths = np.array([16, 1, 7, 12])
    mask = (np.arange(16) < lengths[:, None]).astype(np.int64)
    grams = random.integers(0, BUCKETS, (4, 8)).astype(np.int32)
    weights = random.random((4, 1, 8), dtype=np.float32)
    got = session.run({"ids": grams, "weights": weights, IDS: ids * mask, MASK: mask})
    linear = (weights[:, 0, :, None] * model.coefficients[grams]).sum(1) + model.bias
    exact = rounded(beside.encoder)
    logits = np.array([bert(exact, ids[i, :n]) @ beside.head + beside.bias for i, n in enumerate(lengths)])
    wanted = expit(linear * beside.mix.linear + logits * beside.mix.encoder + beside.mix.bias)
    np.testing.assert_allclose(got, wanted, atol=2e-6)


def test_it_passes_every_gate_and_is_written_as_any_bundle(beside: Beside, tmp_path: Path) -> None:
    path = write_model(tmp_path, fitted(beside), Records("deep", "1", "for a test"))
    scorer = load_scorer(path, batch=8)
    assert scorer.bundle.manifest.preprocessing.kind == "combined/1"
    assert {file.name for file in path.iterdir()} >= {"tokenizer.json", "buckets.npy", "idf.npy", "model.onnx"}


def test_both_parts_are_heard(beside: Beside) -> None:
    text = ["the train leaves at noon"]
    both = as_scorer(fitted(beside), Records("deep", "1", "")).score(text)
    other = replace(beside, mix=replace(beside.mix, encoder=np.zeros(LABELS)))
    deaf = as_scorer(fitted(other), Records("deep", "1", "")).score(text)
    linear = as_scorer(fitted(None), Records("flat", "1", "")).score(text)
    margin = np.log(linear / (1 - linear))
    np.testing.assert_allclose(deaf, expit(margin * beside.mix.linear + beside.mix.bias), atol=1e-6)
    assert np.abs(both - deaf).min() > 1e-3


def test_integers_and_scales_make_the_weights_again() -> None:
    weights = normal(np.random.default_rng(9), 40, 6)
    whole, scale = quantised(weights, 0)
    assert whole.dtype == np.int8
    assert (np.abs(whole * scale - weights) <= scale / 2 + 1e-7).all()
    assert (np.abs(whole).max(axis=0) == 127).all()
    zeros, scale = quantised(np.zeros((4, 2), dtype=np.float32), 0)
    assert not zeros.any()
    assert np.isfinite(scale).all()


def test_a_cut_vocabulary_spells_what_it_lost(encoder: Encoder) -> None:
    whole = load_tokenizer(encoder.tokenizer)
    vocabulary = whole.get_vocab()
    single = sum(len(token.removeprefix("##")) == 1 or token.startswith("[") for token in vocabulary)
    texts = ["noon noon train", "train at noon"]
    small = cut_vocabulary(encoder, texts, single + 2)
    assert len(small.tokens) == single + 2
    tokenizer = load_tokenizer(small.tokenizer)
    assert tokenizer.get_vocab_size() == single + 2
    for text in ("the train leaves at noon", "tickets for the concert", ""):
        encoding = tokenizer.encode(text)
        assert "".join(t.removeprefix("##") for t in encoding.tokens) == "".join(
            t.removeprefix("##") for t in whole.encode(text).tokens
        )
        for token, i in zip(encoding.tokens, encoding.ids, strict=True):
            np.testing.assert_array_equal(small.tokens[i], encoder.tokens[vocabulary[token]])
    frequent = tokenizer.encode("train noon").tokens
    assert len(frequent) < len(tokenizer.encode("leaves concert").tokens)


def test_padding_stays_what_it_is(encoder: Encoder) -> None:
    small = load_tokenizer(cut_vocabulary(encoder, ["noon"], 300).tokenizer)
    assert small.token_to_id("[PAD]") == 0


def test_the_mix_finds_who_is_right() -> None:
    random = np.random.default_rng(10)
    truth = random.standard_normal((4_000, 2))
    targets = (random.random((4_000, 2)) < expit(2 * truth)).astype(np.int8)
    noise = random.standard_normal((4_000, 2))
    margins = np.column_stack([truth[:, 0], noise[:, 0]])  # right on the first label alone
    logits = np.column_stack([noise[:, 1], truth[:, 1]])  # and on the second
    found = fit_mix(margins, logits, targets, np.ones(4_000, dtype=np.float32))
    assert found.linear[0] == pytest.approx(2, abs=0.2)
    assert found.encoder[1] == pytest.approx(2, abs=0.2)
    assert max(found.encoder[0], found.linear[1]) < 0.15
    assert min(found.encoder[0], found.linear[1]) >= 0


def test_what_counts_against_itself_does_not_count() -> None:
    random = np.random.default_rng(11)
    truth = random.standard_normal((2_000, 1))
    targets = (random.random((2_000, 1)) < expit(2 * truth)).astype(np.int8)
    weight = np.ones(2_000, dtype=np.float32)
    found = fit_mix(truth, -truth + 0.5 * random.standard_normal((2_000, 1)), targets, weight)
    assert found.encoder[0] == 0
    assert found.linear[0] > 1
    neither = fit_mix(-truth, -truth, targets, weight)
    assert (neither.linear[0], neither.encoder[0], neither.bias[0]) == (1, 0, 0)


def test_rows_that_do_not_annotate_a_label_say_nothing_of_its_mix() -> None:
    random = np.random.default_rng(12)
    margins, logits = random.standard_normal((2, 500, 1))
    targets = (random.random((500, 1)) < expit(margins + logits)).astype(np.int8)
    unknown = np.full((500, 1), -1, dtype=np.int8)
    weight = np.ones(1_000, dtype=np.float32)
    alone = fit_mix(margins, logits, targets, weight[:500])
    both = fit_mix(np.tile(margins, (2, 1)), np.tile(logits, (2, 1)), np.concatenate([targets, unknown]), weight)
    np.testing.assert_allclose(both.linear, alone.linear)


def folder(path: Path, **changes: Any) -> Path:
    shape = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "num_attention_heads": HEADS,
        "num_hidden_layers": 2,
        "max_position_embeddings": LONGEST,
        **changes,
    }
    (path / pretrained.CONFIG).write_bytes(msgspec.json.encode(shape))
    (path / pretrained.WEIGHTS).write_bytes(b"weights")
    (path / TOKENIZER).write_bytes(train_tokenizer().to_str().encode())
    return path


def config(sha256: str = SOME_SHA256) -> EncoderConfig:
    return EncoderConfig(sha256=sha256, layers=2, max_tokens=LONGEST)


def test_other_weights_than_those_of_the_configuration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        read_encoder(folder(tmp_path), config())
    assert "sha256 is" in caught.value.problems[0]
    assert SOME_SHA256 in caught.value.problems[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'; must be 'bert'"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05; must be 1e-12"),
        ({"pad_token_id": 1}, "pad_token_id is 1; must be 0"),
        ({"num_hidden_layers": 1}, "has 1 layers; encoder.layers asks for 2"),
        ({"max_position_embeddings": 16}, "has 16 positions; encoder.max_tokens asks for 32"),
    ],
)
def test_what_is_no_such_encoder_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        read_encoder(folder(tmp_path, **changes), config(sha256=OF_WEIGHTS))
    assert said in caught.value.problems[0]


def test_a_tokenizer_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    broken = folder(tmp_path)
    for content in (b"{", b"[]", b'{"model": {}}'):
        (broken / TOKENIZER).write_bytes(content)
        with pytest.raises(RefusedError) as caught:
            read_encoder(broken, config(sha256=OF_WEIGHTS))
        assert caught.value.problems == ("tokenizer.json: is not what `tokenizers` saves",)


def test_what_cannot_be_cut_is_refused_only_if_it_is_to_be_cut(encoder: Encoder) -> None:
    document = msgspec.json.decode(encoder.tokenizer)
    assert tokenizer_problems(encoder.tokenizer, cut=True) == []
    for change in (
        {"model": {**document["model"], "type": "BPE"}},
        {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}},
        {"added_tokens": [*document["added_tokens"], {"content": "[NEW]", "id": 9_999}]},
    ):
        other = msgspec.json.encode({**document, **change})
        assert tokenizer_problems(other, cut=False) == []
        [problem] = tokenizer_problems(other, cut=True)
        assert "or encoder.pieces be left out" in problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / TOKENIZER).unlink()
    with pytest.raises(NotFoundError, match=r"tokenizer\.json"):
        read_encoder(tmp_path, config())
