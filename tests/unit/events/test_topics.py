"""Topic declarations: what is refused, and what may be done to a topic that differs."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli import topics as topics_command
from streamtag.errors import SettingsError
from streamtag.events.topics import (
    ROLES,
    Difference,
    ExistingTopic,
    Remedy,
    TopicDeclaration,
    declared_topics,
    differences,
    read_declaration,
    read_declarations,
)
from streamtag.settings import load_settings

VALID = {
    "name": "tags",
    "description": "Tag events.",
    "key": "The entity.",
    "partitions": 4,
    "config": {"cleanup.policy": "delete", "retention.ms": 1000},
}


def declare(path: Path, **changes: object) -> Path:
    file = path / "tags.yaml"
    file.write_text(yaml.safe_dump({**VALID, **changes}))
    return file


def test_the_shipped_declarations_are_valid_and_named_as_the_settings_name_topics() -> None:
    declarations = read_declarations()
    assert tuple(declarations) == ROLES
    assert {d.name for d in declarations.values()} == {"content", "tags", "stats", "dead-letters", "panes"}
    defaults = load_settings(environ={}).settings
    assert set(declared_topics(defaults.topics, declarations)) == {d.name for d in declarations.values()}


def test_the_shipped_limits_agree_with_the_default_settings() -> None:
    declarations = read_declarations()
    defaults = load_settings(environ={}).settings
    limit = {role: int(d.config["max.message.bytes"]) for role, d in declarations.items()}
    assert limit["dead-letters"] > defaults.dead_letters.max_bytes > limit["content"]
    assert limit["content"] > defaults.events.max_bytes
    assert limit["panes"] > defaults.windows.max_bytes
    assert int(declarations["content"].config["retention.ms"]) == defaults.stats.max_age_s * 1000


def test_every_input_topic_takes_the_content_declaration_under_its_own_name() -> None:
    names = {"topics.input": "[posts, logs]", "topics.tags": "t", "topics.stats": "s", "topics.dead_letters": "d"}
    names["topics.panes"] = "p"
    declarations = read_declarations()
    found = declared_topics(load_settings(environ={}, overrides=names).settings.topics, declarations)
    assert list(found) == ["posts", "logs", "t", "s", "d", "p"]
    assert found["logs"] == msgspec.structs.replace(declarations["content"], name="logs")
    assert found["d"].headers == declarations["dead-letters"].headers


def test_configuration_is_read_as_kafka_writes_it(tmp_path: Path) -> None:
    config = {"retention.ms": 1000, "preallocate": True, "min.cleanable.dirty.ratio": 0.5, "compression.type": "zstd"}
    assert read_declaration(declare(tmp_path, config=config)).config == {
        "retention.ms": "1000",
        "preallocate": "true",
        "min.cleanable.dirty.ratio": "0.5",
        "compression.type": "zstd",
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"partitions": 0}, "partitions"),
        ({"partitions": "four"}, "partitions"),
        ({"replication": 0}, "replication"),
        ({"name": "not a topic"}, "name"),
        ({"key": ""}, "key"),
        ({"existing": "delete"}, "existing"),
        ({"retention": 5}, "retention"),
        ({"config": {"retention.ms": [1]}}, "config"),
        ({"config": {"retention.ms": "a week"}}, "retention.ms"),
        ({"value_schema": {"type": "objekt"}}, "value_schema/type"),
        ({"headers": [{"name": "x"}]}, "headers"),
    ],
)
def test_a_bad_declaration_is_refused_naming_file_and_field(
    changes: dict[str, object], named: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_declaration(declare(tmp_path, **changes))
    assert "tags.yaml" in caught.value.message
    assert named in caught.value.message


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"content\.yaml"):
        read_declarations(tmp_path)
    file = tmp_path / "tags.yaml"
    file.write_text("name: tags\nname: stats\n")
    with pytest.raises(SettingsError, match="stands twice"):
        read_declaration(file)


# -- differences -------------------------------------------------------------------------------------------------------

DECLARED = TopicDeclaration(
    name="tags",
    description="d",
    key="k",
    partitions=4,
    config={"cleanup.policy": "delete", "retention.ms": "1000", "compression.type": "producer"},
)
SAME = ExistingTopic(partitions=4, replication=1, config={**DECLARED.config, "segment.bytes": "1"})


def only(found: list[Difference]) -> Difference:
    assert len(found) == 1
    return found[0]


def test_a_topic_as_declared_has_no_difference_whatever_else_its_broker_sets() -> None:
    assert differences(DECLARED, SAME) == []


def test_a_missing_topic_is_to_be_created() -> None:
    assert only(differences(DECLARED, None)).remedy is Remedy.CREATE
    foreign = msgspec.structs.replace(DECLARED, existing="keep")
    assert only(differences(foreign, None)).remedy is Remedy.CREATE


@pytest.mark.parametrize(
    ("existing", "what", "remedy"),
    [
        (replace(SAME, partitions=8), "partitions", Remedy.NONE),
        (replace(SAME, partitions=2), "partitions", Remedy.ADD_PARTITIONS),
        (replace(SAME, config={**SAME.config, "cleanup.policy": "compact"}), "cleanup.policy", Remedy.NONE),
        (replace(SAME, config={**SAME.config, "retention.ms": "2000"}), "retention.ms", Remedy.NONE),
        (replace(SAME, config={**SAME.config, "retention.ms": "-1"}), "retention.ms", Remedy.NONE),
        (replace(SAME, config={**SAME.config, "retention.ms": "500"}), "retention.ms", Remedy.SET),
        (replace(SAME, config={**SAME.config, "compression.type": "gzip"}), "compression.type", Remedy.SET),
    ],
)
def test_what_would_lose_something_has_no_remedy(existing: ExistingTopic, what: str, remedy: Remedy) -> None:
    found = only(differences(DECLARED, existing))
    assert (found.what, found.remedy) == (what, remedy)
    assert bool(found.reason) is (remedy is not Remedy.SET)
    foreign = msgspec.structs.replace(DECLARED, existing="keep")
    assert only(differences(foreign, existing)).remedy is Remedy.KEEP, "named, and left alone"


def test_replication_is_compared_only_where_it_is_declared() -> None:
    assert differences(DECLARED, replace(SAME, replication=3)) == []
    three = msgspec.structs.replace(DECLARED, replication=3)
    assert only(differences(three, SAME)).remedy is Remedy.NONE


sizes = st.integers(-1, 10_000).map(str)
configs = st.fixed_dictionaries(
    {
        "retention.ms": sizes,
        "max.message.bytes": st.integers(0, 10_000).map(str),
        "cleanup.policy": st.sampled_from(["delete", "compact", "compact,delete"]),
        "compression.type": st.sampled_from(["producer", "zstd"]),
    }
)


@given(st.integers(1, 20), configs, st.integers(1, 20), configs)
def test_no_remedy_deletes_or_shrinks_and_all_of_them_together_leave_only_what_has_none(
    wanted: int, wanted_config: dict[str, str], partitions: int, config: dict[str, str]
) -> None:
    declared = msgspec.structs.replace(DECLARED, partitions=wanted, config=wanted_config)
    before = ExistingTopic(partitions, 1, config)
    found = differences(declared, before)
    after = replace(
        before,
        partitions=wanted if any(d.remedy is Remedy.ADD_PARTITIONS for d in found) else partitions,
        config={**config, **{d.what: d.declared for d in found if d.remedy is Remedy.SET}},
    )
    assert after.partitions >= before.partitions
    assert after.config["cleanup.policy"] == before.config["cleanup.policy"]
    for name in ("retention.ms", "max.message.bytes"):
        old, new = (int(topic.config[name]) for topic in (before, after))
        assert new == -1 or (old != -1 and new >= old)
    assert differences(declared, after) == [d for d in found if d.remedy is Remedy.NONE]


def test_declarations_of_ones_own_are_named_by_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ROLES:
        text = f"name: {role}\ndescription: d\nkey: k\npartitions: 1\nconfig: {{retention.ms: 1000}}\n"
        (tmp_path / f"{role}.yaml").write_text(text)
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides={"topics.declarations": str(tmp_path)}))
    listed = CliRunner().invoke(topics_command.app, ["list", "-o", "json"])
    assert {topic["config"]["retention.ms"] for topic in json.loads(listed.stdout)} == {"1000"}
