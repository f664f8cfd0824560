"""Small batches that unpack to records a hundred times as large, through a running worker on real Kafka."""

from pathlib import Path

import pytest
from checker import Input
from confluent_kafka import KafkaError, Message, Producer
from pipeline import Ledger, check_all, events, read_outputs, wait_covered
from services import MIB, Topics, wait_until
from workers import Fleet, Worker

pytestmark = pytest.mark.services

UNPACKED_MIB = 128  # more than librdkafka's receive.message.max.bytes, 100 MB


def write_bomb(ledger: Ledger, codec: str, partition: int) -> int:
    """One record of zeros in a batch of its own; returns the size of the batch as the broker keeps it."""
    places: list[int] = []
    errors: list[KafkaError] = []

    def report(error: KafkaError | None, record: Message) -> None:
        if error is not None:
            errors.append(error)
        else:
            places.append(record.offset() or 0)

    producer = Producer(
        {"bootstrap.servers": ledger.topics.bootstrap, "compression.type": codec, "message.max.bytes": 512 * MIB}
    )
    producer.produce(ledger.topics.input, bytes(UNPACKED_MIB * MIB), b"bomb", partition, on_delivery=report)
    assert producer.flush(60) == 0
    assert not errors, errors
    ledger.inputs[partition, places[0]] = Input("bad", "", b"bomb")
    return places[0]


def peak_rss_mib(worker: Worker) -> int:
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10


def tagged(topics: Topics, position: tuple[int, int]) -> bool:
    sources = [tag.event["source"] for tag in read_outputs(topics).tags]
    return position in {(source["partition"], source["offset"]) for source in sources}


def test_what_unpacks_to_a_record_beyond_the_limit_is_one_dead_letter_and_costs_twice_its_size(
    fleet: Fleet, ledger: Ledger
) -> None:
    worker = fleet.start().wait_ready()
    ledger.write(list(events(200, seed=1)))
    wait_covered(ledger, 30)
    before = peak_rss_mib(worker)
    write_bomb(ledger, "gzip", partition=0)
    ledger.write(list(events(200, seed=2)))
    wait_covered(ledger, 60)
    _, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
    assert worker.alive
    assert peak_rss_mib(worker) - before < 2.5 * UNPACKED_MIB


def test_what_the_client_refuses_to_unpack_holds_its_partition_only_says_so_and_loses_nothing(
    fleet: Fleet, ledger: Ledger
) -> None:
    ledger.write(list(events(200, seed=3)))
    worker = fleet.start().wait_ready()
    wait_covered(ledger, 30)
    offset = write_bomb(ledger, "zstd", partition=0)
    worker.wait_unready(f"reading {ledger.topics.input}/0 at {offset}: Decompression")
    later = ledger.write(list(events(200, seed=4)))
    last = max(place for place in later if place[0] != 0)
    seen: list[int] = []

    def goes_on_unready() -> bool:
        seen.append(worker.health()[0])
        return len(seen) > 50 and tagged(ledger.topics, last)

    wait_until(goes_on_unready, 30, "other partitions go on", every_s=0.1)
    assert set(seen) == {503}, "never ready while a partition stands"
    assert worker.stop() == 0
    fleet.overrides["kafka.consumer"] = f"{{receive.message.max.bytes: {512 * MIB}}}"
    fleet.start().wait_ready()
    wait_covered(ledger, 60)
    _, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
