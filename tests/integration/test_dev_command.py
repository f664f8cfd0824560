"""`streamtag dev`: a Kafka and a Redis that outlive the command, and are stopped by nobody else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient
from services import Kafka, Redis, produce, read_all, wait_until

from streamtag.devstack.kafka import broker_answers
from streamtag.devstack.process import ProcessRef
from streamtag.devstack.redis import redis_answers

pytestmark = pytest.mark.services


class Dev:
    """`streamtag dev …` with a state directory of its own, and nothing from the environment of the tests."""

    def __init__(self, state_dir: Path) -> None:
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("STREAMTAG_")}
        self.environ["STREAMTAG_STATE_DIR"] = str(state_dir)

    def __call__(
        self, *arguments: str, code: int = 0, exports: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streamtag", "dev", *arguments]
        done = subprocess.run(
            command, env={**self.environ, **(exports or {})}, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == code, done.stderr
        return done

    def json(self, *arguments: str, code: int = 0, exports: dict[str, str] | None = None) -> Any:
        return msgspec.json.decode(self(*arguments, "--output", "json", code=code, exports=exports).stdout)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    dev = Dev(tmp_path)
    yield dev
    dev("down")


def states(services: list[dict[str, Any]]) -> dict[str, str]:
    return {service["service"]: service["state"] for service in services}


def addresses(services: list[dict[str, Any]]) -> tuple[str, str]:
    found = {service["service"]: service["address"] for service in services}
    return found["kafka"], found["redis"]


def test_up_starts_both_with_the_declared_topics_and_down_stops_them(dev: Dev) -> None:
    assert states(dev.json("status", code=1)) == {"kafka": "stopped", "redis": "stopped"}
    up = dev.json("up")
    assert states(up["services"]) == {"kafka": "running", "redis": "running"}
    assert up["topics_created"] == ["content", "tags", "stats", "dead-letters", "panes"]
    kafka, redis = addresses(up["services"])
    assert broker_answers(kafka, 5)
    assert redis_answers(redis, 5)
    assert states(dev.json("status")) == {"kafka": "running", "redis": "running"}

    again = dev("up").stdout
    assert f"export STREAMTAG_KAFKA={kafka}" in again
    assert f"export STREAMTAG_REDIS={redis}" in again
    assert [s["pid"] for s in dev.json("status")] == [s["pid"] for s in up["services"]], "nothing was started twice"

    assert dev.json("down")["stopped"] == ["kafka", "redis"]
    assert not broker_answers(kafka, 0.5)
    assert not redis_answers(redis, 0.5)
    assert "Nothing was running" in dev("down").stdout


def test_data_and_addresses_survive_down_and_up_even_with_the_exports_set(dev: Dev) -> None:
    kafka, redis = addresses(dev.json("up")["services"])
    exports = {"STREAMTAG_KAFKA": kafka, "STREAMTAG_REDIS": redis}
    produce(kafka, "content", [(b"k", b"kept")])
    assert states(dev.json("status", exports=exports)) == {"kafka": "running", "redis": "running"}, "ours, not external"
    dev("down", exports=exports)
    up = dev.json("up", exports=exports)
    assert addresses(up["services"]) == (kafka, redis)
    assert up["topics_created"] == []
    assert [m.value() for m in read_all(kafka, "content")] == [b"kept"]

    dev("down", "--delete-data")
    kafka, _ = addresses(dev.json("up")["services"])
    assert read_all(kafka, "content") == []


def test_up_starts_again_what_was_killed_and_leaves_the_other_alone(dev: Dev) -> None:
    before = {s["service"]: s for s in dev.json("up")["services"]}
    os.kill(before["redis"]["pid"], 9)
    ref = ProcessRef.of(before["redis"]["pid"])
    wait_until(lambda: ref is None or not ref.alive(), 10, "redis is gone")
    assert states(dev.json("status", code=1)) == {"kafka": "running", "redis": "stopped"}
    after = {s["service"]: s for s in dev.json("up")["services"]}
    assert after["kafka"]["pid"] == before["kafka"]["pid"]
    assert after["redis"]["pid"] != before["redis"]["pid"]
    assert after["redis"]["address"] == before["redis"]["address"]


def test_down_does_not_stop_a_stranger_who_got_the_pid(dev: Dev, tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        service = {
            "address": "127.0.0.1:1",
            "port": 1,
            "pid": stranger.pid,
            "process_started": "long ago",
            "started_at": "2026-11-23T03:00:00+00:00",
            "log": "kafka.log",
        }
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev" / "services.json").write_bytes(msgspec.json.encode({"kafka": service}))
        assert dev.json("down")["stopped"] == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_services_named_by_the_environment_are_used_as_they_are(dev: Dev, kafka: Kafka, redis_server: Redis) -> None:
    exports = {"STREAMTAG_KAFKA": kafka.bootstrap, "STREAMTAG_REDIS": redis_server.url}
    before = set(AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=20).topics)
    up = dev.json("up", exports=exports)
    assert states(up["services"]) == {"kafka": "external", "redis": "external"}
    assert up["topics_created"] == []
    assert dev.json("down", exports=exports)["stopped"] == []
    assert broker_answers(kafka.bootstrap, 5)
    assert set(AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=20).topics) == before

    silent = {**exports, "STREAMTAG_KAFKA": "127.0.0.1:1"}
    refused = dev("up", code=1, exports=silent)
    assert "STREAMTAG_KAFKA" in refused.stderr
    assert states(dev.json("status", code=1, exports=silent))["kafka"] == "external, silent"

    away = {**exports, "STREAMTAG_REDIS": "redis://app:zq0hush@127.0.0.1:1/0"}
    for said in (dev("up", code=1, exports=away), dev("status", "--output", "json", code=1, exports=away)):
        assert "redis://app:" in said.stdout + said.stderr
        assert "zq0hush" not in said.stdout + said.stderr
