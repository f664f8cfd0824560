"""What must be known of a graph before onnxruntime sees it: no weight that is NaN, no file beside it, no broken bytes.

An ONNX file is a protobuf message. What is looked for stands in few of its fields, so they are read here, by the wire
format (https://protobuf.dev/programming-guides/encoding), without the package `onnx`, which workers do not have. Field
numbers: ``onnx/onnx.proto3``.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Messages that hold graphs or tensors, by field number, from the model down.
_MODEL = {7: "graph", 25: "function"}
_WITHIN = {
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor"},
}
# Of a TensorProto.
_TYPE, _FLOATS, _NAME, _RAW, _DOUBLES, _EXTERNAL, _LOCATION = 2, 4, 8, 9, 10, 13, 14
_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16
_MAX_DEPTH = 32


class _BrokenError(Exception):
    """These bytes are no such message."""


def graph_problems(content: bytes) -> list[str]:
    """What is wrong with the bytes of a ``model.onnx``; whether its operators exist, onnxruntime knows."""
    found: list[str] = []
    try:
        fields = list(_fields(memoryview(content)))
        if not any(number == 7 for number, _ in fields):
            return ["not an ONNX model: it has no graph; is the file cut short, or of another format?"]
        for number, value in fields:
            if number in _MODEL and isinstance(value, memoryview):
                _walk(_MODEL[number], value, found, 0)
    except _BrokenError as error:
        return [f"not an ONNX model: {error}; is the file cut short, or of another format?"]
    return found


def _walk(kind: str, message: memoryview, found: list[str], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _BrokenError(f"graphs nested more than {_MAX_DEPTH} deep")
    if kind == "tensor":
        found += _tensor_problems(message)
        return
    for number, value in _fields(message):
        inner = _WITHIN[kind].get(number)
        if inner is not None and isinstance(value, memoryview):
            _walk(inner, value, found, depth + 1)


def _tensor_problems(message: memoryview) -> list[str]:
    name, kind, external = "", 0, False
    values: list[NDArray[Any]] = []
    raw = memoryview(b"")
    for number, value in _fields(message):
        if isinstance(value, int):
            kind = value if number == _TYPE else kind
            external |= number == _LOCATION and value == 1
        elif number == _NAME:
            name = bytes(value).decode("utf-8", "replace")
        elif number == _RAW:
            raw = value
        elif number in (_FLOATS, _DOUBLES):
            values.append(_numbers(value, "<f4" if number == _FLOATS else "<f8"))
        external |= number == _EXTERNAL
    if external:
        return [f"tensor {name!r} lies in another file; save the model with its weights inside"]
    if raw:
        values.append(_raw_numbers(raw, kind))
    n = sum(int(np.isnan(one).sum()) for one in values)
    return [f"tensor {name!r} has {n} weights that are NaN"] if n else []


def _raw_numbers(raw: memoryview, kind: int) -> NDArray[Any]:
    if kind == _BFLOAT16:  # the upper half of a float
        return (_numbers(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    dtype = {_FLOAT: "<f4", _FLOAT16: "<f2", _DOUBLE: "<f8"}.get(kind)
    return np.empty(0, dtype=np.float32) if dtype is None else _numbers(raw, dtype)


def _numbers(raw: memoryview, dtype: str) -> NDArray[Any]:
    if len(raw) % np.dtype(dtype).itemsize:
        raise _BrokenError("a tensor ends within a number")
    return np.frombuffer(raw, dtype=dtype)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field of a message, in order."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise _BrokenError(f"wire type {wire} at byte {at}")
        if at + size > end or number == 0:
            raise _BrokenError(f"a field of {size} bytes at byte {at} of {end}")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _BrokenError("it ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _BrokenError("a number of more than 64 bits")
