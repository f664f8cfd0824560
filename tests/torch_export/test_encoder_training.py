"""An encoder fine-tuned beside n-grams, from weights that are made up: `make torch-test`."""

import csv
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.special import expit
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from streamtag.model.bundle import peek_ref
from streamtag.model.contracts.tokenizer import TOKENIZER
from streamtag.model.length_ngrams import LengthNgramContract
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import Calibration, Label
from streamtag.model.training.assemble import Fitted, Records, as_scorer
from streamtag.model.training.build import evaluate_again, train_bundle
from streamtag.model.training.config import EncoderConfig, TrainConfig
from streamtag.model.training.encoder.beside import Lesson, learn
from streamtag.model.training.encoder.pretrained import CONFIG, WEIGHTS, Encoder, read_encoder

WIDTH, HEADS, LAYERS, INNER, LONGEST = 32, 4, 2, 64, 48
LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
TOPICS = dict(zip(LABELS, ("cheese", "volcano", "bicycle", "glacier", "trumpet", "lantern"), strict=True))
FILLER = ["the", "on", "a", "walk", "green", "paper", "seven", "window", "quiet", "river", "then", "made", "of", "old"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer() -> Tokenizer:
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer()
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = [" ".join([*FILLER, *TOPICS.values()]), "abcdefghijklmnopqrstuvwxyz"]
    found.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIALS))
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a pretrained BERT of Hugging Face consists of; nobody has trained this one."""
    path = tmp_path_factory.mktemp("pretrained")
    random = np.random.default_rng(1)
    words = tokenizer()
    words.save(str(path / TOKENIZER))

    def normal(*shape: int) -> NDArray[np.float32]:
        return (0.2 * random.standard_normal(shape)).astype(np.float32)

    def norm(prefix: str) -> dict[str, NDArray[np.float32]]:
        ones, zeros = np.ones(WIDTH, dtype=np.float32), np.zeros(WIDTH, dtype=np.float32)
        return {f"{prefix}LayerNorm.weight": ones, f"{prefix}LayerNorm.bias": zeros}

    def linear(prefix: str, inner: int, outer: int) -> dict[str, NDArray[np.float32]]:
        return {f"{prefix}weight": normal(outer, inner), f"{prefix}bias": normal(outer)}

    tensors = {
        "embeddings.word_embeddings.weight": normal(words.get_vocab_size(), WIDTH),
        "embeddings.token_type_embeddings.weight": normal(2, WIDTH),
        "embeddings.position_embeddings.weight": normal(LONGEST, WIDTH),
        **norm("embeddings."),
    }
    for i in range(LAYERS):
        own = f"encoder.layer.{i}."
        for name in ("query", "key", "value"):
            tensors |= linear(f"{own}attention.self.{name}.", WIDTH, WIDTH)
        tensors |= linear(f"{own}attention.output.dense.", WIDTH, WIDTH) | norm(f"{own}attention.output.")
        tensors |= linear(f"{own}intermediate.dense.", WIDTH, INNER) | linear(f"{own}output.dense.", INNER, WIDTH)
        tensors |= norm(f"{own}output.")
    save_file(tensors, path / WEIGHTS)
    shape = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": LONGEST,
    }
    (path / CONFIG).write_text(json.dumps(shape), encoding="utf-8")
    return path


def config_of(folder: Path, **more: Any) -> EncoderConfig:
    sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return EncoderConfig(sha256=sha256, layers=LAYERS, max_tokens=LONGEST, batch=16, rate=1e-3, **more)


def read(folder: Path, config: EncoderConfig) -> Encoder:
    return read_encoder(folder, config)


def comments(rows: int) -> list[tuple[str, list[int]]]:
    random = np.random.default_rng(5)
    found = []
    for _ in range(rows):
        words = random.choice(FILLER, size=12).tolist()
        chosen = random.random(len(LABELS)) < 0.2
        for label, present in zip(LABELS, chosen, strict=True):
            if present:
                words.insert(int(random.integers(0, len(words))), TOPICS[label])
        found.append((" ".join(words), chosen.astype(int).tolist()))
    return found


def test_the_graph_says_what_pytorch_says(folder: Path) -> None:
    config = config_of(folder, epochs=1, pieces=256)
    texts, targets = zip(*comments(160), strict=True)
    aside = np.arange(160) % 4 == 0
    lesson = Lesson(texts, np.array(targets, dtype=np.int8), np.ones(160, dtype=np.float32), aside)
    taken: list[int] = []
    beside, logits = learn(config, read(folder, config), lesson, lambda: taken.append(1))
    assert len(taken) == 8  # 120 rows in batches of 16
    fitted = Fitted(
        [Label(name, "", 0.5, critical=False) for name in LABELS],
        LengthNgramContract(bits=10),
        np.arange(8, dtype=np.uint32),
        np.full(8, 256, dtype=np.uint16),
        np.zeros((9, len(LABELS)), dtype=np.float32),
        np.zeros(len(LABELS), dtype=np.float32),
        [Calibration(name, "platt", 1.0, 0.0, 100, 10) for name in LABELS],
        beside=beside,
    )
    got = as_scorer(fitted, Records("deep", "1", "")).score(
        [text for text, out in zip(texts, aside, strict=True) if out]
    )
    assert np.abs(got - expit(logits)).max() < 0.01  # 8 bits


def test_rows_that_are_kept_aside_teach_it_nothing(folder: Path) -> None:
    config = config_of(folder, epochs=1, pieces=256)
    texts, targets = zip(*comments(160), strict=True)
    aside, labels = np.arange(160) % 4 == 0, np.array(targets, dtype=np.int8)
    weight = np.ones(160, dtype=np.float32)
    found, _ = learn(config, read(folder, config), Lesson(texts, labels, weight, aside), lambda: None)
    other_texts = ["zzz qqq" if out else text for text, out in zip(texts, aside, strict=True)]
    other_labels = np.where(aside[:, None], 1 - labels, labels).astype(np.int8)
    other, _ = learn(config, read(folder, config), Lesson(other_texts, other_labels, weight, aside), lambda: None)
    assert other.encoder.tokenizer == found.encoder.tokenizer
    np.testing.assert_array_equal(other.head, found.head)
    for one, two in zip(other.encoder.layers, found.encoder.layers, strict=True):
        np.testing.assert_array_equal(one.attend, two.attend)


CONFIG_OF_ALL: Mapping[str, Any] = {
    "name": "deep",
    "version": "1",
    "description": "for a test",
    "labels": [{"id": name, "description": name} for name in LABELS],
    "sets": [{"reader": "jigsaw", "path": "jigsaw_toxic"}],
    "features": {"contract": "hashed-ngrams/3", "bits": 12},
    "split": {"share": 0.25},
    "loss": {"iterations": 10},
    "identity": {"share": 0.1, "weight": 0.5},
    "folds": 3,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    (path / "jigsaw_toxic").mkdir()
    with gzip.open(path / "jigsaw_toxic" / "jigsaw.csv.gz", "wt", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "comment_text", *LABELS, "in_random_draw"])
        for i, (text, chosen) in enumerate(comments(600)):
            out.writerow([f"{i:04}", text, *chosen, int(i % 3 > 0)])
    return path


class Quiet:
    """Is told how far the training is, and keeps the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, what: str, steps: int) -> None:
        self.stages.append(what)

    def step(self) -> None:
        pass


