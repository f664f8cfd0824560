"""Options of the loop on real Kafka: protocols, static members, starts, what comes in and goes out, back pressure."""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import pytest
from checker import Input
from confluent_kafka import ConsumerGroupType, Message, Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConsumerGroupDescription,
    NewPartitions,
    ResourceType,
)
from pipeline import Ledger, check_all, events, read_outputs, read_summaries, wait_covered
from services import MakeTopics, Topics, produce, read_all, wait_until
from workers import Fleet, Worker

from streamtag.devstack.kafka import KafkaServer
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Commit, Output, Partition, Range
from streamtag.stream.runner import Runner
from streamtag.telemetry.metrics import Metrics

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


def check_exactly_once(fleet: Fleet, ledger: Ledger) -> None:
    _, problems = check_all(ledger, fleet)
    assert not problems, (len(problems), problems[:5])


def event(name: str, text: str = "a green window") -> bytes:
    return json.dumps({"id": name, "text": text}).encode()


def metric(worker: Worker, name: str) -> float:
    return sum(value for series, value in worker.metrics().items() if series.partition("{")[0] == name)


def has_two_partitions(worker: Worker) -> bool:
    return metric(worker, "streamtag_partitions_assigned") == 2


def group_type(fleet: Fleet) -> object:
    admin = AdminClient({"bootstrap.servers": fleet.topics.bootstrap})
    described: ConsumerGroupDescription = admin.describe_consumer_groups([fleet.group])[fleet.group].result(20)
    return described.type


# -- group protocols and static membership -----------------------------------------------------------------------------


def test_under_the_consumer_protocol_a_killed_worker_costs_nothing(fleet: Fleet, ledger: Ledger) -> None:
    """KIP-848: the broker assigns; a member that is gone is found out by the broker's own session timeout."""
    fleet.overrides["tagger.group_protocol"] = "consumer"
    ledger.write(list(events(4_000, seed=40)))
    workers = [fleet.start(), fleet.start()]
    for worker in workers:
        worker.wait_ready(60)
    assert group_type(fleet) is ConsumerGroupType.CONSUMER
    for seed in (41, 42):
        ledger.write(list(events(4_000, seed=seed)))
        workers[0].kill()
        workers[0] = fleet.start()
        ledger.write(list(events(2_000, seed=seed + 10)))
        workers[0].wait_ready(60)
    wait_covered(ledger, 60)
    for worker in workers:
        assert worker.stop() == 0
    check_exactly_once(fleet, ledger)


@pytest.mark.parametrize("how", ["drained", "killed"])
def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(
    fleet: Fleet, ledger: Ledger, how: str
) -> None:
    fleet.overrides["tagger.session_timeout_ms"] = "60000"  # longer than any worker takes to start
    ledger.write(list(events(2_000, seed=43)))
    first = fleet.start(tagger__group_instance_id="a", tagger__slot="a").wait_ready(60)
    second = fleet.start(tagger__group_instance_id="b", tagger__slot="b").wait_ready(60)
    for worker in (first, second):
        wait_until(partial(has_two_partitions, worker), 60, "two partitions each")
    before = metric(second, "streamtag_rebalances_total")
    ledger.write(list(events(2_000, seed=44)))
    if how == "killed":
        first.kill()
    else:
        assert first.stop() == 0
    ledger.write(list(events(2_000, seed=45)))
    fleet.start(tagger__group_instance_id="a", tagger__slot="a").wait_ready(60)
    ledger.write(list(events(2_000, seed=46)))
    wait_covered(ledger, 60)
    assert metric(second, "streamtag_rebalances_total") == before
    check_exactly_once(fleet, ledger)


def test_a_static_member_whose_name_another_takes_ends_and_says_so(fleet: Fleet, ledger: Ledger) -> None:
    ledger.write(list(events(500, seed=47)))
    first = fleet.start(tagger__group_instance_id="same").wait_ready(60)
    second = fleet.start(tagger__group_instance_id="same")
    wait_until(lambda: not first.alive, 60, "the first ends")
    assert first.process.returncode == 1
    assert "group_instance_id" in first.log.read_text()
    second.wait_ready(60)
    ledger.write(list(events(500, seed=48)))
    wait_covered(ledger, 60)
    check_exactly_once(fleet, ledger)


