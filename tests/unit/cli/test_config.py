"""`streamtag config`: everything is shown, nothing secret is."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.config import app
from streamtag.errors import SettingsError
from streamtag.settings import describe
from streamtag.settings.secrets import MASK, shown, shown_url


@pytest.fixture(autouse=True)
def own_globals(monkeypatch: pytest.MonkeyPatch) -> context.Globals:
    found = context.Globals()
    monkeypatch.setattr(context, "GLOBALS", found)
    for name in list(os.environ):
        if name.startswith("STREAMTAG_"):
            monkeypatch.delenv(name)
    return found


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def shown_settings(*arguments: str) -> dict[str, dict[str, object]]:
    return {row["setting"]: row for row in json.loads(run("show", "--output", "json", *arguments))}


def test_every_setting_is_shown_with_value_origin_and_meaning() -> None:
    rows = shown_settings()
    assert list(rows) == [name for name, _ in describe()]
    assert rows["tagger.batch_size"] == {
        "setting": "tagger.batch_size",
        "value": 512,
        "origin": "default",
        "meaning": "Records handed over at once",
    }


def test_origins_and_values_follow_the_sources(own_globals: context.Globals, monkeypatch: pytest.MonkeyPatch) -> None:
    own_globals.overrides = {"tagger.group": "moderation"}
    monkeypatch.setenv("STREAMTAG_TOPICS__INPUT", "[a, b]")
    rows = shown_settings("--changed")
    assert {name: (row["value"], row["origin"]) for name, row in rows.items()} == {
        "topics.input": (["a", "b"], "environment STREAMTAG_TOPICS__INPUT"),
        "tagger.group": ("moderation", "option --set tagger.group"),
    }


def test_secrets_are_masked_in_both_formats(own_globals: context.Globals) -> None:
    own_globals.overrides = {
        "kafka.client.sasl.password": "hush",
        "kafka.client.ssl.key.password": "hush",
        "kafka.client.sasl.oauthbearer.client.secret": "hush",
        "kafka.client.sasl.oauthbearer.config": "hush",
        "kafka.client.sasl.username": "tagger",
        "redis.url": "rediss://app:hush@redis:6380/2",
        "telemetry.otlp_endpoint": "https://app:hush@collector?token=hush",
    }
    rows = shown_settings()
    assert rows["kafka.client.sasl.password"]["value"] == MASK
    assert rows["kafka.client.sasl.username"]["value"] == "tagger"
    assert rows["redis.url"]["value"] == f"rediss://app:{MASK}@redis:6380/2"
    assert "hush" not in json.dumps(rows)
    assert "hush" not in run("show")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:p@h", f"redis://:{MASK}@h"),
        ("redis://u:p:q@h", f"redis://u:{MASK}@h"),
        ("redis://u@h", "redis://u@h"),
        ("redis://h?password=p&db=2", f"redis://h?password={MASK}&db=2"),
        ("unix:///run/redis.sock?password=p", f"unix:///run/redis.sock?password={MASK}"),
        ("redis://[::1", MASK),
    ],
)
def test_urls_are_shown_without_their_password(url: str, expected: str) -> None:
    assert shown_url(url) == expected


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.pem", "api_token", "client.SECRET", "aws.credentials"])
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert shown(name, "hush") == MASK
    assert shown(name, None) is None


def test_validate_accepts_a_good_file_and_says_which(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("tagger: {group: moderation}")
    document = json.loads(run("validate", str(path), "--output", "json"))
    assert document == {"valid": True, "checked": str(path)}


def test_validate_looks_at_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMTAG_TAGGER__BATCH_SIZE", "nonsense")
    path = tmp_path / "good.yaml"
    path.write_text("tagger: {group: moderation}")
    run("validate", str(path))
    with pytest.raises(SettingsError, match=r"tagger\.batch_size"):
        run("validate")


def test_validate_refuses_a_bad_file_naming_the_fault(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("tagger: {grup: moderation}")
    with pytest.raises(SettingsError, match=r"tagger\.grup: unknown setting; did you mean tagger\.group\?"):
        run("validate", str(path))


def test_every_entry_of_a_list_is_shown_without_its_secrets() -> None:
    places = ["bundles", "sftp://app:hunter2@host/bundles"]
    assert shown("model.directories", places) == ["bundles", f"sftp://app:{MASK}@host/bundles"]
    assert shown("model.trusted_keys", ["a public one"]) == ["a public one"]
    assert shown("model.trusted_keys", []) == []
