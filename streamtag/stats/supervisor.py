"""Starts a process again when it ends by itself, with growing pauses; passes on the wish to stop."""

import json
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from streamtag.errors import SettingsError, StreamtagError, UnavailableError
from streamtag.settings import Settings
from streamtag.stream.backoff import wait
from streamtag.stream.worker import StopSignals

__all__ = ["GRACE_S", "Launch", "supervise"]

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_GOOD_LIFE_S = 60.0
"""Whoever has lived so long has started well: pauses and failures are counted anew."""
_MOST_FAILURES = 10
GRACE_S = 15.0
"""Between the wish that an app ends, and its being killed."""


@dataclass(frozen=True)
class Launch:
    """What a child is told, as a line of JSON on its stdin: an argument or a variable would show passwords to others.

    Stdin stays open as long as the supervisor lives: its end means that nobody watches any more.

    Attributes:
        settings: the whole tree.
        restarts: how often one like it was started before.
    """

    settings: Settings
    restarts: int = 0

    def to_json(self) -> bytes:
        """The wire form."""
        return (
            json.dumps({"restarts": self.restarts, "settings": self.settings.model_dump(mode="json")}).encode() + b"\n"
        )

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """The inverse of `to_json`."""
        found = json.loads(raw)
        return cls(Settings.model_validate(found["settings"]), found["restarts"])


def supervise(
    command: Sequence[str],
    settings: Settings,
    *,
    good_life_s: float = _GOOD_LIFE_S,
    first_pause_s: float = _FIRST_PAUSE_S,
    most_failures: int = _MOST_FAILURES,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Runs ``command`` until SIGTERM or SIGINT. Main thread only.

    A child that says that Kafka or Redis is away is no failure: it is started again for as long as that lasts.

    Args:
        command: reads a `Launch` on stdin, and ends by itself at SIGTERM.
        settings: for it.
        good_life_s: after so long a life, failures and pauses are counted anew.
        first_pause_s: before the first restart; each one doubles it, up to half a minute.
        most_failures: short lives in a row, before it is given up.
        clock: monotonic seconds.

    Raises:
        SettingsError: the child has refused its settings: starting it again would change nothing.
        StreamtagError: it has ended again and again.
    """
    child: subprocess.Popen[bytes] | None = None
    asked = False  # no event, see `StopSignals`

    def stop() -> None:
        nonlocal asked
        asked = True
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)

    def stopping() -> bool:
        return asked

    signals = StopSignals()
    signals.forward(stop)
    restarts, failures, pause_s = 0, 0, first_pause_s
    while not stopping():
        began = clock()
        child = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own
        code = _life(child, Launch(settings, restarts), stopping)
        if stopping():
            return
        if code == SettingsError.exit_code:
            raise SettingsError("the Faust app has refused its settings; its own message stands above")
        lived_s = clock() - began
        if lived_s >= good_life_s:
            failures, pause_s = 0, first_pause_s
        failures += code != UnavailableError.exit_code
        if failures >= most_failures:
            raise StreamtagError(
                f"the Faust app ended {failures} times in a row, the last time with code {code} after {lived_s:.0f} s",
                hint="Its last lines say why; `streamtag doctor` looks at Kafka and Redis.",
            )
        log.warning("the Faust app ended with code %s; starting it again in %.1f s", code, pause_s)
        restarts += 1
        wait(pause_s, stopping)
        pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)


def _life(child: "subprocess.Popen[bytes]", launch: Launch, stopping: Callable[[], bool]) -> int:
    """From the start of a child to its end; returns its exit code."""
    assert child.stdin is not None
    try:
        child.stdin.write(launch.to_json())
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended already; its code says more
    while not stopping():
        try:
            return child.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)  # also where the signal came before there was a child
    try:
        return child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        log.warning("the Faust app has not ended within %.0f s; it is killed", GRACE_S)
        child.kill()
        return child.wait()