def test_under_kip_848_a_static_member_waits_until_its_killed_predecessor_has_left(
    fleet: Fleet, ledger: Ledger
) -> None:
    """The broker refuses it until then, for as long as a session lasts, and the client calls that fatal."""
    fleet.overrides["tagger.group_protocol"] = "consumer"
    _set_session(fleet, 15_000)  # longer than a worker takes to start
    ledger.write(list(events(500, seed=53)))
    first = fleet.start(tagger__group_instance_id="a", tagger__slot="a").wait_ready(60)
    wait_until(lambda: metric(first, "streamtag_partitions_assigned") == 4, 60, "a member with all partitions")
    first.kill()
    ledger.write(list(events(500, seed=54)))
    heir = fleet.start(tagger__group_instance_id="a", tagger__slot="a")
    heir.wait_unready("instance ID is still used")
    heir.wait_ready(90)
    wait_covered(ledger, 60)
    check_exactly_once(fleet, ledger)


def _set_session(fleet: Fleet, timeout_ms: int) -> None:
    entry = ConfigEntry("consumer.session.timeout.ms", str(timeout_ms), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, fleet.group, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": fleet.topics.bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


# -- where reading starts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["latest", "2023-11-14T22:13:20Z"])
def test_the_start_is_honoured_idle_partitions_keep_it_and_added_ones_are_read_whole(
    fleet: Fleet, make_topics: MakeTopics, start: str
) -> None:
    fleet.topics = make_topics(partitions=2)
    fleet.overrides.update({"tagger.start": start, "stats.max_age_s": "1000000000"})
    ledger = Ledger(fleet.topics)
    boundary_ms = 1_700_000_000_000
    for partition in (0, 1):
        _write(ledger, ["before"] * 20, partition, at_ms=boundary_ms - 1, expected=False)
    if start != "latest":
        _write(ledger, ["from the boundary on"] * 5, 0, at_ms=boundary_ms)
    worker = fleet.start().wait_ready()
    assert worker.stop() == 0  # partition 1 has not had a record
    for partition in (0, 1):
        _write(ledger, ["while no worker ran"] * 10, partition)
    _add_partition(fleet.topics, 3)
    _write(ledger, ["in a new partition"] * 10, 2)
    worker = fleet.start().wait_ready()
    wait_covered(ledger, 30)
    _add_partition(fleet.topics, 4)
    _write(ledger, ["in a partition added while a worker ran"] * 10, 3)
    wait_covered(ledger, 60)
    assert worker.stop() == 0
    check_exactly_once(fleet, ledger)
    starts = {one.partition: one.from_offset for one in reversed(read_summaries(fleet.topics))}
    assert starts == {0: 20, 1: 20, 2: 0, 3: 0}


def _write(ledger: Ledger, texts: Sequence[str], partition: int, *, at_ms: int = 0, expected: bool = True) -> None:
    """Writes events to one partition; those not expected are none that the group should ever read."""
    records = [(b"k", event(f"e{i}", text)) for i, text in enumerate(texts)]
    topics = ledger.topics
    places = produce(topics.bootstrap, topics.input, records, partition=partition, timestamp_ms=at_ms)
    if expected:
        ledger.inputs.update({place: Input("event", f"e{i}", b"k") for i, place in enumerate(places)})


def _add_partition(topics: Topics, total: int) -> None:
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    for future in admin.create_partitions([NewPartitions(topics.input, total)]).values():
        future.result(20)

    def led() -> bool:
        found = admin.list_topics(topics.input, timeout=10).topics[topics.input].partitions
        return len(found) == total and all(p.leader >= 0 for p in found.values())

    wait_until(led, 20, f"{total} partitions")


# -- what comes in -----------------------------------------------------------------------------------------------------


def test_offsets_that_hold_no_record_leave_no_gap_between_summaries(fleet: Fleet, ledger: Ledger) -> None:
    """Producers with transactions leave markers, and aborted records that nobody may read."""
    producer = Producer({"bootstrap.servers": fleet.topics.bootstrap, "transactional.id": f"in-{fleet.namespace}"})
    producer.init_transactions(20)
    fleet.start().wait_ready()
    for number in range(12):
        producer.begin_transaction()
        places: list[tuple[int, int]] = []
        for i in range(50):
            producer.produce(
                fleet.topics.input,
                event(f"{number}-{i}"),
                key=b"k",
                partition=i % 2,
                on_delivery=partial(_note_place, places),
            )
        producer.flush(20)
        if number % 3 == 1:
            producer.abort_transaction(20)
            continue
        producer.commit_transaction(20)
        ledger.inputs.update({place: Input("event", "", b"k") for place in places})
    wait_covered(ledger, 60)
    outputs = read_outputs(fleet.topics)
    assert sorted(tag.source for tag in outputs.tags) == sorted(ledger.inputs)
    for partition in (0, 1):
        ranges = [(one.from_offset, one.to_offset) for one in outputs.summaries if one.partition == partition]
        assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert sum(one.in_ for one in outputs.summaries) == len(ledger.inputs)
    assert sum(one.to_offset - one.from_offset for one in outputs.summaries) > len(ledger.inputs)


def _note_place(places: list[tuple[int, int]], _error: object, record: Message) -> None:
    places.append((record.partition() or 0, record.offset() or 0))


def test_tombstones_pass_in_the_order_of_their_key(fleet: Fleet, ledger: Ledger) -> None:
    ledger.write(list(events(3_000, seed=49, tombstone_every=3)))
    fleet.start().wait_ready()
    wait_covered(ledger, 30)
    check_exactly_once(fleet, ledger)
    last: dict[bytes | None, tuple[int, int]] = {}
    for record in read_all(fleet.topics.bootstrap, fleet.topics.tags):
        value, headers = record.value(), dict(record.headers() or [])
        if value is None:
            source = tuple(map(int, bytes(headers["streamtag.source"] or b"").split(b"/")[1:]))  # type: ignore[arg-type]
        else:
            source = tuple(json.loads(value)["source"][name] for name in ("partition", "offset"))
        assert last.get(record.key(), (source[0], -1)) < source
        last[record.key()] = source  # type: ignore[assignment]


def test_the_trace_context_goes_from_the_record_to_the_tag_event_and_its_headers(fleet: Fleet) -> None:
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = [("other", b"x"), ("traceparent", parent), ("tracestate", b"vendor=1")]
    records: list[tuple[bytes, bytes, Sequence[tuple[str, bytes | None]]]] = [
        (b"k", event("traced"), traced),
        (b"k", event("plain"), []),
        (b"k", event("broken"), [("traceparent", b"00-nonsense")]),
    ]
    produce(fleet.topics.bootstrap, fleet.topics.input, records)
    fleet.start().wait_ready()
    found = read_all(fleet.topics.bootstrap, fleet.topics.tags, until=lambda records: len(records) == 3)
    by_id = {json.loads(one.value() or b"")["id"]: one for one in found}
    assert by_id["traced"].headers() == [("traceparent", parent), ("tracestate", b"vendor=1")]
    assert json.loads(by_id["traced"].value() or b"")["traceparent"] == parent.decode()
    for name in ("plain", "broken"):
        assert not by_id[name].headers()
        assert "traceparent" not in json.loads(by_id[name].value() or b"")


def test_where_only_tagged_events_go_out_the_counts_stay_complete(fleet: Fleet, ledger: Ledger) -> None:
    fleet.overrides["tagger.emit"] = "tagged"
    ledger.write(list(events(2_000, seed=50)))
    fleet.start().wait_ready()
    wait_covered(ledger, 30)
    outputs = read_outputs(fleet.topics)
    kinds = [given.kind for given in ledger.inputs.values()]
    assert 0 < len(outputs.tags) < kinds.count("event")
    assert all(tag.event["tags"] for tag in outputs.tags)
    assert sum(one.tagged for one in outputs.summaries) == len(outputs.tags)
    assert sum(one.tagged + one.clean for one in outputs.summaries) == kinds.count("event")
    assert sum(one.in_ for one in outputs.summaries) == len(ledger.inputs)
    panes = [pane for one in outputs.summaries for pane in one.panes]
    for label in ("spam", "greeting"):
        assert sum(sum(pane.labels[label].counts) for pane in panes) == kinds.count("event")
        tagged = sum(label in {t["label"] for t in tag.event["tags"]} for tag in outputs.tags)
        assert sum(pane.labels[label].alerts for pane in panes) == tagged


def test_old_and_thin_traffic_with_a_pane_an_event_is_caught_up_with(fleet: Fleet, make_topics: MakeTopics) -> None:
    """A transaction that spans thousands of panes has no summary that fits into one record."""
    fleet.topics = make_topics(partitions=1)
    fleet.overrides.update({"stats.pane_s": "1", "tagger.commit_interval_ms": "2000", "stats.max_age_s": "1000000000"})
    ledger = Ledger(fleet.topics)
    made = list(events(30_000, seed=52))
    ledger.write(made, timestamp_ms=[1_700_000_000_000 + i * 1_000 for i in range(len(made))])
    worker = fleet.start().wait_ready()
    wait_covered(ledger, 60)
    assert metric(worker, "streamtag_rewinds_total") == 0
    check_exactly_once(fleet, ledger)


# -- back pressure, and a broker that comes back ---------------------------------------------------------------------


class SlowCopier:
    """Copies records; waits at the gate before its first batch, and may fail once after that."""

    def __init__(self, topics: Topics, *, fail: bool) -> None:
        self._topics = topics
        self._fail = fail
        self.gate = threading.Event()
        self.waiting = threading.Event()

    def held(self) -> None:
        return None

    def process(self, records: Sequence[Message]) -> Iterable[Output]:
        self.waiting.set()
        assert self.gate.wait(60)
        if self._fail:
            self._fail = False
            raise ValueError("weather")
        return [Output(self._topics.tags, record.key(), record.value()) for record in records]

    def full(self) -> bool:
        return False

    def close(self, covered: Mapping[Partition, Range]) -> Iterable[Output]:
        return ()

    def commits(self, covered: Mapping[Partition, Range]) -> Mapping[Partition, Commit]:
        return {partition: Commit(span.end) for partition, span in covered.items()}

    def committed(self) -> None: ...

    def undo(self) -> None: ...


@contextmanager
def running(topics: Topics, processor: SlowCopier, metrics: Metrics) -> Iterator[Runner]:
    """The loop itself in this process, with a maximum poll interval of four seconds."""
    options = StreamOptions(
        bootstrap_servers=topics.bootstrap,
        group=f"group-{topics.input}",
        topics=(topics.input,),
        transactional_id=f"slow-{topics.input}",
        session_timeout_ms=3_000,
        max_poll_interval_ms=4_000,
        batch_size=10,
        queue_batches=1,
        pause_after_ms=100,
    )
    runner = Runner(options, processor, metrics)
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    try:
        yield runner
    finally:
        processor.gate.set()
        runner.stop()
        thread.join(30)


@pytest.mark.parametrize("fail", [False, True], ids=["slow", "slow, then undone"])
def test_a_slow_consumer_keeps_its_membership_and_reads_on_afterwards(topics: Topics, fail: bool) -> None:
    records = [(b"k", b"%d" % i) for i in range(2_000)]
    produce(topics.bootstrap, topics.input, records)
    metrics, processor = Metrics.in_memory(), SlowCopier(topics, fail=fail)
    with running(topics, processor, metrics) as runner:
        assert processor.waiting.wait(30)
        wait_until(lambda: runner.member_id, 10, "a member of the group")
        member, until = runner.member_id, time.monotonic() + 6  # the maximum poll interval is 4 s
        while time.monotonic() < until:
            assert runner.status().reading == topics.partitions
            time.sleep(0.2)
        assert runner.member_id == member
        assert metrics.value("streamtag.backpressure.pauses") >= 1
        assert metrics.value("streamtag.rebalances", kind="lost") == 0
        assert metrics.value("streamtag.rebalances", kind="revoked") == 0
        processor.gate.set()
        found = read_all(topics.bootstrap, topics.tags, until=lambda copies: len(copies) >= len(records), deadline_s=30)
    assert [one.value() for one in found] == [value for _, value in records]


def test_an_idle_worker_is_ready_again_once_its_broker_is_back(
    fleet: Fleet, own_kafka: KafkaServer, make_topics: MakeTopics
) -> None:
    fleet.topics = make_topics(bootstrap=own_kafka.bootstrap)
    fleet.overrides["tagger.session_timeout_ms"] = "60000"  # its place in the group outlives the outage
    worker = fleet.start().wait_ready(60)
    own_kafka.kill()
    worker.wait_unready("kafka", 60)
    own_kafka.restart()
    worker.wait_ready(60)
    ledger = Ledger(fleet.topics)
    ledger.write(list(events(200, seed=51)))
    wait_covered(ledger, 60)
    check_exactly_once(fleet, ledger)
