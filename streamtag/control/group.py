"""The members of a Kafka consumer group: who is expected to decide."""

import time

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from streamtag.errors import UnavailableError
from streamtag.settings import KafkaSettings

__all__ = ["GroupReader"]

# The coordinator is being elected or is loading: it says so at once, and is there soon.
_COORDINATOR_ON_ITS_WAY = {"COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR"}
_ASK_AGAIN_S = 0.1


class GroupReader:
    """Asks Kafka who is in a consumer group; keeps its connection."""

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self._group = group
        # librdkafka would write connection errors to stderr on its own; what fails is raised by `members`.
        self._options = {**settings.client, "bootstrap.servers": settings.bootstrap_servers, "log_level": 0}
        self._admin: AdminClient | None = None

    def members(self, timeout_s: float) -> frozenset[str]:
        """Member ids; none where the group has no members or does not exist.

        Works for the classic and the KIP-848 protocol. A member is in it from its joining on, partitions or none.

        Raises:
            UnavailableError: Kafka does not answer in time, or cannot tell (the demo's mock broker cannot); or the
                client's settings are none here: who asks has committed a change, and that stands.
        """
        deadline = time.monotonic() + timeout_s
        admin = self._client()
        while True:
            left_s = max(0.1, deadline - time.monotonic())
            try:
                asked = admin.describe_consumer_groups([self._group], request_timeout=left_s)
                described = asked[self._group].result(timeout=left_s + 1)
            except KafkaException as error:
                reason = error.args[0]
                if reason.name() == "GROUP_ID_NOT_FOUND":
                    return frozenset()
                if reason.name() in _COORDINATOR_ON_ITS_WAY and time.monotonic() + _ASK_AGAIN_S < deadline:
                    time.sleep(_ASK_AGAIN_S)
                    continue
                raise UnavailableError(
                    f"Kafka cannot tell the members of group {self._group}: {reason.str()}",
                    hint="Check kafka.bootstrap_servers and that this user may describe groups.",
                ) from None
            except TimeoutError:
                raise UnavailableError(f"Kafka did not tell the members of group {self._group} in time") from None
            if described.state == ConsumerGroupState.DEAD:
                return frozenset()
            return frozenset(member.member_id for member in described.members)

    def _client(self) -> AdminClient:
        if self._admin is None:
            try:
                self._admin = AdminClient(self._options)
            except KafkaException as error:  # an unknown option, a file that this host lacks
                raise UnavailableError(
                    f"Kafka cannot be asked who is in group {self._group}: kafka.client: {error.args[0].str()}",
                    hint="`streamtag doctor` checks the settings of Kafka's client on this host.",
                ) from None
        return self._admin
