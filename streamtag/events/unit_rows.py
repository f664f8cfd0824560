"""Packing the units of an experiment into a commit summary, and reading them back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.events.summary import ExperimentRows, UnitRows

__all__ = ["UnitColumns", "pack", "unpack"]

_HASH = np.dtype("<u8")


@dataclass(frozen=True)
class UnitColumns:
    """Events that took part in an experiment, n rows of one label list.

    Attributes:
        hashes: of the units of correlation, uint64 [n].
        control: what the control tagged, bool [n, labels].
        candidate: what the candidate tagged, bool [n, labels].
    """

    hashes: NDArray[np.uint64]
    control: NDArray[np.bool_]
    candidate: NDArray[np.bool_]


def pack(columns: UnitColumns) -> UnitRows:
    """The wire form."""
    return UnitRows(columns.hashes.astype(_HASH).tobytes(), _bits(columns.control), _bits(columns.candidate))


def unpack(rows: ExperimentRows) -> UnitColumns:
    """The inverse of `pack`.

    Raises:
        ValueError: the columns are not of the same number of units, or not of as many labels as are named.
    """
    units, labels = rows.units, rows.labels
    n, rest = divmod(len(units.hashes), _HASH.itemsize)
    if rest:
        raise ValueError(f"experiment {rows.id}: {len(units.hashes)} bytes are no whole number of unit hashes")
    hashes = np.frombuffer(units.hashes, dtype=_HASH).astype(np.uint64)
    return UnitColumns(hashes, _flags(rows, "control", n, labels), _flags(rows, "candidate", n, labels))


def _bits(flags: NDArray[np.bool_]) -> bytes:
    return np.packbits(flags, axis=1, bitorder="little").tobytes()


def _flags(rows: ExperimentRows, arm: str, n: int, labels: Sequence[str]) -> NDArray[np.bool_]:
    raw: bytes = getattr(rows.units, arm)
    width = -(-len(labels) // 8)
    if len(raw) != n * width:
        raise ValueError(
            f"experiment {rows.id}: {n} units of {len(labels)} labels are {n * width} bytes, but {arm} has {len(raw)}"
        )
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(n, width)
    return np.unpackbits(packed, axis=1, count=len(labels), bitorder="little").astype(np.bool_)
