"""Whose time it is: that of a process which runs or waits for nothing, and not of one that gets no processor."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from services import wait_until

from streamtag.tagger.own_time import OwnTime, _sample

SPINS = "while True: pass"
SLEEPS = "import time; time.sleep(600)"


@pytest.fixture(params=[SPINS, SLEEPS], ids=["spins", "sleeps"])
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    found = subprocess.Popen([sys.executable, "-c", request.param])
    yield found
    found.kill()
    found.wait()


def test_time_passes_for_who_computes_and_for_who_does_nothing(process: subprocess.Popen[bytes]) -> None:
    own = OwnTime(process.pid)
    spent: list[float] = []

    def a_second() -> bool:
        spent.append(own.tick())
        return sum(spent) > 1

    wait_until(a_second, 60, "it has had a second", every_s=0.1)
    assert min(spent) >= 0


def test_no_more_time_passes_than_on_the_clock(process: subprocess.Popen[bytes]) -> None:
    began, own = time.monotonic(), OwnTime(process.pid)
    spent = 0.0
    for _ in range(10):
        time.sleep(0.05)
        spent += own.tick()
    assert 0 <= spent <= time.monotonic() - began


@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "dead"])
def test_all_time_counts_of_who_is_stopped_or_dead(process: subprocess.Popen[bytes], end: signal.Signals) -> None:
    os.kill(process.pid, end)
    if end is signal.SIGKILL:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    own, began = OwnTime(process.pid), time.monotonic()
    time.sleep(0.3)
    passed_s = time.monotonic() - began
    assert own.tick() >= passed_s


def test_a_process_that_ends_while_it_is_looked_at_is_no_error() -> None:
    """Whoever watches would end by it, and nobody would be watched any more."""
    until = time.monotonic() + 1
    while time.monotonic() < until:
        process = subprocess.Popen([sys.executable, "-S", "-E", "-c", "pass"])
        own = OwnTime(process.pid)
        while process.poll() is None:
            own.tick()
        own.tick()


def test_who_has_no_descriptor_left_is_no_error(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnTime(process.pid)
    began = time.monotonic()

    def none_left(_: Path) -> Iterator[Path]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "iterdir", none_left)
    time.sleep(0.1)
    passed_s = time.monotonic() - began
    assert own.tick() >= passed_s


@pytest.mark.parametrize(("kept", "runnable"), [("1000 2000 3", True), ("0 0 0", False)])
def test_who_computes_has_its_time_counted_where_the_kernel_keeps_none(
    tmp_path: Path, kept: str, runnable: bool
) -> None:
    thread = tmp_path / "7"
    thread.mkdir()
    (thread / "schedstat").write_text(f"{kept}\n")
    (thread / "stat").write_text("7 (a) S 1) R 1 7 7\n")
    assert _sample(tmp_path).runnable is runnable
