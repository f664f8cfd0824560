"""What contracts share that feed a graph with weighted ids: its inputs, their tables, and how rows are put together."""

import io
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.preprocessor import InputSpec
from streamtag.model.ngrams import IDS, MAX_IDF, WEIGHTS

__all__ = ["SIGNATURE", "by_length", "idf_problems", "read_vector"]

SIGNATURE: Mapping[str, InputSpec] = {
    IDS: InputSpec("tensor(int32)", (None, None)),
    WEIGHTS: InputSpec("tensor(float)", (None, 1, None)),
}
"""Of `streamtag.model.training.graph`."""

_Int = TypeVar("_Int", bound=np.unsignedinteger[Any])


def by_length(lengths: NDArray[np.intp], most: int) -> Iterator[NDArray[np.intp]]:
    """Runs of at most so many rows, the short ones first.

    A run is as wide as its longest row, so neighbours of one length waste little.
    """
    order = lengths.argsort(kind="stable")
    for at in range(0, len(order), most):
        yield order[at : at + most]


def read_vector(name: str, content: bytes, dtype: type[_Int], found: list[str]) -> NDArray[_Int]:
    """The vector in an ``.npy`` file; an empty one, and a problem in ``found``, when it is something else."""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        found.append(f"{name}: not a plain array: {error}")
        return np.empty(0, dtype=dtype)
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1 or not len(array):
        found.append(f"{name}: must be a non-empty vector of {np.dtype(dtype)}")
        return np.empty(0, dtype=dtype)
    return array


def idf_problems(name: str, idf: NDArray[np.uint16], entries: int, what: str) -> list[str]:
    """What is wrong with the IDF of so many buckets or words."""
    found = [] if len(idf) == entries else [f"{name}: {len(idf)} values for {entries} {what}"]
    if not 1 <= int(idf.min(initial=1)) <= int(idf.max(initial=1)) <= MAX_IDF:
        found.append(f"{name}: values must lie in 1 … {MAX_IDF}")
    return found
