"""librdkafka options that the pass-through mappings must not carry, and what to use instead."""

from collections.abc import Mapping

# Option to the setting that governs it.
_OWNED = {
    "bootstrap.servers": "kafka.bootstrap_servers",
    "metadata.broker.list": "kafka.bootstrap_servers",
    "group.id": "tagger.group",
    "group.instance.id": "tagger.group_instance_id",
    "group.protocol": "tagger.group_protocol",
    "client.id": "tagger.slot",
    "session.timeout.ms": "tagger.session_timeout_ms",
    "heartbeat.interval.ms": "tagger.session_timeout_ms",
    "max.poll.interval.ms": "tagger.max_poll_interval_ms",
    "transaction.timeout.ms": "tagger.transaction_timeout_ms",
    "transactional.id": "tagger.slot",
    "message.max.bytes": "dead_letters.max_bytes",
    "auto.offset.reset": "tagger.start",
    "enable.auto.commit": "tagger.delivery",
    "auto.commit.enable": "tagger.delivery",
    "auto.commit.interval.ms": "tagger.commit_interval_ms",
    "enable.auto.offset.store": "tagger.delivery",
}

# Option to the values that keep the promise, and the promise. No values: never allowed.
_GUARDED: dict[str, tuple[tuple[str, ...], str]] = {
    "isolation.level": (("read_committed",), "records of aborted transactions would be tagged"),
    "enable.idempotence": (("true",), "retries could double or reorder tag events"),
    "acks": (("all", "-1"), "acknowledged tag events could be lost"),
    "request.required.acks": (("all", "-1"), "acknowledged tag events could be lost"),
    "enable.partition.eof": (("false",), "the runner would take ends of partitions for errors"),
    "partitioner": (
        ("consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random"),
        "the order per key would be lost",
    ),
    "partition.assignment.strategy": ((), "the runner ends transactions by the assignor it chose"),
    "group.remote.assignor": ((), "the runner ends transactions by the assignor it chose"),
}


# What `streamtag stats` translates for the client of Faust (`streamtag.stats.kafka_security`); more it refuses.
FAUST_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
FAUST_SASL = ("sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password")
FAUST_TLS = (
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.cipher.suites",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
)


def refusals(where: str, options: Mapping[str, str | int | float | bool]) -> list[str]:
    """Why ``options`` of the mapping ``where`` cannot pass; empty when they can. Values are not quoted."""
    found = []
    for name, value in options.items():
        if name in _OWNED:
            found.append(f"{where}.{name} is governed by {_OWNED[name]}; set that instead")
        elif name in _GUARDED:
            allowed, harm = _GUARDED[name]
            if str(value).lower() not in allowed:
                cure = f"must be {' or '.join(allowed)}" if allowed else "cannot be set"
                found.append(f"{where}.{name} {cure}: {harm}")
    return found
