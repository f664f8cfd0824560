"""`streamtag topics` on a real Kafka: what it creates, what it adapts, what it refuses and names."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import Done, streamtag
from confluent_kafka.admin import AdminClient
from services import Kafka, create_topics, delete_topics, wait_until

pytestmark = pytest.mark.services


@dataclass(frozen=True)
class Command:
    """`streamtag topics …` with topic names of this test's own."""

    bootstrap: str
    run: str

    @property
    def names(self) -> list[str]:
        return [f"{role}-{self.run}" for role in ("content", "tags", "stats", "dead", "panes")]

    def __call__(self, *arguments: str, bootstrap: str | None = None) -> Done:
        content, tags, stats, dead, panes = self.names
        overrides = {
            "kafka.bootstrap_servers": bootstrap or self.bootstrap,
            "topics.input": f"[{content}]",
            "topics.tags": tags,
            "topics.stats": stats,
            "topics.dead_letters": dead,
            "topics.panes": panes,
        }
        return streamtag(overrides, "topics", *arguments)


@pytest.fixture
def topics_command(kafka: Kafka) -> Iterator[Command]:
    command = Command(kafka.bootstrap, uuid.uuid4().hex[:10])
    yield command
    existing = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=20).topics
    if made := [name for name in command.names if name in existing]:
        delete_topics(kafka.bootstrap, made)


def partitions(bootstrap: str, topic: str) -> int:
    return len(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=20).topics[topic].partitions)


def whats(differences: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(d["topic"].partition("-")[0], d["what"], d["remedy"]) for d in differences}


def test_list_shows_the_declared_topics_under_the_names_of_the_settings(topics_command: Command) -> None:
    listed = topics_command("list", "--output", "json", bootstrap="127.0.0.1:1")  # asks no broker
    assert listed.code == 0
    assert [topic["name"] for topic in listed.json] == topics_command.names
    assert "dead-" in topics_command("list").out


def test_apply_creates_what_is_missing_and_is_done_the_second_time(topics_command: Command) -> None:
    before = topics_command("diff", "--output", "json")
    assert before.code == 1
    assert whats(before.json["differences"]) == {
        (role, "topic", "create") for role in ("content", "tags", "stats", "dead", "panes")
    }
    first = topics_command("apply", "--output", "json")
    assert (first.code, len(first.json["applied"]), first.json["remaining"]) == (0, 5, [])
    equal = {"equal": True, "differences": []}
    wait_until(lambda: topics_command("diff", "--output", "json").json == equal, 20, "the broker knows its new topics")
    second = topics_command("apply")
    assert (second.code, second.out.strip()) == (0, "Nothing to do.")


def test_apply_mends_what_it_can_and_names_what_it_cannot(topics_command: Command) -> None:
    content, tags, stats, dead, _ = topics_command.names
    create_topics(
        topics_command.bootstrap,
        [
            (content, 3, {"retention.ms": "1000"}),  # somebody else's
            (tags, 13, {"retention.ms": "-1", "max.message.bytes": "1000"}),  # 12 are declared
            (stats, 2, {"cleanup.policy": "compact"}),  # 4 are declared
        ],
    )
    done = topics_command("apply", "--output", "json")
    assert done.code == 3
    assert whats(done.json["applied"]) == {
        ("dead", "topic", "create"),
        ("panes", "topic", "create"),
        ("tags", "max.message.bytes", "set"),
        ("stats", "max.message.bytes", "set"),
        ("stats", "retention.ms", "set"),
        ("stats", "message.timestamp.type", "set"),
    }
    assert whats(done.json["remaining"]) == {
        ("content", "partitions", "keep"),
        ("content", "retention.ms", "keep"),
        ("tags", "partitions", "none"),
        ("tags", "retention.ms", "none"),
        ("stats", "cleanup.policy", "none"),
        ("stats", "partitions", "add partitions"),
    }
    for named in (f"{tags}: partitions is 13, declared 12", f"{stats}: cleanup.policy is compact, declared delete"):
        assert named in " ".join(done.err.split())
    assert content not in done.err, "a topic of others is nothing to complain about"
    assert [partitions(topics_command.bootstrap, name) for name in (content, tags, stats, dead)] == [3, 13, 2, 4]


def test_partitions_are_added_only_when_told(topics_command: Command) -> None:
    stats = topics_command.names[2]
    create_topics(topics_command.bootstrap, [(stats, 2, {})])
    refused = topics_command("apply")
    assert refused.code == 3
    assert "--add-partitions" in refused.err
    assert partitions(topics_command.bootstrap, stats) == 2
    assert topics_command("apply", "--add-partitions").code == 0
    wait_until(lambda: partitions(topics_command.bootstrap, stats) == 4, 20, "four partitions")


def test_own_declarations_take_the_place_of_the_shipped_ones(topics_command: Command, tmp_path: Path) -> None:
    for role in ("content", "tags", "stats", "dead-letters", "panes"):
        text = f"name: {role}\ndescription: d\nkey: k\npartitions: 1\nconfig: {{retention.ms: 1000}}\n"
        (tmp_path / f"{role}.yaml").write_text(text)
    assert topics_command("apply", "--declarations", str(tmp_path)).code == 0
    wait_until(lambda: topics_command("diff", "--declarations", str(tmp_path)).code == 0, 20, "as declared")
    assert topics_command("diff").code == 1
    (tmp_path / "tags.yaml").write_text("name: tags\n")
    broken = topics_command("diff", "--declarations", str(tmp_path))
    assert broken.code == 2
    assert "tags.yaml" in broken.err


def test_a_broker_that_is_away_is_exit_6_with_its_address(topics_command: Command) -> None:
    done = topics_command("diff", bootstrap="127.0.0.1:1")
    assert done.code == 6
    assert "127.0.0.1:1" in done.err


def test_what_the_broker_refuses_is_exit_3_with_its_reason(topics_command: Command, tmp_path: Path) -> None:
    for role in ("content", "tags", "stats", "dead-letters", "panes"):
        text = f"name: {role}\ndescription: d\nkey: k\npartitions: 1\nconfig: {{no.such.option: 1}}\n"
        (tmp_path / f"{role}.yaml").write_text(text)
    done = topics_command("apply", "--declarations", str(tmp_path))
    assert done.code == 3
    assert "no.such.option" in done.err
