"""Every role with the rights of docs/howto-secure.md, on a Kafka and a Redis that deny whatever that does not name.

One broker with SASL and Kafka's own authorizer, users as on the page; a Redis whose default user is off.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import secure_page
from confluent_kafka.admin import AclBinding, AclBindingFilter, AdminClient
from services import Topics, create_topics, produce, read_all, wait_until
from workers import Fleet, Worker

from streamtag.devstack.kafka import KafkaServer, find_kafka
from streamtag.devstack.redis import find_redis
from streamtag.devstack.server import HOST, free_port

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

PASSWORD = "everybodys-in-this-test"
PAGE = secure_page.settings()
RIGHTS = secure_page.acls()
TEAM = Topics(
    bootstrap="",
    input=json.loads(PAGE["topics.input"])[0],
    tags=PAGE["topics.tags"],
    stats=PAGE["topics.stats"],
    dead_letters=PAGE["topics.dead_letters"],
    panes=PAGE["topics.panes"],
    partitions=12,
)
SECURED = """
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_PLAINTEXT
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port},CLIENTS://{host}:{clients_port}
advertised.listeners=BROKER://{host}:{port},CLIENTS://{host}:{clients_port}
listener.name.clients.sasl.enabled.mechanisms=PLAIN
listener.name.clients.plain.sasl.jaas.config={module} required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
"""


class SecuredKafka(KafkaServer):
    """Whoever comes by ``bootstrap`` is the administrator; by ``clients``, one of the users of the page."""

    clients = ""

    def _write_config(self, *, bind: str, logs: str) -> Path:
        path = super()._write_config(bind=bind, logs=logs)
        clients_port = free_port()
        self.clients = f"{HOST}:{clients_port}"
        users = {right.principal.removeprefix("User:") for right in RIGHTS}
        secured = SECURED.format(
            host=HOST,
            port=self.port,
            controller_port=self._controller_port,
            clients_port=clients_port,
            module="org.apache.kafka.common.security.plain.PlainLoginModule",
            users=" ".join(f'user_{user}="{PASSWORD}"' for user in sorted(users)),
        )
        with path.open("a", encoding="utf-8") as properties:  # of two values the later counts
            properties.write(secured)
        return path


@dataclass
class Cluster:
    """The team's, as its users see it."""

    kafka: SecuredKafka
    fleet: Fleet
    admin: AdminClient

    def start(self, role: str) -> Worker:
        return self.fleet.start(role=role, **_login(f"team-a-{role}"))

    def run(self, user: str, *arguments: str, expect: int = 0, **settings: str) -> Any:
        """Runs a command, with settings in the environment, as the page has it."""
        given = self.fleet.settings(**_login(user), **settings)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STREAMTAG_")}
        environ |= {"STREAMTAG_" + name.upper().replace(".", "__"): value for name, value in given.items()}
        command = [sys.executable, "-m", "streamtag", *arguments, "--output", "json"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == expect, done.stderr or done.stdout
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if expect == 0 else " ".join(done.stderr.split())

    def write(self, *records: tuple[bytes, bytes], ago_s: float = 0) -> None:
        at_ms = round((time.time() - ago_s) * 1_000)
        produce(self.kafka.bootstrap, TEAM.input, records, timestamp_ms=at_ms)

    def give(self, rights: list[AclBinding]) -> None:
        for future in self.admin.create_acls(rights).values():
            future.result(20)

    @contextmanager
    def without(self, role: str, name: str) -> Iterator[None]:
        """Takes a user's rights to what is called so away, and gives them back."""
        taken = [right for right in RIGHTS if (right.principal, right.name) == (f"User:team-a-{role}", name)]
        filters = [
            AclBindingFilter(
                *(r.restype, r.name, r.resource_pattern_type, r.principal, r.host, r.operation, r.permission_type)
            )
            for r in taken
        ]
        deleted = [future.result(20) for future in self.admin.delete_acls(filters).values()]
        assert taken
        assert sum(map(len, deleted)) == len(taken)
        yield
        self.give(taken)


def _login(user: str) -> dict[str, str]:
    return {"kafka__client__sasl__username": user, "kafka__client__sasl__password": PASSWORD}


def _events(name: str, count: int) -> list[tuple[bytes, bytes]]:
    texts = (json.dumps({"id": f"{name}-{i}", "text": f"a green window {i}"}).encode() for i in range(count))
    return [(f"key-{i}".encode(), text) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def redis_admin() -> Iterator[Any]:
    """Of a Redis where nobody else is let in but the page's user."""
    with find_redis(environ={}).server() as server:
        first: Any = redis.Redis.from_url(server.url)
        first.execute_command("ACL", "SETUSER", "admin", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        first.close()
        admin: Any = redis.Redis.from_url(server.url, username="admin", password=PASSWORD)
        for command in secure_page.redis_commands(PASSWORD):
            admin.execute_command(*command)
        yield admin
        admin.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, bundles: Path, redis_admin: Any) -> Iterator[Cluster]:
    if find_kafka(environ={}).kind == "docker":
        pytest.fail("a container publishes one listener: this test needs Kafka's jars (Java 17 and Maven)")
    place = redis_admin.connection_pool.connection_kwargs
    url = f"redis://team-a:{PASSWORD}@{place['host']}:{place['port']}/0"
    overrides = {name: value for name, value in PAGE.items() if not name.startswith(("kafka.", "state_dir"))} | {
        "kafka.client.security.protocol": "SASL_PLAINTEXT",
        "kafka.client.sasl.mechanism": "PLAIN",
        "stats.web_port": "null",
        "stats.pane_s": "1",
        "windows.lateness_ms": "1000",
    }
    state = tmp_path_factory.mktemp("secured") / "state"
    with SecuredKafka(heap_mb=512) as kafka:
        overrides["kafka.bootstrap_servers"] = kafka.clients
        with Fleet(TEAM, url, PAGE["redis.namespace"], state, bundles, overrides) as fleet:
            found = Cluster(kafka, fleet, AdminClient({"bootstrap.servers": kafka.bootstrap}))
            found.give(RIGHTS)
            yield found


def test_each_role_has_the_rights_it_needs_and_says_which_is_missing(cluster: Cluster, redis_admin: Any) -> None:
    kafka = cluster.kafka.bootstrap
    assert len(cluster.run("team-a-topics", "topics", "apply")["applied"]) == len(TEAM.names)
    tagger, windows, stats = (cluster.start(role) for role in ("tagger", "windows", "stats"))
    for worker in (tagger, windows, stats):
        worker.wait_ready(60)

    cluster.write(*_events("first", 40), ago_s=5)
    cluster.write(*_events("second", 40), (b"bad", b'{"id": "bad", "text": 7}'))
    read_all(kafka, TEAM.tags, until=lambda found: len(found) == 80, deadline_s=60)
    read_all(kafka, TEAM.panes, until=bool, deadline_s=60)
    wait_until(lambda: any(redis_admin.scan_iter(match="*:windows:*")), 60, "windows in Redis")
    assert cluster.run("team-a-reader", "stats", "show", "--window", "1m")["events"] > 0
    assert cluster.run("team-a-reader", "fleet")["live"]["answer"] == "yes"
    assert cluster.run("team-a-reader", "ledger", "audit", "--from", "1h")
    assert cluster.run("team-a-replay", "dlq", "replay")["replayed"] == 1
    doctor = cluster.run("team-a-doctor", "doctor")["checks"]
    assert {check["check"]: check["status"] for check in doctor}["kafka.transactions"] == "ok"
    assert _refused(redis_admin) == []

    workers = {"tagger": tagger, "windows": windows, "stats": stats}
    missing = {
        "tagger": (TEAM.tags, "TOPIC_AUTHORIZATION_FAILED"),
        "windows": (PAGE["windows.group"], "GROUP_AUTHORIZATION_FAILED"),
    }
    with ExitStack() as stack:
        for role, (right, _) in missing.items():
            stack.enter_context(cluster.without(role, right))
        cluster.write(*_events("third", 40))
        for role, (_, code) in missing.items():
            workers[role].wait_unready(code, 60)
            assert _counted(workers[role], code) > 0
    for worker in workers.values():
        worker.wait_ready(60)
    total = 80 + 40
    tags = read_all(kafka, TEAM.tags, until=lambda found: len(found) >= total, deadline_s=60)
    assert len({json.loads(tag.value() or b"")["id"] for tag in tags}) == len(tags) == total
    assert [worker.stop() for worker in (tagger, windows, stats)] == [0, 0, 0]


def test_what_belongs_to_another_team_is_refused_by_name(cluster: Cluster, redis_admin: Any) -> None:
    create_topics(cluster.kafka.bootstrap, [("team-b.dead-letters", 1, {}), ("team-b.tags", 1, {})])
    theirs = {"topics__dead_letters": "team-b.dead-letters"}
    said = cluster.run("team-a-reader", "dlq", "list", expect=6, **theirs)
    assert "team-b.dead-letters" in said
    assert "authorization failed" in said
    said = cluster.run("team-a-topics", "topics", "apply", expect=3, topics__tags="team-b.tags")
    assert "describe topic team-b.tags" in said
    assert "howto-secure" in said
    redis_admin.acl_log_reset()
    said = cluster.run("team-a-reader", "thresholds", "show", expect=6, redis__namespace="team-b")
    assert "refused" in said
    refused = _refused(redis_admin)
    assert refused
    assert all(found.startswith("streamtag:{team-b}:") for found in refused)


def _refused(admin: Any) -> list[str]:
    """What Redis did not allow, but for the client's name, which it may not tell."""
    return [found for entry in admin.acl_log() if not (found := str(entry["object"])).startswith("client")]


def _counted(worker: Worker, code: str) -> float:
    return sum(
        count
        for name, count in worker.metrics().items()
        if name.startswith(("streamtag_kafka_errors_total", "streamtag_rewinds_total")) and f'="{code}"' in name
    )
