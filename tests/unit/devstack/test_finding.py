"""Where Kafka and Redis come from, in order; checked with stand-ins for the programs."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from streamtag.devstack import debian, docker, kafka_jars
from streamtag.devstack.kafka import KafkaServer, find_kafka
from streamtag.devstack.redis import RedisServer, find_redis
from streamtag.errors import UnavailableError

INSTALL = debian.install


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH and cache; programs are put into the directory returned."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    # never let a test install a package
    monkeypatch.setattr(debian, "install", lambda package: False)
    return directory


def program(directory: Path, name: str, body: str = "exit 0") -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


JAVA_17 = """echo 'openjdk version "17.0.15" 2025-04-15' >&2"""
JAVA_8 = """echo 'java version "1.8.0_402"' >&2"""


def test_the_environment_comes_first(programs: Path) -> None:
    program(programs, "java", JAVA_17)
    program(programs, "mvn")
    found = find_kafka({"STREAMTAG_KAFKA": "broker:9092"})
    assert (found.kind, found.bootstrap) == ("external", "broker:9092")
    assert find_redis({"STREAMTAG_REDIS": "redis://r/1"}).url == "redis://r/1"
    with pytest.raises(ValueError, match="not ours"):
        found.server()


def test_jars_come_before_docker(programs: Path) -> None:
    program(programs, "docker")
    program(programs, "java", JAVA_17)
    assert find_kafka({}).kind == "docker", "Java without Maven and without jars gives no jars"
    program(programs, "mvn")
    assert find_kafka({}).kind == "jars"


def test_jars_already_here_need_no_maven(programs: Path) -> None:
    program(programs, "java", JAVA_17)
    kafka_jars.cache_dir().mkdir(parents=True)
    assert find_kafka({}).kind == "jars"


def test_an_old_java_does_not_count(programs: Path) -> None:
    program(programs, "java", JAVA_8)
    program(programs, "mvn")
    with pytest.raises(UnavailableError, match="Java >= 17 is missing") as caught:
        find_kafka({})
    assert "apt-get install" in caught.value.hint


def test_a_docker_without_daemon_does_not_count(programs: Path) -> None:
    program(programs, "docker", "exit 1")
    assert not docker.daemon_answers()
    for find, name in ((find_kafka, "STREAMTAG_KAFKA"), (find_redis, "STREAMTAG_REDIS")):
        with pytest.raises(UnavailableError, match="no Docker daemon answers") as caught:
            find({})
        assert name in caught.value.hint


def test_redis_server_comes_before_docker(programs: Path) -> None:
    program(programs, "docker")
    assert find_redis({}).kind == "docker"
    program(programs, "redis-server")
    assert find_redis({}).kind == "server"


@pytest.mark.parametrize("works", [True, False])
def test_debians_package_is_installed_by_root_without_starting_its_service(
    works: bool, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "install", INSTALL)
    monkeypatch.setattr(debian, "_POLICY", policy)
    monkeypatch.setattr(debian, "_DEBIAN", programs)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    install = f"/bin/echo > {programs}/redis-server; /bin/chmod +x {programs}/redis-server" if works else "exit 100"
    program(programs, "apt-get", f'{policy}; [ $? = 101 ] || exit 1\n[ "$1" = update ] || {{ {install}; }}')
    if works:
        assert find_redis({}).kind == "server"
    else:
        with pytest.raises(UnavailableError):
            find_redis({})
    assert not policy.exists()


def test_containers_publish_on_loopback_only_and_keep_their_data_over_a_restart(programs: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program(programs, "docker", f'echo "$@" >> {calls}')
    for make in (KafkaServer, RedisServer):
        data_dir = tmp_path / make.name
        data_dir.mkdir()
        server = make(data_dir, port=12_345, backend="docker")
        command = server._prepare()
        assert server.container is not None
        name = server.container.name
        assert command[:2] == ["docker", "run"]
        assert "--publish=127.0.0.1:12345:12345" in command
        assert any(part.startswith(f"--volume={name}:/") for part in command)
        assert command == make(data_dir, port=12_345, backend="docker")._prepare()
        server.pause()
        server.resume()
        server.kill()
        assert calls.read_text().splitlines() == [f"{verb} {name}" for verb in ("pause", "unpause", "kill")]
        calls.unlink()
        server.close()
        assert not calls.exists(), "a directory that was given is kept, and so is the volume"
    with contextlib.closing(RedisServer(backend="docker")) as server:
        assert server.container is not None
    assert calls.read_text().splitlines() == [f"volume rm --force {server.container.name}"]


def test_jars_are_downloaded_once_by_several_at_the_same_time_and_appear_complete(
    programs: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    # the last argument is -DoutputDirectory=<dir>
    program(
        programs,
        "mvn",
        f'/bin/echo called >> {calls}\nfor last; do :; done\ndir="${{last#*=}}"\n/bin/mkdir -p "$dir"\n'
        f'/bin/sleep 0.2\n/bin/touch "$dir/kafka.jar"',
    )
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(os.listdir(kafka_jars.jars()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [["kafka.jar"]] * 4
    assert calls.read_text().splitlines() == ["called"]


def test_a_failed_download_says_why_and_leaves_nothing_that_looks_complete(programs: Path) -> None:
    program(programs, "mvn", "/bin/echo '[ERROR] no route to the repository'; exit 1")
    with pytest.raises(UnavailableError, match="no route to the repository"):
        kafka_jars.jars()
    assert not kafka_jars.cache_dir().exists()


def test_the_declared_version_is_kafka_4_1() -> None:
    assert kafka_jars.kafka_version().startswith("4.1.")
