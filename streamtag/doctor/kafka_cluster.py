"""Checks of Kafka: reachable, capable, topics fit, transactions work, the group's state."""

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from streamtag.doctor.findings import Blocked, Examination, Finding
from streamtag.errors import UnavailableError
from streamtag.events.topic_admin import TopicAdmin
from streamtag.events.topics import ExistingTopic, Remedy, declared_topics, differences, read_declarations
from streamtag.settings import LoopSettings, Settings

# A first transactional id makes the broker create its transaction log: give it time.
_TRANSACTION_PATIENCE = 3
# Calls in a row, that one counted by its patience.
_CALLS = 11
# What a dead letter adds to its record: error headers, position, release, framing.
DEAD_LETTER_OVERHEAD_BYTES = 65_536


def examinations(settings: Settings, timeout_s: float) -> list[Examination]:
    """One examination: what follows needs an answer to the first. ``timeout_s`` is the wait for one answer."""
    doctor = _KafkaDoctor(settings, timeout_s)
    checks = [
        ("kafka.broker", doctor.broker),
        ("kafka.features", doctor.features),
        ("kafka.topics", doctor.topics),
        ("kafka.transactions", doctor.transactions),
        ("kafka.group", doctor.group),
        ("kafka.windows", doctor.windows),
    ]
    return [Examination(checks, _CALLS * timeout_s)]


