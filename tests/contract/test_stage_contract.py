"""What every stage of the hot path keeps: each record on its own, in order, whatever its batch holds besides."""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stages import BAD, SECRET, STAGES, Outcome, Stage, good, record, release

from streamtag.control.watcher import ActiveRelease
from streamtag.events.rejection import ErrorClass
from streamtag.model.loading import load_scorer

each_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
REFUSALS = [pytest.param(stage, bad, id=f"{stage.name}-{bad}") for stage in STAGES for bad in stage.refuses]
each_refusal = pytest.mark.parametrize(("stage", "bad"), REFUSALS)


@pytest.fixture(scope="module")
def active(bundles: Path) -> ActiveRelease:
    return release(load_scorer(bundles / "tiny" / "1", batch=16))


def batch(count: int) -> list[Message]:
    return [record(offset, good(offset)) for offset in range(count)]


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome([row for one in outcomes for row in one.rows], [why for one in outcomes for why in one.refused])


@each_stage
def test_every_record_has_one_outcome_in_the_order_given(stage: Stage, active: ActiveRelease) -> None:
    values = [good(0), *(BAD[name] for name in stage.refuses), good(1), None, good(2)]
    found = stage.run(active, [record(offset, value) for offset, value in enumerate(values)])
    last = len(values) - 1
    assert [offset for (_, _, offset), _ in found.rows] == [0, last - 2, last]
    assert [offset for (_, _, offset), _ in found.refused] == list(range(1, last - 2))


@each_refusal
def test_the_neighbours_of_a_bad_record_do_not_notice_it(stage: Stage, bad: str, active: ActiveRelease) -> None:
    for at in (0, 5, 9):
        records = batch(10)
        others = [*records[:at], *records[at + 1 :]]
        records[at] = record(at, BAD[bad])
        assert stage.run(active, records).rows == stage.run(active, others).rows


@each_stage
def test_the_neighbours_of_a_tombstone_do_not_notice_it(stage: Stage, active: ActiveRelease) -> None:
    records = batch(10)
    found = stage.run(active, [*records[:5], record(5, None), *records[6:]])
    assert found == stage.run(active, [*records[:5], *records[6:]])


@each_stage
def test_an_empty_batch_has_no_outcome(stage: Stage, active: ActiveRelease) -> None:
    assert stage.run(active, []) == Outcome([], [])


@each_stage
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_how_records_are_cut_into_batches_changes_no_bit(
    stage: Stage, active: ActiveRelease, data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.sampled_from([None, None, None, *stage.refuses]), min_size=1, max_size=30))
    records = [record(i, good(i) if kind is None else BAD[kind]) for i, kind in enumerate(kinds)]
    cuts = sorted({0, len(records), *data.draw(st.lists(st.integers(0, len(records)), max_size=6))})
    parts = [records[start:end] for start, end in itertools.pairwise(cuts)]
    assert joined([stage.run(active, part) for part in parts]) == stage.run(active, records)


@each_stage
def test_the_same_batch_again_has_the_same_outcome_and_is_not_changed(stage: Stage, active: ActiveRelease) -> None:
    def seen(one: Message) -> tuple[object, ...]:
        return one.topic(), one.partition(), one.offset(), one.key(), one.value(), one.headers(), one.timestamp()

    records = [*batch(10), *(record(10 + i, BAD[name]) for i, name in enumerate(stage.refuses))]
    before = [seen(one) for one in records]
    assert stage.run(active, records) == stage.run(active, records)
    assert [seen(one) for one in records] == before


@each_refusal
def test_a_refusal_says_what_is_wrong_and_where_and_quotes_nothing(
    stage: Stage, bad: str, active: ActiveRelease, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        [(_, refusal)] = stage.run(active, [record(0, BAD[bad])]).refused
    assert refusal.error_class in set(ErrorClass)
    assert refusal.stage in ("decode", "infer")
    assert refusal.message
    assert refusal.field or refusal.error_class in ("invalid_json", "invalid_utf8", "too_deep"), "of what?"
    assert SECRET not in str(refusal)
    assert SECRET not in caplog.text
    assert SECRET not in str([vars(line) for line in caplog.records])
