"""Settings: precedence, refusals with name, source and cure, and values that mean what they say."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamtag.errors import SettingsError
from streamtag.settings import Loaded, describe, load_settings


def load(
    file: str | None = None,
    *,
    env: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    tmp_path: Path | None = None,
) -> Loaded:
    config = None
    if file is not None:
        assert tmp_path is not None
        config = tmp_path / "streamtag.yaml"
        config.write_text(file, encoding="utf-8")
    return load_settings(config=config, environ=env or {}, overrides=options)


def refused(file: str | None = None, **sources: object) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(file, **sources)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return caught.value


# --- precedence and origins


def test_defaults_are_valid_and_say_so() -> None:
    loaded = load()
    assert loaded.settings.tagger.delivery == "exactly_once"
    assert all(loaded.origin(name) == "default" for name, _ in describe())


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    file = "tagger: {batch_size: 1, batch_wait_ms: 1, queue_batches: 1}"
    env = {"STREAMTAG_TAGGER__BATCH_SIZE": "2", "STREAMTAG_TAGGER__BATCH_WAIT_MS": "2"}
    loaded = load(file, env=env, options={"tagger.batch_size": "3"}, tmp_path=tmp_path)
    tagger = loaded.settings.tagger
    assert (tagger.batch_size, tagger.batch_wait_ms, tagger.queue_batches, tagger.slot) == (3, 2, 1, None)
    assert loaded.origin("tagger.batch_size") == "option --set tagger.batch_size"
    assert loaded.origin("tagger.batch_wait_ms") == "environment STREAMTAG_TAGGER__BATCH_WAIT_MS"
    assert loaded.origin("tagger.queue_batches") == f"file {tmp_path / 'streamtag.yaml'}"
    assert loaded.origin("tagger.slot") == "default"


def test_the_file_may_come_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "here.yaml"
    path.write_text("tagger: {group: moderation}")
    assert load(env={"STREAMTAG_CONFIG": str(path)}).settings.tagger.group == "moderation"


def test_short_names_mean_the_long_ones() -> None:
    loaded = load(env={"STREAMTAG_KAFKA": "a:1,b:2", "STREAMTAG_REDIS": "redis://c:3/4"})
    assert loaded.settings.kafka.bootstrap_servers == "a:1,b:2"
    assert loaded.settings.redis.url == "redis://c:3/4"
    assert loaded.origin("redis.url") == "environment STREAMTAG_REDIS"


def test_an_empty_variable_counts_as_not_set() -> None:
    env = {"STREAMTAG_KAFKA": "", "STREAMTAG_TELEMETRY__PORT": "", "STREAMTAG_CONFIG": "", "STREAMTAG_TAGGER__SLOT": ""}
    assert load(env=env).settings == load().settings


def test_variables_of_others_are_left_alone() -> None:
    assert load(env={"HOME": "/root", "KAFKA": "x", "STREAMTAGGER": "x"}).settings == load().settings


def test_a_section_in_one_source_replaces_only_what_it_names(tmp_path: Path) -> None:
    loaded = load("tagger: {batch_size: 7}", options={"tagger": "{batch_wait_ms: 9}"}, tmp_path=tmp_path)
    assert (loaded.settings.tagger.batch_size, loaded.settings.tagger.batch_wait_ms) == (7, 9)


@pytest.mark.parametrize("file", ["", "tagger:\n", "# nothing but a comment\n"])
def test_empty_files_and_sections_change_nothing(file: str, tmp_path: Path) -> None:
    assert load(file, tmp_path=tmp_path).settings == load().settings


# --- values


def test_options_of_a_passed_through_mapping_merge_key_by_key(tmp_path: Path) -> None:
    loaded = load(
        "kafka: {client: {security.protocol: SASL_SSL, sasl.username: tagger}}",
        env={"STREAMTAG_KAFKA__CLIENT__SASL__PASSWORD": "0123"},
        tmp_path=tmp_path,
    )
    client = {"security.protocol": "SASL_SSL", "sasl.username": "tagger", "sasl.password": "0123"}
    assert loaded.settings.kafka.client == client
    assert loaded.origin("kafka.client.sasl.password") == "environment STREAMTAG_KAFKA__CLIENT__SASL__PASSWORD"
    assert loaded.origin("kafka.client.sasl.username").startswith("file ")


@pytest.mark.parametrize("text", ["0", "007", "1e3", "yes", "2026-11-23", "[x", "a: b", "# not a comment", "tRuE"])
def test_text_from_the_environment_is_taken_as_it_stands(text: str) -> None:
    assert load(env={"STREAMTAG_KAFKA__CLIENT__SASL__PASSWORD": text}).settings.kafka.client["sasl.password"] == text
    assert load(options={"tagger.slot": text}).settings.tagger.slot == text


@given(st.text(min_size=1).filter(lambda text: text not in ("null", "~")))
def test_any_password_survives_the_way_through_the_environment(password: str) -> None:
    loaded = load(env={"STREAMTAG_KAFKA__CLIENT__SASL__PASSWORD": password})
    assert loaded.settings.kafka.client["sasl.password"] == password


def test_null_switches_an_optional_setting_off(tmp_path: Path) -> None:
    loaded = load("telemetry: {port: 9464}", env={"STREAMTAG_TELEMETRY__PORT": "null"}, tmp_path=tmp_path)
    assert loaded.settings.telemetry.port is None
    assert load("tagger: {slot: a}", options={"tagger.slot": "null"}, tmp_path=tmp_path).settings.tagger.slot is None


def test_yaml_in_files_means_what_it_says(tmp_path: Path) -> None:
    file = """
