"""The life of a server, with a small TCP program in the role of Kafka and Redis."""

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from streamtag.devstack.server import HOST, Server, _first_ephemeral_port, free_port, listens
from streamtag.errors import UnavailableError

LISTEN = """
import socket, sys, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind(("127.0.0.1", int(sys.argv[1])))
except OSError:
    sys.exit("Address already in use")
listener.listen()
while True:
    listener.accept()
"""


class Listener(Server):
    name: ClassVar[str] = "listener"
    ready_within_s: ClassVar[float] = 10.0
    grace_s: ClassVar[float] = 5.0
    program = LISTEN

    def _prepare(self) -> Sequence[str]:
        return [sys.executable, "-c", self.program, str(self.port)]

    def _answers(self) -> bool:
        return listens(self.port)


class Broken(Listener):
    program = "import sys; sys.exit('no disk left')"


def test_it_answers_after_start_and_not_after_close_and_leaves_no_directory() -> None:
    with Listener() as server:
        assert listens(server.port)
        assert server.data_dir.exists()
    assert not listens(server.port)
    assert not server.data_dir.exists()
    assert server.ref is None


def test_a_restart_keeps_port_and_data(tmp_path: Path) -> None:
    with Listener(data_dir=tmp_path) as server:
        port, pid = server.port, server.pid
        (tmp_path / "data").write_text("kept")
        server.kill()
        assert not listens(port)
        server.start()
        assert (server.port, listens(port)) == (port, True)
        assert server.pid != pid
    assert (tmp_path / "data").read_text() == "kept", "a directory that was given is not removed"


def test_a_taken_port_is_given_up_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr("streamtag.devstack.server.free_port", lambda: next(ports))
        with Listener() as server:
            assert server.port != taken.getsockname()[1]


def test_a_given_port_that_is_taken_is_an_error_that_names_it() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"{port}.*Address already in use"), Listener(port=port):
            pass


def test_a_server_that_ends_at_once_shows_the_end_of_its_log() -> None:
    with pytest.raises(UnavailableError, match="no disk left"), Broken():
        pass


def test_starting_twice_is_refused() -> None:
    with Listener() as server, pytest.raises(RuntimeError, match="runs already"):
        server.start()


def test_signals_to_a_stopped_server_are_refused() -> None:
    with Listener() as server:
        server.stop()
        with pytest.raises(RuntimeError):
            server.pause()
        server.stop()  # twice is once


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    assert all(10_000 <= free_port() < _first_ephemeral_port() for _ in range(50))


def test_a_frozen_server_is_still_alive() -> None:
    with Listener() as server:
        server.pause()
        ref = server.ref
        assert ref is not None
        assert ref.alive()
        os.kill(server.pid, 0)
        server.resume()
