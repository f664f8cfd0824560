"""The commands thresholds, release and fleet, against an embedded Redis over TCP."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from control_plane import ANNA, BUNDLE, DEFAULTS, LABELS, Run, command, current, heartbeat
from typer.testing import CliRunner

from streamtag.cli import change, main, release, thresholds
from streamtag.control.changes import ReleaseChanges
from streamtag.control.fleet import send
from streamtag.control.group import GroupReader
from streamtag.control.snapshot import SnapshotFile
from streamtag.control.store import ControlStore
from streamtag.control.threshold_file import ThresholdFile, parse_threshold_file
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import ConflictError, NotFoundError, RefusedError, SettingsError, UnavailableError

pytest_plugins = ("command_line",)


def test_set_commits_and_says_what_changed(seeded: ControlStore, run: Run) -> None:
    found = run("thresholds", "set", "spam=0.6", "-m", "too many", "--author", "anna", "--wait", 0, "-o", "json")
    assert (found["committed"], found["release"], found["revision"]) == (True, 2, 2)
    assert found["changes"] == [{"segment": "", "label": "spam", "before": 0.5, "after": 0.6}]
    assert (found["live"], found["live_ms"]) == ("unknown", None)
    document = current(seeded).revision.document
    assert (document.author, document.reason, document.thresholds.labels["spam"]) == ("anna", "too many", 0.6)


def test_the_author_is_the_operating_systems_user_unless_given(
    seeded: ControlStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "carla")
    run("thresholds", "set", "spam=0.6", "-m", "x", "--wait", 0)
    assert current(seeded).revision.document.author == "carla"


def test_set_waits_until_every_worker_says_so(seeded: ControlStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupReader, "members", lambda _self, _timeout_s: frozenset({"m-w1"}))
    first = current(seeded).ref
    old = heartbeat(group="streamtag-tagger", release=1, release_sha256=first.sha256, revision=1, applied_at_ms=1)
    send(seeded, old, 5.0)
    stop = threading.Event()

    def worker() -> None:
        while not stop.wait(0.02):
            ref = current(seeded).ref
            if ref.number == 2:
                fields: dict[str, Any] = {
                    "release": 2,
                    "release_sha256": ref.sha256,
                    "revision": 2,
                    "applied_at_ms": 1_000_000,
                }
                send(seeded, heartbeat(group="streamtag-tagger", **fields), 5.0)
                return

    thread = threading.Thread(target=worker)
    thread.start()
    try:
        found = run("thresholds", "set", "spam=0.6", "-m", "x", "--wait", 10, "-o", "json")
    finally:
        stop.set()
        thread.join()
    assert found["live"] == "yes"
    assert 0 <= found["live_ms"] < 10_000
    assert found["live_since"] == "1970-01-01T00:16:40Z"


def test_a_worker_that_stays_behind_is_named(seeded: ControlStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupReader, "members", lambda _self, _timeout_s: frozenset({"m-w1"}))
    sha256 = current(seeded).ref.sha256
    send(seeded, heartbeat(group="streamtag-tagger", release=1, release_sha256=sha256, applied_at_ms=1), 5.0)
    text = run("thresholds", "set", "spam=0.6", "-m", "x", "--wait", 0.2)
    assert "committed release 2" in text
    assert "not live everywhere" in text
    assert "worker w1 decides by release 1, not 2" in text


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (["spam=abc", "insult=0.4x"], ["spam: 'abc' is not a number", "insult: '0.4x' is not a number"]),
        (["spam=nan", "other=0.5"], ["labels.spam: nan is outside 0 … 1", "labels.other: the bundle does not score"]),
        (["spam=0.6", "--when", "planet=mars"], ["segments[0].when.planet: unknown dimension"]),
        (["spam=0.9"], ["spam: 0.5 -> 0.9 is a step of 0.4"]),
    ],
)
def test_a_refusal_names_everything_and_changes_nothing(
    seeded: ControlStore, run: Run, arguments: list[str], problems: list[str]
) -> None:
    with pytest.raises(RefusedError) as refused:
        run("thresholds", "set", *arguments, "-m", "x")
    text = "\n".join(refused.value.problems)
    assert all(problem in text for problem in problems), text
    assert current(seeded).id.number == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["spam"], "threshold 'spam' must have the form name=value"),
        (["spam=0.4", "spam=0.6"], "threshold spam is given more than once"),
        (["spam=0.6", "--when", "lang=de", "--when", "lang=en"], "--when lang is given more than once"),
    ],
)
def test_assignments_that_are_none_or_contradict_are_usage_errors(
    seeded: ControlStore, run: Run, arguments: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        run("thresholds", "set", *arguments, "-m", "x")
    assert current(seeded).id.number == 1


def test_what_show_prints_as_json_can_be_edited_and_applied(seeded: ControlStore, run: Run, tmp_path: Path) -> None:
    run("thresholds", "set", "spam=0.7", "--when", "lang=de", "-m", "german", "--wait", 0)
    shown = run("thresholds", "show", "-o", "json")
    assert shown["segments"] == [{"when": {"lang": "de"}, "labels": {"spam": 0.7}}]
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps(shown))
    assert not run("thresholds", "apply", file, "-m", "same", "--wait", 0, "-o", "json")["committed"]
    shown["labels"]["insult"] = 0.5
    found = run("thresholds", "apply", "-", "-m", "by hand", "--wait", 0, "-o", "json", stdin=json.dumps(shown))
    assert found["changes"] == [{"segment": "", "label": "insult", "before": 0.6, "after": 0.5}]
    with pytest.raises(ConflictError, match="was first: release 3"):
        run("thresholds", "apply", file, "-m", "late")


def test_a_file_of_another_form_is_refused_with_every_problem(seeded: ControlStore, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.yaml"
    file.write_text("label: {spam: 0.5}\nbase: {revision: new}\nsegments: [{when: de}, 7]\n")
    with pytest.raises(RefusedError) as refused:
        run("thresholds", "apply", file, "-m", "x")
    assert refused.value.problems == (
        "label: unknown; known are base, labels, segments, about",
        "labels: must be a mapping of labels to cut-offs",
        "segments[0].when: must be a mapping, e.g. {lang: de}",
        "segments[0].labels: must be a mapping of labels to cut-offs",
        "segments[1]: must be a mapping with `when` and `labels`",
        "base.revision: must be a whole number",
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("segments: 0", "segments: must be a list"),
        ("segments: {}", "segments: must be a list"),
        ("base: []", "base: must be a mapping, e.g. {revision: 5}"),
        ("base: ''", "base: must be a mapping, e.g. {revision: 5}"),
    ],
)
def test_what_is_empty_but_of_another_form_is_refused_too(line: str, problem: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_threshold_file(f"labels: {{spam: 0.5}}\n{line}\n", "t.yaml")
    assert refused.value.problems == (problem,)


def test_a_name_with_nothing_after_it_says_nothing() -> None:
    found = parse_threshold_file("labels: {spam: 0.5}\nsegments:\nbase:\n", "t.yaml")
    assert found == ThresholdFile(ThresholdSet({"spam": 0.5}))


@pytest.mark.parametrize(
    ("content", "message"), [(b"a: [", "neither YAML nor JSON"), (b"\xff\xfe", "cannot be read"), (b"7", "mapping")]
)
def test_a_file_that_cannot_be_read_is_refused(
    seeded: ControlStore, run: Run, tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "thresholds.yaml"
    file.write_bytes(content)
    with pytest.raises(RefusedError, match=message):
        run("thresholds", "apply", file, "-m", "x")


def test_restore_history_and_diff(seeded: ControlStore, run: Run) -> None:
    run("thresholds", "set", "spam=0.6", "-m", "up", "--wait", 0)
    run("thresholds", "restore", 1, "-m", "back", "--author", "boris", "--wait", 0)
    rows = run("thresholds", "history", "-o", "json")
    assert [(row["revision"], row["reason"]) for row in rows] == [
        (3, "back"),
        (2, "up"),
        (1, "defaults of bundle demo@1"),
    ]
    assert rows[0]["changes"] == [{"segment": "", "label": "spam", "before": 0.6, "after": 0.5}]
    assert len(run("thresholds", "history", "-n", 1, "-o", "json")) == 1
    last = run("thresholds", "diff", "-o", "json")
    assert (last["before"], last["after"], last["changes"]) == (2, 3, rows[0]["changes"])
    assert "say the same" in run("thresholds", "diff", 1, 3)
    releases = run("release", "history", "-o", "json")
    assert [(row["release"], row["note"]) for row in releases] == [
        (3, "restore of revision 1"),
        (2, ""),
        (1, "first start"),
    ]


def test_a_damaged_history_is_shown_as_far_as_it_is_proven(seeded: ControlStore, run: Run) -> None:
    run("thresholds", "set", "spam=0.6", "-m", "up", "--wait", 0)
    seeded.client.set(seeded.keys.revision(1), b"{}")
    result = CliRunner().invoke(command(), ["thresholds", "history", "-o", "json"])
    assert [row["revision"] for row in json.loads(result.stdout)] == [2]
    assert isinstance(result.exception, RefusedError)
    assert "threshold revision 1 is not what was published" in result.exception.message


def test_show_says_what_decides_since_when_by_whom(seeded: ControlStore, run: Run) -> None:
    run("thresholds", "set", "spam=0.7", "--when", "lang=de", "-m", "german", "--author", "anna", "--wait", 0)
    text = run("thresholds", "show")
    for expected in ("anna", "german", "lang=de", "0.7", "decides since"):
        assert expected in text
    assert "anna" not in run("thresholds", "show", 1)


def test_watch_prints_changes_as_they_are_committed(seeded: ControlStore, run: Run) -> None:
    following = threading.Event()
    lines: list[dict[str, Any]] = []

    class Store(ControlStore):
        def follow_audit(self, after: str, wait_s: float) -> Any:
            following.set()
            return super().follow_audit(after, wait_s)

    def operator() -> None:
        following.wait(10)
        ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": 0.6}, ANNA)

    thread = threading.Thread(target=operator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "ControlStore", Store)
        thread.start()
        lines.append(run("thresholds", "watch", "--count", 1, "-o", "json"))
    thread.join()
    (line,) = lines
    assert (line["action"], line["author"], line["release"], line["before"]) == ("thresholds", "anna", "2", "1")
    assert line["changes"] == [{"segment": "", "label": "spam", "before": 0.5, "after": 0.6}]


def test_watch_prints_every_change_though_redis_goes_away_meanwhile(
    seeded: ControlStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = seeded.audit(1)
    run("thresholds", "set", "spam=0.6", "-m", "up", "--wait", 0)
    run("thresholds", "set", "spam=0.5", "-m", "down", "--wait", 0)
    away = iter([False, False, True])

    class Store(ControlStore):
        def audit(self, _limit: int = 50, *, before: str | None = None) -> Any:
            return first

        def revision(self, wanted: Any) -> Any:
            if next(away, False):
                raise UnavailableError("Redis does not answer")
            return super().revision(wanted)

    monkeypatch.setattr(thresholds, "ControlStore", Store)
    monkeypatch.setattr("streamtag.cli.thresholds.time.sleep", lambda _s: None)
    text = run("thresholds", "watch", "--count", 2)
    assert [line.split(": ")[-1] for line in text.splitlines() if line.startswith("20")] == ["up", "down"]
    assert text.count("0.6 -> 0.5") == 1


def test_promotion_takes_a_bundle_with_thresholds_that_fit(
    seeded: ControlStore, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Shipped:
        ref = type(BUNDLE)("demo", "2", "b" * 64)
        labels = (*LABELS, "threat")
        default_thresholds = type(DEFAULTS)({"spam": 0.4, "insult": 0.4, "threat": 0.9})
        critical: tuple[str, ...] = ()

    monkeypatch.setattr(release, "find_bundle", lambda spec, _directories: Path(spec))
    monkeypatch.setattr(release, "read_admitted", lambda _path, _model: Shipped)
    with pytest.raises(RefusedError) as refused:
        run("release", "promote", "demo@2", "-m", "x")
    assert refused.value.problems == ("labels.threat: missing; the bundle scores it",)
    file = tmp_path / "t.yaml"
    file.write_text("labels: {spam: 0.5, insult: 0.6, threat: 0.8}")
    found = run("release", "promote", "demo@2", "--thresholds", file, "-m", "x", "--wait", 0, "-o", "json")
    assert (found["bundle"], found["revision"]) == ("demo@2", 2)
    run("release", "promote", "demo@2", "--thresholds", "defaults", "--force", "-m", "x", "--wait", 0)
    shown = run("release", "show", "-o", "json")
    assert (shown["release"], shown["bundle"]["version"], shown["live"]) == (3, "2", "unknown")


def test_a_bundle_that_is_not_here_cannot_be_promoted(seeded: ControlStore, run: Run) -> None:
    with pytest.raises(NotFoundError, match="no bundle nowhere"):
        run("release", "promote", "nowhere@9", "-m", "x")
    assert current(seeded).id.number == 1


def test_a_lost_release_comes_back_from_the_snapshot(seeded: ControlStore, run: Run, tmp_path: Path) -> None:
    run("thresholds", "set", "spam=0.6", "-m", "up", "--wait", 0)
    SnapshotFile(tmp_path, "default").write(current(seeded))
    seeded.client.flushall()
    with pytest.raises(NotFoundError, match="holds no release"):
        run("thresholds", "set", "spam=0.7", "-m", "x")
    found = run("release", "restore-snapshot", "-m", "Redis was lost", "--wait", 0, "-o", "json")
    assert (found["committed"], found["release"], found["revision"]) == (True, 3, 3)
    assert current(seeded).thresholds.labels["spam"] == 0.6
    with pytest.raises(RefusedError, match="not the last good state"):
        run("release", "restore-snapshot", "-m", "again")


def test_what_waits_for_its_hour_in_a_redis_that_went_back_does_not_go_live_again(
    seeded: ControlStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "login_name", lambda: "anna")
    run("change", "open", "spam=0.6", "-m", "a raid", "--at", "2h")
    before = {key: seeded.client.dump(key) or b"" for key in seeded.client.scan_iter()}
    run("thresholds", "set", "spam=0.7", "-m", "up", "--wait", 0)
    SnapshotFile(tmp_path, "default").write(current(seeded))
    seeded.client.flushall()
    for key, value in before.items():
        seeded.client.restore(key, 0, value)
    run("release", "restore-snapshot", "-m", "Redis went back", "--wait", 0)
    (request,) = run("change", "list", "-o", "json")
    assert (request["state"], current(seeded).thresholds.labels["spam"]) == ("withdrawn", 0.7)
    with pytest.raises(RefusedError, match="not the last good state"):
        run("release", "restore-snapshot", "-m", "again")


def test_no_snapshot_and_a_damaged_one_are_named(seeded: ControlStore, run: Run, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no snapshot"):
        run("release", "restore-snapshot", "-m", "x")
    file = tmp_path / "copy.json"
    file.write_text("{")
    with pytest.raises(NotFoundError, match="damaged"):
        run("release", "restore-snapshot", "--file", file, "-m", "x")


def test_the_fleet_shows_each_worker_and_where_its_release_took_effect(seeded: ControlStore, run: Run) -> None:
    fields: dict[str, Any] = {
        "release": 1,
        "release_sha256": current(seeded).ref.sha256,
        "revision": 1,
        "applied_at_ms": 1_000_000,
    }
    beat = heartbeat(
        group="streamtag-tagger", effective_from={"content/10": 7, "content/2": 5}, lag=3, last_error="none", **fields
    )
    send(seeded, beat, 5.0)
    found = run("fleet", "-o", "json")
    assert (found["release"], found["live"]["answer"]) == (1, "unknown")
    assert found["workers"][0]["effective_from"] == {"content/10": 7, "content/2": 5}
    text = run("fleet")
    assert text.index("content/2:5") < text.index("content/10:7")
    assert "the consumer group has no members" in text
    assert "latency" not in text, "nothing was committed lately"


def test_the_fleet_shows_how_long_events_take_on_each_worker(seeded: ControlStore, run: Run) -> None:
    send(seeded, heartbeat("w1", group="streamtag-tagger", latency_p50_ms=74, latency_p99_ms=1_240), 5.0)
    send(seeded, heartbeat("w2", group="streamtag-tagger"), 5.0)
    found = run("fleet", "-o", "json")["workers"]
    assert [(one["latency_p50_ms"], one["latency_p99_ms"]) for one in found] == [(74, 1_240), (None, None)]
    text = run("fleet")
    assert "latency p50, p99 (ms)" in text
    assert "74, 1,240" in text


def test_without_redis_the_message_names_it_without_credentials(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMTAG_REDIS", "redis://user:hidden@127.0.0.1:9/0")
    with pytest.raises(UnavailableError, match=r"Redis at 127\.0\.0\.1:9 cannot be reached") as away:
        run("thresholds", "show")
    assert "hidden" not in away.value.message + away.value.hint


def test_the_command_knows_these_nouns() -> None:
    assert {"thresholds", "release"} <= set(main.GROUPS)
    assert "fleet" in main.COMMANDS
