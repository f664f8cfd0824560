"""The loop: whatever goes wrong, what is committed is each record once, and ranges that touch."""

import itertools
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from fake_broker import FakeBroker
from loop import Loop, ObedientSink, undone
from services import wait_until

from streamtag.stream import member, pace, processing, source
from streamtag.stream.processor import Hold, Output, Partition
from streamtag.stream.sink import TwinError
from streamtag.telemetry.logs import JsonFormatter

MakeLoop = Callable[..., Loop]
ZERO: Partition = ("content", 0)
ONE: Partition = ("content", 1)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker(content=2)


@pytest.fixture
def make_loop(monkeypatch: pytest.MonkeyPatch, broker: FakeBroker) -> Iterator[Callable[..., Loop]]:
    """Makes a loop on `broker`; keyword arguments are `StreamOptions`."""
    made: list[Loop] = []

    def make(**options: Any) -> Loop:
        made.append(Loop(monkeypatch, broker, options))
        return made[-1]

    yield make
    for loop in made:
        loop.processor.before = lambda records: None
        loop.processor.is_full = lambda: False
        loop.before_positions = loop.while_committing = lambda: None
        if loop._thread.is_alive():
            loop.stop()


class Gate:
    """Blocks the processing thread until opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, *_: object) -> None:
        self.reached.set()
        assert self._open.wait(20), "nobody opened the gate"

    def open(self) -> None:
        self._open.set()


def held_at_the_first(loop: Loop, broker: FakeBroker) -> tuple[Gate, list[int]]:
    """Starts a loop that stands at the first record until the gate is opened; with the sizes of its batches."""
    sizes: list[int] = []
    gate = Gate()

    def noted(records: Sequence[Message]) -> None:
        sizes.append(len(records))
        gate(records)

    loop.processor.before = noted
    loop.start().rebalance("assign", ZERO)
    broker.write(ZERO, 1)
    assert gate.reached.wait(30)
    return gate, sizes


def within(asked: Sequence[str], first: str, *then: str) -> bool:
    """Whether ``then`` follow ``first`` in this order, whatever else lies in between."""
    rest = iter(asked[asked.index(first) :])
    return all(call in rest for call in (first, *then))


# -- the usual course --------------------------------------------------------------------------------------------------


def test_records_are_copied_once_and_ranges_touch_across_holes(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 10)
    broker.write(ONE, 3)
    loop = make_loop().start()
    loop.rebalance("assign", ZERO, ONE)
    loop.wait_committed(ZERO, 10)
    broker.write(ZERO, 5, hole=7)
    loop.wait_committed(ZERO, 22)
    loop.wait_committed(ONE, 3)
    loop.stop()
    loop.check_exactly_once(ZERO)
    loop.check_exactly_once(ONE)
    assert loop.failure is None
    assert broker.commits[ZERO][1] == "p=2;remembered"
    assert loop.metrics.value("streamtag.commit.duration") == broker.asked.count("sink.commit") >= 2


def test_many_batches_share_a_transaction_until_the_interval_is_over(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 40)
    loop = make_loop(commit_interval_ms=60_000, transaction_timeout_ms=120_000).start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: len(loop.processor.processed) == 40, 10, "all processed")
    assert loop.outputs == []
    assert broker.asked.count("sink.open") == 1
    loop.stop()  # draining commits
    assert loop.ranges(ZERO) == [(0, 40)]
    assert "sink.abort" not in broker.asked
    assert broker.asked[-1] == "sink.close"


def test_a_full_transaction_is_committed_before_its_interval_is_over(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 40)
    loop = make_loop(commit_interval_ms=60_000, transaction_timeout_ms=120_000)
    loop.processor.is_full = lambda: len(loop.processor.processed) % 16 == 0
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 32)
    assert [span.end for span in loop.ranges(ZERO)] == [16, 32]
    loop.stop()
    loop.check_exactly_once(ZERO)


def test_a_commit_begins_as_much_earlier_as_commits_take_once_nothing_waits(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "_EARLY_SHARE", 1.0)
    loop = make_loop(commit_interval_ms=60_000, transaction_timeout_ms=120_000)
    loop.runner._processing._commit_s = 60.0
    loop.processor.before = gate = Gate()
    broker.write(ZERO, 8)
    loop.start().rebalance("assign", ZERO)
    assert gate.reached.wait(30)
    wait_until(lambda: loop.runner._source.batches.qsize() == 1, 10, "the next batch waits")
    gate.open()
    loop.wait_committed(ZERO, 8)
    assert loop.ranges(ZERO) == [(0, 8)]


def test_a_slow_processor_gets_small_batches_and_commits_between_them(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 64)
    loop = make_loop(commit_interval_ms=50, batch_size=64, batch_wait_ms=50)
    sizes: list[int] = []

    def slow(records: Sequence[Message]) -> None:
        sizes.append(len(records))
        time.sleep(0.005 * len(records))

    loop.processor.before = slow
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 64)
    loop.stop()
    loop.check_exactly_once(ZERO)
    assert sum(sizes) == 64
    assert max(sizes[1:]) <= pace.LONGEST_S / 0.005
    assert broker.asked.count("processor.committed") > 2


def test_an_idle_loop_opens_no_transaction(make_loop: MakeLoop, broker: FakeBroker) -> None:
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: loop.runner.status().reading == 1 and loop.consumer.polls > 100, 10, "polling")
    loop.stop()
    assert "sink.open" not in broker.asked
    assert broker.asked[0] == "sink.settle"  # what a predecessor left open is ended at once


# -- a keeper ------------------------------------------------------------------------------------------------------


def test_a_keeper_hears_of_a_partition_before_its_records_and_of_its_end_after_them(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.commit([TopicPartition(*ZERO, 3, "p=2;remembered")])
    broker.write(ZERO, 5)
    loop = make_loop()
    loop.processor.before = loop.keeper.processed
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 5)
    loop.rebalance("revoke", ZERO)
    told = [("assigned", ZERO, 3), ("record", ZERO, 3), ("record", ZERO, 4), ("released", ZERO, 0)]
    wait_until(lambda: loop.keeper.lines == told, 10, "the whole story")
    assert loop.keeper.remembered == ["remembered"]


def test_after_undoing_a_keeper_is_told_anew_before_the_records_come_again(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.write(ZERO, 2)
    loop = make_loop()
    loop.processor.before = loop.keeper.processed
    loop.trouble["commit"].append(undone())
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 2)
    once = [("assigned", ZERO, 0), ("record", ZERO, 0), ("record", ZERO, 1)]
    assert loop.keeper.lines == [*once, ("released", ZERO, 0), *once]


def test_whatever_happens_a_keeper_is_never_given_records_that_its_news_do_not_cover(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    choose = random.Random(5)
    loop = make_loop(delivery="at_least_once", commit_interval_ms=5)
    loop.processor.before = loop.keeper.processed
    loop.start().rebalance("assign", ZERO, ONE)
    for _ in range(40):
        broker.write(ZERO, choose.randint(1, 6), hole=choose.randint(0, 1))
        broker.write(ONE, choose.randint(1, 6))
        if choose.random() < 0.5:
            loop.trouble[choose.choice(["commit", "open"])].append(undone())
        if choose.random() < 0.5:
            loop.rebalance(choose.choice(["lost", "revoke"]), ONE)
            loop.rebalance("assign", ONE)
        time.sleep(0.002)
    for partition in (ZERO, ONE):
        loop.wait_committed(partition, broker.high(partition), 30)
    reading: dict[Partition, int] = {}  # the next record of each
    for what, partition, number in list(loop.keeper.lines):
        if what == "released":
            reading.pop(partition, None)
        elif what == "assigned":
            reading[partition] = number
        else:
            left_out = range(reading[partition], number)
            assert not any(record.offset() in left_out for record in broker.logs[partition])
            reading[partition] = number + 1


def test_an_idle_loop_publishes_what_its_keeper_has_by_the_clock_and_commits_no_position(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.write(ZERO, 3)
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 3)
    late = Output("early", b"k", b"v")
    commits = broker.commits.copy()
    loop.keeper.due.append(late)
    wait_until(lambda: loop.outputs and loop.outputs[-1] == late, 10, "published while idle")
    assert broker.commits == commits
    broker.write(ZERO, 2)
    loop.wait_committed(ZERO, 5)
    loop.check_exactly_once(ZERO)


def test_a_keeper_that_fails_is_undone_like_a_processor(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 2)
    loop = make_loop()
    failures = iter([ValueError("cannot read")])

    def fail_once() -> None:
        for failure in failures:
            raise failure

    loop.keeper.told = fail_once
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 2)
    assert loop.metrics.value("streamtag.rewinds", cause="processor") == 1


# -- undoing -----------------------------------------------------------------------------------------------------------


def test_an_undone_transaction_is_aborted_settled_and_read_again_from_the_broker(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.write(ZERO, 10)
    loop = make_loop()
    loop.trouble["commit"].append(undone())
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 10)
    loop.stop()
    loop.check_exactly_once(ZERO)
    assert loop.metrics.value("streamtag.rewinds", cause="ordered") == 1
    undoing = broker.asked[broker.asked.index("sink.commit") :]
    assert within(undoing, "sink.abort", "sink.settle", "processor.undo", "committed", "sink.open", "sink.commit")


def test_a_client_that_was_refused_a_right_is_replaced(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 10)
    loop = make_loop()
    loop.trouble["commit"].append(undone("TOPIC_AUTHORIZATION_FAILED"))
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 10)
    loop.stop()
    loop.check_exactly_once(ZERO)
    undoing = broker.asked[broker.asked.index("sink.commit") :]
    assert within(undoing, "sink.abort", "sink.close", "sink.settle", "sink.open", "sink.commit")


def test_a_rewind_that_fails_ends_the_loop_and_loses_nothing(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.write(ZERO, 10)
    loop = make_loop()
    refused = KafkaError(KafkaError._STATE)
    unassign = loop.consumer.incremental_unassign

    def refuse_once(_partitions: object) -> None:
        monkeypatch.setattr(loop.consumer, "incremental_unassign", unassign)
        raise KafkaException(refused)

    monkeypatch.setattr(loop.consumer, "incremental_unassign", refuse_once)
    loop.trouble["commit"].append(undone())
    loop.start().rebalance("assign", ZERO)
    wait_until(lambda: loop.metrics.value("streamtag.rewinds") == 1, 10, "undone")
    broker.write(ZERO, 10)
    loop.wait_end()
    assert isinstance(loop.failure, KafkaException)
    assert (broker.position(ZERO), loop.outputs) == (0, [])


def test_nothing_is_undone_while_an_exception_is_handled(make_loop: MakeLoop, broker: FakeBroker) -> None:
    """confluent-kafka keeps for ever what is handled while it raises, and with it the producer that failed."""
    broker.write(ZERO, 10)
    loop = make_loop()
    loop.trouble["commit"].append(undone())
    handled: list[object] = []

    def note() -> None:
        handled.append(sys.exc_info()[1])

    loop.sink.while_undoing = note
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 10)
    loop.stop()
    assert len(handled) >= 2
    assert set(handled) == {None}


def test_a_commit_whose_answer_was_lost_is_not_done_again(make_loop: MakeLoop, broker: FakeBroker) -> None:
    """The commit succeeded, the client never learnt it: the broker's positions are the truth."""
    broker.write(ZERO, 10)
    loop = make_loop()
    commit = loop.sink.commit
    lost: list[bool] = []

    def commit_and_lose_the_answer(commits: object) -> None:
        commit(commits)  # type: ignore[arg-type]
        if not lost:
            lost.append(True)
            raise undone("unknown")

    loop.sink.commit = commit_and_lose_the_answer  # type: ignore[method-assign]
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 10)
    broker.write(ZERO, 3)
    loop.wait_committed(ZERO, 13)
    loop.stop()
    assert loop.copies(ZERO) == list(range(13))


