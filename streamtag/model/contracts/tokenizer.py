"""``tokenizer/1``: token ids by a Hugging Face ``tokenizer.json``, which the bundle pins by hash."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag import strict_json
from streamtag.errors import BundleError
from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Inputs, InputSpec, Preprocessor
from streamtag.model.contracts.text_rules import TextRules, cut_problems
from streamtag.model.giving_way import give_way

KIND: Literal["tokenizer/1"] = "tokenizer/1"
TOKENIZER = "tokenizer.json"
MAX_TOKENS = 8_192
_TYPES: Mapping[str, str] = {"int64": "tensor(int64)", "int32": "tensor(int32)"}


class TokenizerContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=KIND):
    """What the graph is given.

    Attributes:
        ids: name of the input of token ids [n, width].
        mask: name of the input that is 1 at tokens and 0 at padding; None: the graph has none.
        token_types: name of the input of segment numbers; None: the graph has none.
        dtype: of all of them.
        max_tokens: a longer text is cut, special tokens included.
        pad_to: widths are multiples of it, or ``max_tokens``. A text's width is its own, never its neighbours', so that
            it gets the same bits in any company.
        pad_id: the id of padding.
        specials_in_text: whether a special token that a writer spells out (``[SEP]``) counts as one. Hugging Face's
            default, and a way for whoever writes texts to speak to the model in its own marks.
        text: what is done before.
    """

    ids: str = "input_ids"
    mask: str | None = "attention_mask"
    token_types: str | None = None
    dtype: Literal["int64", "int32"] = "int64"
    max_tokens: int = 256
    pad_to: int = 16
    pad_id: int = 0
    specials_in_text: bool = False
    text: TextRules = TextRules()

    @property
    def kind(self) -> str:
        """Name of the contract."""
        return KIND


class Tokens(Preprocessor):
    """Texts to token ids.

    Raises:
        BundleError: the package `tokenizers` is missing, or cannot read the file.
    """

    files = (TOKENIZER,)
    reads_text = True
    mixes = False

    def __init__(self, contract: TokenizerContract, contents: Mapping[str, bytes]) -> None:
        super().__init__()
        self.contract = contract
        self._tokenizer = load_tokenizer(contents[TOKENIZER])
        cutting = self._tokenizer.truncation or {}
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = not contract.specials_in_text
        self._tokenizer.enable_truncation(contract.max_tokens, direction=cutting.get("direction", "right"))
        self._inputs = [name for name in (contract.ids, contract.mask, contract.token_types) if name is not None]

    @staticmethod
    def problems(contract: TokenizerContract, contents: Mapping[str, bytes]) -> list[str]:
        """Whether the file is a tokenizer at all; the package itself says more when it loads it."""
        try:
            document = strict_json.decode(contents[TOKENIZER], dict)
        except msgspec.DecodeError as error:
            return [f"{TOKENIZER}: {error}"]
        if "model" not in document:
            return [f"{TOKENIZER}: has no field `model`; it must be what `tokenizers` saves"]
        return []

    @property
    def signature(self) -> Mapping[str, InputSpec]:
        """As of the base."""
        return dict.fromkeys(self._inputs, InputSpec(_TYPES[self.contract.dtype], (None, None)))

    def read(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None) -> Documents:
        """Rows are the encodings of `tokenizers`."""
        prepared = list(map(self.contract.text.apply, texts))
        return Documents(len(texts), self._tokenizer.encode_batch_fast(prepared))

    def runs(self, documents: Documents, most: int) -> Iterator[NDArray[np.intp]]:
        """Of one width each, narrow ones first."""
        widths = np.fromiter(map(self._width, documents.rows), dtype=np.intp, count=documents.n)
        order = widths.argsort(kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(widths[order])) + 1):
            for at in range(0, len(same), most):
                yield same[at : at + most]

    def inputs(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> Inputs:
        """As of the base; the width is that of the widest, a step of padding ``pad_to`` tokens."""
        contract, rows = self.contract, [documents.rows[i] for i in run.tolist()]
        width = min(max(map(self._width, rows)) + wider * contract.pad_to, contract.max_tokens)
        columns = self._columns(len(rows), width)
        for i, row in enumerate(rows):
            n = len(row)
            columns[contract.ids][i, :n] = row.ids
            if contract.mask is not None:
                columns[contract.mask][i, :n] = 1
            if contract.token_types is not None:
                columns[contract.token_types][i, :n] = row.type_ids
        return columns

    def edge(self) -> Inputs:
        """A text as wide as can be, of the largest id."""
        columns = self._columns(1, self.contract.max_tokens)
        columns[self.contract.ids][:] = max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        if self.contract.mask is not None:
            columns[self.contract.mask][:] = 1
        return columns

    def _columns(self, n: int, width: int) -> dict[str, NDArray[Any]]:
        columns = {name: np.zeros((n, width), dtype=self.contract.dtype) for name in self._inputs}
        columns[self.contract.ids][:] = self.contract.pad_id
        return columns

    def _width(self, encoding: Any) -> int:
        step = self.contract.pad_to
        return min(max(1, -(-len(encoding) // step)) * step, self.contract.max_tokens)


def load_tokenizer(content: bytes) -> Any:
    """The tokenizer in a ``tokenizer.json``.

    Raises:
        BundleError: the package `tokenizers` is missing, or cannot read the file.
    """
    # Its threads would take cores from other workers, and it complains of forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise BundleError(
            f"a bundle with the preprocessing contract {KIND} needs the package tokenizers",
            hint="Install the extra: pip install 'streamtag[tokenizers]'.",
        ) from None
    give_way()
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # noqa: BLE001 - it raises nothing more particular
        raise BundleError(
            f"{TOKENIZER} is refused",
            problems=[f"{TOKENIZER}: tokenizers cannot load it: {str(error).strip()[:300]}"],
            hint="Save it anew with tokenizer.save(…) of a version of `tokenizers` that is not newer than this one.",
        ) from None
    give_way()
    return tokenizer


def contract_problems(contract: TokenizerContract) -> list[str]:
    """Every contradiction within the contract."""
    found = cut_problems(contract.text.head_chars, contract.text.tail_chars)
    if not 1 <= contract.max_tokens <= MAX_TOKENS:
        found.append(f"max_tokens {contract.max_tokens} is outside 1 … {MAX_TOKENS}")
    if not 1 <= contract.pad_to <= contract.max_tokens:
        found.append(f"pad_to {contract.pad_to} is outside 1 … max_tokens")
    names = [name for name in (contract.ids, contract.mask, contract.token_types) if name is not None]
    if len(set(names)) < len(names):
        found.append("two inputs have one name")
    return found
