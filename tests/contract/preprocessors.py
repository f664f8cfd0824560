"""Every preprocessing contract, with documents that it reads.

A new contract is one more entry of `CONTRACTS`; it inherits every case of ``test_preprocessing_contract.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from foreign_models import train_tokenizer

from streamtag.model.bundle import array_bytes
from streamtag.model.contracts.combined import CombinedContract
from streamtag.model.contracts.hashed_ngrams import BUCKETS, IDF
from streamtag.model.contracts.numeric import Feature, NumericContract
from streamtag.model.contracts.preprocessor import Preprocessor
from streamtag.model.contracts.registry import Contract, make_preprocessor
from streamtag.model.contracts.rendered_log import WORDS, WORDS_IDF, PartialLogContract, RenderedLogContract, hashes
from streamtag.model.contracts.string import StringContract
from streamtag.model.contracts.text_rules import TextRules
from streamtag.model.contracts.tokenizer import TOKENIZER, TokenizerContract
from streamtag.model.length_ngrams import LengthNgramContract
from streamtag.model.ngrams import NgramContract
from streamtag.model.normalise import Normalisation
from streamtag.model.word_ngrams import WordNgramContract

_SMALL = 12


@dataclass(frozen=True)
class Case:
    """A contract with its files."""

    name: str
    contract: Contract
    contents: Mapping[str, bytes] = field(default_factory=dict)
    reads_features: bool = False

    def make(self) -> Preprocessor:
        return make_preprocessor(self.contract, self.contents)


_BUCKETS = np.arange(0, 1 << _SMALL, 3, dtype=np.uint32)
_TABLES = {BUCKETS: array_bytes(_BUCKETS), IDF: array_bytes(np.full(len(_BUCKETS), 300, dtype=np.uint16))}
_NGRAMS = NgramContract(bits=_SMALL)
_WORDS = WordNgramContract(bits=_SMALL)
_LENGTHS = LengthNgramContract(bits=_SMALL)
_TOKENIZER = {TOKENIZER: train_tokenizer().to_str().encode()}
_NUMBERS = [Feature("amount", 0, 100), Feature("age", 0, 120, default=30), Feature("ratio", 0, 1, outside="clip")]
_STRING = StringContract("text", text=TextRules(40, 20, Normalisation(), lowercase=True))
_TOKENS = TokenizerContract(token_types="token_type_ids", max_tokens=24, pad_to=8, text=TextRules(300, 100))
_PLAIN_TOKENS = TokenizerContract(max_tokens=24, pad_to=8, text=TextRules(300, 100, Normalisation(), unmask=True))
_LOGS = RenderedLogContract()
_KNOWN = np.unique(np.array(hashes("noon/Train Größe [SEP] noon 日本語", _LOGS), dtype=np.uint32))
_WORD_TABLES = {WORDS: array_bytes(_KNOWN), WORDS_IDF: array_bytes(np.full(len(_KNOWN), 300, dtype=np.uint16))}

CONTRACTS = (
    Case("hashed n-grams", _NGRAMS, _TABLES),
    Case("hashed n-grams and words", _WORDS, _TABLES),
    Case("hashed n-grams, words and length", _LENGTHS, _TABLES),
    Case("rendered logs", _LOGS, _WORD_TABLES),
    Case("rendered logs of before", PartialLogContract(), _WORD_TABLES),
    Case("tokens", _TOKENS, _TOKENIZER),
    Case("a string", _STRING),
    Case("a string, no column", StringContract("text", column=False)),
    Case("numbers", NumericContract(_NUMBERS), reads_features=True),
    Case("numbers in columns", NumericContract(_NUMBERS, "columns", dtype="float64"), reads_features=True),
    Case("n-grams and numbers", CombinedContract([_NGRAMS, NumericContract(_NUMBERS)]), _TABLES, True),
    Case("length and numbers", CombinedContract([_LENGTHS, NumericContract(_NUMBERS)]), _TABLES, True),
    Case("words and numbers", CombinedContract([_WORDS, NumericContract(_NUMBERS)]), _TABLES, True),
    Case("tokens and numbers", CombinedContract([_TOKENS, NumericContract(_NUMBERS)]), _TOKENIZER, True),
    Case("tokens and n-grams", CombinedContract([_PLAIN_TOKENS, _LENGTHS]), {**_TOKENIZER, **_TABLES}),
    Case("a string and numbers", CombinedContract([_STRING, NumericContract(_NUMBERS)]), {}, True),
)