@pytest.mark.parametrize("call", ["open", "commit"])
def test_trouble_that_lasts_is_outlasted(make_loop: MakeLoop, broker: FakeBroker, call: str) -> None:
    broker.write(ZERO, 10)
    loop = make_loop()
    loop.trouble[call].extend(undone() for _ in range(12))
    loop.trouble["settle"].extend(undone() for _ in range(5))
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 10)
    loop.stop()
    loop.check_exactly_once(ZERO)


def test_transactions_that_keep_failing_are_told_until_one_succeeds(make_loop: MakeLoop, broker: FakeBroker) -> None:
    """E.g. an output larger than its topic allows: everything seems well, and nothing gets done."""
    broker.write(ZERO, 10)
    loop = make_loop()
    failing = [True]

    def refuse() -> None:
        if failing:
            raise undone("MSG_SIZE_TOO_LARGE")

    loop.while_committing = refuse
    loop.start().rebalance("assign", ZERO)
    wait_until(lambda: "MSG_SIZE_TOO_LARGE" in (loop.runner.status().error or ""), 10, "told")
    failing.clear()
    loop.wait_committed(ZERO, 10)
    wait_until(lambda: loop.runner.status().error is None, 10, "over")
    loop.stop()
    loop.check_exactly_once(ZERO)


