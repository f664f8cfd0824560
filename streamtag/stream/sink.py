"""Where outputs and positions go together: a Kafka transaction, or deliveries confirmed before the commit.

Both kinds (`transaction_sink.py`, `delivery_sink.py`) keep one contract: `open`, `produce` …, then `commit` (all of
it is durable) or `abort` (none of it is visible to a reader of committed records; at-least-once cannot take back what
was delivered). Called by the processing thread only.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamtag.errors import StreamtagError
from streamtag.stream.processor import Commit, Output, Partition

# One blocking call to the client; between two of them the sink looks whether it should give up.
CALL_S = 1.0
# A connection that has not come up has carried no request of a transaction.
_NEVER_UP = re.compile(r"in state (?!UP\b)")


class Undone(Exception):  # noqa: N818 - an outcome the runner handles, not a failure
    """The transaction is gone: undo, rewind, redo.

    Args:
        cause: goes to metrics; one of few.
        said: the same for people, in Kafka's words.
    """

    def __init__(self, cause: str, said: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.said = f"{cause} ({said})" if said else cause


class TwinError(StreamtagError):
    """Another live process uses this worker's transactional.id."""

    exit_code = 7


class Sink(Protocol):
    """See the module."""

    complaint: str
    """What Kafka says against the start of transactions, while they do not start; else empty."""

    def open(self) -> None:
        """Makes ready to produce; blocks while the broker is away, until ``stopping``."""
        ...

    def produce(self, outputs: Iterable[Output]) -> None:
        """Queues records as they come; blocks while the client's queue is full. May raise `Undone`."""
        ...

    def commit(self, commits: Mapping[Partition, Commit]) -> None:
        """Makes outputs durable and positions committed. Raises `Undone` when neither is certain."""
        ...

    def abort(self) -> None:
        """Discards what was produced since `open`; afterwards the sink can be opened again."""
        ...

    def settle(self) -> None:
        """Returns when no transaction is in doubt: what the broker says is committed is final. May raise `Undone`."""
        ...

    def close(self) -> None:
        """Lets go of the client, within seconds."""
        ...


OnDelivery = Callable[[KafkaError | None, Message], None]


def undelivered(error: KafkaError, message: Message) -> tuple[str, str]:
    """What a record that failed says: `Undone` with these tells it."""
    return error.name(), f"writing {message.topic()}: {error.str()}"


def broke(error: KafkaError) -> bool:
    """Whether a client's ``error_cb`` tells of a connection that broke, and may have left a request half-way."""
    return not _NEVER_UP.search(error.str())


def serve(producer: Producer, seconds: float = 0.0) -> None:
    """Has the client tell what it knows. Of a fatal error, which it raises, its next call says the same."""
    with contextlib.suppress(KafkaException):
        producer.poll(seconds)


def enqueue(
    producer: Producer,
    outputs: Iterable[Output],
    stopping: Callable[[], bool],
    on_delivery: OnDelivery | None = None,
) -> None:
    """`Producer.produce` for each of ``outputs``; waits where the queue is full."""
    produce = producer.produce
    for topic, key, value, headers in outputs:
        while True:
            try:
                # Each argument left out is time saved, even an empty list of headers.
                if headers:
                    produce(topic, value, key, on_delivery=on_delivery, headers=list(headers))
                elif on_delivery:
                    produce(topic, value, key, on_delivery=on_delivery)
                else:
                    produce(topic, value, key)
                break
            except BufferError:
                pass  # not here: the client keeps what is handled while it raises
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                raise Undone(error.name(), error.str()) from None
            if stopping():
                raise Undone("stopping")
            serve(producer, 0.1)
