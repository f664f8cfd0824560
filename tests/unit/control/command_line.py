"""Fixtures of the tests of commands: an embedded Redis over TCP, as the demo runs it, and a way to run them."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from control_plane import BUNDLE, DEFAULTS, LABELS, Run, command
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.control.changes import ReleaseChanges
from streamtag.control.group import GroupReader
from streamtag.control.store import ControlStore
from streamtag.settings import RedisSettings


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlStore]:
    for name in ("STREAMTAG_CONFIG", "STREAMTAG_KAFKA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STREAMTAG_REDIS", url)
    monkeypatch.setenv("STREAMTAG_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(GroupReader, "members", lambda _self, _timeout_s: frozenset())
    made = ControlStore(RedisSettings.model_validate({"url": url}))
    made.client.flushall()
    yield made
    made.close()


@pytest.fixture
def seeded(store: ControlStore) -> ControlStore:
    ReleaseChanges(store, max_step=1).seed(BUNDLE, LABELS, DEFAULTS)
    return store


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; gives its text, or the one JSON document where ``-o json`` is among the arguments."""
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(context.stdout, "_width", 200)

    def invoke(*arguments: object, stdin: str | None = None) -> Any:
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(command(), words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout) if "json" in words else result.stdout

    return invoke
