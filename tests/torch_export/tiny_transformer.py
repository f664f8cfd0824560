"""Exports a small transformer from PyTorch as anybody would, and what PyTorch itself says of some texts.

Usage: ``python tiny_transformer.py OUT``; needs torch, onnxscript and tokenizers (``requirements/torch-export.in``).
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "see you at noon",
    "the train leaves at ten",
    "",
    "tickets for the concert are cheaper online",
    "Grüße aus Köln",
    "the ferry between the two islands leaves every hour " * 12,
]
LABELS = ["meeting", "travel", "offer"]
WIDTH, HEADS, LAYERS, MAX_TOKENS, VOCABULARY = 32, 4, 2, 64, 200


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


def train_tokenizer() -> Tokenizer:
    """A WordPiece tokenizer of its own few words, with BERT's special tokens."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=specials))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def main() -> None:
    """Writes model.onnx, tokenizer.json, labels.txt and expected.jsonl."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tokenizer = train_tokenizer()
    model = Tagger(tokenizer.get_vocab_size()).eval()
    ids = torch.ones((2, 7), dtype=torch.int64)
    torch.onnx.export(
        model,
        (ids, torch.ones_like(ids)),
        out / "model.onnx",
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},) * 2,
        dynamo=True,
    )
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    with (out / "expected.jsonl").open("w", encoding="utf-8") as file, torch.no_grad():
        for text in TEXTS:
            encoded = torch.tensor([tokenizer.encode(text).ids])
            scores = torch.sigmoid(model(encoded, torch.ones_like(encoded)))[0].tolist()
            file.write(json.dumps({"text": text, "scores": scores}) + "\n")


if __name__ == "__main__":
    main()
