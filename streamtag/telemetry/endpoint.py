"""The HTTP endpoint of a worker: ``/metrics``, ``/livez``, ``/readyz``. Nothing else, and nothing that writes."""

import json
import logging
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamtag.errors import SettingsError
from streamtag.telemetry.health import Health

log = logging.getLogger(__name__)

# A client that opens a connection and says nothing must not hold a thread for ever.
_REQUEST_TIMEOUT_S = 10.0
# How soon the listening thread notices that it should end.
_CLOSE_POLL_S = 0.1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Answers in progress die with the process; waiting for a stalled scraper would delay the drain.
    block_on_close = False

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name, which can take seconds where there is none.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        # The base class writes a traceback to stderr, among lines that are JSON.
        error = sys.exception()
        if isinstance(error, ConnectionError):  # whoever asked has not waited for the answer
            log.debug("a client of the endpoint has gone", extra={"client": str(client_address)})
        else:
            log.error("the endpoint failed to answer", exc_info=error)


class Endpoint:
    """Serves one registry and one `Health` until closed.

    Args:
        host: address to bind, e.g. ``127.0.0.1`` or ``::``.
        port: 0 takes a free one.
        registry: what ``/metrics`` shows.
        health: what ``/livez`` and ``/readyz`` answer.

    Raises:
        SettingsError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: Health) -> None:
        handler = type("_BoundHandler", (_Handler,), {"registry": registry, "health": health})
        try:
            self._server = _Server(host, port, handler)
        except OSError as error:
            raise SettingsError(
                f"telemetry.port: cannot listen on {host}:{port}: {error.strerror}",
                hint="Set another telemetry.port (0 takes any free one), or correct telemetry.host.",
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_CLOSE_POLL_S,), name="telemetry-endpoint", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on."""
        return self._server.server_name, self._server.server_port

    def close(self) -> None:
        """Stops listening; returns when the listening thread has ended."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: ClassVar[CollectorRegistry]
    health: ClassVar[Health]
    timeout = _REQUEST_TIMEOUT_S
    server_version = "streamtag"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, content_type, encode(self.registry))
        elif path == "/livez":
            self._answer_check("live", *self.health.live())
        elif path == "/readyz":
            self._answer_check("ready", *self.health.ready())
        else:
            self._answer_json(HTTPStatus.NOT_FOUND, {"error": "try /metrics, /livez or /readyz"})

    do_HEAD = do_GET  # noqa: N815 - the base class finds handlers by these names

    def _answer_check(self, question: str, ok: bool, reasons: list[str]) -> None:
        status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer_json(status, {question: ok, "reasons": reasons})

    def _answer_json(self, status: HTTPStatus, document: object) -> None:
        self._answer(status, "application/json", json.dumps(document).encode() + b"\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Probes every second are no news."""
