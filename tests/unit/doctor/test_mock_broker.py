"""The demo's mock broker is told from a real Kafka."""

from streamtag.devstack.mock_kafka import MockKafka
from streamtag.doctor import kafka_cluster
from streamtag.doctor.findings import examine
from streamtag.settings import load_settings


def test_the_mock_broker_is_named_and_nothing_is_asked_that_it_cannot_answer() -> None:
    with MockKafka({"content": 1}) as kafka:
        settings = load_settings(environ={}, overrides={"kafka.bootstrap_servers": kafka.bootstrap}).settings
        found = examine(kafka_cluster.examinations(settings, timeout_s=5))
    assert {finding.status for finding in found} == {"warn"}
    assert "mock broker" in found[0].finding
