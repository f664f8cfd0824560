"""Starting and stopping telemetry, with and without a collector."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from streamtag import __version__
from streamtag.settings import TelemetrySettings
from streamtag.telemetry.logs import OtelHandler
from streamtag.telemetry.setup import Telemetry, start_telemetry
from streamtag.telemetry.tracing import TraceContext


def _start(**settings: Any) -> Telemetry:
    return start_telemetry(TelemetrySettings.model_validate(settings), role="tagger", instance="host-0", group="group")


def _get(telemetry: Telemetry, path: str) -> tuple[int, str]:
    assert telemetry.address is not None
    connection = HTTPConnection(*telemetry.address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_without_port_and_collector_nothing_listens_and_metrics_still_work() -> None:
    telemetry = _start()
    assert telemetry.address is None
    telemetry.metrics.add("streamtag.events.tagged", 3)
    telemetry.close()
    telemetry.close()


def test_the_endpoint_shows_metrics_versions_and_the_process() -> None:
    telemetry = _start(port=0)
    telemetry.metrics.add("streamtag.events.tagged", 3)
    status, text = _get(telemetry, "/metrics")
    assert status == 200
    assert "\nstreamtag_events_tagged_total 3.0" in text
    assert f'version="{__version__}"' in text
    assert 'service_instance_id="host-0"' in text
    assert "process_resident_memory_bytes" in text
    assert "otel_scope" not in text
    assert _get(telemetry, "/readyz")[0] == 503
    telemetry.health.set_ready("release", True)
    assert _get(telemetry, "/readyz")[0] == 200
    telemetry.close()


def test_two_in_one_process_do_not_mix() -> None:
    first, second = _start(port=0), _start(port=0)
    first.metrics.add("streamtag.events.tagged", 3)
    assert "\nstreamtag_events_tagged_total 0.0" in _get(second, "/metrics")[1]
    first.close()
    assert _get(second, "/livez")[0] == 200
    second.close()


def test_a_gauge_may_have_more_series_than_the_sdks_default_limit() -> None:
    telemetry = _start(port=0)
    for partition in range(3_000):
        telemetry.metrics.set("streamtag.lag", 1, topic="content", partition=partition)
    text = _get(telemetry, "/metrics")[1]
    assert text.count("\nstreamtag_lag{") == 3_000
    assert "otel_metric_overflow" not in text
    telemetry.close()


class Collector:
    """Takes whatever is sent to it and remembers by path."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.received[self.path] = collector.received.get(self.path, b"") + body
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def test_a_collector_gets_metrics_traces_and_logs(collector: Collector) -> None:
    telemetry = _start(otlp_endpoint=collector.url + "/", trace_ratio=0)
    telemetry.metrics.add("streamtag.events.tagged", 3)
    sampled = TraceContext(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    with telemetry.tracer.batch("content", 1, [sampled]):
        logging.getLogger("streamtag.test").warning("release applied")
    telemetry.close()
    assert set(collector.received) == {"/v1/metrics", "/v1/traces", "/v1/logs"}
    assert b"streamtag.events.tagged" in collector.received["/v1/metrics"]
    assert b"process content" in collector.received["/v1/traces"]
    assert b"release applied" in collector.received["/v1/logs"]
    assert all(b"streamtag-tagger" in body for body in collector.received.values())
    assert not any(isinstance(handler, OtelHandler) for handler in logging.getLogger().handlers)


@pytest.mark.parametrize("listening", [False, True], ids=["refuses", "never answers"])
def test_a_collector_that_is_away_neither_blocks_the_worker_nor_its_shutdown(listening: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen(64)
        telemetry = _start(otlp_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", trace_ratio=1)
        start = time.monotonic()
        for _ in range(2_000):
            telemetry.metrics.add("streamtag.events.tagged")
            with telemetry.tracer.batch("content", 1):
                pass
            logging.getLogger("streamtag.test").info("event")
        # Waiting for the collector even once would take seconds for each of the 2,000.
        assert time.monotonic() - start < 60
        start = time.monotonic()
        telemetry.close()
        assert time.monotonic() - start < 30
