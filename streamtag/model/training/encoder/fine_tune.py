"""Fine-tuning: AdamW on the log-loss of what is annotated, with a warm-up and a linear way down to nothing."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from streamtag.model.training.config import EncoderConfig
from streamtag.model.training.encoder.beside import steps
from streamtag.model.training.encoder.network import Network

THREADS = 2
"""Sums over another number of threads have another order; the same weights come only of the same."""
DROPOUT = 0.1
_WARM_UP = 0.06  # of all steps
_DECAY = 0.01
_HEAD_FASTER = 10.0  # it starts from nothing
_LONGEST_STEP = 1.0
_POOL = 50  # batches are cut from so many by length: little padding, and still another mixture each epoch
_PREDICT = 64

Tokens = Sequence[Sequence[int]]


def fine_tune(
    network: Network,
    tokens: Tokens,
    targets: NDArray[np.int8],
    weight: NDArray[np.float32],
    config: EncoderConfig,
    step: Callable[[], None],
) -> None:
    """Fits ``network`` in place.

    Args:
        network: in its pretrained state.
        tokens: ids of each text.
        targets: int8 [n, labels]; -1 is unknown.
        weight: float32 [n], of a row in the loss.
        config: epochs, rate, batch, seed.
        step: called after each step.
    """
    rng = np.random.default_rng(config.seed)
    total = steps(config, len(tokens))
    warm = max(1, int(_WARM_UP * total))
    optimiser = torch.optim.AdamW(_groups(network, config.rate), eps=1e-6, fused=True)

    def pace(i: int) -> float:
        return min((i + 1) / warm, (total - i) / max(1, total - warm))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    wanted, heavy = torch.from_numpy(targets.astype(np.float32)), torch.from_numpy(weight)
    network.train()
    for _ in range(config.epochs):
        for rows in _batches([len(text) for text in tokens], config.batch, rng):
            known = (wanted[rows] >= 0).float() * heavy[rows, None]
            off = functional.binary_cross_entropy_with_logits(
                network(padded([tokens[i] for i in rows.tolist()])), wanted[rows].clamp(min=0), reduction="none"
            )
            optimiser.zero_grad()
            ((off * known).sum() / known.sum().clamp(min=1e-9)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_STEP)
            optimiser.step()
            schedule.step()
            step()
    network.eval()


def predict(network: Network, tokens: Tokens) -> NDArray[np.float64]:
    """Logits, float64 [n, labels]."""
    order = np.argsort([len(text) for text in tokens], kind="stable")
    found = np.empty((len(tokens), network.head.out_features))
    network.eval()
    with torch.inference_mode():
        for at in range(0, len(order), _PREDICT):
            rows = order[at : at + _PREDICT]
            found[rows] = network(padded([tokens[i] for i in rows.tolist()])).numpy()
    return found


def padded(texts: Tokens) -> torch.Tensor:
    """Ids as a rectangle [n, longest]; 0 is padding."""
    ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(ids)


def _groups(network: Network, rate: float) -> list[dict[str, object]]:
    """Weights decay; biases and norms do not; the head is faster."""
    inner = [parameter for name, parameter in network.named_parameters() if not name.startswith("head.")]
    return [
        {"params": [p for p in inner if p.ndim > 1], "lr": rate, "weight_decay": _DECAY},
        {"params": [p for p in inner if p.ndim < 2], "lr": rate, "weight_decay": 0.0},
        {"params": list(network.head.parameters()), "lr": rate * _HEAD_FASTER, "weight_decay": _DECAY},
    ]


def _batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Every row once, in batches of like lengths, in random order."""
    order = rng.permutation(len(lengths))
    found = []
    for at in range(0, len(order), size * _POOL):
        pool = order[at : at + size * _POOL]
        pool = pool[np.argsort([lengths[i] for i in pool.tolist()], kind="stable")]
        found += [pool[i : i + size] for i in range(0, len(pool), size)]
    yield from (found[i] for i in rng.permutation(len(found)).tolist())
