"""``rendered-log/1`` as a contract: what it gives the graph, and that an event gets it in any company."""

import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.model.bundle import array_bytes
from streamtag.model.contracts.registry import content_problems, contract_problems, make_preprocessor
from streamtag.model.contracts.rendered_log import (
    ROWS_LENGTH,
    WORDS,
    WORDS_IDF,
    PartialLogContract,
    RenderedLog,
    RenderedLogContract,
    hashes,
)
from streamtag.model.ngrams import IDS, WEIGHTS
from streamtag.model.normalise import Normalisation
from streamtag.model.rendering.log_text import MAX_CHARS
from streamtag.model.rendering.words import ROW_BIT, word_hashes, words
from streamtag.model.training.security.word_matrix import count_words, weigh

CONTRACT = RenderedLogContract()


def checksum(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))


EVENTS = [
    json.dumps({"eventName": "ListBuckets", "eventSource": "s3.amazonaws.com"}),
    json.dumps({"process": {"command_line": "cmd /c ec^ho hello hello hello"}}),
    "GET /find?q=two%20words HTTP/1.1",
    "",
    "nothing known",
]


def contents(known: list[str]) -> dict[str, bytes]:
    found = np.unique(np.array([code for text in known for code in hashes(text, CONTRACT)], dtype=np.uint32))
    idf = (256 + 40 * np.arange(len(found)) % 900).astype(np.uint16)
    return {WORDS: array_bytes(found), WORDS_IDF: array_bytes(idf)}


@pytest.fixture(scope="module")
def made() -> RenderedLog:
    preprocessor = make_preprocessor(CONTRACT, contents(EVENTS[:3]))
    assert isinstance(preprocessor, RenderedLog)
    return preprocessor


def rows(made: RenderedLog, texts: list[str], *, wider: int = 0) -> dict[str, Any]:
    return made.inputs(made.read(texts, None), np.arange(len(texts)), wider=wider)


def test_words_are_cut_at_capitals_and_pairs_pass_over_signs() -> None:
    assert words("eventname\tPutPolicy").words == [
        "eventname",
        "putpolicy",
        "put",
        "eventname put",
        "policy",
        "put policy",
    ]
    assert words("a=../b").words == ["a", "b", "a b"]
    assert words("one\ntwo").words == ["one", "two"]
    assert words("") == ([], [])


def test_rows_have_a_sign_and_up_to_three_members() -> None:
    assert words("a=./b c").rows == ["=", "a =", ".", "= .", "a = .", "/", ". /", "= . /", "/ b", ". / b", "/ b c"]
    assert words("a\n=").rows == ["="]


@given(st.text(st.sampled_from("aBc1 _.=\n\t") | st.characters(), max_size=200))
def test_any_text_has_words_and_their_checksums(text: str) -> None:
    found = words(text)
    assert all(0 < len(word) <= 3 * 40 + 2 for word in (*found.words, *found.rows))
    hashed = word_hashes(text)
    assert [code for code in hashed if code < ROW_BIT] == [checksum(word) >> 1 for word in found.words]
    assert [code for code in hashed if code >= ROW_BIT] == [checksum(row) >> 1 | ROW_BIT for row in found.rows]


def test_words_of_one_event_are_bounded() -> None:
    assert len(word_hashes("aB/" * 100_000, 1_500)) <= 4 * (1_500 + 3)
    assert len(hashes("aB/" * 100_000, PartialLogContract())) <= 4 * (1_500 + 3)
    assert len(hashes("aB/" * 100_000, CONTRACT)) <= 4 * 2 * MAX_CHARS


def test_an_event_gives_ascending_ids_its_words_and_rows_of_length_one_each(made: RenderedLog) -> None:
    given = rows(made, EVENTS)
    idf = np.append(made._idf, 0.0)  # padding
    for ids, weights in zip(given[IDS], given[WEIGHTS][:, 0], strict=True):
        used = weights > 0
        assert (np.diff(ids[used]) > 0).all()
        assert (ids[~used] == made.n_words).all()
        for part, length in ((used & (ids < made._first_row), 1.0), (used & (ids >= made._first_row), ROWS_LENGTH)):
            norm = float(np.sqrt(np.square(weights * idf[ids])[part].sum()))
            assert norm == pytest.approx(length, abs=1e-6) or not part.any()
    assert given[IDS].shape[1] % 8 == 0
    assert not given[WEIGHTS][3:].any()


@pytest.mark.parametrize("wider", [0, 3])
def test_an_event_gets_the_same_bits_in_any_company(made: RenderedLog, wider: int) -> None:
    together = rows(made, EVENTS * 3, wider=wider)
    for i, text in enumerate(EVENTS):
        alone = rows(made, [text])
        width = alone[IDS].shape[1]
        for at in range(i, len(EVENTS) * 3, len(EVENTS)):
            assert (together[WEIGHTS][at, 0, :width] == alone[WEIGHTS][0, 0]).all()
            assert not together[WEIGHTS][at, 0, width:].any()


def test_runs_take_each_event_once_and_keep_lengths_together(made: RenderedLog) -> None:
    documents = made.read(EVENTS * 5, None)
    runs = list(made.runs(documents, 4))
    assert sorted(np.concatenate(runs).tolist()) == list(range(len(EVENTS) * 5))
    assert max(map(len, runs)) == 4


def test_training_weighs_as_serving_does(made: RenderedLog) -> None:
    counts = count_words(EVENTS, CONTRACT)
    known = np.array(sorted(made._id_of), dtype=np.uint32)
    units = np.rint(made._idf * 256).astype(np.uint16)
    missing = ~np.isin(known, counts.words)
    assert not missing.any()
    matrix = weigh(counts, known, units).toarray()  # type: ignore[no-untyped-call]
    served = np.zeros_like(matrix)
    for i, row in enumerate(made.read(EVENTS, None).rows):
        served[i, row.ids] = row.weights * made._idf[row.ids]
    assert np.allclose(matrix, served, atol=1e-6)


def test_the_contract_says_what_is_wrong_with_its_files() -> None:
    good = contents(EVENTS)
    assert content_problems(CONTRACT, good) == []
    assert contract_problems(CONTRACT) == []
    doubled = {**good, WORDS: array_bytes(np.array([3, 3], dtype=np.uint32))}
    assert len(content_problems(CONTRACT, doubled)) == 2  # not ascending, and not as many as IDFs
    assert content_problems(CONTRACT, {**good, WORDS_IDF: b"no array"})[0].startswith(f"{WORDS_IDF}: not a plain array")
    wrong = {**good, WORDS: array_bytes(np.zeros((2, 2), dtype=np.float64))}
    assert "must be a non-empty vector of uint32" in content_problems(CONTRACT, wrong)[0]
    assert contract_problems(RenderedLogContract(Normalisation()))
