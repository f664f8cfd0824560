"""``combined/1``: a graph that reads what several contracts give, as a text and numbers beside it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.numeric import NumericContract
from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Inputs, InputSpec, Preprocessor, Unfit
from streamtag.model.contracts.string import StringContract
from streamtag.model.contracts.tokenizer import TokenizerContract
from streamtag.model.length_ngrams import LengthNgramContract
from streamtag.model.ngrams import NgramContract
from streamtag.model.word_ngrams import WordNgramContract

KIND: Literal["combined/1"] = "combined/1"
Part = NgramContract | WordNgramContract | LengthNgramContract | TokenizerContract | StringContract | NumericContract


class CombinedContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=KIND):
    """What the graph is given.

    Attributes:
        parts: at most one of a kind; runs are cut as the first of them wants.
    """

    parts: list[Part]

    @property
    def kind(self) -> str:
        """Name of the contract."""
        return KIND


class Combined(Preprocessor):
    """Documents to the inputs of all parts."""

    def __init__(self, parts: Sequence[Preprocessor]) -> None:
        super().__init__()
        self._parts = parts
        self.reads_text = any(part.reads_text for part in parts)
        self.reads_features = any(part.reads_features for part in parts)
        self.mixes = all(part.mixes for part in parts)
        self.max_rows = min(part.max_rows for part in parts)
        for part in parts:
            part.filled = self.filled

    @property
    def signature(self) -> Mapping[str, InputSpec]:
        """As of the base."""
        return {name: spec for part in self._parts for name, spec in part.signature.items()}

    def read(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None) -> Documents:
        """Rows are the documents of each part."""
        read = [part.read(texts, features) for part in self._parts]
        return Documents(len(texts), read, sorted({i for one in read for i in one.refused}))

    def runs(self, documents: Documents, most: int) -> Iterator[NDArray[np.intp]]:
        """As the first part wants them."""
        return self._parts[0].runs(documents.rows[0], most)

    def inputs(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> Inputs:
        """As of the base."""
        found: Inputs = {}
        for part, own in zip(self._parts, documents.rows, strict=True):
            found |= part.inputs(own, run, wider=wider)
        return found

    def unfit(self, text: str | None, features: FeatureRow | None) -> Unfit | None:
        """What the first part says that has anything to say."""
        return next((found for part in self._parts if (found := part.unfit(text, features))), None)

    def edge(self) -> Inputs | None:
        """The edges of those parts that have one, beside an ordinary document for the others."""
        edges = [part.edge() for part in self._parts]
        if all(edge is None for edge in edges):
            return None
        found: Inputs = {}
        for part, edge in zip(self._parts, edges, strict=True):
            found |= part.inputs(part.read([""], [None]), np.zeros(1, dtype=np.intp)) if edge is None else edge
        return found


def contract_problems(contract: CombinedContract) -> list[str]:
    """Contradictions between the parts."""
    kinds = [part.kind for part in contract.parts]
    found = []
    if len(kinds) < 2 or len(set(kinds)) < len(kinds):
        found.append("parts must be two or more, each of another kind")
    if len(kinds) > 1 and NumericContract in map(type, contract.parts[:-1]):
        found.append("parts: the numbers come last")
    if sum(isinstance(part, NgramContract) for part in contract.parts) > 1:
        found.append("parts: n-grams of two contracts want the same inputs; one of them must go")
    if TokenizerContract in map(type, contract.parts[1:]):
        found.append("parts: tokens come first; what shares a run must be of one width")
    return found
