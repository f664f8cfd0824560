"""Asking a cluster about its topics: a broker that does not answer is named, however the client gives up."""

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection

from streamtag.errors import RefusedError, UnavailableError
from streamtag.events import topic_admin
from streamtag.events.topic_admin import TopicAdmin
from streamtag.events.topics import Difference, Remedy, TopicDeclaration, read_declarations
from streamtag.settings import KafkaSettings

TOPIC = read_declarations()["tags"]
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")
MISSING = Difference(TOPIC.name, "topic", TOPIC.name, None, Remedy.CREATE)


class Client:
    """An admin client whose every future ends as told; never, for ``None``."""

    def __init__(self, end: KafkaError | None) -> None:
        self._end = end
        self.topic = SimpleNamespace(error=None, partitions={0: SimpleNamespace(replicas=[1])})

    def _future(self) -> "Future[None]":
        future: Future[None] = Future()
        if self._end is not None:
            future.set_exception(KafkaException(self._end))
        return future

    def list_topics(self, *, timeout: float) -> Any:
        return SimpleNamespace(topics={TOPIC.name: self.topic})

    def describe_topics(self, wanted: TopicCollection, **_: float) -> dict[str, "Future[None]"]:
        return {name: self._future() for name in wanted.topic_names}

    def describe_configs(self, resources: list[Any], **_: float) -> dict[Any, "Future[None]"]:
        return {resource: self._future() for resource in resources}

    def create_topics(self, topics: list[Any], **_: float) -> dict[str, "Future[None]"]:
        return {topic.topic: self._future() for topic in topics}


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Callable[[KafkaError | None], TopicAdmin]:
    def make(end: KafkaError | None) -> TopicAdmin:
        monkeypatch.setattr(topic_admin, "_MARGIN_S", 0.0)
        monkeypatch.setattr(topic_admin, "AdminClient", lambda _config: Client(end))
        return TopicAdmin(KAFKA, timeout_s=0.01)

    return make


def create(admin: TopicAdmin, topic: TopicDeclaration = TOPIC) -> list[Difference]:
    return admin.apply({topic.name: topic}, [MISSING], add_partitions=False)


@pytest.mark.parametrize("end", [None, KafkaError(KafkaError._TIMED_OUT), KafkaError(KafkaError._TRANSPORT)])
def test_a_frozen_broker_is_unavailable_and_named(
    admin: Callable[[KafkaError | None], TopicAdmin], end: KafkaError | None
) -> None:
    for ask in (lambda: admin(end).existing([TOPIC.name]), lambda: create(admin(end))):
        with pytest.raises(UnavailableError, match=KAFKA.bootstrap_servers):
            ask()


def test_a_refusal_is_no_outage(admin: Callable[[KafkaError | None], TopicAdmin]) -> None:
    with pytest.raises(RefusedError, match="create topic"):
        create(admin(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))


def test_a_topic_that_this_user_may_not_see_is_not_taken_for_missing(
    admin: Callable[[KafkaError | None], TopicAdmin],
) -> None:
    with pytest.raises(RefusedError, match="describe topic theirs") as refused:
        admin(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)).existing(["theirs"])
    assert "howto-secure" in refused.value.hint
    assert admin(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)).existing(["nobodys"]) == {}


def test_a_topic_that_somebody_else_creates_first_is_created(
    admin: Callable[[KafkaError | None], TopicAdmin],
) -> None:
    assert create(admin(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS))) == [MISSING]


def test_a_topic_without_leaders_yet_is_to_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(None)
    client.topic = SimpleNamespace(error=KafkaError(KafkaError.LEADER_NOT_AVAILABLE), partitions={})
    monkeypatch.setattr(topic_admin, "AdminClient", lambda _config: client)
    with pytest.raises(UnavailableError, match=f"describe topic {TOPIC.name} yet"):
        TopicAdmin(KAFKA).existing([TOPIC.name])
