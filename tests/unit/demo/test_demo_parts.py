"""The demo's smaller parts: pace, signals, settings of the workers, commands, summary."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services import wait_until

from streamtag.devstack.demo.feed import Pace
from streamtag.devstack.demo.interrupts import Interrupts
from streamtag.devstack.demo.invitation import invitation, program
from streamtag.devstack.demo.services import KafkaKind, Services
from streamtag.devstack.demo.startup_time import command_age_s
from streamtag.devstack.demo.summary import OwnChange, Summary
from streamtag.devstack.demo.workers import WorkerProcesses, worker_settings
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
        signal.raise_signal(signal.SIGINT)
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
    workers = WorkerProcesses(1, worker_settings(services, MODEL, tmp_path / "state"), tmp_path, {})
    settings = load_settings(config=workers.config, environ={}).settings
    assert settings.tagger.delivery == delivery
    assert settings.kafka.bootstrap_servers == services.bootstrap
    assert settings.redis.url == services.redis_url
    assert settings.model == MODEL
    assert settings.state_dir == tmp_path / "state"


def test_a_worker_that_ends_is_reported_with_its_last_words_and_strangers_settings_do_not_reach_it(
    tmp_path: Path,
) -> None:
    settings = {"no_such_setting": 1}
    environ = {**os.environ, "STREAMTAG_ALSO_UNKNOWN": "1"}
    workers = WorkerProcesses(1, settings, tmp_path, environ)
    workers.start()
    try:
        said = wait_until(lambda: _complaint(workers), 20, "the worker has ended")
    finally:
        workers.stop()
    assert "worker 1 ended with exit code 2" in said
    assert "no_such_setting" in said
    assert "also_unknown" not in said
    assert workers.pids == ()


def _complaint(workers: WorkerProcesses) -> str:
    try:
        workers.check()
    except UnavailableError as error:
        return error.message
    return ""


def test_the_commands_for_a_second_terminal_fit_80_columns_and_name_the_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "prefix", "/venv")
    export, change = invitation(MOCK, "toxic=0.1", force=False)
    assert export == "export STREAMTAG_REDIS=redis://127.0.0.1:3000 STREAMTAG_KAFKA=127.0.0.1:2000"
    assert change == f'{program()} thresholds set toxic=0.1 --reason "try it"'
    assert invitation(MOCK, "toxic=0.1", force=True)[1].endswith(" --force")
    widest = Services(KafkaKind.MOCK, "redis-server", "127.0.0.1:65535", "redis://127.0.0.1:65535")
    assert len(invitation(widest, "toxic=0.1", force=False)[0]) <= 80


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


def summary(events: int = 100) -> Summary:
    change = OwnChange("toxic", 0.4, 0.1, 0.101, 0.302)
    return Summary(
        events, 20, 79, 1, again=0, first_tag_s=3.456, live_ms=21.23, seen_ms=30.0, change=change, seconds=10.0,
        p50_ms=30.0, p99_ms=99.0, kafka=KafkaKind.MOCK, redis="redis-server", delivery="at_least_once", workers=2,
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


def test_lines_of_the_summary_fit_80_columns() -> None:
    assert max(len(line) for line in summary(events=99_999).words()) <= 80


def test_the_age_of_the_command_counts_from_the_start_of_its_process() -> None:
    age_s = command_age_s()
    assert 0 < age_s < 86_400
    assert command_age_s() >= age_s
