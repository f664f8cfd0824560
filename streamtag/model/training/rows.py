"""Labelled documents, as every reader gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rows:
    """Labelled documents of one or several sets."""

    labels: tuple[str, ...]  # columns of `targets`
    ids: tuple[str, ...]  # unique: "<set>:<id>"
    texts: tuple[str, ...]
    targets: NDArray[np.int8]  # [n, labels]: 1 yes, 0 no, -1 not annotated (unknown)
    natural: NDArray[np.bool_]  # [n]: drawn at the natural rate of its labels
    source: tuple[str, ...]  # [n]: set (and file) it came from
    language: tuple[str, ...]  # [n]: "en", … or ""
    split: tuple[str, ...]  # [n]: "train", "dev", "test" where the set fixes it, else ""
    features: tuple[Mapping[str, float], ...] | None = None
    group: tuple[str, ...] | None = None  # keep together in a split, where the set says so


class Copies(NamedTuple):
    """Texts that were made of rows.

    Attributes:
        of: intp [n], number of the row that each was made of.
        texts: n of them.
    """

    of: NDArray[np.intp]
    texts: list[str]
