"""Workers of a campaign: each sits on a seat, which has its roads to Kafka and Redis, and keeps it over restarts."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services import wait_until
from workers import Worker

from . import ROOT

Action = Literal["kill", "freeze", "raise", "undo"]

SESSION_MS = 2_500
TRANSACTION_MS = 5_000
BATCH = 512

DRAIN_S = 40.0
"""From SIGTERM to the end of a worker, as `docs/operations.md` has it: ``drain_timeout_s`` and 20 s."""

_STRUCK_DOWN = re.compile(rb"fault point \S+: kill")

# Short enough for a campaign to see in minutes what production sees in months.
FAST = {
    "tagger.session_timeout_ms": str(SESSION_MS),
    "tagger.transaction_timeout_ms": str(TRANSACTION_MS),
    "tagger.revoke_budget_ms": "2000",
    "tagger.batch_size": str(BATCH),
    "redis.poll_interval_s": "0.5",
    "redis.heartbeat_s": "0.5",
    "redis.timeout_s": "1",
    # small: the queue runs full in every outage, and back pressure is tried, too
    "kafka.producer": "{queue.buffering.max.messages: 3000}",
    "stats.segments": "{lang: [de, en]}",
    "telemetry.log_format": "json",
    "telemetry.port": "0",  # nobody asks, and no two campaigns on one machine may meet
}


class CampaignWorker(Worker):
    """A tagger, or another role, that can be armed."""

    def __init__(
        self, overrides: Mapping[str, str], log: Path, defect: str | None = None, *, role: str = "tagger"
    ) -> None:  # its own process
        self.log = log
        arguments = [f"--set={name}={value}" for name, value in overrides.items()]
        marked = [f"--defect={defect}"] if defect else []
        environ = {k: v for k, v in os.environ.items() if not k.startswith("STREAMTAG_")}
        environ["FAUST_DATADIR"] = str(log.with_suffix(".faust"))
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker", *marked, *arguments, role],
                stdout=out,
                stderr=out,
                stdin=subprocess.PIPE,
                env=environ,
                cwd=ROOT,
            )

    def tell(self, command: str) -> None:
        """Sends one command of `tests.faults.worker`."""
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    @property
    def frozen(self) -> bool:
        """True while it is stopped by a signal."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        return stat.rpartition(") ")[2].startswith("T")


@dataclass
class Seat:
    """One worker at a time.

    Attributes:
        index: which seat.
        settings: of every worker that sits here.
        logs: directory of log files.
        defect: switched on in its workers.
        role: of its workers.
        worker: who sits here now, None while nobody does.
        unexpected: exits nobody asked for, in words.
    """

    index: int
    settings: Mapping[str, str]
    logs: Path
    defect: str | None = None
    role: str = "tagger"
    worker: CampaignWorker | None = None

    def __post_init__(self) -> None:
        self.unexpected: list[str] = []
        self._doomed = False
        self._armed_at = self._began_at = 0

    def start(self) -> None:
        """Seats a new worker."""
        log = self.logs / f"{self.role}-{self.index}.log"
        self._began_at = log.stat().st_size if log.exists() else 0
        self.worker = CampaignWorker(self.settings, log, self.defect, role=self.role)
        self._doomed = False

    def current(self) -> CampaignWorker:
        """Who sits here."""
        assert self.worker is not None, f"{self.role} seat {self.index} is empty"
        return self.worker

    def kill(self) -> None:
        """SIGKILL."""
        self._note_end()
        self._doomed = True
        self.current().kill()

    def stop(self) -> None:
        """SIGTERM, and the exit code must be 0."""
        self._doomed = True
        worker, listens = self.current(), self.listens()
        worker.process.terminate()
        try:
            code = worker.process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            self.unexpected.append(f"{self.role} {self.index}: no end {DRAIN_S:.0f} s after SIGTERM")
            worker.kill()
        else:
            # killed by the signal itself, it has not listened for it: there is a moment before it begins to
            if code != 0 and (listens or code != -signal.SIGTERM):
                self.unexpected.append(f"{self.role} {self.index}: exit code {code} after SIGTERM")

    def listens(self) -> bool:
        """Whether who sits here has said that it starts: it listens for signals before that."""
        return b' starts"' in self._said()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.current().signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.current().signal(signal.SIGCONT)

    def arm(self, point: str, skip: int, action: Action) -> None:
        """The worker will strike itself."""
        self._doomed = self._doomed or action == "kill"
        worker = self.current()
        self._armed_at = worker.log.stat().st_size
        worker.tell(f"arm {point} {skip} {action}")

    def disarm(self) -> None:
        """What has not struck will not."""
        self._doomed = False
        if self.current().alive:
            self.current().tell("disarm")

    def wait_struck(self, point: str, action: Action, deadline_s: float) -> bool:
        """Waits until the worker has struck itself; False when it has not come to the point, or has ended before."""
        worker = self.current()
        said = f"fault point {point}: {action}".encode()

        def struck() -> bool:
            if action == "kill":
                return not worker.alive
            if action == "freeze":
                return worker.frozen
            return said in self._said(self._armed_at)

        return _happens(struck, deadline_s) and (action != "kill" or said in self._said(self._armed_at))

    def lives_for(self, seconds: float) -> bool:
        """False as soon as the worker has ended."""
        worker = self.current()
        return not _happens(lambda: not worker.alive, seconds)

    def writer(self) -> str | None:
        """The transactional id of who sits here, as its log says; None before it has said so."""
        if self.worker is None or not self.worker.log.exists():
            return None
        lines = self.worker.log.read_text(errors="replace").splitlines()
        starts = (line for line in reversed(lines) if '"tagger starts"' in line)
        return next((str(json.loads(line)["worker"]) for line in starts), None)

    def _said(self, since: int = 0) -> bytes:
        """What who sits here has written into its log, from this byte on."""
        with self.current().log.open("rb") as log:
            log.seek(max(since, self._began_at))
            return log.read()

    def look(self) -> None:
        """Notes an exit that nobody asked for, and seats a new worker."""
        if self.worker is not None and not self.worker.alive and not self._doomed:
            self._note_end()
            self.start()

    def _note_end(self) -> None:
        """Notes that who sits here has ended, if nobody asked for it."""
        if self.worker is None or self.worker.alive or self._doomed or _STRUCK_DOWN.search(self._said(self._armed_at)):
            return
        tail = self.worker.log.read_text(errors="replace").splitlines()[-3:]
        code = self.worker.process.returncode
        self.unexpected.append(f"{self.role} {self.index}: exit code {code}: {' | '.join(tail)}")

    def replace(self) -> None:
        """Has a worker that hangs write its stacks into its log, and seats a new one."""
        worker = self.current()
        if worker.alive:
            worker.signal(signal.SIGUSR1)
            self.lives_for(1.0)  # time to write
        self.leave()
        self.start()

    def leave(self) -> None:
        """Ends whoever sits here, however."""
        self._note_end()
        if self.worker is not None and self.worker.alive:
            self._doomed = True
            self.worker.signal(signal.SIGCONT)
            self.worker.kill()


def _happens(what: Callable[[], bool], deadline_s: float) -> bool:
    try:
        wait_until(what, deadline_s, "it")
    except AssertionError:
        return False
    return True
