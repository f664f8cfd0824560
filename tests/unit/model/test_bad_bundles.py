"""A bundle with any defect is refused with what is wrong, where, and how to mend it; hashes are in order throughout."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from foreign_models import make_transformer, train_tokenizer, transformer_onnx, write_foreign
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import build_tiny_bundle

from streamtag.errors import BundleError
from streamtag.model.bundle import array_bytes
from streamtag.model.contracts.tokenizer import TOKENIZER
from streamtag.model.importing.importer import import_bundle
from streamtag.model.importing.request import Request
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import BUCKETS, IDF, MANIFEST, MODEL, PARITY


def tiny(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path / "tiny")


def tokens(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer()
    model = transformer_onnx(make_transformer(tokenizer.get_vocab_size()))
    mine = write_foreign(tmp_path / "mine", model, tokenizer_json=tokenizer.to_str())
    request = Request(mine / "model.onnx", mine / "labels.txt", "own", "1", mine / TOKENIZER, activation="sigmoid")
    return import_bundle(request, tmp_path / "out").path


def rewrite(name: str, content: Callable[[bytes], bytes], *, hashed: bool = True) -> Callable[[Path], None]:
    """Gives a file other content, and unless told otherwise the hash in the manifest that goes with it."""

    def change(bundle: Path) -> None:
        written = content((bundle / name).read_bytes() if (bundle / name).exists() else b"")
        (bundle / name).write_bytes(written)
        if hashed:
            entry = {"sha256": hashlib.sha256(written).hexdigest(), "size": len(written)}
            manifest(lambda document: document["files"].update({name: entry}))(bundle)

    return change


def manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def changed(bundle: Path) -> None:
        document = msgspec.json.decode((bundle / MANIFEST).read_bytes())
        change(document)
        (bundle / MANIFEST).write_bytes(msgspec.json.encode(document))

    return changed


def graph(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], None]:
    def content(raw: bytes) -> bytes:
        model = onnx.load_from_string(raw)
        change(model)
        return bytes(model.SerializeToString())

    return rewrite(MODEL, content)


def parity(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def content(raw: bytes) -> bytes:
        document = msgspec.json.decode(raw)
        change(document)
        return msgspec.json.encode(document)

    return rewrite(PARITY, content)


def nan_in(name: str, dtype: type = np.float32) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == name)
        values: NDArray[Any] = numpy_helper.to_array(tensor).astype(dtype)
        values.flat[-1] = np.nan
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    return change


def other_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def weights_elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../weights.bin"


def narrower(model: onnx.ModelProto) -> None:
    table = next(one for one in model.graph.initializer if one.name == "table")
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table)[:, :4].copy(), "table"))


def swap(document: dict[str, Any], *names: str) -> None:
    for name in names:
        document[name] = document[name][::-1]


def archive(_: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
    return buffer.getvalue()


def pickled(_: bytes) -> bytes:
    return b"\x80\x04\x95\x00\x00."


def objects(_: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


HALF = {name: rewrite(name, lambda raw: raw[: len(raw) // 2]) for name in (MODEL, BUCKETS, IDF, PARITY)}
DEFECTS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None], str]] = {
    # hash
    "another byte": (tiny, rewrite(MODEL, lambda raw: raw[:-1] + b"\0", hashed=False), f"{MODEL}: sha256 "),
    "another length": (tiny, rewrite(MODEL, lambda raw: raw + b"\0", hashed=False), f"{MODEL}: "),
    "a file beside": (tiny, rewrite("notes.txt", lambda _: b"hello", hashed=False), "notes.txt: not named in"),
    # labels
    "a label is missing": (tiny, manifest(lambda m: m["labels"].pop()), f"{MANIFEST}: calibration must have one entry"),
    "labels and calibration lack one": (
        tiny,
        manifest(lambda m: (m["labels"].pop(), m["calibration"].pop())),
        f"{PARITY}: fixture 0 has 2 scores for 1 labels",
    ),
    "a label stands twice": (tiny, manifest(lambda m: m["labels"][0].update(id="greeting")), "'greeting' stands twice"),
    "labels in another order": (tiny, manifest(lambda m: swap(m, "labels")), "calibration must have one entry"),
    "labels and calibration in another order": (
        tiny,
        manifest(lambda m: swap(m, "labels", "calibration")),
        f"{PARITY}: its scores are those of spam, greeting, in this order; {MANIFEST} says greeting, spam",
    ),
    "labels of an imported model in another order": (
        tokens,
        manifest(lambda m: swap(m, "labels")),
        f"{PARITY}: its scores are those of meeting, travel, offer",
    ),
    "fixtures whose scores are logits": (
        tiny,
        parity(lambda document: document["fixtures"][2].update(scores=[0.5, 4.1])),
        f"{PARITY}: fixture 2 has the score 4.1; must be a probability",
    ),
    # weights
    "a weight is NaN": (tiny, graph(nan_in("table")), f"{MODEL}: tensor 'table' has 1 weights that are NaN"),
    "a weight of 64 bits is NaN": (tiny, graph(nan_in("bias", np.float64)), f"{MODEL}: tensor 'bias' has 1 weights"),
    "a weight of 16 bits is NaN": (tiny, graph(nan_in("bias", np.float16)), f"{MODEL}: tensor 'bias' has 1 weights"),
    "weights in another file": (tiny, graph(weights_elsewhere), f"{MODEL}: tensor 'table' lies in another file"),
    # shapes
    "a narrower table": (tiny, graph(narrower), f"{MODEL}: onnxruntime "),
    "one axis too many": (
        tiny,
        graph(lambda model: model.graph.input[0].type.tensor_type.shape.dim.add()),
        f"{MODEL}: ",
    ),
    "fewer scores": (
        tiny,
        graph(lambda model: model.graph.initializer[-1].CopyFrom(helper.make_tensor("labels", 7, [1], [1]))),
        "gives 1 scores for 2 labels",
    ),
    "no scores": (tiny, graph(lambda model: model.graph.ClearField("output")), f"{MODEL}: "),
    "a tokenizer with more words than the embedding": (
        tokens,
        graph(
            lambda model: model.graph.initializer[0].CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0])[:20].copy(), "tokens")
            )
        ),
        "the graph failed",
    ),
    "longer than the positions": (
        tokens,
        manifest(lambda m: m["preprocessing"].update(max_tokens=40)),
        "the graph failed",
    ),
    # operators
    "an unknown operator": (
        tiny,
        graph(lambda model: setattr(model.graph.node[0], "op_type", "Frobnicate")),
        "Frobnicate",
    ),
    "an operator of a library that is not there": (tiny, graph(other_domain), "com.example"),
    # cut short
    **{f"{name} cut short": (tiny, change, f"{name}: ") for name, change in HALF.items()},
    "a tokenizer cut short": (tokens, rewrite(TOKENIZER, lambda raw: raw[: len(raw) // 2]), f"{TOKENIZER}: "),
    "a manifest cut short": (tiny, rewrite(MANIFEST, lambda raw: raw[: len(raw) // 2], hashed=False), f"{MANIFEST}: "),
    # no JSON at all
    **{
        f"{name} {what}": (tokens, rewrite(name, content, hashed=name != MANIFEST), f"{name}: {reason}")
        for name in (MANIFEST, PARITY, TOKENIZER)
        for what, content, reason in (
            ("is not UTF-8", lambda raw: raw.replace(b'": "', b'": "\xff').replace(b'":"', b'":"\xff'), "not UTF-8"),
            ("is nested too deeply", lambda raw: b'{"tolerance": ' + b"[" * 100_000, ""),
        )
    },
    "an empty model": (tiny, rewrite(MODEL, lambda _: b""), f"{MODEL}: not an ONNX model"),
    # pickles
    **{
        f"a pickle for {name}": (tiny, rewrite(name, pickled), f"{name}: a pickle")
        for name in (MODEL, BUCKETS, PARITY, "extra.json")
    },
    "an archive of pickles for a model": (tiny, rewrite(MODEL, archive), f"{MODEL}: a pickle, or an archive of them"),
    "pickled objects in an array": (tiny, rewrite(BUCKETS, objects), f"{BUCKETS}: not a plain array"),
    # other contradictions
    "an array of the wrong type": (
        tiny,
        rewrite(BUCKETS, lambda _: array_bytes(np.arange(3))),
        f"{BUCKETS}: must be a non-empty vector of uint32",
    ),
    "a tokenizer that is none": (tokens, rewrite(TOKENIZER, lambda _: b"{}"), f"{TOKENIZER}: has no field `model`"),
    "a tokenizer of an unknown kind": (
        tokens,
        rewrite(TOKENIZER, lambda _: b'{"model": {"type": "Mystery"}}'),
        f"{TOKENIZER}: tokenizers cannot load it",
    ),
    "another tokenizer": (
        tokens,
        rewrite(TOKENIZER, lambda raw: raw.replace(b'"lowercase":true', b'"lowercase":false')),
        "must be",  # parity: the words of the fixtures have other ids
    ),
    "other inputs than the contract gives": (
        tokens,
        manifest(lambda m: m["preprocessing"].update(mask="mask")),
        f"{MODEL}: inputs are input_ids, attention_mask; the contract gives input_ids, mask",
    ),
    "batching that contradicts itself": (
        tokens,
        manifest(lambda m: m.update(batching={"min_rows": 4, "max_rows": 2})),
        f"{MANIFEST}: batching must have",
    ),
    "a contract that is not known": (
        tokens,
        manifest(lambda m: m["preprocessing"].update(kind="tokenizer/9")),
        "preprocessing contract 'tokenizer/9'; this streamtag has hashed-ngrams/1, hashed-ngrams/2, hashed-ngrams/3",
    ),
    "a field that is not known": (tiny, manifest(lambda m: m.update(surprise=1)), "unknown field `surprise`"),
}


@pytest.mark.parametrize(("build", "change", "reason"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_refused_with_what_and_where_and_how_to_mend_it(
    tmp_path: Path, build: Callable[[Path], Path], change: Callable[[Path], None], reason: str
) -> None:
    bundle = build(tmp_path)
    load_scorer(bundle, batch=8)
    change(bundle)
    with pytest.raises(BundleError) as caught:
        load_scorer(bundle, batch=8)
    error = caught.value
    assert any(reason in problem for problem in error.problems), error.problems
    assert error.hint
    assert error.exit_code == 3
