"""The gates between a bundle and the work: each refuses what it is there for."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import build_tiny_bundle

from streamtag.errors import BundleError
from streamtag.model.bundle import Bundle, read_bundle, write_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import MODEL, PARITY, Fixture, Parity, dump
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return read_bundle(build_tiny_bundle(tmp_path))


def with_files(bundle: Bundle, directory: Path, **changed: bytes) -> Path:
    """A bundle like this one with other files, hashes in order."""
    files = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}
    files |= {name.replace("_", "."): content for name, content in changed.items()}
    return write_bundle(directory, bundle.manifest, files)


def refusal(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        load_scorer(path, batch=8)
    return caught.value


def test_a_good_bundle_passes(bundle: Bundle) -> None:
    scorer = load_scorer(bundle.path, batch=8)
    assert scorer.bundle.ref == bundle.ref
    assert scorer.labels == ("spam", "greeting")


@pytest.mark.parametrize("batch", [1, 7, 64, 4_096])
def test_any_batch_size_passes(bundle: Bundle, batch: int) -> None:
    load_scorer(bundle.path, batch=batch)


def test_a_model_that_scores_otherwise_than_recorded_fails_parity(bundle: Bundle, tmp_path: Path) -> None:
    other = read_bundle(build_tiny_bundle(tmp_path / "other", weights_seed=1))
    error = refusal(with_files(bundle, tmp_path / "changed", model_onnx=other.model))
    assert "parity" in error.message
    assert all("must be" in problem for problem in error.problems)


def test_a_score_just_beyond_the_tolerance_fails_parity_and_is_named(bundle: Bundle, tmp_path: Path) -> None:
    parity = bundle.parity
    fixture = parity.fixtures[4]
    wrong = msgspec.structs.replace(fixture, scores=[fixture.scores[0], fixture.scores[1] + 3 * parity.tolerance])
    changed = msgspec.structs.replace(parity, fixtures=[*parity.fixtures[:4], wrong, *parity.fixtures[5:]])
    error = refusal(with_files(bundle, tmp_path / "changed", parity_json=dump(changed)))
    assert len(error.problems) == 1
    assert error.problems[0].startswith("fixture 4, greeting: ")


def test_a_model_with_a_weight_that_is_nan_is_refused_before_it_is_loaded(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load_from_string(bundle.model)
    table = next(entry for entry in model.graph.initializer if entry.name == "table")
    table.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(table), np.nan), "table"))
    with pytest.raises(BundleError) as caught:
        with_files(bundle, tmp_path / "changed", model_onnx=model.SerializeToString())
    assert caught.value.problems == (f"{MODEL}: tensor 'table' has {1_025 * 8} weights that are NaN",)


def test_a_model_that_computes_nan_fails_parity(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load_from_string(bundle.model)
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    sigmoid.op_type = "Log"  # of margins, some of which are negative
    error = refusal(with_files(bundle, tmp_path / "changed", model_onnx=model.SerializeToString()))
    assert any("nan" in problem for problem in error.problems)


def test_a_model_that_gives_logits_is_refused_even_where_its_fixtures_do_not_show_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    model = onnx.load_from_string(bundle.model)
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    sigmoid.op_type = "Identity"
    parity = Parity(1e-5, [Fixture("", [0.0, 0.0])], list(bundle.labels))  # the logit of nothing at all
    error = refusal(
        with_files(bundle, tmp_path / "changed", model_onnx=model.SerializeToString(), parity_json=dump(parity))
    )
    assert error.message.endswith("fails the gate: probabilities")
    assert "are they logits?" in error.problems[0]


def test_a_model_whose_bits_depend_on_the_company_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load_from_string(bundle.model)
    # A hair of the batch's mean weight in every score: within the tolerance of parity, but not the same bits.
    nodes = [
        helper.make_node("ReduceMean", ["weights"], ["company"], keepdims=0),
        helper.make_node("Mul", ["company", "hair"], ["trace"]),
        helper.make_node("Add", ["logit", "trace"], ["moved"]),
    ]
    model.graph.initializer.append(helper.make_tensor("hair", TensorProto.FLOAT, [], [1e-5]))
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    sigmoid.input[0] = "moved"
    at = list(model.graph.node).index(sigmoid)
    for node in reversed(nodes):
        model.graph.node.insert(at, node)
    error = refusal(with_files(bundle, tmp_path / "changed", model_onnx=model.SerializeToString()))
    assert "same bits in any batch" in error.message
    assert any("beside a long text" in problem for problem in error.problems)


def test_multiplying_and_summing_instead_of_matmul_is_caught(tmp_path: Path) -> None:
    # The trap the gate is there for: onnxruntime's ReduceSum adds in an order that depends on the shape.
    shipped = read_bundle(find_bundle("moderation", []))
    model = onnx.load_from_string(shipped.model)
    nodes = [
        helper.make_node("Transpose", ["weights"], ["column"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["rows", "column"], ["products"]),
        helper.make_node("ReduceSum", ["products", "rank_axis"], ["sum"], keepdims=0),
    ]
    at = next(i for i, node in enumerate(model.graph.node) if node.op_type == "MatMul")
    del model.graph.node[at : at + 2]  # MatMul and Squeeze
    for node in reversed(nodes):
        model.graph.node.insert(at, node)
    error = refusal(with_files(shipped, tmp_path, model_onnx=model.SerializeToString()))
    assert "same bits in any batch" in error.message


def test_a_file_that_is_no_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        with_files(bundle, tmp_path / "changed", model_onnx=b"no model")
    assert caught.value.problems[0].startswith(f"{MODEL}: not an ONNX model: ")


@pytest.mark.parametrize(
    ("rename", "reason"), [(("scores", "answers"), "must have an output scores"), (("ids", "tokens"), "inputs are")]
)
def test_a_model_with_other_inputs_or_outputs_is_refused(
    bundle: Bundle, tmp_path: Path, rename: tuple[str, str], reason: str
) -> None:
    old, new = rename
    model = onnx.load_from_string(bundle.model)
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    error = refusal(with_files(bundle, tmp_path / "changed", model_onnx=model.SerializeToString()))
    assert any(reason in problem for problem in error.problems)


def test_a_model_with_another_number_of_labels_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    three = read_bundle(build_tiny_bundle(tmp_path / "three", labels=("a", "b", "c")))
    error = refusal(with_files(bundle, tmp_path / "changed", model_onnx=three.model))
    assert error.problems == (f"{MODEL}: gives 3 scores for 2 labels",)


def test_a_table_smaller_than_the_buckets_is_refused_and_not_a_crash(bundle: Bundle, tmp_path: Path) -> None:
    small = read_bundle(build_tiny_bundle(tmp_path / "small", buckets=16))
    error = refusal(with_files(bundle, tmp_path / "changed", model_onnx=small.model))
    assert "the graph failed" in error.problems[0]


def test_fixtures_cover_an_empty_and_a_long_text(bundle: Bundle) -> None:
    lengths = [len(fixture.text) for fixture in bundle.parity.fixtures]
    contract = Scorer(bundle, batch=8).featuriser.contract
    assert min(lengths) == 0
    assert max(lengths) > contract.head_chars + contract.tail_chars
    assert (bundle.path / PARITY).stat().st_size < 20_000
