"""Trace context in headers, and spans of batches."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from streamtag.telemetry.tracing import MAX_LINKS, BatchTracer, Headers, TraceContext, parse, read_contexts

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()
UNSAMPLED = f"00-{TRACE}-{SPAN}-00".encode()


def test_a_valid_context_passes_on_byte_for_byte() -> None:
    headers: Headers = [("other", b"x"), ("traceparent", SAMPLED), ("tracestate", b"congo=t61,rojo=00f0")]
    context, ok = parse(headers)
    assert ok
    assert context is not None
    assert context.headers() == [("traceparent", SAMPLED), ("tracestate", b"congo=t61,rojo=00f0")]
    assert context.sampled


def test_the_sampled_flag_is_one_bit_of_the_flags() -> None:
    assert not TraceContext(UNSAMPLED).sampled
    assert TraceContext(f"00-{TRACE}-{SPAN}-03".encode()).sampled


@pytest.mark.parametrize("headers", [None, [], [("tracestate", b"a=b")], [("Traceparent", SAMPLED)]])
def test_a_record_without_traceparent_has_no_context_and_no_fault(headers: Headers) -> None:
    assert parse(headers) == (None, True)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        None,
        SAMPLED[:-1],
        SAMPLED + b"-",
        SAMPLED + b"\n",
        SAMPLED.upper(),
        b"ff" + SAMPLED[2:],
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-0g".encode(),
        f"01-{TRACE}-{SPAN}-01x".encode(),
        b"00-" + b"\xff" * 32 + b"-" + SPAN.encode() + b"-01",
    ],
)
def test_a_faulty_traceparent_is_ignored_and_reported(value: bytes | None) -> None:
    assert parse([("traceparent", value)]) == (None, False)


def test_two_traceparents_are_a_fault() -> None:
    assert parse([("traceparent", SAMPLED), ("traceparent", SAMPLED)]) == (None, False)


def test_a_later_version_with_further_fields_is_understood() -> None:
    value = f"01-{TRACE}-{SPAN}-01-what-comes-later".encode()
    assert parse([("traceparent", value)]) == (TraceContext(value), True)


@pytest.mark.parametrize(
    "state",
    [b"a", b"A=b", b"a=b,a=c", b"a=b\x00", b"a=b" * 200, b"=b", b",".join(b"k%d=v" % i for i in range(33)), b"a=b=c"],
)
def test_a_faulty_tracestate_is_dropped_alone(state: bytes) -> None:
    assert parse([("traceparent", SAMPLED), ("tracestate", state)]) == (TraceContext(SAMPLED), False)


@pytest.mark.parametrize("state", [b"a=b , ,c@d=e", b"a=b,\tc=d", b"0tenant@system=opaque value", b""])
def test_tracestate_may_have_blanks_and_empty_members(state: bytes) -> None:
    context, ok = parse([("traceparent", SAMPLED), ("tracestate", state)])
    assert ok
    assert context == TraceContext(SAMPLED, state or None)


def test_several_tracestates_are_one_list() -> None:
    context, ok = parse([("traceparent", SAMPLED), ("tracestate", b"a=b"), ("tracestate", b"c=d")])
    assert (context, ok) == (TraceContext(SAMPLED, b"a=b,c=d"), True)


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate"]), st.one_of(st.none(), st.binary()))))
def test_no_header_can_raise(headers: list[tuple[str, bytes | None]]) -> None:
    context, _ = parse(headers)
    assert context is None or context.link().context.is_valid


@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
)
def test_every_valid_context_is_understood_as_it_was_sent(trace_id: int, span_id: int, flags: int) -> None:
    value = f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}".encode()
    context, ok = parse([("traceparent", value)])
    assert ok
    assert context is not None
    link = context.link().context
    assert (link.trace_id, link.span_id, int(link.trace_flags)) == (trace_id, span_id, flags)


@pytest.mark.parametrize("pattern", [b"a" * 100_000, b"a=" + b" " * 100_000, b"a=b," * 30_000, b"@" * 100_000])
def test_hostile_headers_cost_no_more_than_their_length(pattern: bytes) -> None:
    start = time.thread_time()
    parse([("traceparent", SAMPLED), ("tracestate", pattern)])
    parse([("traceparent", SAMPLED + b"-" + pattern)])
    assert time.thread_time() - start < 5  # where the cost grows with the square: minutes


def test_a_batch_is_read_in_order_and_faults_are_counted() -> None:
    contexts, invalid = read_contexts(
        [None, [("traceparent", SAMPLED)], [("traceparent", b"junk")], [("x", b"y")], [("traceparent", UNSAMPLED)]]
    )
    assert contexts == [None, TraceContext(SAMPLED), None, None, TraceContext(UNSAMPLED)]
    assert invalid == 1


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exported: InMemorySpanExporter) -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    yield provider.get_tracer("test")
    provider.shutdown()


def _only(exported: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exported.get_finished_spans()
    return span


def test_a_batch_with_a_sampled_event_is_always_traced_and_linked(
    tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    batches = BatchTracer(tracer, ratio=0.0, group="moderation")
    with batches.batch("content", 3, [None, TraceContext(UNSAMPLED), TraceContext(SAMPLED, b"a=b")]) as span:
        assert span.sampled
        span.set("streamtag.events.tagged", 2)
    found = _only(exported)
    assert found.name == "process content"
    assert found.kind is SpanKind.CONSUMER
    assert found.parent is None
    assert [f"{link.context.trace_id:032x}" for link in found.links] == [TRACE]
    assert dict(found.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "content",
        "messaging.consumer.group.name": "moderation",
        "messaging.batch.message_count": 3,
        "streamtag.events.tagged": 2,
    }


def test_links_are_limited(tracer: Tracer, exported: InMemorySpanExporter) -> None:
    with BatchTracer(tracer).batch("content", 100, [TraceContext(SAMPLED)] * 100):
        pass
    assert len(_only(exported).links) == MAX_LINKS


@pytest.mark.parametrize(("chance", "spans"), [(0.009, 1), (0.01, 0), (0.5, 0)])
def test_other_batches_are_traced_by_the_ratio(
    tracer: Tracer, exported: InMemorySpanExporter, chance: float, spans: int
) -> None:
    batches = BatchTracer(tracer, ratio=0.01, chance=lambda: chance)
    with batches.batch("content", 1, [None, TraceContext(UNSAMPLED)]) as span:
        assert span.sampled == bool(spans)
    assert len(exported.get_finished_spans()) == spans


def test_records_without_a_context_of_their_own_join_the_trace_of_a_sampled_batch(tracer: Tracer) -> None:
    with BatchTracer(tracer, ratio=1.0).batch("content", 1) as span:
        context, ok = parse(span.headers())
    assert ok
    assert context is not None
    assert context.sampled


def test_without_an_exporter_nothing_is_traced_and_the_same_code_runs() -> None:
    with BatchTracer().batch("content", 1, [TraceContext(SAMPLED)]) as span, span.stage("decode"):
        span.set("a", 1)
        assert not span.sampled
        assert span.headers() == []


def test_stages_are_children_of_their_batch(tracer: Tracer, exported: InMemorySpanExporter) -> None:
    with BatchTracer(tracer, ratio=1.0).batch("content", 1) as span:
        with span.stage("decode"):
            pass
        with span.stage("infer"):
            pass
    decode, infer, batch = exported.get_finished_spans()
    assert [decode.name, infer.name] == ["decode", "infer"]
    assert batch.context is not None
    assert all(child.parent and child.parent.span_id == batch.context.span_id for child in (decode, infer))


def test_a_failure_marks_the_span_with_its_type_and_never_its_message(
    tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    def fail() -> None:
        with BatchTracer(tracer, ratio=1.0).batch("content", 1) as span, span.stage("infer"):
            raise ValueError("quotes classified-content")

    with pytest.raises(ValueError, match="quotes"):
        fail()
    spans = exported.get_finished_spans()
    assert len(spans) == 2
    for span in spans:
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "ValueError"
        assert "classified-content" not in span.to_json()
