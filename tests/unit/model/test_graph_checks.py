"""What is read of an ONNX file without onnx: NaN wherever a weight can stand, and from any bytes a problem at most."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from streamtag.model.graph_checks import graph_problems
from streamtag.model.registry import find_bundle

SHIPPED = (find_bundle("moderation", []) / "model.onnx").read_bytes()
SMALL = helper.make_model(
    helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        "small",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [None])],
        [helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )
).SerializeToString()


HALVES = [one[: len(one) // 2] for one in (SMALL, SHIPPED)]


def model_with(tensor: onnx.TensorProto, where: str) -> bytes:
    """A model that has the tensor as an initializer, in an attribute, in an inner graph, in a function, or sparse."""
    model = onnx.load_from_string(SMALL)
    graph = model.graph
    if where == "initializer":
        graph.initializer.append(tensor)
    elif where == "attribute":
        graph.node.append(helper.make_node("Constant", [], ["k"], value=tensor))
    elif where == "inner graph":
        inner = helper.make_graph([helper.make_node("Constant", [], ["k"], value=tensor)], "inner", [], [])
        graph.node.append(helper.make_node("If", ["a"], ["d"], then_branch=inner, else_branch=inner))
    elif where == "function":
        node = helper.make_node("Constant", [], ["k"], value=tensor)
        model.functions.append(helper.make_function("own", "F", [], ["k"], [node], [helper.make_opsetid("", 17)]))
    else:
        places = numpy_helper.from_array(np.arange(tensor.dims[0]), "at")
        graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, places, [9]))
    return bytes(model.SerializeToString())


PLACES = ["initializer", "attribute", "inner graph", "function", "sparse"]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_nan_is_found_wherever_it_stands_and_nothing_else_is(where: str, dtype: type, value: float) -> None:
    tensor = numpy_helper.from_array(np.array([0, value, 1], dtype=dtype), "w")
    found = graph_problems(model_with(tensor, where))
    assert set(found) == ({"tensor 'w' has 1 weights that are NaN"} if np.isnan(value) else set())


@pytest.mark.parametrize("raw", [True, False])
def test_nan_is_found_in_raw_and_in_listed_numbers_and_in_bfloat16(raw: bool) -> None:
    listed = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, float("nan")])
    sixteen = onnx.TensorProto(
        name="w", data_type=TensorProto.BFLOAT16, dims=[2], raw_data=np.array([0x3F80, 0x7FC0], dtype="<u2").tobytes()
    )
    assert graph_problems(model_with(sixteen if raw else listed, "initializer")) == [
        "tensor 'w' has 1 weights that are NaN"
    ]


def test_the_shipped_model_has_no_problems() -> None:
    assert graph_problems(SHIPPED) == []


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_a_problem(content: bytes) -> None:
    for problem in graph_problems(content):
        assert problem.startswith(("not an ONNX model", "tensor "))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_a_changed_byte_is_borne(at: int, byte: int) -> None:
    graph_problems(SMALL[:at] + bytes([byte]) + SMALL[at + 1 :])


@pytest.mark.parametrize("content", [b"", SHIPPED[:-1], *HALVES, b"hello"])
def test_what_is_cut_short_is_said_to_be(content: bytes) -> None:
    (problem,) = graph_problems(content)
    assert problem.startswith("not an ONNX model")
    assert "cut short" in problem
