"""The supervisor of the Faust app: starts it again, gives up, passes on the wish to stop, tells secrets to nobody."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from interrupting import STOP_SIGNALS, interrupted
from services import wait_until

from streamtag.errors import SettingsError, StreamtagError
from streamtag.settings import load_settings
from streamtag.stats.supervisor import Launch, supervise

SETTINGS = load_settings(environ={}, overrides={"redis.url": "redis://:secret@localhost/0"}).settings


def child(tmp_path: Path, body: str) -> list[str]:
    """A program that notes what it was told, then does ``body``."""
    source = tmp_path / "child.py"
    source.write_text(
        "import json, os, signal, sys, time\n"
        "told = json.loads(sys.stdin.buffer.readline())\n"
        f"open({str(tmp_path / 'lives')!r}, 'a').write(f'{{os.getpid()}} {{told[\"restarts\"]}}\\n')\n" + body,
        encoding="utf-8",
    )
    return [sys.executable, str(source)]


def lives(tmp_path: Path) -> list[list[int]]:
    found = tmp_path / "lives"
    if not found.exists():
        return []
    return [[int(word) for word in line.split()] for line in found.read_text().splitlines()]


@pytest.fixture(autouse=True)
def _signals() -> object:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_what_ends_by_itself_is_started_again_until_it_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(StreamtagError, match="3 times in a row, the last time with code 70"):
        supervise(child(tmp_path, "sys.exit(70)"), SETTINGS, first_pause_s=0.01, most_failures=3)
    assert [restarts for _, restarts in lives(tmp_path)] == [0, 1, 2]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_signals_that_interrupt_one_another_end_it(tmp_path: Path, every: int) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # until it has handlers of its own
    command = child(tmp_path, "time.sleep(60)")
    interrupted(lambda: supervise(command, SETTINGS), every=every)


def test_whoever_lived_long_enough_starts_anew(tmp_path: Path) -> None:
    ticks = iter(range(0, 10_000, 100))
    body = f"sys.exit(70 if {len('x')} and sum(1 for _ in open({str(tmp_path / 'lives')!r})) < 5 else 2)"
    with pytest.raises(SettingsError):
        supervise(
            child(tmp_path, body), SETTINGS, first_pause_s=0.01, most_failures=2, clock=lambda: float(next(ticks))
        )
    assert len(lives(tmp_path)) == 5


def test_refused_settings_are_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        supervise(child(tmp_path, "sys.exit(2)"), SETTINGS, first_pause_s=0.01)
    assert len(lives(tmp_path)) == 1


def test_services_that_are_away_are_waited_for_however_long_it_takes(tmp_path: Path) -> None:
    body = f"sys.exit(6 if sum(1 for _ in open({str(tmp_path / 'lives')!r})) < 6 else 2)"
    with pytest.raises(SettingsError):
        supervise(child(tmp_path, body), SETTINGS, first_pause_s=0.001, most_failures=2)
    assert len(lives(tmp_path)) == 6


def test_a_wish_to_stop_is_passed_on(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nwhile True: time.sleep(0.01)"

    def stop() -> None:
        wait_until(lambda: lives(tmp_path), 30, "the child lives")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    supervise(child(tmp_path, body), SETTINGS)
    thread.join(30)
    [[pid, _]] = lives(tmp_path)
    assert not Path(f"/proc/{pid}").exists()


def test_a_child_sees_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    body = f"sys.stdin.buffer.read()\nopen({str(tmp_path / 'orphan')!r}, 'w').close()"
    program = (
        "from streamtag.stats.supervisor import supervise\nfrom streamtag.settings import Settings\n"
        f"supervise({child(tmp_path, body)!r}, Settings())\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: lives(tmp_path), 60, "the child lives")
    finally:
        supervisor.kill()
        supervisor.wait(10)
    wait_until((tmp_path / "orphan").exists, 30, "the child sees that nobody watches")


def test_settings_come_through_whole_and_not_as_arguments() -> None:
    launch = Launch(SETTINGS, 3)
    assert Launch.from_json(launch.to_json()) == launch
    assert b"\n" not in launch.to_json()[:-1]
