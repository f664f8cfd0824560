"""``string/1``: the graph itself reads the text, as graphs of scikit-learn pipelines do."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Inputs, InputSpec, Preprocessor
from streamtag.model.contracts.text_rules import TextRules, cut_problems

KIND: Literal["string/1"] = "string/1"


class StringContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=KIND):
    """What the graph is given.

    Attributes:
        input: name of the input.
        column: whether it is of shape [n, 1]; else [n].
        text: what is done before. Lower case belongs here, not into the graph: there it needs a locale that slim
            containers do not have, and knows fewer letters.
    """

    input: str
    column: bool = True
    text: TextRules = TextRules()

    @property
    def kind(self) -> str:
        """Name of the contract."""
        return KIND


class String(Preprocessor):
    """Texts as strings."""

    reads_text = True

    def __init__(self, contract: StringContract, contents: Mapping[str, bytes]) -> None:
        super().__init__()
        self.contract = contract

    @staticmethod
    def problems(contract: StringContract, contents: Mapping[str, bytes]) -> list[str]:
        """There are no files that could contradict it."""
        return []

    @property
    def signature(self) -> Mapping[str, InputSpec]:
        """As of the base."""
        return {self.contract.input: InputSpec("tensor(string)", (None, 1) if self.contract.column else (None,))}

    def read(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None) -> Documents:
        """Rows are object [n], str."""
        rows = np.empty(len(texts), dtype=object)
        rows[:] = list(map(self.contract.text.apply, texts))
        return Documents(len(texts), rows)

    def inputs(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> Inputs:
        """As of the base; nothing is padded."""
        texts = documents.rows[run]
        return {self.contract.input: texts[:, None] if self.contract.column else texts}


def contract_problems(contract: StringContract) -> list[str]:
    """Every contradiction within the contract."""
    return cut_problems(contract.text.head_chars, contract.text.tail_chars)
