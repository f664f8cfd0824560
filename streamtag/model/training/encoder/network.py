"""The encoder as a PyTorch module with a logit per label: the mean of the last layer's rows, and a linear map."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from streamtag.model.training.encoder.pretrained import EPSILON, PADDING, Array, Encoder, Layer

_HEAD_SPREAD = 0.02


class _Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, layer: Layer, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attend = _linear(layer.attend, layer.attend_bias)
        self.out = _linear(layer.out, layer.out_bias)
        self.norm_1 = _norm(layer.norm_1)
        self.up = _linear(layer.up, layer.up_bias)
        self.down = _linear(layer.down, layer.down_bias)
        self.norm_2 = _norm(layer.norm_2)

    def forward(self, rows: Any, visible: Any) -> Any:
        texts, places, width = rows.shape
        parts = self.attend(rows).view(texts, places, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(*parts, attn_mask=visible, dropout_p=dropout)
        seen = self.out(seen.transpose(1, 2).reshape(texts, places, width))
        rows = self.norm_1(rows + functional.dropout(seen, self.dropout, self.training))
        thought = self.down(functional.gelu(self.up(rows)))
        return self.norm_2(rows + functional.dropout(thought, self.dropout, self.training))

    def arrays(self) -> Layer:
        return Layer(
            *_weights(self.attend),
            *_weights(self.out),
            _gain(self.norm_1),
            *_weights(self.up),
            *_weights(self.down),
            _gain(self.norm_2),
        )


class Network(nn.Module):  # type: ignore[misc]
    """Token ids [n, width] to logits [n, labels].

    Embeddings stay as they were pretrained: most pieces are too rare in a set of some ten thousand texts to move well.
    """

    def __init__(self, encoder: Encoder, labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.register_buffer("tokens", torch.from_numpy(encoder.tokens.copy()))
        self.register_buffer("positions", torch.from_numpy(encoder.positions.copy()))
        self.norm = _norm(encoder.norm)
        self.layers = nn.ModuleList(_Layer(layer, encoder.heads, dropout) for layer in encoder.layers)
        self.head = nn.Linear(encoder.tokens.shape[1], labels)
        nn.init.normal_(self.head.weight, std=_HEAD_SPREAD)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: Any) -> Any:
        """Logits of texts that have at least one token each."""
        present = ids != PADDING
        rows = self.norm(self.tokens[ids] + self.positions[: ids.shape[1]])
        rows = functional.dropout(rows, self.dropout, self.training)
        for layer in self.layers:
            rows = layer(rows, present[:, None, None, :])
        share = present[..., None].to(rows.dtype)
        mean = (rows * share).sum(1) / share.sum(1)
        return self.head(functional.dropout(mean, self.dropout, self.training))

    def onto(self, encoder: Encoder) -> tuple[Encoder, Array, Array]:
        """``encoder`` with what was learnt, and weights [width, labels] and bias [labels] of the head."""
        layers = [layer.arrays() for layer in self.layers]
        return replace(encoder, norm=_gain(self.norm), layers=layers), *_weights(self.head)


def _linear(weights: Array, bias: Array) -> Any:
    found = nn.Linear(*weights.shape)
    with torch.no_grad():
        found.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights.T)))
        found.bias.copy_(torch.from_numpy(bias.copy()))
    return found


def _norm(gain: Array) -> Any:
    found = nn.LayerNorm(gain.shape[1], eps=EPSILON)
    with torch.no_grad():
        found.weight.copy_(torch.from_numpy(gain[0].copy()))
        found.bias.copy_(torch.from_numpy(gain[1].copy()))
    return found


def _weights(linear: Any) -> tuple[Array, Array]:
    return linear.weight.detach().numpy().T.copy(), linear.bias.detach().numpy().copy()


def _gain(norm: Any) -> Array:
    return np.stack([norm.weight.detach().numpy(), norm.bias.detach().numpy()])
