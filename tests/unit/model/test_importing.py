"""Bring your own: what others made becomes a bundle that scores alike, or is refused with every reason."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign_models import (
    LABELS,
    NUMBERS,
    TEXTS,
    expected_lines,
    fit_pipeline,
    make_transformer,
    number_weights,
    numbers_onnx,
    pipeline_onnx,
    train_tokenizer,
    transformer_onnx,
    write_foreign,
)
from onnx import TensorProto, helper
from typer.testing import CliRunner

from streamtag.cli.model import app
from streamtag.errors import BundleError, StreamtagError
from streamtag.events.content import FeatureValue
from streamtag.model.bundle import read_bundle
from streamtag.model.contracts.string import StringContract
from streamtag.model.contracts.tokenizer import TokenizerContract
from streamtag.model.importing.contracts import Port, Wanted, contract_for
from streamtag.model.importing.graph import rename
from streamtag.model.importing.importer import import_bundle
from streamtag.model.importing.request import Request
from streamtag.model.loading import load_scorer

SEEN = [*TEXTS, "", "İstanbul TRAIN", "the noon concert " * 30, "unknown wörds only"]
WORDS = r"[\p{L}\p{N}_][\p{L}\p{N}_]+"
TOKENIZER = train_tokenizer()
TRANSFORMER = make_transformer(TOKENIZER.get_vocab_size())
PIPELINE = fit_pipeline()


def transformer_scores(texts: list[str]) -> list[list[float]]:
    logits = [TRANSFORMER.logits(TOKENIZER.encode(text).ids) for text in texts]
    return [(1 / (1 + np.exp(-one))).tolist() for one in logits]


def request(directory: Path, **given: object) -> Request:
    found = Request(directory / "model.onnx", directory / "labels.txt", "own", "1")
    for name in ("tokenizer.json", "expected.jsonl", "features.yaml"):
        if (directory / name).exists():
            found = replace(found, **{name.split(".")[0]: directory / name})  # type: ignore[arg-type]
    return replace(found, **given)  # type: ignore[arg-type]


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    expected = expected_lines(SEEN, transformer_scores(SEEN))
    return write_foreign(
        tmp_path / "mine", transformer_onnx(TRANSFORMER), tokenizer_json=TOKENIZER.to_str(), expected_jsonl=expected
    )


def test_a_transformer_scores_as_its_arithmetic_says(transformer: Path, tmp_path: Path) -> None:
    imported = import_bundle(request(transformer, activation="sigmoid"), tmp_path / "out")
    scorer = load_scorer(imported.path, batch=8)
    assert scorer.labels == LABELS
    assert np.abs(scorer.score(SEEN) - np.array(transformer_scores(SEEN))).max() < 1e-5
    contract = scorer.bundle.manifest.preprocessing
    assert isinstance(contract, TokenizerContract)
    assert (contract.ids, contract.mask, contract.max_tokens) == ("input_ids", "attention_mask", 32)
    assert any("10 expected documents" in note for note in imported.notes)


def test_a_graph_made_for_so_many_documents_is_given_so_many(transformer: Path, tmp_path: Path) -> None:
    (transformer / "model.onnx").write_bytes(transformer_onnx(TRANSFORMER, rows=4))
    imported = import_bundle(request(transformer, activation="sigmoid"), tmp_path / "out")
    assert any("exactly 4 documents" in note for note in imported.notes)
    scores = load_scorer(imported.path, batch=64).score(SEEN)
    assert np.abs(scores - np.array(transformer_scores(SEEN))).max() < 1e-5


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_scikit_learn_pipeline_scores_as_scikit_learn_does(tmp_path: Path, zipmap: bool) -> None:
    model = pipeline_onnx(PIPELINE, words=WORDS, zipmap=zipmap)
    expected = expected_lines(SEEN, PIPELINE.predict_proba(SEEN).tolist())
    mine = write_foreign(tmp_path / "mine", model, expected_jsonl=expected)
    imported = import_bundle(request(mine), tmp_path / "out")
    scorer = load_scorer(imported.path, batch=8)
    assert np.abs(scorer.score(SEEN) - PIPELINE.predict_proba(SEEN)).max() < 1e-6
    contract = scorer.bundle.manifest.preprocessing
    assert isinstance(contract, StringContract)
    assert contract.text.lowercase  # not in the graph, where it needs a locale


def test_the_pattern_that_skl2onnx_puts_in_is_told_and_its_cost_refused(tmp_path: Path) -> None:
    model = pipeline_onnx(PIPELINE, words=None)
    mine = write_foreign(tmp_path / "mine", model)
    notes = import_bundle(request(mine), tmp_path / "out").notes
    assert any("ASCII letters only" in note for note in notes)
    expected = expected_lines(["Großes Konzert"], PIPELINE.predict_proba(["Großes Konzert"]).tolist())
    (mine / "expected.jsonl").write_text(expected, encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        import_bundle(request(mine, version="2"), tmp_path / "out")
    assert all(problem.startswith("expected scores: document 1, ") for problem in caught.value.problems)


@pytest.mark.parametrize("columns", [(), ("amount", "age")])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_a_graph_of_numbers_reads_declared_features(tmp_path: Path, columns: tuple[str, ...], dtype: int) -> None:
    mine = write_foreign(tmp_path / "mine", numbers_onnx(2, columns=columns, dtype=dtype), features_yaml=NUMBERS)
    scorer = load_scorer(import_bundle(request(mine, activation="sigmoid"), tmp_path / "out").path, batch=8)
    weights = number_weights(2)
    fine: list[Mapping[str, FeatureValue] | None] = [{"amount": 3, "age": 40}, {"amount": True}]
    bad: list[Mapping[str, FeatureValue] | None] = [{"age": 1.0}, {"amount": 101, "age": 1}]
    scores = scorer.score([""] * 4, [*fine, *bad])
    wanted = 1 / (1 + np.exp(-np.array([[3, 40], [1, 30]]) @ weights))
    assert np.abs(scores[:2] - wanted).max() < 1e-5
    assert np.isnan(scores[2:]).all()
    assert scorer.take_filled() == {("age", "missing"): 1}
    assert scorer.take_filled() == {}


def test_a_graph_may_read_a_text_and_numbers(transformer: Path, tmp_path: Path) -> None:
    (transformer / "model.onnx").write_bytes(transformer_onnx(TRANSFORMER, numbers=2))
    (transformer / "features.yaml").write_text(NUMBERS, encoding="utf-8")
    (transformer / "expected.jsonl").unlink()
    imported = import_bundle(request(transformer, activation="sigmoid"), tmp_path / "out")
    scorer = load_scorer(imported.path, batch=8)
    assert scorer.bundle.manifest.preprocessing.kind == "combined/1"
    texts = ["see you at noon", "the train", "the train"]
    given: list[Mapping[str, FeatureValue] | None] = [{"amount": 50, "age": 3}, {"amount": 7}, {"age": 7}]
    logits = np.array([TRANSFORMER.logits(TOKENIZER.encode(text).ids) for text in texts[:2]])
    wanted = 1 / (1 + np.exp(-logits - np.array([[50, 3], [7, 30]]) @ number_weights(2)))
    scores = scorer.score(texts, given)
    assert np.abs(scores[:2] - wanted).max() < 1e-5
    assert np.isnan(scores[2]).all()
    unfit = scorer.unfit(None, given[0])
    assert unfit is not None
    assert unfit.field == "/text"


@pytest.mark.parametrize(("package", "extra"), [("tokenizers", "tokenizers"), ("onnx", "import")])
def test_a_package_that_is_missing_is_named_with_its_extra(
    transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.startswith(("onnx.", "streamtag.model.importing."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    files = ("onnx=model.onnx", "labels=labels.txt", "tokenizer=tokenizer.json")
    options = [f"--{name}={transformer / file}" for name, _, file in (one.partition("=") for one in files)]
    command = ["import", *options, "--name=own", f"--out={tmp_path / 'out'}", "--activation=sigmoid"]
    run = CliRunner().invoke(app, command)
    error = run.exception
    assert isinstance(error, StreamtagError)
    said = " ".join((error.message, *getattr(error, "problems", ()), error.hint))
    assert f"package {package}" in said
    assert f"pip install 'streamtag[{extra}]'" in said


def test_softmax_makes_one_distribution(transformer: Path, tmp_path: Path) -> None:
    (transformer / "expected.jsonl").unlink()
    scores = load_scorer(import_bundle(request(transformer, activation="softmax"), tmp_path / "out").path, batch=8)
    assert np.abs(scores.score(SEEN).sum(axis=1) - 1).max() < 1e-6


def test_the_same_import_gives_the_same_bundle(transformer: Path, tmp_path: Path) -> None:
    one, other = (
        import_bundle(request(transformer, activation="sigmoid"), tmp_path / where).path for where in ("a", "b")
    )
    assert read_bundle(one).ref == read_bundle(other).ref


def test_labels_may_come_from_a_config_with_thresholds_or_from_hugging_face(transformer: Path, tmp_path: Path) -> None:
    config = json.dumps({"id2label": {str(i): name for i, name in enumerate(LABELS)}, "hidden_size": 16})
    (transformer / "labels.txt").write_text(config, encoding="utf-8")
    assert read_bundle(import_bundle(request(transformer, activation="sigmoid"), tmp_path / "a").path).labels == LABELS
    (transformer / "labels.txt").write_text("- meeting\n- {id: travel, threshold: 0.7, critical: true}\n- offer\n")
    labels = read_bundle(import_bundle(request(transformer, activation="sigmoid"), tmp_path / "b").path).manifest.labels
    assert [(one.id, one.threshold, one.critical) for one in labels][1] == ("travel", 0.7, True)


# -- refusals ----------------------------------------------------------------------------------------------------------


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    def change(mine: Path) -> None:
        (mine / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def remove(name: str) -> Callable[[Path], object]:
    return lambda mine: (mine / name).unlink()


def edit(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], object]:
    def changed(mine: Path) -> None:
        model = onnx.load(mine / "model.onnx")
        change(model)
        (mine / "model.onnx").write_bytes(model.SerializeToString())

    return changed


def nan_weight(model: onnx.ModelProto) -> None:
    bias = next(one for one in model.graph.initializer if one.name == "bias")
    bias.CopyFrom(helper.make_tensor("bias", TensorProto.FLOAT, [3], [0.0, float("nan"), 0.0]))


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "Frobnicate"


def unknown_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 99


def cut_short(mine: Path) -> None:
    content = (mine / "model.onnx").read_bytes()
    (mine / "model.onnx").write_bytes(content[: len(content) // 2])


REFUSED = {
    "no model file": (remove("model.onnx"), {}, "model.onnx: No such file"),
    "no labels file": (remove("labels.txt"), {}, "labels.txt: No such file"),
    "a model cut short": (cut_short, {}, "not an ONNX model"),
    "a pickle for a model": (write("model.onnx", b"\x80\x04}."), {}, "not an ONNX model"),
    "text for a model": (write("model.onnx", "hello there"), {}, "not an ONNX model"),
    "a weight that is NaN": (edit(nan_weight), {}, "tensor 'bias' has 1 weights that are NaN"),
    "an unknown operator": (edit(unknown_operator), {}, "Frobnicate"),
    "too few labels": (write("labels.txt", "meeting\ntravel"), {}, "gives 3 scores for 2 labels"),
    "a doubled label": (write("labels.txt", "meeting\noffer\noffer"), {}, "labels: 'offer' stands 2 times"),
    "no labels": (write("labels.txt", " \n"), {}, "labels: the file is empty"),
    "labels that are not UTF-8": (write("labels.txt", b"\xff"), {}, "labels: not UTF-8 at byte 0"),
    "id2label with a gap": (write("labels.txt", '{"id2label": {"0": "a", "2": "b"}}'), {}, "numbers 0, 1, 2"),
    "a threshold out of range": (write("labels.txt", "- {id: a, threshold: 2}\n- b\n- c"), {}, "outside 0 … 1"),
    "labels in another order": (
        write("labels.txt", "travel\nmeeting\noffer"),
        {},
        "expected scores: document 1, travel: ",  # nothing else knows the order
    ),
    "no tokenizer": (remove("tokenizer.json"), {}, "--tokenizer is missing"),
    "no tokenizer at all": (write("tokenizer.json", "[]"), {}, "tokenizer"),
    "a tokenizer of a kind that is not known": (
        write("tokenizer.json", '{"model": {"type": "Mystery"}}'),
        {},
        "tokenizers cannot load it",
    ),
    "logits without activation": (lambda _: None, {"activation": "none"}, "Give --activation sigmoid"),
    "an output that is not there": (lambda _: None, {"scores": "answers"}, "no output 'answers'; it has logits"),
    "features that nothing reads": (write("features.yaml", "[amount]"), {}, "--features is given"),
    "a text longer than positions": (lambda _: None, {"max_tokens": 33}, "the graph failed"),
    "a vocabulary beyond the embedding": (
        write("model.onnx", transformer_onnx(TRANSFORMER, vocabulary=40)),
        {},
        "the graph failed",
    ),
    "expected scores of another width": (write("expected.jsonl", '{"scores": [1]}'), {}, "1 scores for 3 labels"),
    "expected scores that are no JSON": (write("expected.jsonl", "nothing"), {}, "expected scores: line 1"),
    "a tolerance that no bundle may have": (
        lambda _: None,
        {"tolerance": 0.05},
        "--tolerance 0.05 is outside 0 … 0.01",
    ),
    "a threshold of too many decimals": (
        write("labels.txt", "- {id: meeting, threshold: 0.1234567}\n- travel\n- offer"),
        {},
        "labels: entry 1: threshold 0.1234567 has more than 6 decimals",
    ),
    "a type of input that ONNX does not know": (edit(unknown_type), {}, "(other, "),
    "no room for any token": (lambda _: None, {"max_tokens": 0}, "max_tokens"),
    "a tokenizer that is not UTF-8": (write("tokenizer.json", b'{"model": "\xff"}'), {}, "tokenizer: not UTF-8"),
    "a tokenizer nested too deeply": (write("tokenizer.json", b'{"a":' + b"[" * 100_000), {}, "nested too deeply"),
    "expected scores that are not UTF-8": (
        write("expected.jsonl", b'{"scores": [1], "text": "\xff"}'),
        {},
        "expected scores: line 1: not UTF-8",
    ),
    "a name that leads elsewhere": (lambda _: None, {"name": "../own"}, "name '../own' must be"),
}


@pytest.mark.parametrize(("change", "given", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_amiss_is_named_and_nothing_is_left_behind(
    transformer: Path,
    tmp_path: Path,
    change: Callable[[Path], object],
    given: dict[str, object],
    reason: str,
) -> None:
    change(transformer)
    with pytest.raises(BundleError) as caught:
        import_bundle(request(transformer, **{"activation": "sigmoid", **given}), tmp_path / "out")
    assert any(reason in problem for problem in caught.value.problems), caught.value.problems
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []
    assert sorted(os.listdir(tmp_path)) in (["mine"], ["mine", "out"])


def test_every_reason_is_named_at_once(transformer: Path, tmp_path: Path) -> None:
    for change in (
        write("labels.txt", "meeting\nmeeting"),
        remove("tokenizer.json"),
        write("features.yaml", "[amount]"),
        write("expected.jsonl", "nothing"),
    ):
        change(transformer)
    with pytest.raises(BundleError) as caught:
        import_bundle(request(transformer, activation="sigmoid"), tmp_path / "out")
    found = "\n".join(caught.value.problems)
    for part in ("stands 2 times", "--tokenizer is missing", "--features is given", "line 1", "gives 3 scores for 2"):
        assert part in found


def test_weights_in_another_file_are_taken_in(transformer: Path, tmp_path: Path) -> None:
    model = onnx.load(transformer / "model.onnx")
    onnx.save(model, transformer / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    imported = import_bundle(request(transformer, activation="sigmoid"), tmp_path / "out")
    assert sorted(os.listdir(imported.path)) == ["manifest.json", "model.onnx", "parity.json", "tokenizer.json"]


@pytest.mark.parametrize("name", ["model.json", "model.textproto", "model"])
def test_the_name_of_the_file_does_not_matter(transformer: Path, tmp_path: Path, name: str) -> None:
    model = (transformer / "model.onnx").rename(transformer / name)
    assert import_bundle(request(transformer, onnx=model, activation="sigmoid"), tmp_path / "out").path.is_dir()
    model.write_text('{"graph": ')
    with pytest.raises(BundleError) as caught:
        import_bundle(request(transformer, onnx=model, activation="sigmoid"), tmp_path / "out")
    assert "not an ONNX model" in caught.value.problems[0]


def test_a_tokenizer_that_says_nothing_of_truncation_is_given_room(transformer: Path) -> None:
    ports = [Port(name, "int64", (None, None)) for name in ("input_ids", "attention_mask")]
    found: list[str] = []
    contract = contract_for(ports, Wanted(b'{"model": {}, "truncation": 5}'), found)
    assert isinstance(contract, TokenizerContract)
    assert (contract.max_tokens, found) == (256, [])


def test_an_input_may_have_the_name_of_the_output_of_a_bundle(tmp_path: Path) -> None:
    mine = write_foreign(tmp_path / "mine", numbers_onnx(2), features_yaml=NUMBERS)
    as_it_is = load_scorer(import_bundle(request(mine, activation="sigmoid"), tmp_path / "out").path, batch=8)
    edit(lambda model: rename(model.graph, "numbers", "scores"))(mine)
    named = import_bundle(request(mine, activation="sigmoid", version="2"), tmp_path / "out").path
    features: list[Mapping[str, FeatureValue] | None] = [{"amount": 3, "age": 40}]
    assert (load_scorer(named, batch=8).score([""], features) == as_it_is.score([""], features)).all()


def test_a_place_that_cannot_be_written_is_named(transformer: Path) -> None:
    with pytest.raises(StreamtagError, match=r"cannot write .*labels\.txt/below/own/1: Not a directory"):
        import_bundle(request(transformer, activation="sigmoid"), transformer / "labels.txt" / "below")


def test_the_command_says_what_it_found(transformer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [f"--{name}={transformer / file}" for name, file in (("onnx", "model.onnx"), ("labels", "labels.txt"))]
    command = ["import", *files, f"--tokenizer={transformer / 'tokenizer.json'}", "--name=own", f"--out={out}"]
    run = CliRunner().invoke(app, [*command, "--activation=sigmoid", "--output=json"])
    assert run.exit_code == 0, run.output
    document = json.loads(run.stdout)
    assert document["ref"]["name"] == "own"
    assert document["manifest"]["preprocessing"]["kind"] == "tokenizer/1"
    assert read_bundle(out / "own" / "1").ref.sha256 == document["ref"]["sha256"]
