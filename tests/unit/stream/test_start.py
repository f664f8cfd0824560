"""Where reading starts: nothing is skipped that the group should see, and nothing is read that it should not."""

from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, TopicPartition
from fake_broker import FakeBroker, FakeConsumer
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.stream.processor import Partition
from streamtag.stream.start import Start, StartResolver, pack, resume, unpack


class Member:
    """A member of a group: resolves positions, and commits first ones, as the polling side does."""

    def __init__(self, broker: FakeBroker, start: str = "earliest", *, patience_s: float = 1) -> None:
        self.broker = broker
        consumer: Any = FakeConsumer(broker, {})
        self._resolver = StartResolver(consumer, start, timeout_s=1, patience_s=patience_s)

    def resolve(self, *partitions: Partition) -> dict[Partition, Start]:
        return dict(self._resolver.resolve(partitions))

    def commit_first(self, starts: dict[Partition, Start]) -> None:
        self.broker.commit(
            [TopicPartition(t, p, s.position, pack(s.partitions, "")) for (t, p), s in starts.items() if s.first]
        )

    def start(self, *partitions: Partition) -> dict[Partition, int]:
        found = self.resolve(*partitions)
        self.commit_first(found)
        return {partition: start.position for partition, start in found.items()}


def content(partition: int) -> Partition:
    return "content", partition


def broker_with(*records: int) -> FakeBroker:
    broker = FakeBroker(content=len(records))
    for partition, count in enumerate(records):
        broker.write(content(partition), count)
    return broker


# -- metadata of commits -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 999_999_999), st.text(max_size=4_000))
def test_what_was_packed_is_unpacked(partitions: int, metadata: str) -> None:
    assert unpack(pack(partitions, metadata)) == (partitions, metadata)


@pytest.mark.parametrize("foreign", [None, "", "p=", "p=;", "p=x;", "p=4", "NTg0", " p=4;"])
def test_a_commit_of_somebody_else_is_known_as_such(foreign: str | None) -> None:
    assert unpack(foreign) == (None, foreign or "")


# -- with a commit -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_commit_is_resumed_unless_the_log_does_not_hold_it(committed: int, low: int, records: int) -> None:
    high = low + records
    found = resume(committed, "memory", 4, low, high)
    assert (found.first, found.metadata, found.partitions) == (False, "memory", 4)
    assert low <= found.position <= high
    if low <= committed <= high:
        assert found == Start(committed, metadata="memory", partitions=4)
    elif committed < low:
        assert (found.position, found.expired, found.cut, found.rewound) == (low, low - committed, True, False)
    else:
        assert (found.position, found.expired, found.rewound) == (low, 0, True)


@pytest.mark.parametrize(
    ("read", "expired"),
    [
        (12, 0),  # all of what has expired
        (20, 0),
        (10, 0),
        (8, 2),
        (3, 7),  # no more than it has committed
        (0, 7),  # it cannot tell
        (21, 7),  # in another log, which reached further than this one
    ],
)
def test_what_was_read_before_it_expired_is_not_counted(read: int, expired: int) -> None:
    found = resume(3, "memory", 4, 10, 20, {"memory": read}.__getitem__)
    assert found == Start(10, expired=expired, cut=True, metadata="memory", partitions=4)


def test_a_processor_gets_back_what_it_remembered_with_its_commit() -> None:
    broker = broker_with(5)
    broker.commit([TopicPartition("content", 0, 3, pack(1, "closed=1700"))])
    [found] = Member(broker).resolve(content(0)).values()
    assert (found.position, found.metadata, found.partitions) == (3, "closed=1700", 1)


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_foreign_commit_is_resumed_whatever_start_says(start: str) -> None:
    broker = broker_with(5)
    broker.commit([TopicPartition("content", 0, 3, "by another tool")])
    assert Member(broker, start).start(content(0)) == {content(0): 3}


# -- without a commit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "position"),
    [
        ("earliest", 2),
        ("latest", 9),
        ("1970-01-01T00:00:02Z", 6),
        ("1970-01-01T01:00:02+01:00", 6),
        ("1970-01-01T00:00:00Z", 2),
        ("1970-01-01T00:00:09Z", 9),
    ],
)
def test_the_first_start_is_where_the_setting_says(start: str, position: int) -> None:
    broker = FakeBroker(content=1)
    broker.write(content(0), 6, timestamp_ms=1_000)
    broker.write(content(0), 3, timestamp_ms=2_000)
    broker.expire(content(0), 2)
    assert Member(broker, start).start(content(0)) == {content(0): position}


@pytest.mark.parametrize("start", ["latest", "2100-01-01T00:00:00Z"])
def test_an_idle_partition_keeps_its_start_over_a_restart(start: str) -> None:
    broker = broker_with(5)
    Member(broker, start).start(content(0))
    broker.write(content(0), 3)  # while no worker runs
    assert Member(broker, start).start(content(0)) == {content(0): 5}


@pytest.mark.parametrize("start", ["latest", "2100-01-01T00:00:00Z"])
def test_a_partition_added_later_is_read_from_its_beginning(start: str) -> None:
    broker = broker_with(5, 5)
    member = Member(broker, start)
    assert member.start(content(0), content(1)) == {content(0): 5, content(1): 5}
    for _ in range(2):
        added = broker.add_partition("content")
        broker.write(added, 3)
        assert member.start(added) == {added: 0}
    assert Member(broker, start).start(added) == {added: 0}


def test_a_partition_added_to_a_group_of_foreign_commits_is_read_from_its_beginning() -> None:
    broker = broker_with(5, 5)
    broker.commit([TopicPartition("content", 0, 3, "")])
    assert Member(broker, "latest").start(content(1)) == {content(1): 0}


