"""Small models as others bring them: a transformer of onnx and numpy, a scikit-learn pipeline, a graph of numbers.

All weights and texts are made up. The transformer is no export of any framework (`tests/torch_export` has one): its
graph is written by hand, and beside it stands the same arithmetic in numpy.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

TEXTS = [
    "see you at noon",
    "the Train leaves at ten",
    "tickets are cheap",
    "Großes Konzert am Abend",
    "the concert is cheap",
    "noon train",
]
LABELS = ("meeting", "travel", "offer")
MAX_TOKENS, WIDTH = 32, 16
_NO_ATTENTION = -1e9


def train_tokenizer() -> Any:
    """A WordPiece tokenizer of the few words of `TEXTS`, with BERT's special tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=specials))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


@dataclass(frozen=True)
class Transformer:
    """One layer of attention with a residual and a layer norm, masked mean pooling, a linear head; logits."""

    weights: dict[str, NDArray[np.float32]]

    def logits(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """Of one text without padding."""
        w = {name: values.astype(np.float64) for name, values in self.weights.items()}
        hidden = w["tokens"][list(ids)] + w["positions"][: len(ids)]
        query, key, value = (hidden @ w[name] for name in ("query", "key", "value"))
        scores = query @ key.T / np.sqrt(WIDTH)
        attention = np.exp(scores - scores.max(axis=1, keepdims=True))
        hidden = hidden + attention / attention.sum(axis=1, keepdims=True) @ value
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        normed = centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-5) * w["scale"] + w["shift"]
        return np.asarray(normed.mean(axis=0) @ w["head"] + w["bias"])


def make_transformer(vocabulary: int, *, seed: int = 0) -> Transformer:
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "tokens": (vocabulary, WIDTH),
        "positions": (MAX_TOKENS, WIDTH),
        **dict.fromkeys(("query", "key", "value"), (WIDTH, WIDTH)),
        "head": (WIDTH, len(LABELS)),
        "bias": (len(LABELS),),
        "shift": (WIDTH,),
    }
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return Transformer(weights | {"scale": np.ones(WIDTH, dtype=np.float32)})


def transformer_onnx(
    transformer: Transformer, *, rows: int | None = None, vocabulary: int | None = None, numbers: int = 0
) -> bytes:
    """Its graph: ``input_ids``, ``attention_mask`` int64 [rows, width] → ``logits``.

    Args:
        transformer: the weights.
        rows: documents a run must have; None: any number.
        vocabulary: rows of the embedding to keep; None: all.
        numbers: of another input ``numbers``, whose sum by `number_weights` is added to the logits.
    """
    constants: dict[str, NDArray[Any]] = {
        **transformer.weights,
        "root": np.array(np.sqrt(WIDTH), dtype=np.float32),
        "no_attention": np.array(_NO_ATTENTION, dtype=np.float32),
        "one": np.array(1, dtype=np.float32),
        "zero_axis": np.array([0], dtype=np.int64),
        "one_axis": np.array([1], dtype=np.int64),
        "last_axis": np.array([2], dtype=np.int64),
    }
    constants["tokens"] = constants["tokens"][:vocabulary]
    node = helper.make_node
    nodes = [
        node("Gather", ["tokens", "input_ids"], ["embedded"]),
        node("Shape", ["input_ids"], ["width"], start=1, end=2),
        node("Slice", ["positions", "zero_axis", "width", "zero_axis"], ["places"]),
        node("Add", ["embedded", "places"], ["hidden"]),
        *(node("MatMul", ["hidden", name], [f"{name}s"]) for name in ("query", "key", "value")),
        node("Transpose", ["keys"], ["columns"], perm=[0, 2, 1]),
        node("MatMul", ["querys", "columns"], ["products"]),
        node("Div", ["products", "root"], ["scaled"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Sub", ["one", "mask"], ["padding"]),
        node("Mul", ["padding", "no_attention"], ["barred"]),
        node("Unsqueeze", ["barred", "one_axis"], ["barred_columns"]),
        node("Add", ["scaled", "barred_columns"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=2),
        node("MatMul", ["attention", "values"], ["attended"]),
        node("Add", ["hidden", "attended"], ["summed"]),
        node("LayerNormalization", ["summed", "scale", "shift"], ["normed"], epsilon=1e-5),
        node("Unsqueeze", ["mask", "last_axis"], ["mask_column"]),
        node("Mul", ["normed", "mask_column"], ["kept"]),
        node("ReduceSum", ["kept", "one_axis"], ["total"], keepdims=0),
        node("ReduceSum", ["mask", "one_axis"], ["count"], keepdims=1),
        node("Div", ["total", "count"], ["pooled"]),
        node("MatMul", ["pooled", "head"], ["headed"]),
        node("Add", ["headed", "bias"], ["of_text" if numbers else "logits"]),
    ]
    if numbers:
        constants["weights"] = number_weights(numbers).astype(np.float32)
        nodes.append(node("MatMul", ["numbers", "weights"], ["of_numbers"]))
        nodes.append(node("Add", ["of_text", "of_numbers"], ["logits"]))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [rows or "documents", "width"])
        for name in ("input_ids", "attention_mask")
    ]
    if numbers:
        inputs.append(helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [rows or "documents", numbers]))
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [rows or "documents", len(LABELS)])
    return _model(nodes, inputs, [output], constants)


