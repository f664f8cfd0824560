"""An encoder as arrays: what is read from a folder, fine-tuned, and written into a graph."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag import strict_json
from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.contracts.tokenizer import TOKENIZER, load_tokenizer
from streamtag.model.training.config import EncoderConfig

Array = NDArray[np.float32]
CONFIG, WEIGHTS = "config.json", "model.safetensors"
EPSILON = 1e-12
"""Of the norms of BERT."""
PADDING = 0
"""The id of padding."""
_HINT = "docs/howto-train.md says what such a folder holds."


class _Shape(msgspec.Struct):
    """What ``config.json`` of Hugging Face says, as far as it matters here."""

    model_type: str
    hidden_act: str
    num_attention_heads: int
    num_hidden_layers: int
    max_position_embeddings: int
    position_embedding_type: str = "absolute"
    layer_norm_eps: float = EPSILON
    pad_token_id: int = PADDING


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


def read_encoder(folder: Path, config: EncoderConfig) -> Encoder:
    """The encoder in ``folder``, cut to the layers and positions that ``config`` asks for.

    Raises:
        NotFoundError: the folder, or a file of it, is missing.
        RefusedError: the weights are not those that ``config`` names, or no BERT of its size whose tokenizer fits.
    """
    files = {name: _content(folder / name) for name in (CONFIG, WEIGHTS, TOKENIZER)}
    found = hashlib.sha256(files[WEIGHTS]).hexdigest()
    if found != config.sha256:
        raise RefusedError(
            f"the encoder in {folder} is not the one that the configuration starts from",
            problems=[f"{WEIGHTS}: sha256 is {found}; encoder.sha256 says {config.sha256}"],
            hint="Name the folder with those weights, or change encoder.sha256 if these are meant.",
        )
    try:
        shape = strict_json.decode(files[CONFIG], _Shape)
    except msgspec.DecodeError as error:
        raise _refused(folder, [f"{CONFIG}: {error}"]) from None
    problems = [*_shape_problems(shape, config), *tokenizer_problems(files[TOKENIZER], cut=config.pieces is not None)]
    if problems:
        raise _refused(folder, problems)
    try:
        tokens, positions, norm, layers = _arrays(files[WEIGHTS], config)
    except KeyError as error:
        raise _refused(folder, [f"{WEIGHTS}: has no tensor {error}"]) from None
    pieces = load_tokenizer(files[TOKENIZER]).get_vocab_size(with_added_tokens=True)
    if pieces > len(tokens):
        raise _refused(folder, [f"{TOKENIZER}: has {pieces} pieces; {WEIGHTS} has embeddings of {len(tokens)}"])
    facts = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return Encoder(files[TOKENIZER], shape.num_attention_heads, tokens, positions, norm, layers, facts)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFoundError(f"no encoder: {file}: {error.strerror}", hint=_HINT) from None


def _shape_problems(shape: _Shape, config: EncoderConfig) -> list[str]:
    found = []
    for name, value, wanted in (
        ("model_type", shape.model_type, "bert"),
        ("hidden_act", shape.hidden_act, "gelu"),
        ("position_embedding_type", shape.position_embedding_type, "absolute"),
        ("layer_norm_eps", shape.layer_norm_eps, EPSILON),
        ("pad_token_id", shape.pad_token_id, PADDING),
    ):
        if value != wanted:
            found.append(f"{CONFIG}: {name} is {value!r}; must be {wanted!r}")
    for name, there, asked, field in (
        ("layers", shape.num_hidden_layers, config.layers, "layers"),
        ("positions", shape.max_position_embeddings, config.max_tokens, "max_tokens"),
    ):
        if there < asked:
            found.append(f"{CONFIG}: has {there} {name}; encoder.{field} asks for {asked}")
    return found


def tokenizer_problems(content: bytes, *, cut: bool) -> list[str]:
    """What keeps a ``tokenizer.json`` from being used, and, if ``cut``, from being given a smaller vocabulary."""
    try:
        document = strict_json.decode(content, dict)
        vocabulary = document["model"]["vocab"]
        added = [token["content"] for token in document["added_tokens"]]
        kind, after = document["model"]["type"], (document.get("post_processor") or {}).get("type")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return [f"{TOKENIZER}: is not what `tokenizers` saves"]
    if not cut:
        return []
    found = [f"{TOKENIZER}: {token!r} is not in its vocabulary" for token in added if token not in vocabulary]
    if kind != "WordPiece" or after not in (None, "TemplateProcessing"):
        found.append(f"{TOKENIZER}: is {kind} with {after}; must be WordPiece with TemplateProcessing")
    return [f"{problem}, or encoder.pieces be left out" for problem in found]


def _refused(folder: Path, problems: list[str]) -> RefusedError:
    return RefusedError(f"the encoder in {folder} cannot be used", problems=problems, hint=_HINT)


def _arrays(content: bytes, config: EncoderConfig) -> tuple[Array, Array, Array, list[Layer]]:
    from safetensors.numpy import load  # noqa: PLC0415 - an extra

    named = {name.removeprefix("bert."): array.astype(np.float32) for name, array in load(content).items()}
    embedding = "embeddings."
    tokens = named[embedding + "word_embeddings.weight"] + named[embedding + "token_type_embeddings.weight"][0]
    positions = named[embedding + "position_embeddings.weight"][: config.max_tokens]
    layers = [_layer(named, f"encoder.layer.{i}.") for i in range(config.layers)]
    return tokens, positions, _norm(named, embedding), layers


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
