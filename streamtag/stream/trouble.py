"""What is wrong between the consumer and the brokers, and whether it is over."""

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from streamtag.errors import StreamtagError
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.repeats import Repeats

log = logging.getLogger(__name__)

_DOUBT_S = 3.0
_UNRELEASED = KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str()
# What clients of the classic protocol wait out, and those of KIP-848 call fatal, in the broker's words.
_PASSING = [
    KafkaError(code).str()
    for code in (
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.GROUP_ID_NOT_FOUND,
        KafkaError.GROUP_MAX_SIZE_REACHED,
        KafkaError.UNKNOWN,
    )
]


def in_words(error: KafkaError) -> str:
    """What a client or a broker says; a right that is missing is best told by its name."""
    return f"{error.name()} ({error.str()})" if error.name().endswith("AUTHORIZATION_FAILED") else error.str()


class Trouble:
    """Takes note of errors; most pass by themselves, as the client retries.

    Args:
        metrics: counts errors.
        clock: monotonic seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._doubted_until = 0.0
        self._repeats = Repeats()
        self._fatal: KafkaError | None = None
        self._not_admitted = False
        self.reason: str | None = None
        """The last trouble that is not over, None while all is well."""

    def note(self, error: KafkaError, doing: str, *, stands: bool = False, hint: str = "") -> None:
        """Counts, tells and remembers ``error``.

        Args:
            error: as the client reports it.
            doing: what it prevents.
            stands: a broker that answers is no sign that it is over; that it does not come again is.
            hint: what a person can do.
        """
        left_out = self._repeats.left_out((error.code(), doing))
        if left_out is not None:
            extra = {"doing": doing, "error": error.str(), "left_out": left_out, **({"hint": hint} if hint else {})}
            log.log(logging.ERROR if stands else logging.WARNING, "Kafka trouble, going on by itself", extra=extra)
        self.reason = f"{doing}: {in_words(error)}"
        if stands:
            self._doubted_until = self._clock() + _DOUBT_S
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:  # told once
            self._not_admitted = True
        if error.fatal() or error.code() == KafkaError._FATAL:  # the latter in place of a message
            self._fatal = error
        self._metrics.add("streamtag.kafka.errors", code=error.name())

    def over(self, *, group: bool = True) -> None:
        """The broker has answered; ``group``: as the group's coordinator, which turns away who has no right to it."""
        if group:
            self._not_admitted = False
        if self._clock() >= self._doubted_until and not self._not_admitted:
            self.reason = None

    def check(self) -> None:
        """Raises StreamtagError where the consumer has failed for good."""
        if self._fatal is not None:
            twin = any(word in self._fatal.str().lower() for word in ("instance", "fenced"))
            name = " Each worker needs a tagger.group_instance_id of its own, or none." if twin else ""
            raise StreamtagError(
                f"the Kafka consumer has failed for good: {self._fatal.str()}", hint=f"A new process can go on.{name}"
            )

    def unreleased(self) -> bool:
        """Whether the consumer has failed because a static member of its name has not left the group yet."""
        return self._fatal is not None and _UNRELEASED in self._fatal.str()

    def passing(self) -> bool:
        """Whether the consumer has failed of what passes."""
        return self._fatal is not None and any(words in self._fatal.str() for words in _PASSING)

    def survived(self) -> None:
        """The consumer that has failed is replaced; only time shows whether the next one fares better."""
        self._fatal = None
        self._doubted_until = self._clock() + _DOUBT_S
