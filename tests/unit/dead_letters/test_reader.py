"""The dead-letter topic is read in portions that fit a transaction, on librdkafka's mock broker."""

from confluent_kafka import Producer

from streamtag.dead_letters.reader import DeadLetterReader
from streamtag.devstack.mock_kafka import MockKafka
from streamtag.settings import load_settings


def test_a_portion_ends_by_count_or_with_the_record_that_fills_it() -> None:
    settings = load_settings(config=None).settings
    with MockKafka({settings.topics.dead_letters: 1}) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        for size in (10, 10, 500, 10, 10, 10):
            producer.produce(settings.topics.dead_letters, value=b"x" * size, partition=0)
        assert producer.flush(20) == 0
        settings = load_settings(config=None, overrides={"kafka.bootstrap_servers": kafka.bootstrap}).settings
        with DeadLetterReader(settings) as reader:
            ranges = reader.bounds()
            assert ranges == {0: (0, 6)}
            portions = list(reader.batches(ranges, records=4, max_bytes=500))
    assert [record.offset for portion in portions for record in portion] == list(range(6))
    assert all(len(portion) <= 4 for portion in portions)
    assert {portion[-1].offset for portion in portions} >= {2, 5}  # the one that fills it, and the last
