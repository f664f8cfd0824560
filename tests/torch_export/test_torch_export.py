"""A transformer of PyTorch, exported as anybody would, becomes a bundle: `make torch-test`.

Weights are made up. PyTorch's wheels for Linux bring CUDA and gigabytes, used or not; so this has an environment of its
own, and is no part of `make test`.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from streamtag.errors import BundleError
from streamtag.model.importing.importer import import_bundle
from streamtag.model.importing.request import Request
from streamtag.model.loading import load_scorer

TEXTS = [
    "see you at noon",
    "the train leaves at ten",
    "",
    "tickets for the concert are cheaper online",
    "Grüße aus Köln",
    "the ferry between the two islands leaves every hour " * 12,
]
LABELS = ("meeting", "travel", "offer")
WIDTH, HEADS, LAYERS, MAX_TOKENS, VOCABULARY = 32, 4, 2, 64, 200
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


class Tagger(torch.nn.Module):  # type: ignore[misc]
    """Token and position embeddings, a transformer encoder, masked mean pooling, one logit a label."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(vocabulary, WIDTH)
        self.positions = torch.nn.Embedding(MAX_TOKENS, WIDTH)
        layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, batch_first=True, activation="gelu")
        self.encoder = torch.nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = torch.nn.Linear(WIDTH, len(LABELS))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        at = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = self.tokens(input_ids) + self.positions(at)
        hidden = self.encoder(hidden, src_key_padding_mask=attention_mask == 0)
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1).clamp(min=1))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer()
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=SPECIALS))
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    found.enable_truncation(MAX_TOKENS)
    return found


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Tagger:
    torch.manual_seed(0)
    found = Tagger(tokenizer.get_vocab_size())
    found.eval()
    return found


@pytest.fixture(scope="module")
def wanted(model: Tagger, tokenizer: Tokenizer) -> list[list[float]]:
    """What PyTorch itself says, text by text, without padding."""
    rows = []
    with torch.no_grad():
        for text in TEXTS:
            ids = torch.tensor([tokenizer.encode(text).ids])
            rows.append(torch.sigmoid(model(ids, torch.ones_like(ids)))[0].tolist())
    return rows


def dynamic(model: Tagger, path: Path) -> None:
    ids = torch.ones((2, 7), dtype=torch.int64)
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    export(model, ids, path, dynamic_shapes=(any_size, any_size))


def static(model: Tagger, path: Path) -> None:
    export(model, torch.ones((4, MAX_TOKENS), dtype=torch.int64), path)


def export(model: Tagger, ids: torch.Tensor, path: Path, **options: object) -> None:
    names = {"input_names": ["input_ids", "attention_mask"], "output_names": ["logits"]}
    torch.onnx.export(model, (ids, torch.ones_like(ids)), path / "model.onnx", dynamo=True, **names, **options)


@pytest.mark.parametrize("exported", [dynamic, static])
def test_scores_are_those_of_pytorch(
    model: Tagger,
    tokenizer: Tokenizer,
    wanted: list[list[float]],
    tmp_path: Path,
    exported: Callable[[Tagger, Path], None],
) -> None:
    exported(model, tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    lines = [
        json.dumps({"text": text, "scores": dict(zip(LABELS, row, strict=True))})
        for text, row in zip(TEXTS, wanted, strict=True)
    ]
    (tmp_path / "expected.jsonl").write_text("\n".join(lines), encoding="utf-8")
    request = Request(
        tmp_path / "model.onnx",
        tmp_path / "labels.txt",
        "own",
        "1",
        tokenizer=tmp_path / "tokenizer.json",
        expected=tmp_path / "expected.jsonl",
        activation="sigmoid",
    )
    scorer = load_scorer(import_bundle(request, tmp_path / "out").path, batch=64)
    assert np.abs(scorer.score(TEXTS) - np.array(wanted)).max() < 1e-5
    (tmp_path / "labels.txt").write_text("\n".join(reversed(LABELS)), encoding="utf-8")
    with pytest.raises(BundleError, match="cannot become bundle"):
        import_bundle(request, tmp_path / "other")
