"""Whether the parts of a bundle are of the form they must have, and agree with each other."""

import io
import re
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.domain.thresholds import ThresholdSet, problems
from streamtag.model.manifest import BUCKETS, IDF, MANIFEST, PARITY, REQUIRED, Manifest, Parity
from streamtag.model.ngrams import MAX_IDF

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_Int = TypeVar("_Int", bound=np.unsignedinteger[Any])


def manifest_problems(manifest: Manifest) -> list[str]:
    """Every contradiction within a manifest."""
    found = [f"{MANIFEST}: {name} missing from files" for name in REQUIRED if name not in manifest.files]
    for what, value in (("name", manifest.name), ("version", manifest.version)):
        if not PLAIN_NAME.fullmatch(value):
            found.append(f"{MANIFEST}: {what} {value!r} must be letters, digits, dot, dash or underscore")
    ids = [label.id for label in manifest.labels]
    if not ids:
        found.append(f"{MANIFEST}: labels is empty")
    found += [f"{MANIFEST}: label {name!r} stands twice" for name in sorted({n for n in ids if ids.count(n) > 1})]
    thresholds = ThresholdSet({label.id: label.threshold for label in manifest.labels})
    found += [f"{MANIFEST}: default thresholds: {problem}" for problem in problems(thresholds, ids)]
    if [entry.label for entry in manifest.calibration] != ids:
        found.append(f"{MANIFEST}: calibration must have one entry per label, in the order of the labels")
    return found + _contract_problems(manifest)


def _contract_problems(manifest: Manifest) -> list[str]:
    contract = manifest.preprocessing
    found = []
    if not 8 <= contract.bits <= 24:
        found.append(f"{MANIFEST}: preprocessing.bits {contract.bits} is outside 8 … 24")
    if contract.head_chars < 1 or contract.tail_chars < 0:
        found.append(f"{MANIFEST}: preprocessing must read at least one character of the head")
    if contract.head_chars + contract.tail_chars > 100_000:
        found.append(f"{MANIFEST}: preprocessing reads more than 100000 characters of a text")
    return found


def decode_vector(name: str, content: bytes, dtype: type[_Int], found: list[str]) -> NDArray[_Int]:
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


def vector_problems(buckets: NDArray[np.uint32], idf: NDArray[np.uint16], bits: int) -> list[str]:
    """Every contradiction between the two vectors and the size of the hash."""
    found = []
    if np.any(buckets[1:] <= buckets[:-1]) or int(buckets.max(initial=0)) >= 1 << bits:
        found.append(f"{BUCKETS}: must be ascending, without repetition, and below 2**{bits}")
    if len(idf) != len(buckets):
        found.append(f"{IDF}: {len(idf)} values for {len(buckets)} buckets")
    if not 1 <= int(idf.min(initial=1)) <= int(idf.max(initial=1)) <= MAX_IDF:
        found.append(f"{IDF}: values must lie in 1 … {MAX_IDF}")
    return found


def decode_parity(content: bytes, n_labels: int, found: list[str]) -> Parity | None:
    """The fixtures; None, or a problem in ``found``, when they are something else."""
    try:
        parity = msgspec.json.decode(content, type=Parity)
    except msgspec.DecodeError as error:
        found.append(f"{PARITY}: {error}")
        return None
    if not parity.fixtures:
        found.append(f"{PARITY}: no fixtures")
    if not 0 <= parity.tolerance <= 0.01:
        found.append(f"{PARITY}: tolerance {parity.tolerance} is outside 0 … 0.01")
    for i, fixture in enumerate(parity.fixtures):
        if len(fixture.scores) != n_labels:
            found.append(f"{PARITY}: fixture {i} has {len(fixture.scores)} scores for {n_labels} labels")
    return parity
