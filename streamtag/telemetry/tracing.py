"""Traces: W3C trace context in Kafka headers, and one span per batch.

An event's own context passes from input to output headers as it came (`TraceContext.headers`), so producer and
consumer stay in one trace. The tagger adds a span per *batch*, linked to the sampled events in it: a span per event
would cost more than tagging it.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer, TraceState

Headers = Sequence[tuple[str, bytes | str | None]] | None

# Links beyond this many tell nobody more, and SDKs cut them anyway.
MAX_LINKS = 32
_MAX_STATE_BYTES = 512
_MAX_STATE_MEMBERS = 32

# Fixed lengths, no repetition that could backtrack. Versions above 00 may append fields after another dash.
# Version ff and ids of nothing but zeros are invalid.
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,200})?")
_STATE_KEY = re.compile(rb"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}")
_STATE_VALUE = re.compile(rb"[ -+\--<>-~]{0,255}[!-+\--<>-~]")


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """A valid ``traceparent``, and the ``tracestate`` that came with it, as they stood in the headers."""

    parent: bytes
    state: bytes | None = None

    @property
    def sampled(self) -> bool:
        """Whether the caller records this trace."""
        return bool(int(self.parent[53:55], 16) & TraceFlags.SAMPLED)

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers of a record that belongs to the same trace."""
        found = [("traceparent", self.parent)]
        if self.state is not None:
            found.append(("tracestate", self.state))
        return found

    def link(self) -> Link:
        """A link to the span that sent the record."""
        state = TraceState.from_header([self.state.decode("ascii")]) if self.state else None
        return Link(
            SpanContext(
                trace_id=int(self.parent[3:35], 16),
                span_id=int(self.parent[36:52], 16),
                is_remote=True,
                trace_flags=TraceFlags(int(self.parent[53:55], 16)),
                trace_state=state,
            )
        )


def read_contexts(batch: Sequence[Headers]) -> tuple[list[TraceContext | None], int]:
    """The trace context of each record of a batch.

    Args:
        batch: the headers of each record, as confluent-kafka gives them.

    Returns:
        One context or None a record, and how many records had trace headers that do not follow W3C Trace Context
        (they are ignored: such a record starts no trace and fails none).
    """
    contexts: list[TraceContext | None] = []
    invalid = 0
    for headers in batch:
        context, ok = parse(headers) if headers else (None, True)
        contexts.append(context)
        invalid += not ok
    return contexts, invalid


def parse(headers: Headers) -> tuple[TraceContext | None, bool]:
    """One record's context, and whether its trace headers were well-formed (absent ones are).

    Strict on ``traceparent``. A faulty ``tracestate`` is dropped alone, as the specification asks.
    """
    parent: bytes | str | None = None
    parents = 0
    states: list[bytes | str | None] = []
    for name, value in headers or ():
        if name == "traceparent":
            parent, parents = value, parents + 1
        elif name == "tracestate":
            states.append(value)
    if not parents:
        return None, True
    found = parent.encode("utf-8", "replace") if isinstance(parent, str) else parent
    if parents > 1 or found is None or not _parent_valid(found):
        return None, False
    if not states:
        return TraceContext(found), True
    state = _joined(states)
    return TraceContext(found, state or None), state is not None


class BatchSpan:
    """The span of one batch; every method is free of cost when the batch is not sampled."""

    def __init__(self, tracer: Tracer | None = None, span: Span | None = None) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def sampled(self) -> bool:
        """Whether this batch is recorded."""
        return self._span is not None

    def set(self, name: str, value: str | int | float | bool) -> None:
        """Sets an attribute; never content."""
        if self._span is not None:
            self._span.set_attribute(name, value)

    def headers(self) -> list[tuple[str, bytes]]:
        """Trace headers for output records whose input had none; empty when the batch is not sampled."""
        if self._span is None:
            return []
        context = self._span.get_span_context()
        return [("traceparent", f"00-{context.trace_id:032x}-{context.span_id:016x}-01".encode())]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A child span around one stage of the batch."""
        if self._tracer is None:
            yield
            return
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except BaseException as error:
                _mark_failed(span, error)
                raise


_UNSAMPLED = BatchSpan()


class BatchTracer:
    """Decides which batches are traced, and traces them.

    Args:
        tracer: None switches tracing off (no exporter is configured).
        ratio: share of batches traced although no sampled event asks for it.
        group: the Kafka consumer group.
        chance: source of randomness, uniform in [0, 1).
    """

    def __init__(
        self,
        tracer: Tracer | None = None,
        *,
        ratio: float = 0.0,
        group: str = "",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._tracer = tracer
        self._ratio = ratio
        self._group = group
        self._chance = chance

    @contextmanager
    def batch(self, topic: str, size: int, contexts: Sequence[TraceContext | None] = ()) -> Iterator[BatchSpan]:
        """The span around the processing of one batch.

        Sampled always when an event in it is, else by the ratio. An exception marks the span with its type and
        passes on; its message is not recorded, since it may quote content.
        """
        if self._tracer is None:
            yield _UNSAMPLED
            return
        links = [context.link() for context in _first_sampled(contexts)]
        if not links and self._chance() >= self._ratio:
            yield _UNSAMPLED
            return
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": topic,
            "messaging.consumer.group.name": self._group,
            "messaging.batch.message_count": size,
        }
        with self._tracer.start_as_current_span(
            f"process {topic}",
            # A root: whatever this thread did before is no part of the batch.
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield BatchSpan(self._tracer, span)
            except BaseException as error:
                _mark_failed(span, error)
                raise


def _mark_failed(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def _first_sampled(contexts: Sequence[TraceContext | None]) -> Iterator[TraceContext]:
    found = 0
    for context in contexts:
        if context is not None and context.sampled:
            yield context
            found += 1
            if found == MAX_LINKS:
                return


def _parent_valid(value: bytes) -> bool:
    match = _PARENT.fullmatch(value)
    # Version 00 has nothing after the flags.
    return match is not None and (match[1] is None or not value.startswith(b"00"))


def _joined(states: Sequence[bytes | str | None]) -> bytes | None:
    """Several ``tracestate`` headers as one list; None when it is faulty."""
    parts = [part.encode("utf-8", "replace") if isinstance(part, str) else part for part in states]
    if any(part is None for part in parts):
        return None
    whole = b",".join(part for part in parts if part is not None)
    return whole if _state_valid(whole) else None


def _state_valid(value: bytes) -> bool:
    if len(value) > _MAX_STATE_BYTES:
        return False
    members = [member.strip(b" \t") for member in value.split(b",")]
    members = [member for member in members if member]
    keys = set()
    for member in members:
        key, sign, content = member.partition(b"=")
        if not sign or not _STATE_KEY.fullmatch(key) or not _STATE_VALUE.fullmatch(content):
            return False
        keys.add(key)
    return len(keys) == len(members) <= _MAX_STATE_MEMBERS
