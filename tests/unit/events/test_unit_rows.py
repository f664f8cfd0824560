"""The rows of an experiment in a summary: packed, read back, and absent where no experiment runs."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.events import summary
from streamtag.events.summary import ExperimentRows, UnitRows
from streamtag.events.unit_rows import UnitColumns, pack, unpack, unpack_all

SHA = "0" * 64
# As the version before experiments wrote it.
WITHOUT_EXPERIMENTS = (
    b'{"version":1,"topic":"content","partition":3,"from":40,"to":47,"in":4,"tagged":1,"clean":1,"dead":1,"skipped":1,'
    b'"pane_ms":10000,"writer":"group-host-0","delivery":"exactly_once","committed_at_ms":1700000012345,"panes":'
    b'[{"start_ms":1700000010000,"release":7,"release_sha256":"%(sha)s","bundle":"moderation@1","bundle_sha256":'
    b'"%(sha)s","revision":9,"revision_sha256":"%(sha)s","arm":"control","events":2,"by_arrival":1,"labels":{"spam":'
    b'{"alerts":1,"sum_micro":750001,"bins":[0,768],"counts":[1,1]}},"segments":{}}]}'
) % {b"sha": SHA.encode()}


def rows(labels: list[str], units: UnitRows) -> ExperimentRows:
    return ExperimentRows("3-0123456789ab", 1, "split", labels, units, shed=2)


def test_without_an_experiment_a_summary_is_byte_for_byte_what_it_was() -> None:
    pane = summary.PaneCounts(
        start_ms=1_700_000_010_000,
        release=7,
        release_sha256=SHA,
        bundle="moderation@1",
        bundle_sha256=SHA,
        revision=9,
        revision_sha256=SHA,
        arm="control",
        events=2,
        by_arrival=1,
        labels={"spam": summary.LabelCounts(1, 750_001, [0, 768], [1, 1])},
    )
    found = summary.CommitSummary(
        version=1,
        topic="content",
        partition=3,
        from_offset=40,
        to_offset=47,
        in_=4,
        tagged=1,
        clean=1,
        dead=1,
        skipped=1,
        pane_ms=10_000,
        writer="group-host-0",
        delivery="exactly_once",
        committed_at_ms=1_700_000_012_345,
        panes=[pane],
    )
    assert summary.encode(found) == WITHOUT_EXPERIMENTS
    assert summary.encode(summary.decode(WITHOUT_EXPERIMENTS)) == WITHOUT_EXPERIMENTS


def test_the_wire_form_is_base64_of_little_endian_hashes_and_of_rows_padded_to_bytes() -> None:
    labels = [f"l{i}" for i in range(9)]
    control = np.zeros((2, 9), dtype=np.bool_)
    control[0, [0, 8]] = control[1, 1] = True
    columns = UnitColumns(np.array([1, 2**63], dtype=np.uint64), control, ~control)
    found = msgspec.to_builtins(rows(labels, pack(columns)))
    assert found["units"] == {
        "hash": "AQAAAAAAAAAAAAAAAAAAgA==",  # 01 00 … and … 00 80
        "control": "AQECAA==",  # 01 01, 02 00
        "candidate": "/gD9AQ==",  # fe 00, fd 01
    }
    assert (found["id"], found["phase"], found["mode"], found["shed"]) == ("3-0123456789ab", 1, "split", 2)


@given(n=st.integers(0, 20), labels=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_what_is_packed_is_read_back_over_the_wire(n: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    columns = UnitColumns(hashes, rng.random((n, labels)) < 0.5, rng.random((n, labels)) < 0.5)
    written = msgspec.json.encode(rows([str(i) for i in range(labels)], pack(columns)))
    found = unpack(msgspec.json.decode(written, type=ExperimentRows))
    assert np.array_equal(found.hashes, columns.hashes)
    assert np.array_equal(found.control, columns.control)
    assert np.array_equal(found.candidate, columns.candidate)


def test_many_are_read_as_one() -> None:
    rng = np.random.default_rng(7)
    flags = [(rng.random((2, n, 9)) < 0.5) for n in (3, 0, 2)]
    all_units = np.arange(5, dtype=np.uint64)
    packed = [
        rows([f"l{i}" for i in range(9)], pack(UnitColumns(units, *found)))
        for units, found in zip(np.split(all_units, [3, 3]), flags, strict=True)
    ]
    columns, sizes = unpack_all(packed)
    assert sizes.tolist() == [3, 0, 2]
    assert np.array_equal(columns.hashes, all_units)
    assert np.array_equal([columns.control, columns.candidate], np.concatenate(flags, axis=1))


def test_one_of_many_that_lacks_what_another_has_too_much_is_refused() -> None:
    labels = [f"l{i}" for i in range(9)]
    short, long = UnitRows(b"8 bytes.", b"\0", b"\0\0"), UnitRows(b"8 bytes.", b"\0\0\0", b"\0\0")
    with pytest.raises(ValueError, match="control has 1"):
        unpack_all([rows(labels, short), rows(labels, long)])


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        (UnitRows(b"7 bytes", b"", b""), "7 bytes are no whole number of unit hashes"),
        (UnitRows(b"8 bytes.", b"\0", b"\0\0"), "1 units of 9 labels are 2 bytes, but control has 1"),
        (UnitRows(b"8 bytes.", b"\0\0", b""), "1 units of 9 labels are 2 bytes, but candidate has 0"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(units: UnitRows, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        unpack(rows([f"l{i}" for i in range(9)], units))
