"""docker-compose.yml and the settings it mounts, checked without Docker."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from streamtag.devstack.kafka_jars import kafka_version
from streamtag.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
SETTINGS_FILE = ROOT / "ops" / "compose" / "streamtag.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
    "services"
]


def _settings(service: str) -> Settings:
    environ = {k: v for k, v in SERVICES[service]["environment"].items() if k != "STREAMTAG_CONFIG"}
    return load_settings(config=SETTINGS_FILE, environ=environ).settings


@pytest.mark.parametrize("service", ["topics", "tagger", "windows", "stats", "api"])
def test_the_settings_of_a_container_are_valid_and_name_its_neighbours(service: str) -> None:
    found = _settings(service)
    assert found.kafka.bootstrap_servers.partition(":")[0] in SERVICES
    assert found.redis.url.split("/")[2].partition(":")[0] in SERVICES
    mounts = [volume.split(":")[:2] for volume in SERVICES[service]["volumes"]]
    assert [f"./{SETTINGS_FILE.relative_to(ROOT)}", SERVICES[service]["environment"]["STREAMTAG_CONFIG"]] in mounts


@pytest.mark.parametrize("role", ["tagger", "windows"])
def test_a_worker_is_given_more_time_than_its_drain_takes(role: str) -> None:
    grace_s = int(SERVICES[role]["stop_grace_period"].removesuffix("s"))
    # After the drain itself: the abort of what did not drain (5 s), a last heartbeat and stop mark.
    assert grace_s >= getattr(_settings(role), role).drain_timeout_s + 20


@pytest.mark.parametrize("role", ["tagger", "windows"])
def test_the_health_check_asks_the_port_that_the_settings_open(role: str) -> None:
    port = _settings(role).telemetry.port
    assert f":{port}/readyz" in SERVICES[role]["healthcheck"]["test"][-1]
    assert all(published.endswith(f":{port}") for published in SERVICES[role]["ports"])


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_only(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", []))


def test_kafka_is_the_version_that_the_tests_run_on() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka_version()}"


def test_one_broker_suffices_for_groups_and_transactions() -> None:
    environ = SERVICES["kafka"]["environment"]
    for topic in ("OFFSETS_TOPIC", "TRANSACTION_STATE_LOG", "SHARE_COORDINATOR_STATE_TOPIC", "DEFAULT"):
        assert environ[f"KAFKA_{topic}_REPLICATION_FACTOR"] == "1"
    assert environ["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == "1"


def test_redis_is_published_to_nobody() -> None:
    assert "ports" not in SERVICES["redis"], "it has no password"


def test_a_full_redis_refuses_before_the_kernel_ends_it() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    most_mb = int(command[command.index("--maxmemory") + 1].removesuffix("mb"))
    assert 2 * most_mb <= 1024 * int(SERVICES["redis"]["mem_limit"].removesuffix("g"))


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_can_become_more_than_it_is(service: str) -> None:
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
    assert SERVICES[service]["mem_limit"]
    assert SERVICES[service]["pids_limit"]


def test_redis_keeps_releases_over_a_restart_and_a_crash() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--appendfsync") + 1] == "always"
    assert any(volume.endswith(":/data") for volume in SERVICES["redis"]["volumes"])


@pytest.mark.parametrize("service", ["topics", "tagger", "windows", "stats", "api"])
def test_our_containers_run_without_privileges(service: str) -> None:
    assert SERVICES[service]["read_only"] is True
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert "\nUSER 10001" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_gets_what_it_copies() -> None:
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert f"!{source}" in kept, source
                assert (ROOT / source).exists(), source
