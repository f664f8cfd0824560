"""The process of the Faust app, as far as it needs no Faust: it ends with its supervisor, and in order by itself."""

import signal
import subprocess
import sys

_APP = """
import signal, sys, threading, time
from streamtag.stats import app
sys.stdin.buffer.readline()
{first}
app.end_with_the_supervisor()
print("watching", flush=True)
time.sleep({seconds})
"""


def _app(seconds: float, first: str = "") -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-c", _APP.format(seconds=seconds, first=first)]
    found = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert found.stdin is not None
    assert found.stdout is not None
    found.stdin.write(b"{}\n")
    found.stdin.flush()
    assert found.stdout.readline() == b"watching\n"
    return found


def test_an_app_that_stops_does_not_abort_while_its_supervisor_lives() -> None:
    with _app(0.2) as app:
        assert app.stderr is not None
        assert app.wait(30) == 0, app.stderr.read()


def test_an_app_whose_supervisor_is_gone_ends() -> None:
    with _app(60) as app:
        assert app.stdin is not None
        app.stdin.close()
        assert app.wait(30) == -signal.SIGTERM


def test_an_app_that_does_not_end_though_its_supervisor_is_gone_is_killed() -> None:
    with _app(60, "app.GRACE_S = 0.1; signal.signal(signal.SIGTERM, signal.SIG_IGN)") as app:
        assert app.stdin is not None
        app.stdin.close()
        assert app.wait(30) == -signal.SIGKILL
