"""What runs beside a campaign: none of it may end in silence."""

import threading
from collections.abc import Callable

from .findings import Findings


class Errand(threading.Thread):
    """A thread whose failure is a finding.

    Args:
        work: all that it does.
        name: of the thread.
        findings: takes what ends it.
    """

    def __init__(self, work: Callable[[], None], name: str, findings: Findings) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._findings = findings

    def run(self) -> None:
        """Called by `start`."""
        try:
            self._work()
        except Exception as error:
            self._findings.add("harness", f"{self.name}: {type(error).__name__}: {error}")
            raise

    def finish(self, deadline_s: float) -> None:
        """Waits for its end; that it goes on and on is a finding, too."""
        self.join(deadline_s)
        if self.is_alive():
            self._findings.add("harness", f"{self.name} does not end")
