"""Packing the units of an experiment into a commit summary, and reading them back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.events.summary import ExperimentRows, UnitRows

__all__ = ["UnitColumns", "pack", "unpack", "unpack_all"]

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
    return unpack_all([rows])[0]


def unpack_all(found: Sequence[ExperimentRows]) -> tuple[UnitColumns, NDArray[np.int64]]:
    """Rows of the same labels, one after the other, and how many each of ``found`` has, int64.

    A pane holds thousands of a few rows each; taken one by one, arrays cost more than what is in them.

    Raises:
        ValueError: as `unpack`, of any.
    """
    labels = len(found[0].labels)
    sizes = [_size(rows, labels) for rows in found]
    units = [rows.units for rows in found]
    hashes = np.frombuffer(b"".join([one.hashes for one in units]), dtype=_HASH).astype(np.uint64)
    control = _flags(b"".join([one.control for one in units]), len(hashes), labels)
    candidate = _flags(b"".join([one.candidate for one in units]), len(hashes), labels)
    return UnitColumns(hashes, control, candidate), np.array(sizes, np.int64)


def _bits(flags: NDArray[np.bool_]) -> bytes:
    return np.packbits(flags, axis=1, bitorder="little").tobytes()


def _size(rows: ExperimentRows, labels: int) -> int:
    n, rest = divmod(len(rows.units.hashes), _HASH.itemsize)
    if rest:
        raise ValueError(f"experiment {rows.id}: {len(rows.units.hashes)} bytes are no whole number of unit hashes")
    due = n * -(-labels // 8)
    for arm, raw in (("control", rows.units.control), ("candidate", rows.units.candidate)):
        if len(raw) != due:
            raise ValueError(
                f"experiment {rows.id}: {n} units of {labels} labels are {due} bytes, but {arm} has {len(raw)}"
            )
    return n


def _flags(raw: bytes, n: int, labels: int) -> NDArray[np.bool_]:
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(n, -(-labels // 8))
    return np.unpackbits(packed, axis=1, count=labels, bitorder="little").view(np.bool_)