class _KafkaDoctor:
    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._where = settings.kafka.bootstrap_servers
        self._complaint = ""
        self._admin: AdminClient | None = None
        self._broker_id = 0

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._options() | {"error_cb": self._hear})
        return self._admin

    def _options(self) -> dict[str, Any]:
        # log_level 0: what fails becomes a finding, not lines on the terminal
        return {"log_level": 0, **self._settings.kafka.client, "bootstrap.servers": self._where}

    def _hear(self, error: KafkaError) -> None:
        # The first complaint says why (name not found, TLS, password); later ones only that nobody is left.
        if not self._complaint or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._complaint = error.str()

    def broker(self) -> Iterator[Finding]:
        try:
            client = self._client()
            found = client.list_topics(timeout=self._timeout_s)
        except KafkaException as error:
            if self._admin is not None:
                self._admin.poll(0.1)
            reason = self._complaint or error.args[0].str()
            action = "Start Kafka, or correct kafka.bootstrap_servers (STREAMTAG_KAFKA) and kafka.client (TLS, SASL)."
            yield Finding("kafka.broker", "fail", f"{self._where}: {reason}", action)
            raise Blocked from None
        if str(found.cluster_id).startswith("mockCluster"):
            text = f"{self._where} is librdkafka's mock broker"
            yield Finding(
                "kafka.broker", "warn", text, "Good for the demo only: it keeps no promise. Use a real Kafka."
            )
            raise Blocked
        if not found.brokers:  # it has just woken from a freeze, and is fenced
            text = f"{self._where} answers, and names no broker of cluster {found.cluster_id}"
            yield Finding("kafka.broker", "fail", text, "Run this again in a moment; restart brokers if it stays so.")
            raise Blocked
        self._broker_id = min(found.brokers)
        addresses = ", ".join(f"{b.host}:{b.port}" for b in found.brokers.values())
        yield Finding("kafka.broker", "ok", f"cluster {found.cluster_id}, {len(found.brokers)} broker(s): {addresses}")

    def features(self) -> Iterator[Finding]:
        resource = ConfigResource(ResourceType.BROKER, str(self._broker_id))
        try:
            entries = self._client().describe_configs([resource], request_timeout=self._timeout_s)[resource]
            config = {name: entry.value for name, entry in entries.result(self._timeout_s + 1).items()}
        except KafkaException as error:
            text = f"the broker does not tell its configuration: {error.args[0].str()}"
            yield Finding("kafka.features", "warn", text, "Allow DescribeConfigs on the cluster to have this checked.")
            return
        yield features(config, self._settings)

    def topics(self) -> Iterator[Finding]:
        declared = declared_topics(self._settings.topics, read_declarations(self._settings.topics.declarations))
        existing = TopicAdmin(self._settings.kafka, timeout_s=self._timeout_s).existing(declared)
        metadata = self._client().list_topics(timeout=self._timeout_s).topics
        for name, declaration in declared.items():
            check = f"kafka.topic.{name}"
            topic = existing.get(name)
            if topic is None:
                yield Finding(check, "fail", "does not exist", "`streamtag topics apply` creates what is missing.")
                continue
            insync = [(p.leader, len(p.isrs)) for p in metadata[name].partitions.values()]
            problem = health(check, topic, insync)
            if problem is not None:
                yield problem
            changed = [d for d in differences(declaration, topic) if d.remedy is not Remedy.KEEP]
            if changed:
                text = "; ".join(f"{d.what} is {d.actual}, declared {d.declared}" for d in changed)
                yield Finding(check, "warn", text, "`streamtag topics diff` explains, `streamtag topics apply` mends.")
            elif problem is None:
                yield Finding(check, "ok", f"{topic.partitions} partitions, {topic.replication} copies")
        yield from sizes(self._settings, existing)

    def transactions(self) -> Iterator[Finding]:
        if self._settings.tagger.delivery != "exactly_once":
            yield Finding("kafka.transactions", "ok", "not used (tagger.delivery is at_least_once)")
            return
        # A fixed id per host, so that no more than one stays behind on the broker; it fences nobody who tags.
        name = f"{self._settings.tagger.group}-doctor-{socket.gethostname()}"
        try:
            producer = Producer(self._options() | dict(self._settings.kafka.producer) | {"transactional.id": name})
            producer.init_transactions(_TRANSACTION_PATIENCE * self._timeout_s)
        except KafkaException as error:
            text = f"cannot start: {error.args[0].str()}"
            action = (
                "See transaction.state.log.replication.factor and .min.isr against the number of brokers, and the "
                f"ACLs of transactional ids that begin with {self._settings.tagger.group}-."
            )
            yield Finding("kafka.transactions", "fail", text, action)
        else:
            yield Finding("kafka.transactions", "ok", f"a transactional producer started ({name})")

    def group(self) -> Iterator[Finding]:
        yield self._group("kafka.group", "tagger", self._settings.tagger)

    def windows(self) -> Iterator[Finding]:
        yield self._group("kafka.windows", "windows", self._settings.windows)

    def _group(self, check: str, role: str, loop: LoopSettings) -> Finding:
        group = loop.group
        try:
            asked = self._client().describe_consumer_groups([group], request_timeout=self._timeout_s)[group]
            found = asked.result(self._timeout_s + 1)
        except KafkaException as error:
            if error.args[0].name() == "GROUP_ID_NOT_FOUND":
                return Finding(check, "ok", f"{group} does not exist yet; it begins at {loop.start}")
            text = f"{group}: {error.args[0].str()}"
            action = "Allow DescribeGroups; `streamtag fleet` needs it, too."
            if error.args[0].retriable() or "COORDINATOR" in error.args[0].name():
                action = "The group's coordinator is starting: run this again in a moment."
            return Finding(check, "warn", text, action)
        except TimeoutError:
            raise UnavailableError(f"no answer about group {group} in {self._timeout_s:g} s") from None
        return group_state(check, found, role, loop)


def features(config: Mapping[str, str | None], settings: Settings) -> Finding:
    """What the broker can do, by its configuration (librdkafka tells no version)."""
    # Kafka 4.0 removed this option together with every older protocol.
    older = config.get("inter.broker.protocol.version")
    text = f"protocol {older}" if older else "Kafka 4.0 or later"
    if settings.tagger.group_protocol == "consumer":
        protocols = config.get("group.coordinator.rebalance.protocols") or ("" if older else "consumer")
        if "consumer" not in protocols:
            action = "Use tagger.group_protocol: classic, or Kafka 4.0 or later with the consumer protocol on."
            return Finding("kafka.features", "fail", f"{text}, without the consumer group protocol (KIP-848)", action)
        timeout = config.get("group.consumer.session.timeout.ms")
        if timeout is not None and int(timeout) > 2 * settings.tagger.session_timeout_ms:
            action = "Lower group.consumer.session.timeout.ms (and its minimum) on the brokers."
            text += f", whose group.consumer.session.timeout.ms of {timeout} rules under KIP-848"
            return Finding("kafka.features", "warn", text, action)
    longest = config.get("transaction.max.timeout.ms")
    if longest is not None and settings.tagger.transaction_timeout_ms > int(longest):
        text += f", transactions of at most {longest} ms"
        return Finding("kafka.features", "fail", text, f"Set tagger.transaction_timeout_ms to at most {longest}.")
    return Finding("kafka.features", "ok", text)


