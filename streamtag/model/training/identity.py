"""Counterfactual rows about groups of people, so that naming a group is not what makes a text toxic.

Comments that attack name groups more often than others do, and a model learns the name (Dixon et al., "Measuring and
mitigating unintended bias in text classification", AIES 2018; they add harmless texts that name groups). Here a name is
put into harmless and into offending rows alike, in short pieces above all, where a single word weighs most.
"""

import hashlib
import random

import numpy as np
from numpy.typing import NDArray

from streamtag.model.training.rows import Copies
from streamtag.model.training.split import unit_hash

__all__ = ["TERMS", "counterfactuals"]

_STUDY = """
lesbian, gay, bisexual, transgender, trans, queer, lgbt, lgbtq, homosexual, straight, heterosexual, male, female,
nonbinary, african, african american, black, white, european, hispanic, latino, latina, latinx, mexican, canadian,
american, asian, indian, middle eastern, chinese, japanese, christian, muslim, jewish, buddhist, catholic, protestant,
sikh, taoist, old, older, young, younger, teenage, millenial, middle aged, elderly, blind, deaf, paralyzed
"""
TERMS = tuple(term.strip() for term in _STUDY.split(","))
"""Names of groups, those of the study."""

_SHORT = 12
"""Words of an offending row that is short enough to be used whole."""
_PIECE = (1, 8)
"""Words of a piece of a harmless row."""


def counterfactuals(ids: list[str], texts: list[str], targets: NDArray[np.int8], *, share: float, salt: str) -> Copies:
    """As many made of harmless rows as of offending ones.

    Args:
        ids: of the rows.
        texts: of the rows.
        targets: int8 [rows, labels]; a row is offending with any label, and harmless with none and no unknown one.
        share: of harmless rows that one is made of.
        salt: names the draw.
    """
    offending = (targets == 1).any(axis=1)
    harmless = np.flatnonzero((targets == 0).all(axis=1) & (unit_hash(ids, salt + "/identity") < share))
    short = [i for i in np.flatnonzero(offending).tolist() if len(texts[i].split()) <= _SHORT]
    draw = random.Random(hashlib.sha256(salt.encode()).digest())  # noqa: S311 - no secret
    made = [(i, _with_a_name(_piece(texts[i], draw), draw)) for i in harmless.tolist()]
    if short:
        made += [(i, _with_a_name(texts[i].split(), draw)) for i in draw.choices(short, k=len(harmless))]
    return Copies(np.array([i for i, _ in made], dtype=np.intp), [text for _, text in made])


def _piece(text: str, draw: random.Random) -> list[str]:
    words = text.split()
    length = draw.randint(*_PIECE)
    at = draw.randrange(max(1, len(words) - length + 1))
    return words[at : at + length]


def _with_a_name(words: list[str], draw: random.Random) -> str:
    at = draw.randrange(len(words) + 1)
    return " ".join([*words[:at], draw.choice(TERMS), *words[at:]])
