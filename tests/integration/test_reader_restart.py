"""A reader of topics that lives long, as that of `streamtag stats` does, while its broker is killed."""

import pytest
from services import create_topics, produce, wait_until

from streamtag.devstack.kafka import KafkaServer
from streamtag.errors import UnavailableError
from streamtag.stream.options import StreamOptions
from streamtag.stream.topic_reader import TopicReader

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


def test_a_reader_goes_on_with_a_broker_that_was_killed_and_is_back(own_kafka: KafkaServer) -> None:
    create_topics(own_kafka.bootstrap, [("panes", 1, {})])
    produce(own_kafka.bootstrap, "panes", [(None, b"1")] * 5)
    options = StreamOptions(own_kafka.bootstrap, group="g", topics=(), transactional_id="reader")
    with TopicReader(options) as reader:

        def answers() -> bool:
            try:
                return reader.bounds("panes") == reader.from_time("panes", 0) == {0: (0, 5)}
            except UnavailableError:  # while it elects a leader
                return False

        assert answers()
        own_kafka.kill()
        own_kafka.start()
        wait_until(answers, 20, "both clients of the reader know the new leader epoch", every_s=0.2)
        assert sum(len(batch) for batch in reader.batches("panes", {0: (0, 5)})) == 5
