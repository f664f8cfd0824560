"""Whether this process lives and is ready, check by check, with reasons."""

import threading
from typing import Literal

Question = Literal["live", "ready"]

_NOTHING_REPORTED = "starting: no readiness check has reported yet"


class Health:
    """What the checks said last. Thread-safe.

    A process is *live* unless a check says otherwise (an orchestrator restarts what is not live); it is *ready* when
    at least one check has reported and all of them agree.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks: dict[Question, dict[str, str | None]] = {"live": {}, "ready": {}}

    def set_ready(self, check: str, ok: bool, reason: str = "") -> None:
        """Reports one readiness check; ``reason`` says why not, and what would help."""
        self._report("ready", check, ok, reason)

    def set_live(self, check: str, ok: bool, reason: str = "") -> None:
        """Reports one liveness check. Only for what a restart can cure."""
        self._report("live", check, ok, reason)

    def ready(self) -> tuple[bool, list[str]]:
        """Readiness, and the reasons against it."""
        with self._lock:
            if not self._checks["ready"]:
                return False, [_NOTHING_REPORTED]
        return self._answer("ready")

    def live(self) -> tuple[bool, list[str]]:
        """Liveness, and the reasons against it."""
        return self._answer("live")

    def _report(self, question: Question, check: str, ok: bool, reason: str) -> None:
        with self._lock:
            self._checks[question][check] = None if ok else f"{check}: {reason or 'failed'}"

    def _answer(self, question: Question) -> tuple[bool, list[str]]:
        with self._lock:
            reasons = [reason for reason in self._checks[question].values() if reason is not None]
        return not reasons, reasons