def test_positions_are_asked_for_only_once_a_commit_under_way_has_landed(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    """Within one membership the broker accepts it: positions from before it would read everything in it again."""
    broker.write(ZERO, 8)
    loop = make_loop(commit_interval_ms=1)
    polls: list[int] = []

    def break_off() -> None:
        loop.while_committing = lambda: None
        loop.runner._source.rewind()  # as where retention has overtaken a partition
        begun = len(polls)
        wait_until(lambda: len(polls) >= begun + 5, 10, "the polling thread goes on")

    loop.while_committing = break_off
    loop.start().rebalance("assign", ZERO)
    keep = loop.runner._source.member.keep

    def counted() -> None:
        keep()
        polls.append(1)

    loop.runner._source.member.keep = counted  # type: ignore[method-assign]
    loop.wait_committed(ZERO, 8)
    loop.stop()
    loop.check_exactly_once(ZERO)


def test_a_failing_processor_is_undone_and_tried_again(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 10)
    loop = make_loop()
    failures = iter([ValueError("weather")] * 3)

    def fail(_records: Sequence[Message]) -> None:
        for error in failures:
            raise error

    loop.processor.before = fail
    loop.start().rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 10)
    loop.stop()
    assert loop.failure is None
    loop.check_exactly_once(ZERO)


def test_a_processor_that_keeps_failing_ends_the_loop_with_its_error(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 10)
    loop = make_loop()
    attempts: list[int] = []

    def fail(records: Sequence[Message]) -> None:
        attempts.append(records[0].offset() or 0)
        raise ValueError("a bug")

    loop.processor.before = fail
    loop.start().rebalance("assign", ZERO)
    loop.wait_end(20)
    assert isinstance(loop.failure, ValueError)
    assert attempts == [0] * 5
    assert (loop.outputs, broker.position(ZERO)) == ([], 0)
    assert broker.asked[-1] == "sink.close"  # readers need not wait for the timeout of what was open


