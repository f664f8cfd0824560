"""The members of a Kafka consumer group: who is expected to decide."""

from collections.abc import Mapping

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from streamtag.errors import UnavailableError

__all__ = ["group_members"]


def group_members(client: Mapping[str, str | int | float | bool], group: str, *, timeout_s: float) -> frozenset[str]:
    """Member ids of ``group``; none where it has no members or does not exist.

    Works for the classic and the KIP-848 protocol. A member is in it from its joining on, partitions or none.

    Args:
        client: librdkafka settings of an admin client, ``bootstrap.servers`` among them.
        group: consumer group.
        timeout_s: longest wait for the answer.

    Raises:
        UnavailableError: Kafka does not answer in time, or cannot tell (the demo's mock broker cannot).
    """
    # librdkafka would write connection errors to stderr; what fails is raised below.
    admin = AdminClient({**client, "log_level": 0})
    try:
        asked = admin.describe_consumer_groups([group], request_timeout=timeout_s)
        described = asked[group].result(timeout=timeout_s + 1)
    except KafkaException as error:
        reason = error.args[0]
        if reason.name() == "GROUP_ID_NOT_FOUND":
            return frozenset()
        raise UnavailableError(
            f"Kafka cannot tell the members of group {group}: {reason.str()}",
            hint="Check kafka.bootstrap_servers and that this user may describe groups.",
        ) from None
    except TimeoutError:
        raise UnavailableError(f"Kafka did not tell the members of group {group} in time") from None
    if described.state == ConsumerGroupState.DEAD:
        return frozenset()
    return frozenset(member.member_id for member in described.members)
