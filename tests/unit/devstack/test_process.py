"""Processes: never a stranger, never an orphan."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from services import wait_until

from streamtag.devstack.process import ProcessRef, spawn

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def ref_of(process: subprocess.Popen[bytes]) -> ProcessRef:
    found = ProcessRef.of(process.pid)
    assert found is not None
    return found


def test_a_process_that_ended_is_not_alive_even_before_it_is_reaped(tmp_path: Path) -> None:
    process = spawn([sys.executable, "-c", ""], log=tmp_path / "log", dies_with_parent=True)
    ref = ProcessRef.of(process.pid)
    assert ref is None or ref.wait(30)
    process.wait(10)
    assert ProcessRef.of(process.pid) is None


def test_a_reused_pid_is_not_signalled(tmp_path: Path) -> None:
    process = spawn(SLEEP, log=tmp_path / "log", dies_with_parent=True)
    try:
        stranger = replace(ref_of(process), started="another time")
        assert not stranger.alive()
        assert not stranger.signal(signal.SIGKILL)
        stranger.stop(0.1)
        assert process.poll() is None
    finally:
        ref_of(process).stop(5)
    assert process.wait(30) == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = spawn(STUBBORN, log=log, dies_with_parent=True)
    wait_until(lambda: "up" in log.read_text(), 10, "it ignores SIGTERM by now")
    ref_of(process).stop(0.2)
    assert process.wait(30) == -signal.SIGKILL


def test_a_frozen_process_hears_sigterm(tmp_path: Path) -> None:
    process = spawn(SLEEP, log=tmp_path / "log", dies_with_parent=True)
    ref = ref_of(process)
    ref.signal(signal.SIGSTOP)
    ref.stop(5)
    assert process.wait(30) == -signal.SIGTERM


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's death signal is Linux's")
@pytest.mark.parametrize(("bound", "survives"), [(True, False), (False, True)])
def test_a_bound_server_dies_with_a_parent_that_is_killed_and_a_detached_one_survives(
    bound: bool, survives: bool, tmp_path: Path
) -> None:
    program = (
        "import sys, pathlib, time\n"
        "from streamtag.devstack.process import spawn\n"
        f"server = spawn({SLEEP!r}, log=pathlib.Path({str(tmp_path / 'log')!r}), dies_with_parent={bound})\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    ref = ProcessRef.of(int(parent.stdout.readline()))
    assert ref is not None
    assert os.getpgid(ref.pid) == ref.pid, "in a session of its own"
    parent.kill()
    parent.communicate()
    try:
        assert ref.wait(1.0 if survives else 10.0) is not survives
    finally:
        ref.stop(5)