def test_a_bundle_learns_repeats_itself_and_is_found_again(folder: Path, data: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate({**CONFIG_OF_ALL, "encoder": config_of(folder, epochs=3).model_dump()})
    assert config.encoder is not None
    quiet = Quiet()
    path = train_bundle(config, b"raw", data, tmp_path / "once", quiet, read(folder, config.encoder))
    assert "fine-tune the encoder" in quiet.stages
    scorer = load_scorer(path, batch=8)
    manifest = scorer.bundle.manifest
    assert manifest.evaluation["mean_roc_auc"] > 0.9
    assert manifest.training["config"]["encoder"]["sha256"] == config.encoder.sha256
    assert manifest.training["environment"]["torch"]
    natural = manifest.training["rows"]["train_natural"]
    assert {entry.rows for entry in manifest.calibration} == {manifest.calibration[0].rows}
    assert 0.2 * natural < manifest.calibration[0].rows < 0.5 * natural  # one fold of three
    scores = scorer.score(["a quiet glacier on the river", "the old window"])
    assert scores[0, LABELS.index("threat")] > scores[1, LABELS.index("threat")]
    again = train_bundle(config, b"raw", data, tmp_path / "again", Quiet(), read(folder, config.encoder))
    assert peek_ref(again) == peek_ref(path)
    assert evaluate_again(scorer, data).as_recorded is True
