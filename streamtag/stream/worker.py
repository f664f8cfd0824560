"""The process around a runner: signals, readiness, the stuck detector. What tagger and windower share."""

import gc
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from streamtag.stream.runner import Runner
from streamtag.telemetry.health import Health
from streamtag.telemetry.setup import Telemetry
from streamtag.telemetry.stuck import StuckDetector

Check = tuple[bool, str]
"""Whether a readiness check passes, and why not."""

_FIRST_LOOKS_S, _LOOKS_S = 0.05, 0.5


class StopSignals:
    """SIGTERM and SIGINT ask for the end. To be made before anything can be seen of this process.

    Whoever sees it may stop it; a signal that comes while there is nothing to stop yet is kept. Main thread only.
    """

    def __init__(self) -> None:
        self._asked = False  # no event: one signal can interrupt the serving of another, and would wait for its lock
        self._call(self._ask)

    def forward(self, stop: Callable[[], None]) -> None:
        """Calls ``stop`` for every signal, that kept one included; it must be safe in a signal handler."""
        self._call(stop)
        if self._asked:
            stop()

    def _ask(self) -> None:
        self._asked = True

    def _call(self, work: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: work())


def kafka_check(runner: Runner) -> Check:
    """Whether this worker is a member of its group, reads what it was assigned, and gets it committed."""
    status = runner.status()
    if status.error is not None:
        return False, status.error
    if status.waiting:
        return False, f"waiting for the positions of {status.waiting} partitions"
    return bool(runner.member_id), "joining the group"


class Readiness:
    """Reports checks to a process's health, on a thread of its own, until closed.

    Args:
        health: where to.
        checks: by name; asked about twice a second, more often until all pass for the first time.
    """

    def __init__(self, health: Health, checks: Callable[[], Mapping[str, Check]]) -> None:
        self._health = health
        self._checks = checks
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="readiness", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Lets the thread end; does not wait for it."""
        self._closing.set()

    def _run(self) -> None:
        passed = False
        while not self._closing.wait(_LOOKS_S if passed else _FIRST_LOOKS_S):
            for name, (ok, reason) in self._checks().items():
                self._health.set_ready(name, ok, reason)
            passed = passed or self._health.ready()[0]


def watch(
    runner: Runner,
    telemetry: Telemetry,
    stack: ExitStack,
    *,
    stuck_after_s: float,
    checks: Callable[[], Mapping[str, Check]],
) -> None:
    """Starts the stuck detector and the reports of readiness; ``stack`` stops them."""
    stuck = StuckDetector(
        runner.progress, stuck_after_s=stuck_after_s, metrics=telemetry.metrics, health=telemetry.health
    )
    readiness = Readiness(telemetry.health, checks)
    for helper in (stuck, readiness):
        helper.start()
        stack.callback(helper.close)


def settle_garbage() -> None:
    """Takes what is loaded by now out of the collector's sight, and lets it look less often.

    Modules and settings live as long as the process, and records make no cycles: walking them again and again costs CPU
    (7 % of the tagger's, interleaved runs, docs/benchmarks.md) and pauses for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
