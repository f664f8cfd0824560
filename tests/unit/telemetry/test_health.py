"""Health and the endpoint that serves it."""

import json
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.registry import Collector
from services import wait_until

from streamtag.errors import SettingsError
from streamtag.telemetry.endpoint import Endpoint
from streamtag.telemetry.health import Health


def test_a_process_is_not_ready_before_any_check_reported() -> None:
    ready, reasons = Health().ready()
    assert not ready
    assert "starting" in reasons[0]


def test_a_process_is_live_until_a_check_says_otherwise() -> None:
    health = Health()
    assert health.live() == (True, [])
    health.set_live("progress", False, "no progress for 60 s")
    assert health.live() == (False, ["progress: no progress for 60 s"])
    health.set_live("progress", True)
    assert health.live() == (True, [])


def test_readiness_needs_every_check_and_names_each_that_fails() -> None:
    health = Health()
    health.set_ready("release", False, "none yet")
    health.set_ready("kafka", True)
    health.set_ready("stop", False)
    assert health.ready() == (False, ["release: none yet", "stop: failed"])
    health.set_ready("release", True)
    health.set_ready("stop", True)
    assert health.ready() == (True, [])


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def endpoint(health: Health) -> Iterator[Endpoint]:
    registry = CollectorRegistry()
    Counter("planted", "A counter.", registry=registry).inc(3)
    served = Endpoint("127.0.0.1", 0, registry, health)
    yield served
    served.close()


def _ask(endpoint: Endpoint, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection(*endpoint.address, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_readyz_answers_503_with_reasons_and_200_without(endpoint: Endpoint, health: Health) -> None:
    health.set_ready("release", False, "none yet")
    status, body = _ask(endpoint, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "reasons": ["release: none yet"]})
    health.set_ready("release", True)
    status, body = _ask(endpoint, "/readyz?verbose")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": []})


def test_livez_answers_by_the_liveness_checks(endpoint: Endpoint, health: Health) -> None:
    assert _ask(endpoint, "/livez")[0] == 200
    health.set_live("progress", False, "stuck")
    status, body = _ask(endpoint, "/livez")
    assert (status, json.loads(body)) == (503, {"live": False, "reasons": ["progress: stuck"]})


def test_metrics_shows_the_registry_it_was_given(endpoint: Endpoint) -> None:
    status, body = _ask(endpoint, "/metrics")
    assert status == 200
    assert "planted_total 3.0" in body


def test_other_paths_and_writing_methods_are_refused(endpoint: Endpoint) -> None:
    assert _ask(endpoint, "/etc/passwd")[0] == 404
    assert _ask(endpoint, "/readyz", "POST")[0] == 501
    assert _ask(endpoint, "/livez", "HEAD") == (200, "")


def test_a_client_that_says_nothing_does_not_hold_up_others(endpoint: Endpoint) -> None:
    with socket.create_connection(endpoint.address):
        assert _ask(endpoint, "/livez")[0] == 200


def test_a_taken_port_is_a_settings_error_that_names_it(endpoint: Endpoint) -> None:
    host, port = endpoint.address
    with pytest.raises(SettingsError, match=rf"telemetry\.port: cannot listen on {host}:{port}"):
        Endpoint(host, port, CollectorRegistry(), Health())


class Collecting(Collector):
    """Does something while ``/metrics`` is being answered."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        self._work()
        return []


def _serving(work: Callable[[], object]) -> Endpoint:
    registry = CollectorRegistry()
    registry.register(Collecting(work))
    return Endpoint("127.0.0.1", 0, registry, Health())


def test_a_client_that_does_not_wait_for_its_answer_is_no_news(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "streamtag")
    asked, gone = threading.Event(), threading.Event()

    def wait() -> None:
        asked.set()
        gone.wait(5)

    endpoint = _serving(wait)
    with socket.create_connection(endpoint.address) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert asked.wait(30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
    gone.set()
    wait_until(lambda: "a client of the endpoint has gone" in caplog.messages, 5, "it is noticed")
    endpoint.close()
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert capfd.readouterr().err == ""


def test_an_endpoint_that_fails_to_answer_says_so_in_the_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    endpoint = _serving(fail)
    with socket.create_connection(endpoint.address, timeout=5) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(1) == b""
    endpoint.close()
    wait_until(lambda: "the endpoint failed to answer" in caplog.messages, 5, "it is told")
    assert capfd.readouterr().err == ""
