"""What a check finds, and running checks side by side within a bounded time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from streamtag.errors import RefusedError, StreamtagError

Status = Literal["ok", "warn", "fail"]

WITHIN_S = 55.0
"""All examinations: the command ends within a minute, whatever it was told to wait for one answer."""
_NO_ANSWER = "Look for a network that drops packets, or a frozen server."


@dataclass(frozen=True)
class Finding:
    """One answer: what was looked at, how it stands, and what to do (empty when nothing)."""

    check: str
    status: Status
    finding: str
    action: str = ""


@dataclass(frozen=True)
class Examination:
    """Checks that build on one another (no topics without a broker), in order.

    Attributes:
        checks: name of each check and the call that makes it; one check may have several findings.
        deadline_s: for all of them together, at most `WITHIN_S`. What has not answered by then is a finding of its own.
    """

    checks: Sequence[tuple[str, Callable[[], Iterator[Finding]]]]
    deadline_s: float


class Blocked(Exception):  # noqa: N818 - a state, not an error: the finding has been reported
    """Raised by a check after its findings, when the following ones cannot be made without it."""


def examine(examinations: Sequence[Examination], clock: Callable[[], float] = time.monotonic) -> list[Finding]:
    """Runs all examinations at once; returns their findings in the order given, however long anyone hangs."""
    started = clock()
    running = [_Running(one.checks, min(one.deadline_s, WITHIN_S)) for one in examinations]
    for one in running:
        one.thread.start()
    for one in running:
        one.thread.join(max(0.0, started + one.deadline_s - clock()))
    return [finding for one in running for finding in one.result()]


def words(error: StreamtagError) -> str:
    """What the error says, every single problem included."""
    return "; ".join([error.message, *(error.problems if isinstance(error, RefusedError) else ())])


@dataclass
class _Running:
    checks: Sequence[tuple[str, Callable[[], Iterator[Finding]]]]
    deadline_s: float
    found: list[Finding] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    blocked_by: str | None = None

    def __post_init__(self) -> None:
        # A daemon: a call that hangs in a client library must not keep the command from ending.
        self.thread = threading.Thread(target=self._run, name="doctor", daemon=True)

    def _run(self) -> None:
        for name, check in self.checks:
            try:
                for finding in check():
                    self.found.append(finding)
            except Blocked:
                self.blocked_by = name
                return
            except StreamtagError as error:
                self.found.append(Finding(name, "fail", words(error), error.hint))
            except TimeoutError:
                self.found.append(Finding(name, "fail", "no answer in time", _NO_ANSWER))
            except Exception as error:  # noqa: BLE001 - whatever a check meets is a finding; the others go on
                self.found.append(
                    Finding(name, "fail", f"the check itself failed: {type(error).__name__}: {error}", "Report this.")
                )
            self.finished.append(name)

    def result(self) -> list[Finding]:
        found, finished, blocked_by = list(self.found), list(self.finished), self.blocked_by
        for name, _ in self.checks:
            if name in finished or name == blocked_by:
                continue
            if blocked_by is not None:
                found.append(Finding(name, "warn", f"not checked: needs {blocked_by}", f"Mend {blocked_by} first."))
            else:
                text = f"no answer within {self.deadline_s:g} s"
                found.append(Finding(name, "fail", text, _NO_ANSWER))
        return found
