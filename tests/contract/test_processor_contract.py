"""What every processor keeps, so that the runner can undo, redo, cut and hand over as it likes; and every keeper."""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processors import PARTITIONS, PROCESSORS, Driver, Kind, raw_message, read
from stages import release

from streamtag.control.watcher import ActiveRelease
from streamtag.model.loading import load_scorer
from streamtag.stream.processor import Output

MAX_METADATA_BYTES = 4_000  # beside what the runner adds; brokers take 4,096 by default
END = 24

each_processor = pytest.mark.parametrize("kind", PROCESSORS, ids=lambda kind: kind.name)
each_keeper = pytest.mark.parametrize("kind", [kind for kind in PROCESSORS if kind.keeps], ids=lambda kind: kind.name)
few = settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def active(bundles: Path) -> ActiveRelease:
    return release(load_scorer(bundles / "tiny" / "1", batch=16))


def seen(kind: Kind, outputs: Iterable[Output]) -> dict[tuple[str, bytes | None], list[Output]]:
    """What readers find by topic and key, in order; of upserts the last."""
    found: defaultdict[tuple[str, bytes | None], list[Output]] = defaultdict(list)
    for output in outputs:
        assert output.topic in kind.topics
        where = found[output.topic, output.key]
        if kind.upserts:
            where.clear()
        where.append(output)
    return dict(found)


def undisturbed(kind: Kind, active: ActiveRelease, ends: Iterable[int]) -> list[Output]:
    driver = Driver(kind, active)
    outputs = [output for end in ends for output in driver.transaction([read(kind, driver, end)])]
    assert outputs
    return outputs


@each_processor
@few
@given(data=st.data())
def test_what_was_undone_leaves_no_trace(kind: Kind, active: ActiveRelease, data: st.DataObject) -> None:
    ends = sorted({END, *data.draw(st.lists(st.integers(1, END), max_size=4))})
    driver = Driver(kind, active)
    outputs: list[Output] = []
    for end in ends:
        for closed in data.draw(st.lists(st.booleans(), max_size=2)):
            driver.undo([read(kind, driver, data.draw(st.integers(end, END)))], closed=closed)
        outputs += driver.transaction([read(kind, driver, end)])
    assert seen(kind, outputs) == seen(kind, undisturbed(kind, active, ends))


@each_processor
@few
@given(cuts=st.lists(st.integers(1, len(PARTITIONS) * END - 1), max_size=6))
def test_how_a_transaction_is_cut_into_batches_changes_nothing(
    kind: Kind, active: ActiveRelease, cuts: list[int]
) -> None:
    driver = Driver(kind, active)
    records = read(kind, driver, END)
    bounds = itertools.pairwise(sorted({0, len(records), *cuts}))
    outputs = driver.transaction([records[start:end] for start, end in bounds])
    assert seen(kind, outputs) == seen(kind, undisturbed(kind, active, [END]))


@each_processor
def test_commits_go_forward_within_what_is_covered_and_can_be_kept(kind: Kind, active: ActiveRelease) -> None:
    driver = Driver(kind, active)
    for end in range(1, END + 1):
        before = dict(driver.commits)
        driver.transaction([read(kind, driver, end, [end % 2])])
        moved = PARTITIONS[end % 2]
        assert before[moved].position <= driver.commits[moved].position <= end
        assert driver.commits[PARTITIONS[1 - end % 2]] == before[PARTITIONS[1 - end % 2]]
        assert len(driver.commits[moved].metadata.encode()) <= MAX_METADATA_BYTES


@each_processor
@few
@given(value=st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'"', b"\xff", b'{"id": 1}']))
def test_a_record_that_is_none_of_its_own_is_set_aside_whole_and_takes_no_other_along(
    kind: Kind, active: ActiveRelease, value: bytes
) -> None:
    driver = Driver(kind, active)
    records = read(kind, driver, END, [0])
    bad = raw_message(1, 0, value)
    outputs = driver.transaction([[*records[:5], bad, *records[5:]]])
    letters = [output for output in outputs if output.topic == "dead-letters"]
    assert [(letter.key, letter.value) for letter in letters] == [(b"content/1", value)]
    others = Driver(kind, active)
    wanted = seen(kind, others.transaction([read(kind, others, END, [0])]))
    # Keys of what was set aside, and of what is counted of its partition.
    about_it = (b"content/1", b"input/1")
    assert {where: found for where, found in seen(kind, outputs).items() if where[1] not in about_it} == wanted


@each_processor
def test_a_record_without_a_value_ends_nothing(kind: Kind, active: ActiveRelease) -> None:
    driver = Driver(kind, active)
    assert len(driver.transaction([[raw_message(0, 0, None)]])) >= 1


@each_processor
def test_a_transaction_of_nothing_tells_nothing_of_the_one_before(kind: Kind, active: ActiveRelease) -> None:
    driver = Driver(kind, active)
    driver.transaction([read(kind, driver, END)])
    assert not driver.processor.full()
    assert list(driver.processor.close({})) == []
    assert driver.processor.commits({}) == {}


# -- keepers -----------------------------------------------------------------------------------------------------------


@each_keeper
def test_partitions_that_were_never_assigned_can_be_released(kind: Kind, active: ActiveRelease) -> None:
    driver = Driver(kind, active)
    assert driver.keeper is not None
    driver.keeper.released([("input", 7)])
    assert seen(kind, driver.transaction([read(kind, driver, END)])) == seen(kind, undisturbed(kind, active, [END]))


@each_keeper
@pytest.mark.parametrize("end", range(1, END, 5))
def test_whoever_takes_over_goes_on_from_the_commits_as_if_nothing_had_happened(
    kind: Kind, active: ActiveRelease, end: int
) -> None:
    first, second = Driver(kind, active), Driver(kind, active)
    outputs = first.transaction([read(kind, first, end)])
    assert second.keeper is not None
    second.keeper.released(PARTITIONS)
    second.commits = first.commits
    second.assign()
    outputs += second.transaction([read(kind, second, END)])
    assert seen(kind, outputs) == seen(kind, undisturbed(kind, active, [end, END]))


@each_keeper
def test_what_is_due_by_the_clock_goes_out_once(kind: Kind, active: ActiveRelease) -> None:
    driver = Driver(kind, active)
    assert driver.keeper is not None
    driver.transaction([read(kind, driver, END)])
    assert list(driver.keeper.idle()) == []
    driver.now_ms += 600_000
    assert bool(list(driver.keeper.idle())) == kind.lets_go
    driver.now_ms += 600_000
    assert list(driver.keeper.idle()) == []
