"""``tokenizer/1``: ids are those of the library, cut and padded as declared, and nobody writes special tokens."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from foreign_models import train_tokenizer
from numpy.typing import NDArray

from streamtag.model.contracts.tokenizer import TOKENIZER, TokenizerContract, Tokens, contract_problems

LIBRARY = train_tokenizer()
CONTENTS = {TOKENIZER: LIBRARY.to_str().encode()}
CLS, SEP = 2, 3


def inputs(contract: TokenizerContract, *texts: str) -> Mapping[str, NDArray[Any]]:
    made = Tokens(contract, CONTENTS)
    return made.inputs(made.read(texts, None), np.arange(len(texts)))


def test_ids_are_those_of_the_library() -> None:
    text = "the Train leaves at noon"
    found = inputs(TokenizerContract(max_tokens=32, pad_to=8), text)
    wanted = LIBRARY.encode(text).ids
    assert found["input_ids"][0, : len(wanted)].tolist() == wanted
    assert found["input_ids"][0, len(wanted) :].tolist() == [0] * (-len(wanted) % 8)
    assert found["attention_mask"][0].tolist() == [1] * len(wanted) + [0] * (-len(wanted) % 8)


@pytest.mark.parametrize(("words", "width"), [(1, 8), (6, 8), (7, 16), (200, 20)])
def test_a_text_is_as_wide_as_its_tokens_and_not_wider_than_allowed(words: int, width: int) -> None:
    found = inputs(TokenizerContract(max_tokens=20, pad_to=8), "noon " * words)["input_ids"]
    assert found.shape == (1, width)
    assert found[0, min(words + 1, 19)] == SEP  # the end of a text that is cut, too


def test_inputs_and_their_type_are_as_declared() -> None:
    contract = TokenizerContract("ids", None, "segments", dtype="int32", max_tokens=8, pad_to=8, pad_id=7)
    found = inputs(contract, "noon")
    assert found.keys() == {"ids", "segments"}
    assert {values.dtype for values in found.values()} == {np.dtype(np.int32)}
    assert found["ids"][0, 3:].tolist() == [7] * 5


@pytest.mark.parametrize("counts", [False, True])
def test_a_special_token_that_is_written_out_is_text_unless_declared_otherwise(counts: bool) -> None:
    ids = inputs(TokenizerContract(specials_in_text=counts), "noon [SEP] train")["input_ids"][0].tolist()
    assert ids.count(SEP) == 1 + counts
    assert ids[0] == CLS


def test_what_no_utf_8_has_is_borne() -> None:
    assert inputs(TokenizerContract(), "noon \ud800 \0 train")["input_ids"][0, 0] == CLS


@pytest.mark.parametrize(
    ("contract", "problem"),
    [
        (TokenizerContract(max_tokens=0), "max_tokens 0 is outside"),
        (TokenizerContract(max_tokens=100_000), "max_tokens 100000 is outside"),
        (TokenizerContract(pad_to=0), "pad_to 0 is outside"),
        (TokenizerContract(max_tokens=8, pad_to=9), "pad_to 9 is outside"),
        (TokenizerContract(ids="mask", mask="mask"), "two inputs have one name"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_named(contract: TokenizerContract, problem: str) -> None:
    assert any(problem in found for found in contract_problems(contract))