tagger: {slot: 0, start: 2026-11-23T03:00:00Z}
stats: {segments: {lang: [en, no, on]}}
topics: {input: [10:30]}
"""
    with pytest.raises(SettingsError, match=r"topics\.input\.0: must match"):
        load(file, tmp_path=tmp_path)
    settings = load(file.replace("10:30", "a"), tmp_path=tmp_path).settings
    assert (settings.tagger.slot, settings.tagger.start) == ("0", "2026-11-23T03:00:00Z")
    assert settings.stats.segments == {"lang": ["en", "no", "on"]}


def test_home_is_expanded_in_paths() -> None:
    settings = load(options={"state_dir": "~/state", "model.directories": "[~/bundles]"}).settings
    assert settings.state_dir == Path.home() / "state"
    assert settings.model.directories == [Path.home() / "bundles"]


def test_places_for_bundles_are_directories_or_urls() -> None:
    settings = load(options={"model.directories": "[/srv/bundles, 's3://bucket/bundles']"}).settings
    assert settings.model.directories == [Path("/srv/bundles"), "s3://bucket/bundles"]
    with pytest.raises(SettingsError, match=r"model\.directories\.0: must be a directory or a URL"):
        load(options={"model.directories": "[3]"})
    with pytest.raises(SettingsError, match=r"model\.trusted_keys\.0: must match"):
        load(options={"model.trusted_keys": "[RWshort]"})


# --- refusals: each names the setting, the source and, where there is one, the cure


@pytest.mark.parametrize(
    ("name", "meant"),
    [("tagger.batchsize", "tagger.batch_size"), ("taggr.group", "tagger.group"), ("state_dri", "state_dir")],
)
def test_an_unknown_setting_is_named_with_the_one_that_was_meant(name: str, meant: str) -> None:
    error = refused(options={name: "1"})
    assert error.message == f"{name}: unknown setting; did you mean {meant}? (option --set {name})"


def test_an_unknown_setting_far_from_any_other_is_named() -> None:
    assert (
        refused(env={"STREAMTAG_FOO__BAR": "1"}).message == "foo.bar: unknown setting (environment STREAMTAG_FOO__BAR)"
    )


def test_every_fault_is_named_not_only_the_first() -> None:
    error = refused(options={"tagger.batch_size": "0", "redis.timeout_s": "-1", "nonsense": "1"})
    assert {part.partition(":")[0] for part in error.message.split("; ")} == {
        "tagger.batch_size",
        "redis.timeout_s",
        "nonsense",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tagger.batch_size", "many"),
        ("tagger.delivery", "at_most_once"),
        ("dead_letters.max_ratio", ".nan"),
        ("thresholds.max_step", "1.5"),
        ("topics.tags", "no spaces"),
        ("topics.input", "[]"),
        ("telemetry.port", "70000"),
        ("stats.segments.mood", "[calm]"),
        ("kafka.client", "[a]"),
    ],
)
def test_a_value_of_the_wrong_type_or_beyond_its_bounds_is_refused(name: str, value: str) -> None:
    error = refused(options={name: value})
    assert error.message.startswith(name)
    assert error.message.endswith(f"(option --set {name})")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tagger.commit_interval_ms": "9000"}, ["commit_interval_ms (9000)", "transaction_timeout_ms"]),
        ({"tagger.session_timeout_ms": "400000"}, ["session_timeout_ms", "max_poll_interval_ms"]),
        ({"tagger.revoke_budget_ms": "200000"}, ["revoke_budget_ms", "max_poll_interval_ms"]),
        ({"tagger.start": "yesterday"}, ["start must be earliest, latest or an RFC 3339 time"]),
        ({"tagger.start": "2026-11-23T03:00:00"}, ["needs a time zone"]),
        ({"dead_letters.window": "100"}, ["min_records (500) is above window (100)"]),
        ({"topics.tags": "content"}, ["topics.input and topics.tags name the same topic content"]),
        ({"stats.group": "streamtag-windows"}, ["windows.group and stats.group name the same group streamtag-windows"]),
        ({"redis.url": "localhost:6379"}, ["redis://"]),
        ({"telemetry.otlp_endpoint": "collector:4318"}, ["http://"]),
    ],
)
def test_contradictions_are_refused_naming_both_sides(options: dict[str, str], words: list[str]) -> None:
    error = refused(options=options)
    for word in words:
        assert word in error.message
    assert f"(option --set {next(iter(options))})" in error.message


def test_a_contradiction_names_every_source_that_has_a_part_in_it(tmp_path: Path) -> None:
    env = {"STREAMTAG_DEAD_LETTERS__WINDOW": "20"}
    error = refused("dead_letters: {min_records: 50, max_bytes: 9999}", env=env, tmp_path=tmp_path)
    assert error.message.endswith(f"(file {tmp_path / 'streamtag.yaml'}, environment STREAMTAG_DEAD_LETTERS__WINDOW)")


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [
        ("consumer.enable.auto.commit", "true", "tagger.delivery"),
        ("consumer.group.id", "other", "tagger.group"),
        ("consumer.auto.offset.reset", "latest", "tagger.start"),
        ("consumer.group.protocol", "consumer", "tagger.group_protocol"),
        ("consumer.session.timeout.ms", "6000", "tagger.session_timeout_ms"),
        ("consumer.isolation.level", "read_uncommitted", "must be read_committed"),
        ("consumer.partition.assignment.strategy", "range", "cannot be set"),
        ("producer.transactional.id", "mine", "tagger.slot"),
        ("producer.enable.idempotence", "false", "must be true"),
        ("producer.acks", "1", "must be all or -1"),
        ("producer.partitioner", "random", "order per key"),
        ("client.bootstrap.servers", "a:1", "kafka.bootstrap_servers"),
        ("client.acks", "0", "must be all or -1"),
    ],
)
def test_librdkafka_options_that_break_a_guarantee_are_refused_with_the_cure(
    option: str, value: str, cure: str
) -> None:
    name = f"kafka.{option}"
    error = refused(options={name: value})
    assert option in error.message
    assert cure in error.message
    assert f"option --set {name}" in error.message


def test_librdkafka_options_that_keep_the_guarantee_pass(tmp_path: Path) -> None:
    file = """
