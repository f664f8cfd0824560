"""`streamtag change` and `freeze`: by the user of the system, in words for people and JSON for programs."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from change_rig import DEFAULTS, LABELS
from control_plane import BUNDLE, Run, current

from streamtag.cli import change, outcome
from streamtag.cli.context import login_name
from streamtag.cli.spans import moment_ahead, span
from streamtag.control.approval import ApprovalError, ApprovalPolicy
from streamtag.control.change_requests import ChangeRequests
from streamtag.control.changes import ReleaseChanges
from streamtag.control.freeze import FrozenError
from streamtag.control.proposal import Who
from streamtag.control.reverts import told_reverts
from streamtag.control.store import ControlStore
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import ConflictError, RefusedError, SettingsError

pytest_plugins = ("command_line",)

As = Callable[[str], None]


@pytest.fixture
def critical(store: ControlStore) -> ControlStore:
    """Release 1 of three labels; ``threat`` is critical."""
    ReleaseChanges(store, max_step=1).seed(BUNDLE, LABELS, DEFAULTS, critical=("threat",))
    return store


@pytest.fixture
def as_(monkeypatch: pytest.MonkeyPatch) -> As:
    """The user of the system from now on."""

    def become(name: str) -> None:
        monkeypatch.setattr(change, "login_name", lambda: name)

    become("anna")
    return become


def test_the_way_of_a_change(critical: ControlStore, run: Run, as_: As) -> None:
    with pytest.raises(ApprovalError, match="second person"):
        run("thresholds", "set", "threat=0.6", "-m", "raid", "--wait", 0)
    text = run("change", "open", "threat=0.6", "-m", "raid", "--ticket", "INC-1", "--for", "2h")
    assert "threat: 0.7 -> 0.6" in text
    assert "not yet: approval: needs a second person, as threat is critical" in text
    with pytest.raises(RefusedError, match="approved"):
        run("change", "approve", 1)
    as_("boris")
    assert "approved" in run("change", "approve", 1, "-m", "seen")
    done = run("change", "publish", 1, "--wait", 0)
    assert "change 1 is live: threat: 0.7 -> 0.6" in done
    assert "goes back by itself at" in done
    assert "committed release 2" in done
    (listed,) = run("change", "list", "-o", "json")
    assert (listed["state"], listed["approved_by"], listed["author"]) == ("live", "boris", "anna")
    assert "stays" not in run("change", "restore", 1, "-m", "over", "--wait", 0)
    assert current(critical).thresholds == DEFAULTS
    assert [step["action"] for step in run("change", "show", 1, "-o", "json")["steps"]] == [
        "approve",
        "publish",
        "restore",
    ]


def test_what_can_be_asked_for(critical: ControlStore, run: Run, as_: As, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"labels": {**DEFAULTS.labels, "spam": 0.55}}))
    found = run("change", "open", "--file", file, "-m", "weekly", "-o", "json")
    assert found["what"] == ["spam: 0.5 -> 0.55"]
    found = run("change", "open", "spam=0.6", "--when", "lang=de", "-m", "x", "--at", "1h", "-o", "json")
    assert found["what"] == ["lang=de spam: none -> 0.6"]
    assert [other["number"] for other in found["overlaps"]] == [1]
    for wrong in ((), ("spam=0.6", "--candidate-of", 1), ("--file", file, "--when", "lang=de")):
        with pytest.raises(SettingsError, match="give one of"):
            run("change", "open", *wrong, "-m", "x")
    ask = ("experiment", "start", "--thresholds", file, "--mode", "split", "--share", "0.1", "--others", "muted")
    words = (*ask, "--label", "spam=±20%", "--base-rate", "spam=0.1", "-m", "try", "--ask", "-o", "json")
    found = run(*words)
    assert (found["kind"], found["needs"]) == ("experiment", [])
    assert run("change", "publish", found["number"], "--wait", 0, "-o", "json")["state"] == "live"
    assert len(run("experiment", "list", "-o", "json")) == 1


def test_a_threshold_for_two_hours_is_one_line_where_nobody_else_is_needed(
    critical: ControlStore, run: Run, as_: As
) -> None:
    done = run("change", "open", "spam=0.55", "--for", "2h", "--publish", "-m", "raid", "--wait", 0)
    assert "change 1 is live" in done
    assert "goes back by itself" in done
    asked = run("change", "open", "threat=0.6", "--publish", "-m", "raid", "-o", "json")
    assert (asked["state"], current(critical).thresholds.labels["threat"]) == ("draft", 0.7)


def test_who_comes_second_is_told_of_the_first(critical: ControlStore, run: Run, as_: As) -> None:
    run("change", "open", "spam=0.55", "-m", "mine")
    run("thresholds", "set", "spam=0.45", "-m", "quick", "--author", "boris", "--wait", 0)
    with pytest.raises(ConflictError, match=r"boris was first: spam is 0\.45"):
        run("change", "publish", 1)
    assert "not yet: conflict: boris was first" in run("change", "show", 1)
    assert "withdrawn" in run("change", "withdraw", 1)


def test_a_freeze_by_command(critical: ControlStore, run: Run) -> None:
    assert run("freeze", "show").strip() == "nothing is frozen"
    run("freeze", "on", "-m", "election day", "--author", "carla")
    assert "carla" in run("freeze", "show", "-o", "json")["freeze"]["author"]
    with pytest.raises(FrozenError, match="election day"):
        run("thresholds", "set", "spam=0.6", "-m", "x", "--wait", 0)
    run("freeze", "off", "-m", "quiet")
    run("thresholds", "set", "spam=0.6", "-m", "x", "--wait", 0)
    assert run("audit", "verify", "-o", "json")["ok"]


def test_broken_glass_is_said(critical: ControlStore, run: Run) -> None:
    run("thresholds", "set", "threat=0.6", "-m", "raid", "--break-glass", "--wait", 0)
    (entry,) = run("audit", "show", "-n", 1, "-o", "json")
    assert entry["break_glass"] == "threat is critical"


def test_who_somebody_is_says_the_system_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[int, Any] = {7: type("Entry", (), {"pw_name": "anna"}), 0: type("Entry", (), {"pw_name": "root"})}
    monkeypatch.setattr("pwd.getpwuid", lambda uid: known[uid])
    monkeypatch.setenv("USER", "boris")
    monkeypatch.setenv("SUDO_UID", "7")
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert login_name() == "anna", "behind sudo"
    monkeypatch.delenv("SUDO_UID")
    assert login_name() == "root"
    monkeypatch.setattr("os.getuid", lambda: 8)
    with pytest.raises(SettingsError, match="no name for user 8"):
        login_name()


def test_spans_and_moments() -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    assert span("30m", "--for") == timedelta(minutes=30)
    assert moment_ahead("2h", "--at", now) == now + timedelta(hours=2)
    assert moment_ahead("2026-11-28T03:00:00+01:00", "--at", now).hour == 2
    for text in ("soon", "2026-11-28T03:00:00", "-1h", "9999-12-31T23:59:59-05:00"):
        with pytest.raises(SettingsError, match="--at"):
            moment_ahead(text, "--at", now)
    with pytest.raises(SettingsError, match="--for"):
        span("2 hours", "--for")


def test_at_once_and_later_exclude_each_other(critical: ControlStore, run: Run, as_: As) -> None:
    with pytest.raises(SettingsError, match="--publish makes it live at once, and --at later"):
        run("change", "open", "spam=0.55", "-m", "x", "--at", "2h", "--publish")
    assert run("change", "list", "-o", "json") == []


def test_what_is_opened_and_cannot_go_live_is_said_to_be_open(
    critical: ControlStore, run: Run, as_: As, capsys: pytest.CaptureFixture[str]
) -> None:
    run("freeze", "on", "-m", "x")
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(change, "warn", told.append)
        with pytest.raises(FrozenError):
            run("change", "open", "spam=0.55", "-m", "x", "--publish")
    assert told == ["change 1 is open, and not live: `streamtag change publish 1` tries again"]


def test_whoever_sets_again_what_a_change_for_a_time_holds_is_told_that_it_goes_back(
    critical: ControlStore, run: Run, as_: As, tmp_path: Path
) -> None:
    run("change", "open", "spam=0.6", "insult=0.5", "-m", "raid", "--for", "2h", "--publish", "--wait", 0)
    run("change", "open", "spam=0.61", "--when", "lang=de", "-m", "stays", "--publish", "--wait", 0)
    (until,) = (one["expires_at"] for one in run("change", "list", "-o", "json") if one["number"] == 1)

    again = run("thresholds", "set", "spam=0.6", "-m", "for good", "--wait", 0, "-o", "json")
    assert not again["committed"]
    spam = {"segment": "", "label": "spam", "value": 0.6, "change": 1, "author": "anna", "at": until}
    assert again["reverts"] == [{**spam, "cancel": 'streamtag change restore 1 --reason "…"'}]

    others = ("spam=0.62", "insult=0.55"), ("spam=0.6", "--when", "lang=fr"), ("spam=0.61", "--when", "lang=de")
    for words in others:  # another value, another segment, a change that stays
        found = run("thresholds", "set", *words, "-m", "x", "--wait", 0, "-o", "json")
        assert found["reverts"] == [], words
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"labels": {**DEFAULTS.labels, "spam": 0.6, "insult": 0.5}}))
    applied = run("thresholds", "apply", file, "-m", "from git", "--wait", 0, "-o", "json")
    assert (applied["committed"], [one["label"] for one in applied["reverts"]]) == (True, ["spam", "insult"])

    run("change", "restore", 1, "-m", "to stay", "--wait", 0)
    kept = run("thresholds", "set", "spam=0.6", "-m", "for good", "--wait", 0, "-o", "json")
    assert (kept["committed"], kept["reverts"]) == (True, [])


def test_whoever_publishes_for_good_what_a_change_for_a_time_holds_is_told_so(
    critical: ControlStore, run: Run, as_: As
) -> None:
    run("change", "open", "spam=0.6", "-m", "raid", "--for", "2h", "--publish", "--wait", 0)
    run("thresholds", "set", "spam=0.5", "-m", "quiet", "--wait", 0)
    again = run("change", "open", "spam=0.6", "insult=0.55", "-m", "x", "--publish", "--wait", 0, "-o", "json")
    assert [(one["change"], one["label"], one["value"]) for one in again["reverts"]] == [(1, "spam", 0.6)]
    run("thresholds", "set", "spam=0.5", "-m", "quiet", "--wait", 0)
    words = ("change", "open", "spam=0.6", "-m", "y", "--for", "1h", "--publish", "--wait", 0, "-o", "json")
    assert run(*words)["reverts"] == [], "it does not ask to stay"


def test_those_for_a_time_are_listed_however_many_came_after_them(critical: ControlStore, run: Run, as_: As) -> None:
    for label, more in (("insult=0.55", ("--for", "2h")), ("spam=0.6", ()), ("spam=0.55", ("--for", "1h"))):
        run("change", "open", label, "-m", "x", "--publish", "--wait", 0, *more)
    run("change", "open", "spam=0.7", "-m", "waits", "--at", "2099-01-01T00:00:00Z")

    def listed(*words: str) -> list[int]:
        return [one["number"] for one in run("change", "list", *words, "-o", "json")]

    assert listed("--limit", "1") == [4]
    assert listed("--for-a-time") == [3, 1]
    assert listed("--for-a-time", "--limit", "1") == [3]
    run("change", "restore", 3, "-m", "over", "--wait", 0)
    assert listed("--for-a-time") == [1]


def test_what_is_set_again_does_go_back_as_people_are_told(
    critical: ControlStore, run: Run, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(outcome, "warn", told.append)
    run("change", "open", "spam=0.6", "-m", "raid", "--for", "1s", "--publish", "--wait", 0)
    run("thresholds", "set", "spam=0.6", "insult=0.5", "-m", "for good", "--wait", 0)
    (line,) = told
    assert line.startswith("spam=0.6 does not stay: change 1 of anna holds it for a time, and takes it back at 20")
    assert '`streamtag change restore 1 --reason "…"` ends that change now' in line
    later = datetime.now(UTC) + timedelta(seconds=2)
    ChangeRequests(critical, policy=ApprovalPolicy(), max_step=1, now=lambda: later).expire(1)
    assert current(critical).thresholds.labels == {**DEFAULTS.labels, "insult": 0.5}


def test_a_release_for_a_time_takes_back_cut_offs_that_were_set_again(
    critical: ControlStore,
) -> None:
    requests = ChangeRequests(critical, policy=ApprovalPolicy("none"), max_step=1)
    wanted = ThresholdSet({**DEFAULTS.labels, "spam": 0.6})
    content = requests.compose().promotion(BUNDLE, LABELS, ("threat",), wanted)
    requests.open(content, Who("anna", "a try"), lasts=timedelta(hours=1))
    requests.publish(1, "anna")
    found = told_reverts(ThresholdSet({"spam": 0.6, "insult": 0.6}), current(critical), critical, lambda _: None)
    assert [(one.change, [move.label for move in one.moves]) for one in found] == [(1, ["spam"])]


def test_a_change_stands_where_nobody_can_tell_what_goes_back(
    critical: ControlStore, run: Run, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(outcome, "warn", told.append)
    run("change", "open", "spam=0.6", "-m", "raid", "--for", "2h", "--publish", "--wait", 0)
    critical.client.delete(critical.keys.requests_due)
    critical.client.set(critical.keys.requests_due, "damaged")
    assert run("thresholds", "set", "insult=0.5", "-m", "x", "--wait", 0, "-o", "json")["committed"]
    assert told[0].startswith("whether a change for a time takes some of it back could not be found out")
