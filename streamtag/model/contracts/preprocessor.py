"""What every preprocessing contract is: documents in, the named input arrays of a graph out.

A document is a text and the features of its event; batches of them come as columns. A contract is a struct of the
manifest (what was promised) and a `Preprocessor` (who keeps the promise); `streamtag.model.contracts.registry` pairs
them, and ``tests/contract/test_preprocessing_contract.py`` is what each must keep.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamtag.events.content import FeatureValue

FeatureRow = Mapping[str, FeatureValue]
"""``features`` of one event."""
Inputs = dict[str, NDArray[Any]]
"""Input arrays of a graph by name; the first axis is the document."""


class Unfit(NamedTuple):
    """Why a document cannot be scored.

    Attributes:
        field: JSON Pointer into the event.
        message: without any content of the document.
    """

    field: str
    message: str


class InputSpec(NamedTuple):
    """What an input of the graph must be.

    Attributes:
        type: as onnxruntime names it: ``tensor(float)``.
        shape: sizes of its axes; None where the graph may leave it open or must take any.
    """

    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Documents:
    """A batch as its contract has read it.

    Attributes:
        n: how many.
        rows: the contract's own form of them; document i is its row i.
        refused: those that cannot be scored; `Preprocessor.unfit` says why.
    """

    n: int
    rows: Any
    refused: Sequence[int] = ()


class Preprocessor(ABC):
    """Keeps one contract. For one thread at a time.

    Attributes:
        files: of the bundle that belong to the contract.
        reads_text, reads_features: what it needs of a document.
        mixes: whether any documents may share a run. If not, those of one run of `runs` must be of one width.
        max_rows: documents per run, at most.
        filled: (feature, why) to how many values were filled in or cut back to their range, since it was last cleared.
    """

    files: ClassVar[tuple[str, ...]] = ()
    reads_text: bool = False
    reads_features: bool = False
    mixes: bool = True
    max_rows: int = 1 << 20

    def __init__(self) -> None:
        self.filled: Counter[tuple[str, str]] = Counter()

    @property
    @abstractmethod
    def signature(self) -> Mapping[str, InputSpec]:
        """Inputs that the graph must have, no more and no fewer."""

    @abstractmethod
    def read(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None) -> Documents:
        """Documents in the contract's own form.

        Args:
            texts: one per document; empty where an event has none.
            features: likewise; None: no document has any.
        """

    def runs(self, documents: Documents, most: int) -> Iterator[NDArray[np.intp]]:
        """Indices of documents that go through the graph together, each at once, at most ``most`` of them."""
        for at in range(0, documents.n, most):
            yield np.arange(at, min(at + most, documents.n))

    @abstractmethod
    def inputs(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> Inputs:
        """Input arrays for some documents.

        Args:
            documents: as read.
            run: indices of documents.
            wider: steps of padding beyond need, where the contract pads; for the gate that looks for its influence.
        """

    def unfit(self, text: str | None, features: FeatureRow | None) -> Unfit | None:
        """Why this document cannot be scored; None when it can."""
        if self.reads_text and text is None:
            also = "" if self.reads_features else ", and the bundle reads nothing else"
            return Unfit("/text", f"no text{also}")
        return None

    def edge(self) -> Inputs | None:
        """The largest inputs that it can give: the graph must bear them. None where fixtures show it."""
        return None