def test_what_a_processor_fails_with_is_never_quoted(
    make_loop: MakeLoop, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.write(ZERO, 10)
    loop = make_loop()

    def fail(_: object) -> None:
        raise ValueError("zebra-crossing-4711")

    loop.processor.before = fail
    loop.start().rebalance("assign", ZERO)
    loop.wait_end()
    assert isinstance(loop.failure, ValueError)
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any("processing ended" in line and "ValueError" in line for line in lines)
    assert not [line for line in lines if "zebra" in line]


def test_failures_with_commits_between_do_not_add_up(make_loop: MakeLoop, broker: FakeBroker) -> None:
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    failed: set[int] = set()

    def fail_once_each(records: Sequence[Message]) -> None:
        first = records[0].offset() or 0
        if first not in failed:
            failed.add(first)
            raise ValueError("weather")

    loop.processor.before = fail_once_each
    for end in range(1, 8):
        broker.write(ZERO)
        loop.wait_committed(ZERO, end)
    loop.stop()
    assert len(failed) == 7
    loop.check_exactly_once(ZERO)


def test_a_twin_ends_the_loop_at_once(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 4)
    loop = make_loop()
    loop.trouble["commit"].append(TwinError("fenced twice"))
    loop.start().rebalance("assign", ZERO)
    loop.wait_end()
    assert isinstance(loop.failure, TwinError)
    assert loop.outputs == []


# -- partitions that come and go ---------------------------------------------------------------------------------------


def test_a_revoked_partition_is_committed_before_it_is_given_up(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 10)
    broker.write(ONE, 10)
    loop = make_loop(commit_interval_ms=60_000, transaction_timeout_ms=120_000, revoke_budget_ms=10_000).start()
    loop.rebalance("assign", ZERO, ONE)
    wait_until(lambda: len(loop.processor.processed) == 20, 10, "all processed")
    loop.rebalance("revoke", ZERO)
    wait_until(lambda: loop.runner.status().reading == 1, 10, "one given up")
    assert broker.position(ZERO) == 10
    assert loop.runner.positions() == {"content/1": 10}
    broker.write(ZERO, 5)
    broker.write(ONE, 5)
    wait_until(lambda: len(loop.processor.processed) == 25, 10, "only the other is read on")
    loop.stop()
    loop.check_exactly_once(ZERO)
    loop.check_exactly_once(ONE)
    assert broker.position(ZERO) == 10
    assert loop.metrics.value("streamtag.revoke.duration") == 2, "of the other as it left"


def test_a_transaction_that_outlasts_the_revoke_never_commits(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 4)
    broker.write(ONE, 4)
    loop = make_loop(revoke_budget_ms=50)
    gate = Gate()
    loop.processor.before = gate
    loop.start().rebalance("assign", ZERO, ONE)
    assert gate.reached.wait(30)
    started = time.monotonic()
    loop.rebalance("revoke", ZERO)
    wait_until(lambda: loop.metrics.value("streamtag.rebalances", kind="revoked") == 1, 10, "revoked")
    assert time.monotonic() - started < 10
    assert loop.metrics.value("streamtag.revoke.overruns") == 1
    loop.processor.before = lambda records: None
    gate.open()
    loop.wait_committed(ONE, 4)
    loop.stop()
    assert broker.position(ZERO) == 0  # its start, committed when it was assigned
    assert loop.copies(ZERO) == []
    loop.check_exactly_once(ONE)
    assert within(broker.asked, "sink.abort", "processor.undo", "sink.open", "sink.commit")


@pytest.mark.parametrize("moment", ["before the commit", "before the positions are sent"])
def test_a_transaction_doomed_at_the_last_moment_never_commits(
    make_loop: MakeLoop, broker: FakeBroker, moment: str
) -> None:
    broker.write(ZERO, 4)
    loop = make_loop(revoke_budget_ms=50)
    gate = Gate()

    def wait_and_say_no() -> bool:
        gate()
        return False

    if moment == "before the commit":
        loop.processor.is_full = wait_and_say_no
    else:
        loop.before_positions = gate
    loop.start().rebalance("assign", ZERO)
    assert gate.reached.wait(30)
    loop.rebalance("revoke", ZERO)
    wait_until(lambda: loop.metrics.value("streamtag.rebalances", kind="revoked") == 1, 10, "revoked")
    gate.open()
    wait_until(lambda: "processor.undo" in broker.asked, 10, "undone")
    loop.stop()
    assert ("sink.commit begins" in broker.asked) == (moment == "before the positions are sent")
    assert "sink.commit" not in broker.asked
    assert (loop.outputs, broker.position(ZERO)) == ([], 0)


def test_positions_of_partitions_lost_during_the_flush_are_not_committed(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    """At least once, a broker accepts them from a live member, and would set back what the next owner committed."""
    broker.write(ZERO, 4)
    loop = make_loop(revoke_budget_ms=50, delivery="at_least_once")
    gate = Gate()
    loop.while_committing = gate
    loop.start().rebalance("assign", ZERO)
    assert gate.reached.wait(30)
    loop.rebalance("revoke", ZERO)
    wait_until(lambda: loop.metrics.value("streamtag.rebalances", kind="revoked") == 1, 10, "revoked")
    broker.commit([TopicPartition(*ZERO, 40)])  # by the next owner
    gate.open()
    wait_until(lambda: "processor.undo" in broker.asked, 10, "undone")
    loop.stop()
    assert broker.position(ZERO) == 40


def test_a_commit_that_is_under_way_when_the_budget_ends_is_settled_before_anything_else(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.write(ZERO, 4)
    loop = make_loop(revoke_budget_ms=50)
    gate = Gate()
    loop.while_committing = gate
    loop.start().rebalance("assign", ZERO)
    assert gate.reached.wait(30)
    loop.rebalance("revoke", ZERO)
    wait_until(lambda: loop.metrics.value("streamtag.rebalances", kind="revoked") == 1, 10, "revoked")
    loop.while_committing = lambda: None
    gate.open()
    loop.wait_committed(ZERO, 4)
    loop.rebalance("assign", ZERO)
    broker.write(ZERO, 4)
    loop.wait_committed(ZERO, 8)
    loop.stop()
    loop.check_exactly_once(ZERO)


def test_what_was_queued_before_a_rebalance_is_not_processed_after_it(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 40)
    loop = make_loop(revoke_budget_ms=20)
    gate = Gate()
    loop.processor.before = gate
    loop.start().rebalance("assign", ZERO)
    assert gate.reached.wait(30)
    wait_until(loop.runner._source.batches.full, 10, "batches wait")
    loop.rebalance("lost", ZERO)
    wait_until(lambda: loop.metrics.value("streamtag.rebalances", kind="lost") == 1, 10, "lost")
    loop.processor.before = lambda records: None
    gate.open()
    loop.stop()
    assert loop.processor.processed == [(ZERO, offset) for offset in range(4)]  # the batch that was at the gate
    assert loop.outputs == []


def test_a_position_that_fell_out_of_the_log_is_looked_up_anew(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 4)
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 4)
    with broker.lock:
        broker.write(ZERO, 20)
        broker.expire(ZERO, 15)
    loop.wait_committed(ZERO, 24)
    loop.stop()
    assert loop.copies(ZERO) == [0, 1, 2, 3, *range(15, 24)]
    assert loop.metrics.value("streamtag.input.expired", topic="content") == 11


def come_back(loop: Loop, partition: Partition, times: int) -> None:
    """Takes the partition away and gives it back, until it has been read ``times`` times."""
    for n in range(1, times + 1):
        loop.rebalance("assign", partition)
        assigned = partial(lambda n: [line[0] for line in loop.keeper.lines].count("assigned") == n, n)
        wait_until(assigned, 10, f"read for the {n}th time")
        loop.rebalance("revoke", partition)


def test_what_expired_unread_in_a_quiet_partition_is_counted_once(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 10)
    broker.commit([TopicPartition(*ZERO, 4, "p=2;remembered")])
    broker.expire(ZERO, 10)
    loop = make_loop().start()
    come_back(loop, ZERO, 3)
    loop.stop()
    assert loop.metrics.value("streamtag.input.expired", topic="content") == 6
    assert broker.commits[ZERO] == (10, "p=2;remembered")
    assert loop.keeper.remembered == ["remembered"] * 3


def test_what_expired_is_counted_only_once_the_broker_has_taken_the_position(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.write(ZERO, 10)
    broker.commit([TopicPartition(*ZERO, 4, "p=2;")])
    broker.expire(ZERO, 10)
    broker.trouble["commit"].extend(KafkaError(KafkaError.ILLEGAL_GENERATION) for _ in range(3))
    loop = make_loop().start()
    come_back(loop, ZERO, 1)
    loop.stop()
    assert broker.asked.count("commit") == 4
    assert loop.metrics.value("streamtag.input.expired", topic="content") == 6


def test_a_commit_of_what_is_still_needed_is_left_to_its_processor(make_loop: MakeLoop, broker: FakeBroker) -> None:
    """With one that the log holds, what is left of a pane would be taken for all of it."""
    broker.write(ZERO, 10)
    broker.commit([TopicPartition(*ZERO, 4, "p=2;7")])
    broker.expire(ZERO, 10)
    loop = make_loop(read_to=int).start()
    come_back(loop, ZERO, 1)
    loop.stop()
    assert broker.commits[ZERO] == (4, "p=2;7")
    assert loop.metrics.value("streamtag.input.expired", topic="content") == 3


def test_a_predecessor_whose_transaction_is_open_is_waited_for_while_others_are_read(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.write(ZERO, 4)
    broker.write(ONE, 4)
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 4)
    broker.unstable.add(ONE)
    loop.rebalance("assign", ONE)
    wait_until(lambda: loop.runner.status().waiting == 1, 10, "waiting for a position")
    wait_until(lambda: loop.runner.status().error, 10, "saying so")
    broker.write(ZERO, 4)
    loop.wait_committed(ZERO, 8)
    assert loop.runner.status().waiting == 1
    broker.unstable.clear()
    loop.wait_committed(ONE, 4)
    loop.stop()
    loop.check_exactly_once(ZERO)
    loop.check_exactly_once(ONE)


@pytest.mark.parametrize("again", ["assigned together", "read again"])
def test_a_partition_that_cannot_be_told_keeps_no_other(make_loop: MakeLoop, broker: FakeBroker, again: str) -> None:
    """While a transaction is open on one, librdkafka answers for none of those that it is asked for together."""
    broker.commit([TopicPartition(*ZERO, 0, "p=2;"), TopicPartition(*ONE, 0, "p=2;")])
    broker.write(ZERO, 4)
    broker.write(ONE, 4)
    loop = make_loop().start()
    if again == "read again":
        loop.rebalance("assign", ZERO, ONE)
        loop.wait_committed(ZERO, 4)
        loop.wait_committed(ONE, 4)
    broker.unstable.add(ONE)
    if again == "read again":
        loop.trouble["commit"].append(undone())
        broker.write(ZERO, 4)
    else:
        loop.rebalance("assign", ZERO, ONE)
    loop.wait_committed(ZERO, broker.high(ZERO))
    assert loop.runner.status().waiting == 1
    broker.unstable.clear()
    broker.write(ONE, 1)
    loop.wait_committed(ONE, broker.high(ONE))
    loop.stop()
    loop.check_exactly_once(ZERO)
    loop.check_exactly_once(ONE)


def test_what_is_read_waits_little_for_the_position_of_another_unless_the_coordinator_is_slow(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    broker.write(ZERO, 4)
    broker.write(ONE, 4)
    broker.commit([TopicPartition(*ONE, 0, "p=2;")])
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 4)
    broker.waits.clear()
    broker.slow_coordinator_s = 1.0
    loop.rebalance("assign", ONE)
    loop.wait_committed(ONE, 4)
    assert broker.waits[0] < 1.0 <= broker.waits[-1]


def test_a_partition_that_is_revoked_before_it_could_be_told_is_not_read(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.unstable |= {ZERO, ONE}
    broker.write(ZERO, 4)
    broker.write(ONE, 4)
    loop = make_loop()
    monkeypatch.setattr(member, "_RETRY_S", 0.5)
    loop.start().rebalance("assign", ZERO, ONE)
    wait_until(lambda: loop.runner.status().error, 10, "asked for together")
    loop.rebalance("revoke", ONE)
    wait_until(lambda: loop.runner.status().waiting == 1, 10, "revoked")
    broker.unstable.clear()
    loop.wait_committed(ZERO, 4)
    loop.stop()
    assert loop.copies(ONE) == []


def test_what_is_read_is_read_for_as_long_as_it_waits_for_the_position_of_another(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: loop.runner.status().reading == 1, 10, "reading")
    asked: list[tuple[float, float]] = []

    def ask_until_time_is_up(partitions: list[TopicPartition], *, timeout: float) -> list[Any]:
        began = time.monotonic()
        time.sleep(min(timeout, 0.1))
        asked.append((began, time.monotonic()))
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    loop.consumer.committed = ask_until_time_is_up  # type: ignore[method-assign]
    loop.rebalance("assign", ONE)
    wait_until(lambda: len(asked) > 6, 20, "asking")
    for (began, ended), (again, _) in itertools.pairwise(asked):
        assert again - ended >= ended - began


@pytest.mark.parametrize("before", ["never assigned", "assigned nothing", "lost", "revoke"])
def test_a_member_without_partitions_whose_client_has_forgotten_its_brokers_begins_anew(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setattr(member, "_STRANDED_S", 0.05)
    broker.write(ZERO, 4)
    loop = make_loop()
    loop.start()
    if before == "assigned nothing":
        loop.rebalance("assign")
    elif before in {"lost", "revoke"}:
        loop.rebalance("assign", ZERO)
        loop.wait_committed(ZERO, 4)
        loop.rebalance(before, ZERO)
    if before != "never assigned":
        wait_until(lambda: not broker.rebalances and loop.runner.status().reading == 0, 10, "without partitions")
    broker.trouble["list_topics"].append(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    wait_until(lambda: loop.consumers == 2, 10, "a new consumer")
    broker.write(ZERO, 4)
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 8)
    loop.stop()
    loop.check_exactly_once(ZERO)
    assert loop.metrics.value("streamtag.kafka.errors", code="stranded") == 1


def test_a_member_that_finds_no_broker_waits_longer_each_time_until_one_answers(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "_STRANDED_S", 0.02)
    broker.trouble["list_topics"].extend(KafkaError(KafkaError._ALL_BROKERS_DOWN) for _ in range(4))
    loop = make_loop()
    began = time.monotonic()
    loop.start()
    wait_until(lambda: loop.consumers == 5, 10, "new consumers")
    assert time.monotonic() - began >= 0.02 + 0.04 + 0.08 + 0.16
    asked = broker.asked.count("list_topics")
    wait_until(lambda: broker.asked.count("list_topics") > asked + 3, 10, "asking now and then")
    loop.stop()
    assert loop.consumers == 5


def test_a_member_that_lost_its_partitions_while_it_was_frozen_is_given_its_time(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "_STRANDED_S", 0.3)
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: loop.runner.status().reading == 1, 10, "reading")
    asked = broker.asked.count("list_topics")
    poll, lost_at = loop.consumer.poll, []

    def poll_after_a_freeze(timeout: float) -> Message | None:
        loop.consumer.poll = poll  # type: ignore[method-assign]
        time.sleep(0.4)
        loop.rebalance("lost", ZERO)
        lost_at.append(time.monotonic())
        return poll(timeout)

    loop.consumer.poll = poll_after_a_freeze  # type: ignore[method-assign]
    wait_until(lambda: broker.asked.count("list_topics") > asked, 10, "asking", every_s=0.002)
    assert time.monotonic() - lost_at[0] >= 0.3


@pytest.mark.parametrize("how", ["asks in vain", "is named no broker"])
def test_with_kip_848_a_member_that_holds_partitions_begins_anew_once_it_must_be_out_of_the_group(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its client does not notice that: it would read nothing for ever."""
    monkeypatch.setattr(member, "_STRANDED_S", 0.02)
    monkeypatch.setattr(member, "_OUT_S", 0.2)
    broker.write(ZERO, 4)
    loop = make_loop(group_protocol="consumer")
    loop.start()
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 4)
    began = time.monotonic()
    if how == "asks in vain":
        broker.trouble["list_topics"].extend(KafkaError(KafkaError._TRANSPORT) for _ in range(1_000))
    broker.named_none = how == "is named no broker"
    old = loop.consumer
    wait_until(lambda: loop.consumers == 2, 10, "a new consumer")
    assert time.monotonic() - began >= 0.2
    broker.trouble["list_topics"].clear()
    broker.named_none = False
    assert loop.runner.status().reading == 0
    # What the old one tells late is nobody's any more.
    for kind in ("on_assign", "on_revoke", "on_lost"):
        old.callbacks[kind](old, [TopicPartition(*ZERO)])
    assert (loop.runner.status().reading, loop.runner.status().waiting) == (0, 0)
    broker.write(ZERO, 4)
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 8)
    loop.stop()
    loop.check_exactly_once(ZERO)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_that_holds_partitions_keeps_its_client_while_it_reads_or_brokers_answer(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(member, "_STRANDED_S", 0.02)
    monkeypatch.setattr(member, "_OUT_S", 0.05)
    loop = make_loop(group_protocol=protocol)
    loop.start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: loop.runner.status().reading == 1, 10, "reading")
    asked, polls = broker.asked.count("list_topics"), loop.consumer.polls
    if protocol == "consumer":
        wait_until(lambda: broker.asked.count("list_topics") > asked + 5, 10, "asking now and then")
    else:
        wait_until(lambda: loop.consumer.polls > polls + 200, 10, "polling")
        assert broker.asked.count("list_topics") == asked
    loop.stop()
    assert loop.consumers == 1


@pytest.mark.parametrize("before", ["never assigned", "lost"])
def test_a_member_without_partitions_keeps_its_client_while_brokers_answer(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setattr(member, "_STRANDED_S", 0.05)
    loop = make_loop()
    loop.start()
    if before == "lost":
        loop.rebalance("assign", ZERO)
        wait_until(lambda: loop.runner.status().reading == 1, 10, "reading")
        loop.rebalance("lost", ZERO)
        wait_until(lambda: loop.runner.status().reading == 0, 10, "lost")
    began, asked = time.monotonic(), broker.asked.count("list_topics")
    wait_until(lambda: broker.asked.count("list_topics") > asked + 3, 10, "asking now and then")
    assert time.monotonic() - began >= 3 * 0.05
    loop.stop()
    assert loop.consumers == 1


# -- holding and back pressure -----------------------------------------------------------------------------------------


def test_while_held_nothing_is_processed_and_polling_goes_on(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 100)
    loop = make_loop()
    loop.processor.hold = "no release yet"
    loop.start().rebalance("assign", ZERO)
    wait_until(lambda: loop.metrics.value("streamtag.backpressure.pauses") == 1, 10, "paused")
    polls = loop.consumer.polls
    wait_until(lambda: loop.consumer.polls > polls + 5, 10, "polling on")
    assert loop.processor.processed == []
    assert loop.runner.status().held == "no release yet"
    assert loop.runner.progress()[1] is False  # not stuck: it was told to wait
    loop.processor.hold = None
    loop.wait_committed(ZERO, 100)
    loop.stop()
    loop.check_exactly_once(ZERO)
    assert not loop.consumer.paused


def test_hold_undoes_the_open_transaction_and_its_records_come_again(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 12)
    loop = make_loop(commit_interval_ms=60_000, transaction_timeout_ms=120_000)

    def stop_at_the_third_batch(records: Sequence[Message]) -> None:
        if records[0].offset() == 8:
            loop.processor.hold = "too many dead letters"
            raise Hold("too many dead letters")

    loop.processor.before = stop_at_the_third_batch
    loop.start().rebalance("assign", ZERO)
    wait_until(lambda: "processor.undo" in broker.asked, 10, "undone")
    opened = broker.asked.count("sink.open")
    polls = loop.consumer.polls
    wait_until(lambda: loop.consumer.polls > polls + 20, 10, "polling on")
    assert broker.asked.count("sink.open") == opened
    assert (loop.outputs, broker.position(ZERO)) == ([], 0)
    loop.processor.before = lambda records: None
    loop.processor.hold = None
    wait_until(lambda: len(loop.processor.processed) >= 20, 10, "processed again")
    loop.stop()
    loop.check_exactly_once(ZERO)
    assert loop.copies(ZERO) == list(range(12))


def test_holding_begins_by_committing_what_is_open(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 4)
    loop = make_loop(commit_interval_ms=60_000, transaction_timeout_ms=120_000).start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: len(loop.processor.processed) == 4, 10, "processed")
    loop.processor.hold = "stopped by another worker"
    loop.wait_committed(ZERO, 4)
    loop.stop()


def test_a_slow_processor_pauses_reading_and_never_stops_polling(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 60)
    loop = make_loop()
    gate = Gate()
    loop.processor.before = gate
    loop.start().rebalance("assign", ZERO)
    wait_until(lambda: loop.consumer.paused == {ZERO}, 10, "paused")
    polls = loop.consumer.polls
    wait_until(lambda: loop.consumer.polls > polls + 5, 10, "polling on")
    loop.processor.before = lambda records: None
    gate.open()
    loop.wait_committed(ZERO, 60)
    loop.stop()
    loop.check_exactly_once(ZERO)


def test_batches_grow_while_processing_is_busy(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "LONGEST_S", 60.0)  # what is held is not slow
    loop = make_loop(queue_batches=1, pause_after_ms=60_000)
    gate, sizes = held_at_the_first(loop, broker)
    for _ in range(5):  # one is queued, four wait together
        broker.write(ZERO, 1)
        wait_until(lambda: loop.consumer.reading.get(ZERO) == len(broker.logs[ZERO]), 10, "it is read")
    gate.open()
    loop.wait_committed(ZERO, 6)
    loop.stop()
    assert sizes == [1, 1, 4]
    loop.check_exactly_once(ZERO)


def test_a_batch_of_large_records_stops_growing_before_its_count_is_reached(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_FULL_BYTES", 3)  # the values of the first ten records have a byte each
    monkeypatch.setattr(pace, "LONGEST_S", 60.0)  # what is held is not slow
    loop = make_loop(queue_batches=1, pause_after_ms=60_000, batch_size=8)
    gate, sizes = held_at_the_first(loop, broker)
    for _ in range(4):  # one is queued, three are in hand
        broker.write(ZERO, 1)
        wait_until(lambda: loop.consumer.reading.get(ZERO) == len(broker.logs[ZERO]), 10, "it is read")
    broker.write(ZERO, 1)
    turns = 0
    keep = loop.runner._source.member.keep

    def counted() -> None:
        nonlocal turns
        turns += 1
        keep()

    monkeypatch.setattr(loop.runner._source.member, "keep", counted)
    wait_until(lambda: turns >= 3, 10, "it has had the time to read on")
    assert loop.consumer.reading[ZERO] == 5
    gate.open()
    loop.wait_committed(ZERO, 6)
    loop.stop()
    assert sizes == [1, 1, 3, 1]
    loop.check_exactly_once(ZERO)


@pytest.mark.parametrize("event", ["undone", "other revoked", "lost and assigned again"])
def test_what_was_paused_is_read_on_after_it_was_taken_out_and_put_back(
    make_loop: MakeLoop, broker: FakeBroker, event: str
) -> None:
    """librdkafka keeps a partition paused over unassign and assign: forgotten, it would never be read again."""
    broker.write(ZERO, 60)
    broker.write(ONE, 60)
    loop = make_loop(revoke_budget_ms=20)
    gate = Gate()
    loop.processor.before = gate
    loop.start().rebalance("assign", ZERO, ONE)
    wait_until(lambda: loop.consumer.paused == {ZERO, ONE}, 10, "paused")
    if event == "undone":
        loop.trouble["commit"].append(undone())
    elif event == "other revoked":
        loop.rebalance("revoke", ONE)
        wait_until(lambda: loop.metrics.value("streamtag.rebalances", kind="revoked") == 1, 10, "revoked")
    else:
        loop.rebalance("lost", ZERO, ONE)
        loop.rebalance("assign", ZERO)
        wait_until(lambda: loop.metrics.value("streamtag.rebalances", kind="lost") == 1, 10, "lost")
    loop.processor.before = lambda records: None
    gate.open()
    loop.wait_committed(ZERO, 60)
    broker.write(ZERO, 60)
    loop.wait_committed(ZERO, 120)
    loop.stop()
    loop.check_exactly_once(ZERO)


# -- the end -----------------------------------------------------------------------------------------------------------


def test_draining_commits_what_is_open_and_leaves_the_rest(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 1_000)
    loop = make_loop(commit_interval_ms=60_000, transaction_timeout_ms=120_000).start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: len(loop.processor.processed) > 100, 10, "under way")
    loop.stop()
    assert loop.failure is None
    loop.check_exactly_once(ZERO)
    assert (broker.position(ZERO) or 0) > 100
    assert loop.consumer.member == []  # has left the group


def test_a_drain_whose_broker_is_away_ends_in_time_and_commits_nothing(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 4)
    loop = make_loop(drain_timeout_s=0.1)
    asking = threading.Event()

    def wait_for_the_broker() -> None:
        asking.set()
        wait_until(loop.sink.stopping, 20, "giving up")
        raise undone("stopping")

    loop.while_committing = wait_for_the_broker
    loop.start().rebalance("assign", ZERO)
    assert asking.wait(30)
    loop.stop(10)
    assert loop.outputs == []
    assert broker.position(ZERO) == 0


@pytest.mark.parametrize("earlier", [None, TwinError("fenced twice")])
def test_trouble_in_letting_go_of_the_client_is_told_unless_something_came_before(
    make_loop: MakeLoop, broker: FakeBroker, earlier: Exception | None
) -> None:
    broker.write(ZERO, 4)
    loop = make_loop()
    loop.trouble["close"].append(TwinError("fenced at the end"))
    if earlier is not None:
        loop.trouble["commit"].append(earlier)
    loop.start().rebalance("assign", ZERO)
    if earlier is None:
        loop.wait_committed(ZERO, 4)
        loop.stop()
    loop.wait_end()
    assert str(loop.failure) == str(earlier or "fenced at the end")


# -- trouble with the broker -------------------------------------------------------------------------------------------


def test_trouble_is_told_while_it_lasts_and_no_longer(make_loop: MakeLoop, broker: FakeBroker) -> None:
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: loop.runner.status().reading == 1, 10, "reading")
    broker.trouble["list_topics"].extend([KafkaError(KafkaError._TRANSPORT)] * 2)
    broker.errors.append(KafkaError(KafkaError._ALL_BROKERS_DOWN, "all brokers are down"))
    wait_until(lambda: "down" in (loop.runner.status().error or ""), 10, "told")
    wait_until(lambda: loop.runner.status().error is None, 10, "over, though nothing was read or assigned")
    loop.stop()


def test_a_commit_that_hangs_is_told_while_it_hangs(make_loop: MakeLoop, broker: FakeBroker) -> None:
    broker.write(ZERO, 4)
    loop = make_loop()
    gate = Gate()
    loop.while_committing = gate
    loop.start().rebalance("assign", ZERO)
    assert gate.reached.wait(30)
    wait_until(lambda: "waiting for Kafka" in (loop.runner.status().error or ""), 10, "told")
    wait_until(lambda: loop.metrics.value("streamtag.commit.waiting") > 1, 10, "measured")
    gate.open()
    loop.wait_committed(ZERO, 4)
    wait_until(lambda: loop.runner.status().error is None, 10, "over")
    wait_until(lambda: loop.metrics.value("streamtag.commit.waiting") == 0, 10, "measured")
    loop.stop()


def test_a_producer_that_cannot_start_is_told_as_long_as_it_cannot(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, settle = Gate(), ObedientSink.settle

    def waits(sink: ObedientSink) -> None:
        gate()
        settle(sink)

    monkeypatch.setattr(ObedientSink, "settle", waits)
    broker.write(ZERO, 4)
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    assert gate.reached.wait(30)
    wait_until(lambda: "waiting for Kafka" in (loop.runner.status().error or ""), 10, "told")
    gate.open()
    loop.wait_committed(ZERO, 4)
    wait_until(lambda: loop.runner.status().error is None, 10, "over")
    loop.stop()


def test_a_batch_that_cannot_be_unpacked_is_named_and_told_as_long_as_it_stands(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    """The broker answers all the while, and another partition is read."""
    loop = make_loop().start()
    loop.rebalance("assign", ZERO, ONE)
    wait_until(lambda: loop.runner.status().reading == 2, 10, "reading")
    broken = Message(topic="content", partition=0, offset=7, error=KafkaError(KafkaError._BAD_COMPRESSION))
    broker.broken.append(broken)
    wait_until(lambda: "content/0 at 7" in (loop.runner.status().error or ""), 10, "told")
    asked = broker.asked.count("list_topics")
    wait_until(lambda: broker.asked.count("list_topics") > asked + 3, 10, "the broker answers")
    assert "content/0 at 7" in (loop.runner.status().error or "")
    broker.write(ONE, 4)
    loop.wait_committed(ONE, 4)
    loop.stop()


HELD_NAME = KafkaError(KafkaError._FATAL, f"Fatal error: {KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()}")


def test_a_static_member_waits_for_the_session_of_its_predecessor(make_loop: MakeLoop, broker: FakeBroker) -> None:
    """With KIP-848 the broker refuses it until then, which is fatal to the client."""
    broker.write(ZERO, 4)
    broker.message_errors.extend([HELD_NAME] * 3)
    loop = make_loop().start()
    wait_until(lambda: not broker.message_errors, 10, "refused three times")
    assert KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str() in (loop.runner.status().error or "")
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 4)
    loop.stop()
    assert loop.failure is None
    assert loop.consumers == 4
    loop.check_exactly_once(ZERO)


def test_a_static_member_whose_client_fails_of_what_passes_waits_for_its_own_session(
    make_loop: MakeLoop, broker: FakeBroker
) -> None:
    """A client that has failed tells of no partition that is lost, and does not leave."""
    failed = KafkaError(KafkaError._FATAL, f"Fatal error: {KafkaError(KafkaError.UNKNOWN).str()}")
    broker.write(ZERO, 4)
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 4)
    broker.message_errors.extend([failed, HELD_NAME, HELD_NAME])
    wait_until(lambda: loop.consumers == 4, 10, "a client that is not refused")
    broker.write(ZERO, 4)
    assert loop.runner.status().reading == 0
    assert loop.metrics.value("streamtag.rebalances", kind="lost") == 1
    assert loop.metrics.value("streamtag.partitions.assigned") == 0
    loop.rebalance("assign", ZERO)
    loop.wait_committed(ZERO, 8)
    loop.stop()
    assert loop.failure is None
    loop.check_exactly_once(ZERO)


@pytest.mark.parametrize("twin", ["was there before and stays", "came later"])
def test_a_static_member_whose_name_a_twin_holds_ends(
    make_loop: MakeLoop, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, twin: str
) -> None:
    loop = make_loop()
    if twin == "came later":
        loop.start().rebalance("assign", ZERO)
        wait_until(lambda: loop.runner.status().reading == 1, 10, "reading")
        broker.message_errors.append(HELD_NAME)
    else:
        monkeypatch.setattr(member, "_RELEASED_S", 0.2)
        broker.message_errors.extend([HELD_NAME] * 10_000)
        loop.start()
    loop.wait_end()
    assert "instance" in str(loop.failure)
    assert (loop.consumers == 1) == (twin == "came later")


@pytest.mark.parametrize("way", ["error callback", "in place of a message"])
def test_a_consumer_that_is_finished_ends_the_loop(make_loop: MakeLoop, broker: FakeBroker, way: str) -> None:
    """E.g. a static member whose instance id another process uses: it will never read again."""
    loop = make_loop().start()
    loop.rebalance("assign", ZERO)
    wait_until(lambda: loop.runner.status().reading == 1, 10, "reading")
    if way == "error callback":
        broker.errors.append(KafkaError(KafkaError._FENCED, "fenced by another static member", True))
    else:  # so librdkafka 2.16 tells it, and does not mark it as fatal
        broker.message_errors.append(KafkaError(KafkaError._FATAL, "fenced by another static member"))
    loop.wait_end()
    assert "fenced by another static member" in str(loop.failure)


# -- all of it at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_random_trouble_loses_and_doubles_nothing(make_loop: MakeLoop, broker: FakeBroker, seed: int) -> None:
    choose = random.Random(seed)
    loop = make_loop(commit_interval_ms=5, revoke_budget_ms=30, pause_after_ms=10)
    loop.processor.before = lambda records: time.sleep(choose.choice([0, 0, 0, 0.001, 0.01]))
    loop.start().rebalance("assign", ZERO, ONE)
    owned = {ZERO, ONE}
    for _ in range(40):
        broker.write(choose.choice([ZERO, ONE]), choose.randrange(40), hole=choose.choice([0, 0, 1]))
        event = choose.randrange(5)
        partition = choose.choice([ZERO, ONE])
        if event == 0:
            loop.trouble["commit"].append(undone())
        elif event == 1:
            kind = choose.choice(["revoke", "lost"]) if partition in owned else "assign"
            loop.rebalance(kind, partition)
            owned ^= {partition}
        elif event == 2:
            broker.trouble[choose.choice(["committed", "list_topics"])].append(KafkaError(KafkaError._TIMED_OUT))
        time.sleep(choose.choice([0, 0.002, 0.01]))
    for partition in {ZERO, ONE} - owned:
        loop.rebalance("assign", partition)
    for partition in (ZERO, ONE):
        loop.wait_committed(partition, broker.high(partition), 20)
    loop.stop()
    assert loop.failure is None
    for partition in (ZERO, ONE):
        loop.check_exactly_once(partition)