kafka:
  client: {security.protocol: SSL, socket.keepalive.enable: true}
  consumer: {isolation.level: read_committed, fetch.min.bytes: 1000}
  producer: {acks: -1, enable.idempotence: true, linger.ms: 2.5, partitioner: murmur2_random}
"""
    kafka = load(file, tmp_path=tmp_path).settings.kafka
    assert kafka.client["socket.keepalive.enable"] is True
    assert kafka.producer["linger.ms"] == 2.5


def test_a_nested_option_is_refused_once_and_in_plain_words(tmp_path: Path) -> None:
    error = refused("kafka: {client: {sasl: {password: hush}}}", tmp_path=tmp_path)
    assert error.message.startswith("kafka.client.sasl: must be text, a number or a boolean (file")
    assert error.message.count("kafka.client") == 1


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("tagger: [", "not YAML: line 1"),
        ("tagger: {group: a}\ntagger: {slot: b}", "'tagger' stands twice"),
        ("tagger: {group: a, group: b}", "'group' stands twice"),
        ("- tagger", "mapping of sections"),
        ("tagger: 5", "tagger is a section, not a value"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("[a]: b", "a list as key"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused_with_its_name(file: str, words: str, tmp_path: Path) -> None:
    error = refused(file, tmp_path=tmp_path)
    assert words in error.message
    assert "streamtag.yaml" in error.message


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read settings file .*nowhere\.yaml: No such file"):
        load_settings(config=tmp_path / "nowhere.yaml", environ={})
    with pytest.raises(SettingsError, match="cannot read settings file"):
        load_settings(config=tmp_path, environ={})
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings(config=tmp_path / "binary", environ={})


def test_no_error_quotes_a_secret(tmp_path: Path) -> None:
    for file in (
        "kafka: {client: {sasl.password: [hush]}}",
        "kafka:\n  client:\n    sasl.password: 'hush\n  ",
        "redis: {url: 'redis://:hush/@h:1'}",
        "redis: {url: 'http://:hush@h'}",
    ):
        error = refused(file, tmp_path=tmp_path)
        assert "hush" not in error.message + error.hint


_names = st.sampled_from([name for name, _ in describe()]) | st.text(max_size=30)


def _message(options: dict[str, str]) -> str | None:
    try:
        load(options=options)
    except SettingsError as error:
        return error.message
    return None


@given(st.dictionaries(_names, st.text(max_size=30), max_size=4))
@example({"state_dir": "~0"})  # the home of a user who does not exist
def test_options_are_either_accepted_or_refused_in_words_and_never_crash(options: dict[str, str]) -> None:
    assert _message(options) != ""


@pytest.mark.parametrize("seconds", ["7", "45", "300"])
def test_a_pane_that_would_straddle_windows_is_refused(seconds: str) -> None:
    with pytest.raises(SettingsError, match="pane_s"):
        load_settings(environ={}, overrides={"stats.pane_s": seconds})
