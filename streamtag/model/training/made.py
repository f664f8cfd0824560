"""Rows that are made of training rows: in disguised spelling, or with the name of a group of people put in."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamtag.model.training.config import AugmentConfig, TrainConfig
from streamtag.model.training.identity import counterfactuals
from streamtag.model.training.obfuscate import obfuscate
from streamtag.model.training.rows import Copies
from streamtag.model.training.split import unit_hash

__all__ = ["Made", "disguised_copies", "make_rows"]


class Made(NamedTuple):
    """Rows in addition to those of the sets.

    Attributes:
        of: intp [n], number of the row that each was made of.
        texts: n of them.
        targets: int8 [n, labels].
        factor: float32 [n], of the weight of the row that it was made of.
    """

    of: NDArray[np.intp]
    texts: list[str]
    targets: NDArray[np.int8]
    factor: NDArray[np.float32]


def make_rows(config: TrainConfig, ids: list[str], texts: list[str], targets: NDArray[np.int8]) -> Made:
    """What ``augment`` and ``identity`` ask for.

    Args:
        config: of the training.
        ids: of the training rows.
        texts: of the training rows.
        targets: int8 [rows, labels].
    """
    disguised = disguised_copies(ids, texts, config.augment, config.split.salt)
    named = counterfactuals(ids, texts, targets, share=config.identity.share, salt=config.split.salt)
    other_group = targets[named.of]
    offending = (other_group == 1).any(axis=1)
    for name in config.identity.unknown:
        other_group[offending, config.label_ids.index(name)] = -1
    return Made(
        np.concatenate([disguised.of, named.of]),
        disguised.texts + named.texts,
        np.concatenate([targets[disguised.of], other_group]),
        np.array(
            [config.augment.weight] * len(disguised.texts) + [config.identity.weight] * len(named.texts),
            dtype=np.float32,
        ),
    )


def disguised_copies(ids: list[str], texts: list[str], augment: AugmentConfig, salt: str) -> Copies:
    """A share of the rows, by the hash of their id, the kinds of disguise in turn."""
    copied = np.flatnonzero(unit_hash(ids, salt + "/augment") < augment.share)
    return Copies(
        copied,
        [
            obfuscate(texts[i], augment.kinds[turn % len(augment.kinds)], seed=salt)
            for turn, i in enumerate(copied.tolist())
        ],
    )
