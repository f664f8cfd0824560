"""The connection to Redis: a replica that was the primary is left, however it was asked to write."""

import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from streamtag.control.connection import connect, guarded, run_script
from streamtag.control.store import ControlStore
from streamtag.errors import UnavailableError
from streamtag.settings import RedisSettings
from streamtag.stats.read_model import Checkpoint, ReadModel
from streamtag.stats.revisions import Memory

_WRITES = ("SET", "EVALSHA")


class Address(socketserver.ThreadingTCPServer):
    """Leads to Redis: the first ``replicas`` connections to one that only reads, later ones to one that writes, too."""

    daemon_threads = True

    def __init__(self, replicas: int) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.replicas = replicas
        self.connections = 0
        self.written: list[str] = []

    @property
    def settings(self) -> RedisSettings:
        return RedisSettings.model_validate({"url": f"redis://127.0.0.1:{self.server_address[1]}/0"})


class Connection(socketserver.StreamRequestHandler):
    """Answers as Redis does, as far as these tests ask."""

    server: Address

    def handle(self) -> None:
        self.server.connections += 1
        replica = self.server.connections <= self.server.replicas
        queue: list[str] | None = None
        while name := self._command():
            if name in _WRITES and replica:
                answer = b"-READONLY You can't write against a read only replica.\r\n"
            elif name == "MULTI":
                queue, answer = [], b"+OK\r\n"
            elif name == "EXEC":
                done, queue = queue or [], None
                self.server.written += done
                answer = b"-EXECABORT discarded\r\n" if replica else b"*%d\r\n" % len(done) + b"+OK\r\n" * len(done)
            elif queue is not None:
                queue.append(name)
                answer = b"+QUEUED\r\n"
            elif name == "GET":
                answer = b"$-1\r\n"
            else:
                self.server.written += [name] if name in _WRITES else []
                answer = b"+OK\r\n"
            self.wfile.write(answer)

    def _command(self) -> str:
        line = self.rfile.readline()
        words = []
        for _ in range(int(line[1:] or 0)):
            length = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(length + 2)[:-2])
        return words[0].decode() if words else ""


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[Address]:
    with Address(request.param) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def _in_pipeline(client: redis.Redis, *, transaction: bool) -> None:
    pipeline = client.pipeline(transaction=transaction)
    pipeline.set("a", 1)
    pipeline.execute()


WAYS: dict[str, Callable[[redis.Redis], object]] = {
    "command": lambda client: client.set("a", 1),
    "script": lambda client: run_script(client, "mark", ["a", "b"], ["1", "2"]),
    "transaction": lambda client: _in_pipeline(client, transaction=True),
    "pipeline": lambda client: _in_pipeline(client, transaction=False),
}


@pytest.mark.parametrize("address", [1, 2], indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_a_primary_that_became_a_replica_is_left(address: Address, way: str) -> None:
    with connect(address.settings) as client:
        client.ping()
        WAYS[way](client)
    assert len(address.written) == 1
    assert address.connections == address.replicas + 1


@pytest.mark.parametrize("address", [4], indirect=True)
def test_where_there_are_only_replicas_it_is_said_and_asked_anew_later(address: Address) -> None:
    with connect(address.settings) as client:
        with pytest.raises(UnavailableError, match=r"refused .*read only replica"), guarded("here", "write"):
            client.set("a", 1)
        assert address.connections == 3
        client.set("a", 1)
    assert address.written == ["SET"]


@pytest.mark.parametrize("address", [1], indirect=True)
def test_a_replica_does_not_look_like_somebody_who_writes_windows_too(address: Address) -> None:
    store = ControlStore(address.settings)
    model, checkpoint = ReadModel(store, "1"), Checkpoint(1, Memory(), 0)
    with pytest.raises(UnavailableError, match="read only replica"):
        model.write((), checkpoint)
    model.write((), checkpoint)
    assert address.written == ["SET"]
    store.close()
