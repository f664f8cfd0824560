"""An encoder as arrays: what is read from a folder, fine-tuned, and written into a graph."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.errors import NotFoundError, RefusedError

Array = NDArray[np.float32]
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
_HINT = "docs/howto-train.md says what such a folder holds."


class _Shape(msgspec.Struct):
    """What ``config.json`` of Hugging Face says, as far as it matters here."""

    model_type: str
    hidden_act: str
    num_attention_heads: int
    num_hidden_layers: int
    max_position_embeddings: int
    position_embedding_type: str = "absolute"


@dataclass(frozen=True)
class Layer:
    """One layer of BERT (Devlin et al. 2019); products are ``rows @ weights + bias``.

    Attributes:
        attend, attend_bias: [width, 3 width], [3 width]: queries, keys, values.
        out, out_bias: [width, width], [width].
        norm_1: [2, width], gain and shift.
        up, up_bias: [width, inner], [inner].
        down, down_bias: [inner, width], [width].
        norm_2: [2, width].
    """

    attend: Array
    attend_bias: Array
    out: Array
    out_bias: Array
    norm_1: Array
    up: Array
    up_bias: Array
    down: Array
    down_bias: Array
    norm_2: Array


@dataclass(frozen=True)
class Encoder:
    """A BERT of a few layers.

    Attributes:
        tokenizer: ``tokenizer.json``.
        heads: of attention.
        tokens: [pieces, width]; the embedding of the first segment is added.
        positions: [longest text, width].
        norm: [2, width], gain and shift after the embeddings.
        layers: from the first.
        facts: for the record: where it comes from.
    """

    tokenizer: bytes
    heads: int
    tokens: Array
    positions: Array
    norm: Array
    layers: Sequence[Layer]
    facts: Mapping[str, Any]


def read_encoder(folder: Path, *, sha256: str, layers: int) -> Encoder:
    """The first ``layers`` of the encoder in ``folder``.

    Raises:
        NotFoundError: the folder, or a file of it, is missing.
        RefusedError: the weights are not those of ``sha256``, or no BERT with as many layers.
    """
    files = {name: _content(folder / name) for name in (CONFIG, WEIGHTS, TOKENIZER)}
    found = hashlib.sha256(files[WEIGHTS]).hexdigest()
    if found != sha256:
        raise RefusedError(
            f"the encoder in {folder} is not the one that the configuration starts from",
            problems=[f"{WEIGHTS}: sha256 is {found}; encoder.sha256 says {sha256}"],
            hint="Name the folder with those weights, or change encoder.sha256 if these are meant.",
        )
    try:
        shape = msgspec.json.decode(files[CONFIG], type=_Shape)
    except msgspec.DecodeError as error:
        raise _refused(folder, [f"{CONFIG}: {error}"]) from None
    problems = _shape_problems(shape, layers)
    if problems:
        raise _refused(folder, problems)
    try:
        arrays = _arrays(files[WEIGHTS], layers)
    except KeyError as error:
        raise _refused(folder, [f"{WEIGHTS}: has no tensor {error}"]) from None
    facts = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return Encoder(files[TOKENIZER], shape.num_attention_heads, *arrays, facts=facts)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFoundError(f"no encoder: {file}: {error.strerror}", hint=_HINT) from None


def _shape_problems(shape: _Shape, layers: int) -> list[str]:
    found = []
    for name, value, wanted in (
        ("model_type", shape.model_type, "bert"),
        ("hidden_act", shape.hidden_act, "gelu"),
        ("position_embedding_type", shape.position_embedding_type, "absolute"),
    ):
        if value != wanted:
            found.append(f"{CONFIG}: {name} is {value!r}; must be {wanted!r}")
    if shape.num_hidden_layers < layers:
        found.append(f"{CONFIG}: has {shape.num_hidden_layers} layers; encoder.layers asks for {layers}")
    return found


def _refused(folder: Path, problems: list[str]) -> RefusedError:
    return RefusedError(f"the encoder in {folder} cannot be used", problems=problems, hint=_HINT)


def _arrays(content: bytes, layers: int) -> tuple[Array, Array, Array, list[Layer]]:
    from safetensors.numpy import load  # noqa: PLC0415 - an extra

    named: dict[str, Array] = {name.removeprefix("bert."): array for name, array in load(content).items()}
    embedding = "embeddings."
    tokens = named[embedding + "word_embeddings.weight"] + named[embedding + "token_type_embeddings.weight"][0]
    positions = named[embedding + "position_embeddings.weight"]
    return tokens, positions, _norm(named, embedding), [_layer(named, f"encoder.layer.{i}.") for i in range(layers)]


def _layer(named: Mapping[str, Array], prefix: str) -> Layer:
    own = [f"{prefix}attention.self.{name}." for name in ("query", "key", "value")]
    out, up, down = (prefix + name for name in ("attention.output.dense.", "intermediate.dense.", "output.dense."))
    return Layer(
        np.concatenate([named[name + "weight"] for name in own]).T,
        np.concatenate([named[name + "bias"] for name in own]),
        named[out + "weight"].T,
        named[out + "bias"],
        _norm(named, prefix + "attention.output."),
        named[up + "weight"].T,
        named[up + "bias"],
        named[down + "weight"].T,
        named[down + "bias"],
        _norm(named, prefix + "output."),
    )


def _norm(named: Mapping[str, Array], prefix: str) -> Array:
    return np.stack([named[f"{prefix}LayerNorm.weight"], named[f"{prefix}LayerNorm.bias"]])
