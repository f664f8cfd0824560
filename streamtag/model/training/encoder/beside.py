"""An encoder beside a linear model: fine-tuned on all folds but one, and mixed with it on that one.

Folding as the linear model does would take as many fine-tunings as there are folds, each of half an hour and more. So
one fold is kept for what must not be fitted on rows that the encoder has seen: how much it counts beside the linear
model, calibration, cut-offs and the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.text_rules import TextRules
from streamtag.model.contracts.tokenizer import TOKENIZER, TokenizerContract, Tokens
from streamtag.model.normalise import Normalisation
from streamtag.model.training.config import EncoderConfig
from streamtag.model.training.encoder.pretrained import PADDING, Array, Encoder
from streamtag.model.training.encoder.vocabulary import cut_vocabulary
from streamtag.model.training.heads import Floats, Targets, fit_logistic

IDS, MASK = "input_ids", "attention_mask"
"""Inputs of the graph besides n-grams."""
ASIDE = 0
"""The fold that the encoder does not see."""
_PENALTY = 1.0


@dataclass(frozen=True)
class Mix:
    """``z'_j = linear_j z_j + encoder_j e_j + bias_j``; each [labels]."""

    linear: Floats
    encoder: Floats
    bias: Floats

    def apply(self, margins: Floats, logits: Floats) -> Floats:
        """Margins of both, float64 [n, labels]."""
        return np.asarray(margins * self.linear + logits * self.encoder + self.bias)


@dataclass(frozen=True)
class Beside:
    """What is added to a linear model.

    Attributes:
        contract: how texts become tokens.
        encoder: fine-tuned.
        head, bias: [width, labels], [labels]; from the mean of the last layer's rows to logits.
        mix: with the margins of the linear model.
    """

    contract: TokenizerContract
    encoder: Encoder
    head: Array
    bias: Array
    mix: Mix

    @property
    def files(self) -> dict[str, bytes]:
        """Of the bundle, by name."""
        return {TOKENIZER: self.encoder.tokenizer}


@dataclass(frozen=True)
class Lesson:
    """Rows to fine-tune on, and rows to predict.

    Attributes:
        texts: of all of them.
        targets: int8 [rows, labels].
        weight: float32 [rows].
        aside: bool [rows], to predict; the encoder is fitted on the others.
    """

    texts: Sequence[str]
    targets: Targets
    weight: NDArray[np.float32]
    aside: NDArray[np.bool_]


def steps(config: EncoderConfig, rows: int) -> int:
    """How many steps `learn` takes."""
    return config.epochs * -(-rows // config.batch)


def contract_of(config: EncoderConfig) -> TokenizerContract:
    """How the encoder is given texts: in plain spelling, as the n-grams beside it."""
    rules = TextRules(normalisation=Normalisation(), unmask=True)
    return TokenizerContract(ids=IDS, mask=MASK, max_tokens=config.max_tokens, pad_id=PADDING, text=rules)


def learn(
    config: EncoderConfig, pretrained: Encoder, lesson: Lesson, step: Callable[[], None]
) -> tuple[Beside, Floats]:
    """The encoder, not yet mixed, and logits of the rows aside, float64 [rows aside, labels]."""
    import torch  # noqa: PLC0415 - an extra

    from streamtag.model.training.encoder.fine_tune import DROPOUT, THREADS, fine_tune, predict  # noqa: PLC0415
    from streamtag.model.training.encoder.network import Network  # noqa: PLC0415

    contract = contract_of(config)
    seen, own = np.flatnonzero(~lesson.aside), pretrained
    if config.pieces is not None:
        own = cut_vocabulary(own, [contract.text.apply(lesson.texts[i]) for i in seen.tolist()], config.pieces)
    # By what will serve, so that nothing is read otherwise there.
    read = Tokens(contract, {TOKENIZER: own.tokenizer}).read(lesson.texts, None)
    tokens = [encoding.ids for encoding in read.rows]
    torch.manual_seed(config.seed)
    torch.set_num_threads(THREADS)
    labels = lesson.targets.shape[1]
    network = Network(own, labels, DROPOUT)
    fine_tune(network, _some(tokens, seen), lesson.targets[seen], lesson.weight[seen], config, step)
    logits = predict(network, _some(tokens, np.flatnonzero(lesson.aside)))
    unmixed = Mix(np.zeros(labels), np.ones(labels), np.zeros(labels))
    return Beside(contract, *network.onto(own), unmixed), logits


def fit_mix(margins: Floats, logits: Floats, targets: Targets, weight: NDArray[np.float32]) -> Mix:
    """A logistic regression per label on the rows that annotate it.

    What would count against itself does not count; where nothing is left, the linear model stays as it is.

    Args:
        margins: float64 [n, labels], of the linear model, out of fold.
        logits: float64 [n, labels], of the encoder, on rows that it did not see.
        targets: int8 [n, labels].
        weight: float32 [n].
    """
    labels = margins.shape[1]
    found = Mix(np.ones(labels), np.zeros(labels), np.zeros(labels))
    for j in range(labels):
        known = targets[:, j] >= 0
        design, target, heavy = np.column_stack([margins[:, j], logits[:, j]])[known], targets[known, j], weight[known]
        point = fit_logistic(design, target, [_PENALTY] * 2, heavy)
        if point[:2].min() < 0:
            out = int(point[:2].argmin())
            point = np.insert(fit_logistic(design[:, [1 - out]], target, [_PENALTY], heavy), out, 0.0)
        if point[:2].max() > 0 and point[:2].min() >= 0:
            found.linear[j], found.encoder[j], found.bias[j] = point
    return found


def _some(tokens: list[list[int]], rows: NDArray[np.intp]) -> list[list[int]]:
    return [tokens[i] for i in rows.tolist()]
