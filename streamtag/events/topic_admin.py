"""Topics on a cluster: read, created, brought in line. Nothing here deletes, and nothing shrinks."""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from streamtag.errors import RefusedError, SettingsError, UnavailableError
from streamtag.events.topics import Difference, ExistingTopic, Remedy, TopicDeclaration, differences
from streamtag.settings import KafkaSettings

_TIMEOUT_S = 10.0
# The client gives up by itself, and says why; this only keeps us from waiting for a client that does not.
_MARGIN_S = 1.0
_RIGHTS_HINT = "Which rights each role needs: docs/howto-secure.md."


class TopicAdmin:
    """Admin client for topics.

    Every method raises `UnavailableError` when no broker answers in time, and `RefusedError` when one says no; making
    one raises `SettingsError` where the client does not take its options.
    """

    def __init__(self, settings: KafkaSettings, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._bootstrap = settings.bootstrap_servers
        self._timeout_s = timeout_s
        # log_level 0: a refused connection becomes an error with a message, not lines on the terminal
        try:
            self._client = AdminClient({"log_level": 0, **settings.client, "bootstrap.servers": self._bootstrap})
        except KafkaException as error:
            raise SettingsError(f"kafka.client: {error.args[0].str()}") from None

    def existing(self, names: Iterable[str]) -> dict[str, ExistingTopic]:
        """Those of ``names`` that exist."""
        try:
            topics = self._client.list_topics(timeout=self._timeout_s).topics
        except KafkaException as error:
            raise self._explain(error.args[0], "list topics") from error
        wanted = list(names)
        found = {name: topics[name] for name in wanted if name in topics}
        self._tell_hidden([name for name in wanted if name not in topics])
        for name, topic in found.items():
            if topic.error is not None:  # just created: no partition has a leader yet
                raise UnavailableError(
                    f"Kafka at {self._bootstrap} cannot describe topic {name} yet: {topic.error.str()}",
                    hint="Run this again in a moment; if it stays so, look at the brokers.",
                )
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
        if not resources:
            return {}  # the client refuses to describe nothing
        config = self._results(self._client.describe_configs(resources, request_timeout=self._timeout_s))
        return {
            resource.name: ExistingTopic(
                partitions=len(found[resource.name].partitions),
                replication=min(len(p.replicas) for p in found[resource.name].partitions.values()),
                config={name: entry.value for name, entry in entries.items()},
            )
            for resource, entries in config.items()
        }

    def compare(self, declared: Mapping[str, TopicDeclaration]) -> list[Difference]:
        """How the cluster differs from ``declared`` (topic name to declaration)."""
        existing = self.existing(declared)
        return [found for name, topic in declared.items() for found in differences(topic, existing.get(name))]

    def apply(
        self, declared: Mapping[str, TopicDeclaration], found: Iterable[Difference], *, add_partitions: bool
    ) -> list[Difference]:
        """Mends what can be mended of ``found``; returns what it mended.

        Args:
            declared: topic name to declaration.
            found: as `compare` returned it.
            add_partitions: also where keys move by that.
        """
        done = []
        for difference in found:
            topic = declared[difference.topic]
            if difference.remedy is Remedy.CREATE:
                self._create(topic)
            elif difference.remedy is Remedy.ADD_PARTITIONS and add_partitions:
                wanted = [NewPartitions(topic.name, topic.partitions)]
                self._results(self._client.create_partitions(wanted, operation_timeout=self._timeout_s))
            elif difference.remedy is Remedy.SET:
                self._set(topic.name, difference.what, difference.declared)
            else:
                continue
            done.append(difference)
        return done

    def _tell_hidden(self, names: list[str]) -> None:
        """Raises for those that this user may not see: lists leave them out, as if they did not exist."""
        if not names:
            return
        asked = self._client.describe_topics(TopicCollection(names), request_timeout=self._timeout_s)
        for name, future in asked.items():
            self._answer(future, f"describe topic {name}", fine=KafkaError.UNKNOWN_TOPIC_OR_PART)

    def _create(self, topic: TopicDeclaration) -> None:
        wanted = NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.config))
        futures = self._client.create_topics([wanted], operation_timeout=self._timeout_s)
        # Where it exists by now, somebody else was faster.
        self._answer(futures[topic.name], f"create topic {topic.name}", fine=KafkaError.TOPIC_ALREADY_EXISTS)

    def _set(self, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self._results(self._client.incremental_alter_configs([resource], request_timeout=self._timeout_s))

    def _results(self, futures: Mapping[Any, Any]) -> dict[Any, Any]:
        return {subject: self._answer(future, str(subject)) for subject, future in futures.items()}

    def _answer(self, future: Any, what: str, *, fine: int | None = None) -> Any:
        """What ``future`` brings; None for an error of the code ``fine``."""
        try:
            return future.result(self._timeout_s + _MARGIN_S)
        except KafkaException as error:
            if error.args[0].code() == fine:
                return None
            raise self._explain(error.args[0], what) from error
        except TimeoutError:
            raise self._explain(KafkaError(KafkaError._TIMED_OUT), what) from None

    def _explain(self, reason: KafkaError, what: str) -> UnavailableError | RefusedError:
        if reason.code() < 0 or reason.retriable():  # negative: the client's own, no broker said it
            return UnavailableError(
                f"Kafka at {self._bootstrap} does not answer ({what}): {reason.str()}",
                hint="Look at kafka.bootstrap_servers and kafka.client; `streamtag dev up` starts a local one.",
            )
        hint = _RIGHTS_HINT if "AUTHORIZATION" in reason.name() else ""
        return RefusedError(f"Kafka at {self._bootstrap} refuses ({what}): {reason.str()}", hint=hint)
