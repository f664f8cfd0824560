"""`streamtag doctor` where nothing answers: bounded, in clear words, exit code 1."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.doctor import doctor


@pytest.fixture
def frozen_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        yield silent.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _examine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int) -> tuple[int, dict[str, dict[str, str]]]:
    overrides = {
        "kafka.bootstrap_servers": f"127.0.0.1:{port}",
        "redis.url": f"redis://app:hush@127.0.0.1:{port}/0",
        "redis.timeout_s": "0.5",
        "model.bundle": str(tmp_path / "no-bundle"),
        "telemetry.otlp_endpoint": f"http://127.0.0.1:{port}",
        "state_dir": str(tmp_path / "state"),
    }
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))
    app = typer.Typer()
    app.command()(doctor)
    result = CliRunner().invoke(app, ["--output", "json", "--timeout", "1"])
    assert "hush" not in result.output
    found = json.loads(result.stdout)
    assert found["ok"] is False
    return result.exit_code, {check["check"]: check for check in found["checks"]}


def test_everything_away_ends_soon_with_a_reason_and_a_cure_for_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    start = time.monotonic()
    code, found = _examine(monkeypatch, tmp_path, closed_port)
    assert time.monotonic() - start < 40
    assert code == 1
    assert found["settings"]["status"] == found["state_dir"]["status"] == "ok"
    assert found["kafka.broker"]["status"] == "fail"
    assert "refused" in found["kafka.broker"]["finding"]
    assert "kafka.bootstrap_servers" in found["kafka.broker"]["action"]
    assert found["redis.server"]["status"] == "fail"
    assert "redis.url" in found["redis.server"]["action"]
    assert found["bundle.first"]["status"] == "fail"
    assert found["collector"]["status"] == "warn"
    assert found["kafka.topics"]["finding"] == "not checked: needs kafka.broker"
    assert all(check["action"] for check in found.values() if check["status"] != "ok")


def test_servers_that_never_answer_do_not_hold_the_doctor_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frozen_port: int
) -> None:
    start = time.monotonic()
    code, found = _examine(monkeypatch, tmp_path, frozen_port)
    assert time.monotonic() - start < 40
    assert code == 1
    assert found["kafka.broker"]["status"] == "fail"
    assert "did not answer in time" in found["redis.server"]["finding"]