@pytest.mark.parametrize("start", ["earliest", "latest"])
@pytest.mark.parametrize(("partition", "added"), [(1, False), (3, True)])
def test_one_commit_tells_whether_a_partition_was_added_while_transactions_are_open_on_others(
    start: str, partition: int, added: bool
) -> None:
    """On a busy topic there may be no moment without one."""
    broker = broker_with(*[5] * 5)
    broker.commit([TopicPartition("content", 2, 3, pack(3, ""))])
    broker.unstable |= {content(0), content(4)}
    position = 5 if start == "latest" and not added else 0
    assert Member(broker, start).start(content(partition)) == {content(partition): position}


def test_a_partition_that_starts_late_remembers_the_first_start_as_it_was() -> None:
    """Any one commit may be the one that is asked for."""
    broker = broker_with(5, 5, 5)
    broker.commit([TopicPartition("content", 0, 3, pack(2, ""))])
    assert Member(broker, "latest").resolve(content(1)) == {content(1): Start(5, first=True, partitions=2)}


def test_a_foreign_commit_tells_nothing_while_another_partition_may_remember_the_first_start() -> None:
    broker = broker_with(5, 5, 5)
    broker.commit([TopicPartition("content", 0, 3, "")])
    broker.unstable.add(content(2))
    with pytest.raises(KafkaException):
        Member(broker, "latest").start(content(1))


def test_no_others_are_asked_where_a_partition_of_the_same_question_remembers_the_first_start() -> None:
    broker = broker_with(5, 5, 5)
    broker.commit([TopicPartition("content", 0, 3, pack(1, ""))])
    broker.unstable.add(content(2))
    assert Member(broker, "latest").start(content(0), content(1)) == {content(0): 3, content(1): 0}


def test_topics_do_not_count_as_one_another() -> None:
    broker = FakeBroker(content=1, other=3)
    for partition in broker.logs:
        broker.write(partition, 5)
    member = Member(broker, "latest")
    member.start(content(0))
    assert member.start(("other", 2)) == {("other", 2): 5}


@settings(deadline=None)
@given(st.data())
def test_members_that_start_at_the_same_moment_all_start_where_the_setting_says(data: st.DataObject) -> None:
    """Each resolves and commits at any moment between the others; rebalances may hand a partition on in between."""
    broker = broker_with(*[5] * 4)
    members = [Member(broker, "latest") for _ in range(3)]
    pending: list[tuple[Member, dict[Partition, Start]]] = []
    for partition in data.draw(st.permutations(range(4))):
        member = data.draw(st.sampled_from(members))
        starts = member.resolve(content(partition))
        assert [start.position for start in starts.values()] == [5]
        pending.append((member, starts))
        for _ in range(data.draw(st.integers(0, len(pending)))):
            one, found = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            one.commit_first(found)
    for one, found in pending:
        one.commit_first(found)
    added = broker.add_partition("content")
    broker.write(added, 2)
    assert data.draw(st.sampled_from(members)).start(added) == {added: 0}


@pytest.mark.parametrize("start", ["earliest", "latest", "2020-01-01T00:00:00Z"])
def test_many_partitions_take_no_more_questions_than_one(start: str) -> None:
    asked = []
    for count in (1, 40):
        broker = broker_with(*[5] * count)
        assert len(Member(broker, start).start(*(content(partition) for partition in range(count)))) == count
        asked.append(broker.asked)
    assert asked[0] == asked[1]


# -- trouble -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["list_topics", "committed", "offsets_for_times"])
def test_an_answer_that_does_not_come_is_an_error_never_a_guess(call: str) -> None:
    broker = broker_with(5)
    broker.trouble[call].append(KafkaError(KafkaError._TIMED_OUT))
    with pytest.raises(KafkaException):
        Member(broker, "2020-01-01T00:00:00Z").start(content(0))


@pytest.mark.parametrize("end", [OFFSET_BEGINNING, OFFSET_END])
def test_an_end_of_a_log_that_is_left_out_of_an_answer_is_an_error(end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked stands there then, and is no position."""
    told = FakeConsumer.offsets_for_times

    def leave_out(consumer: FakeConsumer, asked: list[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        return asked if asked[0].offset == end else told(consumer, asked, timeout=timeout)

    monkeypatch.setattr(FakeConsumer, "offsets_for_times", leave_out)
    with pytest.raises(KafkaException, match="not all ends"):
        Member(broker_with(5)).start(content(0))


def test_a_topic_that_does_not_exist_yet_is_an_error() -> None:
    with pytest.raises(KafkaException):
        Member(FakeBroker()).start(content(0))


def test_a_commit_within_a_transaction_that_is_still_open_is_an_error() -> None:
    broker = broker_with(5)
    broker.unstable.add(content(0))
    with pytest.raises(KafkaException):
        Member(broker).start(content(0))


def test_a_first_start_is_never_guessed_while_another_partition_cannot_be_told() -> None:
    broker = broker_with(5, 5, 5)
    broker.unstable.add(content(2))
    with pytest.raises(KafkaException):
        Member(broker, "latest").start(content(0))


def test_a_broker_that_is_slow_is_given_more_time_for_commits_than_one_with_open_transactions() -> None:
    broker = broker_with(5)
    broker.slow_s = 0.05
    assert Member(broker, patience_s=0.01).start(content(0)) == {content(0): 0}
    assert 0.1 <= broker.waits[0] < 1


def test_others_that_cannot_be_told_are_not_all_waited_for() -> None:
    broker = broker_with(*[5] * 200)
    broker.unstable |= {content(partition) for partition in range(1, 200)}
    with pytest.raises(KafkaException):
        Member(broker, patience_s=0.05).start(content(0))
    assert 2 < broker.asked.count("committed") < 20
