"""Windowers and Faust apps of a campaign, on seats like the taggers'."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from child_processes import child_of

from .progress import Progress
from .seats import FAST, Seat
from .stage import Stage

WINDOWER_SESSION_MS = 2_500
APP_SESSION_S = 3
PANE_S = 2
_MOST_RESTARTS = 6
"""A supervisor that has started its app so often is started anew: after ten short lives in a row it would give up."""


class StatsSeat(Seat):
    """A supervisor and its Faust app."""

    def app(self) -> int | None:
        """Process id of the app, None while the supervisor waits to start another."""
        return child_of(self.current().process.pid)

    def signal_app(self, number: signal.Signals) -> bool:
        """Whether there was one to be signalled."""
        app = self.app()
        if app is None:
            return False
        try:
            os.kill(app, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to both."""
        app = self.app()
        super().kill()
        if app is not None:
            _kill(app)

    @property
    def worn(self) -> bool:
        """Whether the supervisor should be started anew before its app ends again."""
        return self.restarts() >= _MOST_RESTARTS

    def restarts(self) -> int:
        """How often the supervisor has started its app again."""
        return self._said().count(b"the Faust app ended with code")

    def listens(self) -> bool:
        """Whether there is, or has been, an app: the supervisor listens for signals before it starts one."""
        return self.app() is not None or self.restarts() > 0

    def leave(self) -> None:
        if self.worker is not None and self.worker.alive:
            self.signal_app(signal.SIGCONT)
            self.kill()


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


@dataclass
class ReadSide:
    """What the campaign hurts behind the tagger.

    Attributes:
        stage: the taggers and all before them.
        windowers, stats: seats; the last of each is for those that come and go.
        progress: how far they have come.
    """

    stage: Stage
    windowers: list[Seat]
    stats: list[StatsSeat]
    progress: Progress

    @property
    def seats(self) -> list[Seat]:
        """All of them."""
        return [*self.windowers, *self.stats]

    @property
    def working(self) -> list[Seat]:
        """Those that are always taken."""
        return [*self.windowers[:-1], *self.stats[:-1]]


@contextmanager
def read_side(stage: Stage) -> Iterator[ReadSide]:
    """Two windowers and two Faust apps, one of which stands by; they are ended afterwards."""
    settings = settings_of(stage)
    logs = stage.seats[0].logs
    windowers = [Seat(n, settings, logs, role="windows") for n in range(3)]
    stats = [StatsSeat(n, settings, logs, role="stats") for n in range(3)]
    seats: list[Seat] = [*windowers, *stats]
    with Progress(stage.topics, stage.services.redis.url, stage.namespace, stage.findings) as progress:
        try:
            found = ReadSide(stage, windowers, stats, progress)
            for seat in found.working:
                seat.start()
            yield found
        finally:
            for seat in seats:
                seat.leave()


def settings_of(stage: Stage) -> dict[str, str]:
    """Of every process and command behind the tagger; their roads are never hurt."""
    name = stage.namespace
    return {
        **FAST,
        **stage.topics.overrides(),
        "redis.url": stage.services.redis.url,
        "redis.namespace": name,
        "state_dir": str(stage.seats[0].logs / "read-side"),
        "tagger.group": f"group-{name}",
        "windows.group": f"windows-{name}",
        "windows.session_timeout_ms": str(WINDOWER_SESSION_MS),
        "windows.lateness_ms": "10000",
        "stats.group": f"stats-{name}",
        "stats.pane_s": str(PANE_S),
        "stats.session_timeout_s": str(APP_SESSION_S),
        "stats.web_port": "null",
    }
