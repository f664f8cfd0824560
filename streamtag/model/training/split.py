"""Which rows train and which test: by hash, whole families of near-duplicates on one side."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

# MinHash with 16 bands of 5: texts that share 80 % of their n-grams meet in a band with 99.8 %, those that share half
# with 40 %; what met is then compared.
BANDS, ROWS = 16, 5
SIMILAR = 0.7
"""Jaccard similarity of n-gram sets from which two texts count as one."""
_CHUNK = 2_048


def duplicate_groups(present: csr_matrix) -> NDArray[np.int32]:
    """A group number per text; near-duplicates share one.

    Args:
        present: [texts, buckets], which n-grams a text has; values are not read.

    Returns:
        int32 [texts].
    """
    signature = _signatures(present)
    pairs: set[tuple[int, int]] = set()
    for band in range(BANDS):
        # Neighbours among those that met are enough: what they miss in one band, another order in the next ones joins.
        _, met = np.unique(signature[:, band * ROWS : (band + 1) * ROWS], axis=0, return_inverse=True)
        order = np.argsort(met, kind="stable")
        same = met[order[1:]] == met[order[:-1]]
        pairs.update(zip(order[:-1][same].tolist(), order[1:][same].tolist(), strict=True))
    similar = [pair for pair in sorted(pairs) if _jaccard(present, *pair) >= SIMILAR]
    a, b = np.array(similar, dtype=np.intp).reshape(-1, 2).T
    n = present.shape[0]
    edges = (np.ones(len(a), dtype=np.bool_), (a, b))
    graph = coo_matrix(edges, shape=(n, n))  # type: ignore[no-untyped-call]
    groups: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups


@dataclass(frozen=True)
class Split:
    """Rows of a dataset by their use; the rest is in neither, being too like a test row.

    Attributes:
        groups: int32 [rows], near-duplicates share a number.
        train: bool [rows].
        test: bool [rows], drawn at random only: the rates of real traffic.
    """

    groups: NDArray[np.int32]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


def split_rows(
    ids: Sequence[str], natural: NDArray[np.bool_], groups: NDArray[np.int32], *, share: float, salt: str
) -> Split:
    """Holds out ``share`` of the groups of natural-rate rows for the test.

    Args:
        ids: of the rows; a group is placed by the smallest id in it.
        natural: bool [rows], drawn at random.
        groups: int32 [rows].
        share: of groups to hold out, 0 … 1.
        salt: names the split; another salt is another split.
    """
    test = natural & (unit_hash(group_names(ids, groups), salt) < share)
    return Split(groups, train=~np.isin(groups, groups[test]), test=test)


def group_names(ids: Sequence[str], groups: NDArray[np.int32]) -> list[str]:
    """For each text the smallest id of its group."""
    smallest: dict[int, str] = {}
    for name, group in zip(ids, groups.tolist(), strict=True):
        smallest[group] = min(name, smallest.get(group, name))
    return [smallest[group] for group in groups.tolist()]


def unit_hash(names: Sequence[str], salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) per name, the same on every machine."""
    digests = (hashlib.sha256(f"{salt}\0{name}".encode()).digest()[:8] for name in names)
    numbers = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
    return (numbers >> np.uint64(11)) / float(1 << 53)


def _signatures(present: csr_matrix) -> NDArray[np.uint32]:
    """MinHash signatures, uint32 [texts, BANDS * ROWS]; a text without n-grams has all ones."""
    random = np.random.default_rng(20_240_501)
    factors = random.integers(0, 1 << 31, size=BANDS * ROWS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    offsets = random.integers(0, 1 << 32, size=BANDS * ROWS, dtype=np.uint32)
    # Mixed once: an affine map alone keeps neighbours together and its minima are no random sample.
    columns = np.arange(present.shape[1], dtype=np.uint32) * np.uint32(0x9E3779B1)
    columns = (columns ^ (columns >> np.uint32(15))) * np.uint32(0x85EBCA77)
    columns ^= columns >> np.uint32(13)
    signature = np.full((present.shape[0], BANDS * ROWS), np.uint32(0xFFFFFFFF))
    filled = np.flatnonzero(np.diff(present.indptr))
    for at in range(0, len(filled), _CHUNK):
        rows = filled[at : at + _CHUNK]
        begin, end = present.indptr[rows[0]], present.indptr[rows[-1] + 1]
        mixed = columns[present.indices[begin:end]]
        starts = present.indptr[rows] - begin
        for k in range(BANDS * ROWS):
            value = mixed * factors[k] + offsets[k]
            value ^= value >> np.uint32(16)
            signature[rows, k] = np.minimum.reduceat(value, starts)
    return signature


def _jaccard(present: csr_matrix, a: int, b: int) -> float:
    one = present.indices[present.indptr[a] : present.indptr[a + 1]]
    other = present.indices[present.indptr[b] : present.indptr[b + 1]]
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)