def number_weights(n: int) -> NDArray[np.float64]:
    """Of `numbers_onnx`, [n, labels]: small, for numbers of a hundred or so."""
    return np.random.default_rng(1).normal(size=(n, len(LABELS))) / 50


def numbers_onnx(n: int, *, columns: Sequence[str] = (), dtype: int = TensorProto.FLOAT) -> bytes:
    """Logits of the sum of some numbers, from one input ``numbers`` [documents, n], or one for each of ``columns``."""
    width = len(columns) or n
    kind = np.float32 if dtype == TensorProto.FLOAT else np.float64
    nodes = [helper.make_node("Concat", list(columns), ["numbers"], axis=1)] if columns else []
    nodes.append(helper.make_node("MatMul", ["numbers", "weights"], ["logits"]))
    inputs = [
        helper.make_tensor_value_info(name, dtype, ["documents", 1 if columns else n])
        for name in columns or ("numbers",)
    ]
    output = helper.make_tensor_value_info("logits", dtype, ["documents", len(LABELS)])
    return _model(nodes, inputs, [output], {"weights": number_weights(width).astype(kind)})


NUMBERS = "- {name: amount, minimum: 0, maximum: 100}\n- {name: age, minimum: 0, maximum: 120, default: 30}\n"


def build_numbers_bundle(directory: Path, scratch: Path) -> Path:
    """Writes ``numbers@1``, which reads the features of `NUMBERS` and no text."""
    from streamtag.model.importing.importer import import_bundle
    from streamtag.model.importing.request import Request

    mine = write_foreign(scratch, numbers_onnx(2), features_yaml=NUMBERS)
    given = Request(mine / "model.onnx", mine / "labels.txt", "numbers", "1", features=mine / "features.yaml")
    return import_bundle(replace(given, activation="sigmoid"), directory).path


def fit_pipeline() -> Any:
    """TF-IDF and logistic regression of scikit-learn on made-up rows; three labels, any number of them a text."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 1], [1, 1, 1]] * 3)
    return make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression())).fit(TEXTS * 3, targets)


def pipeline_onnx(pipeline: Any, *, words: str | None, zipmap: bool = True) -> bytes:
    """The pipeline as skl2onnx converts it.

    Args:
        pipeline: of `fit_pipeline`.
        words: pattern of a word; None: what skl2onnx puts in the place of scikit-learn's.
        zipmap: whether the classifier's output is a list of maps, as it is unless one says otherwise.
    """
    from skl2onnx.common.data_types import StringTensorType
    from skl2onnx.convert import to_onnx

    vectoriser, classifier = (step for _, step in pipeline.steps)
    options: dict[int, dict[str, Any]] = {}
    if words is not None:
        options[id(vectoriser)] = {"tokenexp": words}
    if not zipmap:
        options[id(classifier)] = {"zipmap": False}
    types: Any = [("text", StringTensorType([None, 1]))]
    converted = to_onnx(pipeline, initial_types=types, target_opset=17, options=options or None)
    return bytes(converted.SerializeToString())


def write_foreign(directory: Path, model: bytes, *, labels: Sequence[str] = LABELS, **files: str) -> Path:
    """Writes model.onnx, labels.txt and other files (``expected_jsonl`` as expected.jsonl); returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(model)
    (directory / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    for name, content in files.items():
        (directory / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return directory


def expected_lines(texts: Sequence[str], scores: Sequence[Sequence[float]]) -> str:
    """What `--expect` reads."""
    rows = zip(texts, scores, strict=True)
    return "\n".join(json.dumps({"text": text, "scores": dict(zip(LABELS, row, strict=True))}) for text, row in rows)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, NDArray[Any]],
) -> bytes:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "made_up", inputs, outputs, initializer=tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