def health(check: str, topic: ExistingTopic, insync: list[tuple[int, int]]) -> Finding | None:
    """Faults of a topic's partitions; None when all have a leader and enough copies.

    Args:
        check: name of the check.
        topic: the topic.
        insync: leader (negative: none) and number of in-sync copies, per partition.
    """
    least = int(topic.config.get("min.insync.replicas") or 1)
    leaderless = sum(leader < 0 for leader, _ in insync)
    short = sum(copies < least for _, copies in insync)
    if leaderless or short:
        text = f"{leaderless} partition(s) without a leader, {short} below min.insync.replicas ({least})"
        return Finding(check, "fail", text, "Bring the missing brokers back: nothing can be written there.")
    if least >= topic.replication > 1:
        text = f"min.insync.replicas ({least}) equals the copies ({topic.replication})"
        return Finding(check, "warn", text, "One broker down stops the tagger; keep one copy more than that.")
    if topic.replication == 1:
        return Finding(check, "warn", "one copy of each partition", "Fine for development; use 3 copies in production.")
    return None


def sizes(settings: Settings, existing: Mapping[str, ExistingTopic]) -> Iterator[Finding]:
    """Whether the largest input fits into a dead letter, and the largest dead letter into its topic."""
    limits = {name: int(topic.config["max.message.bytes"]) for name, topic in existing.items()}
    panes, pane = limits.get(settings.topics.panes), settings.windows.max_bytes
    if panes is not None and panes < pane:
        action = f"Set max.message.bytes of {settings.topics.panes} above it, or lower windows.max_bytes."
        text = f"windows.max_bytes ({pane}) is above what the topic takes ({panes})"
        yield Finding("kafka.sizes", "fail", text, action)
    dead = limits.get(settings.topics.dead_letters)
    largest = settings.dead_letters.max_bytes
    if dead is not None and dead < largest:
        action = f"Set max.message.bytes of {settings.topics.dead_letters} above it, or lower dead_letters.max_bytes."
        text = f"dead_letters.max_bytes ({largest}) is above what the topic takes ({dead})"
        yield Finding("kafka.sizes", "fail", text, action)
        return
    inputs = {name: limits[name] for name in settings.topics.input if name in limits}
    over = [f"{name} ({limit})" for name, limit in inputs.items() if limit + DEAD_LETTER_OVERHEAD_BYTES > largest]
    if over:
        text = f"records of {', '.join(over)} may exceed dead_letters.max_bytes ({largest})"
        action = (
            "Their dead letters keep head, hash and position only; raise dead_letters.max_bytes to keep them whole."
        )
        yield Finding("kafka.sizes", "warn", text, action)
    elif dead is not None and inputs:
        yield Finding("kafka.sizes", "ok", f"every input (up to {max(inputs.values())} bytes) fits a dead letter")


def group_state(check: str, found: Any, role: str, loop: LoopSettings) -> Finding:
    """A consumer group as its coordinator sees it; ``role`` is the section of ``loop`` in the settings."""
    text = f"{found.group_id}: {found.state.name.lower()}, {len(found.members)} member(s)"
    wanted = loop.group_protocol
    kind = found.type.name.lower() if found.type not in (None, ConsumerGroupType.UNKNOWN) else wanted
    if found.members and kind != wanted:
        text += f", {kind} protocol"
        action = f"Members use {kind}, {role}.group_protocol is {wanted}: change all workers to the same."
        return Finding(check, "warn", text, action)
    if found.state in (ConsumerGroupState.PREPARING_REBALANCING, ConsumerGroupState.COMPLETING_REBALANCING):
        return Finding(check, "warn", text, "Look again in a moment; a group that never settles has a slow member.")
    return Finding(check, "ok", text)
