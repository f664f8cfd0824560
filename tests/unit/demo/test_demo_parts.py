"""The demo's smaller parts: pace, signals, settings of the workers, commands, summary."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_trials import FAILED, PASSED
from services import wait_until

from streamtag.devstack.demo.feed import Pace
from streamtag.devstack.demo.interrupts import Interrupts
from streamtag.devstack.demo.invitation import invitation, program
from streamtag.devstack.demo.processes import Processes, process_settings
from streamtag.devstack.demo.services import KafkaKind, Services
from streamtag.devstack.demo.startup_time import command_age_s
from streamtag.devstack.demo.summary import OwnChange, Summary
from streamtag.devstack.demo.windows import WindowState
from streamtag.errors import UnavailableError
from streamtag.settings import ModelSettings, load_settings

MOCK = Services(KafkaKind.MOCK, "redis-server", "127.0.0.1:2000", "redis://127.0.0.1:3000")
REAL = Services(KafkaKind.REAL, "redis-server", "127.0.0.1:2000", "redis://127.0.0.1:3000")
MODEL = ModelSettings(bundle="moderation")  # type: ignore[call-arg]


@given(st.integers(1, 2_000), st.lists(st.floats(0.001, 0.4), min_size=1))
def test_the_pace_is_the_rate_however_the_calls_fall(rate: int, steps: list[float]) -> None:
    pace = Pace(rate)
    now_s = 0.0
    total = pace.due(now_s)
    for step in steps:
        now_s += step
        total += pace.due(now_s)
    assert total == pytest.approx(now_s * rate, abs=1.01)


def test_after_a_pause_nothing_is_made_up_for() -> None:
    pace = Pace(100, longest_pause_s=0.5)
    assert pace.due(0.0) == 0
    assert pace.due(3_600.0) == 50


def test_signals_interrupt_until_they_are_deferred_and_are_noted_from_then_on() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        interrupts.asked = False
        interrupts.defer()
        signal.raise_signal(signal.SIGTERM)  # SIGINT is ignored where the tests run in the background of a shell
        assert interrupts.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupts.asked
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("services", "delivery"), [(MOCK, "at_least_once"), (REAL, "exactly_once")])
def test_exactly_once_is_set_only_where_the_broker_can_do_it(services: Services, delivery: str, tmp_path: Path) -> None:
    processes = Processes(process_settings(services, MODEL, tmp_path / "state"), tmp_path, {})
    settings = load_settings(config=processes.config, environ={}).settings
    assert settings.tagger.delivery == delivery
    assert settings.kafka.bootstrap_servers == services.bootstrap
    assert settings.redis.url == services.redis_url
    assert settings.model == MODEL
    assert settings.state_dir == tmp_path / "state"


def test_a_process_that_ends_is_reported_with_its_last_words_and_strangers_settings_do_not_reach_it(
    tmp_path: Path,
) -> None:
    environ = {**os.environ, "STREAMTAG_ALSO_UNKNOWN": "1"}
    processes = Processes({"no_such_setting": 1}, tmp_path, environ)
    processes.start("worker 1", processes.command("tagger"))
    assert list(processes.pids) == ["worker 1"]
    try:
        said = wait_until(lambda: _complaint(processes), 20, "the worker has ended")
    finally:
        processes.stop()
    assert "worker 1 ended with exit code 2" in said
    assert "no_such_setting" in said
    assert "also_unknown" not in said
    assert processes.pids == {}


def _complaint(processes: Processes) -> str:
    try:
        processes.check()
    except UnavailableError as error:
        return error.message
    return ""


def test_what_follows_the_panes_ends_with_the_code_of_what_is_wrong(tmp_path: Path) -> None:
    processes = Processes({"no_such_setting": 1}, tmp_path, {})
    command = [sys.executable, "-m", "streamtag.devstack.demo.stats_process", str(processes.config)]
    processes.start("stats", command)
    try:
        said = wait_until(lambda: _complaint(processes), 20, "it has ended")
    finally:
        processes.stop()
    assert "stats ended with exit code 2" in said
    assert "no_such_setting" in said


def test_the_commands_for_a_second_terminal_fit_80_columns_and_name_the_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "prefix", "/venv")
    export, change, experiment, windows = invitation(MOCK, "toxic=0.1", force=False, experiments=False)
    assert export == "export STREAMTAG_REDIS=redis://127.0.0.1:3000 STREAMTAG_KAFKA=127.0.0.1:2000"
    assert change == f'{program()} thresholds set toxic=0.1 -m "try it"'
    assert (experiment, windows) == (f"{program()} experiment show 1", f"{program()} stats watch")
    assert invitation(MOCK, "toxic=0.1", force=True, experiments=False)[1].endswith(" --force")
    widest = Services(KafkaKind.MOCK, "redis-server", "127.0.0.1:65535", "redis://127.0.0.1:65535")
    assert len(invitation(widest, "toxic=0.1", force=False, experiments=False)[0]) <= 80


def test_while_experiments_run_the_suggested_change_says_that_it_ends_them() -> None:
    assert "--end-experiments" in invitation(MOCK, "toxic=0.1", force=False, experiments=True)[1]
    assert "--end-experiments" not in invitation(MOCK, "toxic=0.1", force=False, experiments=False)[1]


def test_the_command_is_relative_to_where_it_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "bin"
    installed.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(installed / "python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.chdir(tmp_path)
    assert program() == f"{installed / 'python'} -m streamtag"
    (installed / "streamtag").touch()
    assert program() == ".venv/bin/streamtag"
    monkeypatch.chdir("/")
    assert program().endswith(".venv/bin/streamtag")


def summary(events: int = 100, counted: int = 99) -> Summary:
    change = OwnChange("toxic", 0.4, 0.1, 0.05, 0.101, 0.302)
    return Summary(
        events, 20, 79, 1, again=0, first_tag_s=3.456, live_ms=21.23, seen_ms=30.0, change=change,
        trials=(FAILED, PASSED), windows=WindowState(0, 10, {}, counted, True), seconds=10.0, p50_ms=30.0, p99_ms=99.0,
        kafka=KafkaKind.MOCK, redis="redis-server", delivery="at_least_once", workers=2,
    )  # fmt: skip


def test_the_summary_says_what_machines_ask_for() -> None:
    document = json.loads(json.dumps(summary().document()))
    assert document["events"] == document["tagged"] + document["clean"] + document["dead_lettered"]
    assert document["missing"] == 0
    assert (document["first_tag_s"], document["threshold_change_live_ms"]) == (3.46, 21.2)
    assert (document["kafka"], document["redis"], document["workers"]) == ("mock", "redis-server", 2)
    assert document["threshold_change"]["rate_after"] == 0.302


def test_an_event_without_an_outcome_is_missing() -> None:
    assert summary(events=103).missing == 3
    assert "3 MISSING" in summary(events=103).words()[0]
    assert "none missing" in summary().words()[0]


def test_the_summary_says_what_came_of_the_experiments_and_why_and_what_the_windows_hold() -> None:
    text = "\n".join(summary().words())
    assert "experiment 1: FAIL after 1.5 s, 300 events\n  loud: worse by more than its tolerance\n" in text
    assert "  loud 8.0% -> 32.0%\n" in text
    assert "experiment 2: PASS after 4.5 s" in text
    assert "windows hold 99 of 99 decided events, exact" in text
    assert "windows hold 90 of 99 decided events" in "\n".join(summary(counted=90).words())
    document = json.loads(json.dumps(summary().document()))
    assert [one["state"] for one in document["experiments"]] == ["FAIL", "PASS"]
    assert document["experiments"][0]["labels"]["loud"]["so"] == "worse"
    assert document["windows"] == {"events": 99, "exact": True}


def test_lines_of_the_summary_fit_80_columns() -> None:
    assert max(len(line) for line in summary(events=99_999).words()) <= 80


def test_the_age_of_the_command_counts_from_the_start_of_its_process() -> None:
    age_s = command_age_s()
    assert 0 < age_s < 86_400
    assert command_age_s() >= age_s
