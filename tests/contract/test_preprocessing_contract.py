"""What every preprocessing contract must keep: any document is read or refused, alone as in any company."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from preprocessors import CONTRACTS, Case

from streamtag.events.content import FeatureValue
from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Inputs, Preprocessor
from streamtag.model.contracts.registry import (
    KINDS,
    Contract,
    content_problems,
    contract_problems,
    files_of,
    reads_features,
)
from streamtag.model.ngrams import IDS, WEIGHTS

_WORDS = ["noon", "Train", "Größe", "\u200b", "日本語", "\0", "[SEP]", "İ", "\ud83d", "a\u0301"]
texts = st.text(max_size=60) | st.lists(st.sampled_from(_WORDS), max_size=60).map(" ".join)
values: st.SearchStrategy[FeatureValue] = (
    st.none() | st.booleans() | st.text(max_size=3) | st.floats() | st.integers(-(10**400), 10**400) | st.floats(0, 1)
)
rows = st.none() | st.dictionaries(st.sampled_from(["amount", "age", "ratio", "other"]), values, max_size=4)
batches = st.lists(st.tuples(texts, rows), min_size=1, max_size=9)
every = pytest.mark.parametrize("case", CONTRACTS, ids=lambda case: case.name)
FINE: dict[str, FeatureValue] = {"amount": 5, "age": 40, "ratio": 0.5}


def read(made: Preprocessor, batch: list[tuple[str, FeatureRow | None]]) -> Documents:
    return made.read([text for text, _ in batch], [row for _, row in batch])


def cells(inputs: Inputs, row: int) -> dict[str, NDArray[Any]]:
    return {name: values[row : row + 1] for name, values in inputs.items()}


@every
def test_it_is_in_order_and_goes_into_a_manifest_and_back(case: Case) -> None:
    assert contract_problems(case.contract) == []
    assert set(files_of(case.contract)) == set(case.contents)
    assert content_problems(case.contract, case.contents) == []
    encoded = msgspec.json.encode(case.contract)
    assert msgspec.json.decode(encoded, type=Contract) == case.contract
    assert msgspec.json.decode(encoded)["kind"] == case.contract.kind
    assert case.contract.kind in KINDS
    made = case.make()
    assert reads_features(case.contract) == made.reads_features == case.reads_features


@every
@settings(max_examples=25, deadline=None)
@given(batch=batches, most=st.integers(1, 5))
def test_runs_hold_each_document_once_and_are_not_too_long(
    case: Case, batch: list[tuple[str, FeatureRow | None]], most: int
) -> None:
    made = case.make()
    runs = list(made.runs(read(made, batch), most))
    assert sorted(i for run in runs for i in run.tolist()) == list(range(len(batch)))
    assert all(1 <= len(run) <= most for run in runs)


@every
@settings(max_examples=25, deadline=None)
@given(batch=batches)
def test_inputs_are_as_the_signature_says(case: Case, batch: list[tuple[str, FeatureRow | None]]) -> None:
    made = case.make()
    documents = read(made, batch)
    kinds = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(int64)": "i8", "tensor(int32)": "i4"}
    for run in made.runs(documents, 4):
        inputs = made.inputs(documents, run)
        assert inputs.keys() == made.signature.keys()
        for name, spec in made.signature.items():
            array = inputs[name]
            assert array.dtype == np.dtype(kinds.get(spec.type, "O"))
            assert len(array) == len(run)
            assert all(want in (None, size) for want, size in zip(spec.shape[1:], array.shape[1:], strict=True))
            if array.dtype != object:
                assert np.isfinite(array).all()


@every
@settings(max_examples=25, deadline=None)
@given(batch=batches)
def test_a_document_is_read_alike_alone_and_in_company(case: Case, batch: list[tuple[str, FeatureRow | None]]) -> None:
    made = case.make()
    documents = read(made, batch)
    for run in made.runs(documents, len(batch)):
        together = made.inputs(documents, run)
        for place, i in enumerate(run.tolist()):
            single = read(made, batch[i : i + 1])
            alone = cells(made.inputs(single, np.zeros(1, dtype=np.intp)), 0)
            for name, found in cells(together, place).items():
                # Where runs mix widths, what is beyond a document's own is padding, which the model must not see.
                # Runs of one number of tokens still mix numbers of n-grams.
                mixes = made.mixes or name in (IDS, WEIGHTS)
                own = found[..., : alone[name].shape[-1]] if mixes and found.ndim > 1 else found
                assert np.array_equal(own, alone[name])
            assert bool(single.refused) == (i in documents.refused)


@every
@settings(max_examples=25, deadline=None)
@given(batch=batches)
def test_what_is_refused_has_a_reason_that_quotes_nothing_and_what_is_not_has_none(
    case: Case, batch: list[tuple[str, FeatureRow | None]]
) -> None:
    made = case.make()
    refused = set(read(made, batch).refused)
    for i, (text, row) in enumerate(batch):
        unfit = made.unfit(text, row)
        assert (unfit is not None) == (i in refused)
        if unfit is not None:
            assert unfit.field.startswith("/features/")
            assert all(name in ("amount", "age", "ratio") for name in unfit.field.split("/")[2:])


@every
def test_a_text_is_needed_where_it_is_read_and_only_there(case: Case) -> None:
    made = case.make()
    unfit = made.unfit(None, FINE)
    assert (unfit is not None) == made.reads_text
    assert unfit is None or unfit.field == "/text"


@every
def test_no_documents_are_no_runs(case: Case) -> None:
    made = case.make()
    assert list(made.runs(made.read([], None), 8)) == []


@every
def test_the_largest_inputs_are_as_the_signature_says(case: Case) -> None:
    made = case.make()
    edge = made.edge()
    if edge is not None:
        assert edge.keys() == made.signature.keys()
        assert {len(values) for values in edge.values()} == {1}
