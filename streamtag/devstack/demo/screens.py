"""Where the demo is shown: a live view on a terminal, a line a second elsewhere."""

from typing import Protocol

from rich.console import Console
from rich.live import Live

from streamtag.devstack.demo.trial_words import how_far, why
from streamtag.devstack.demo.view import Shown, View, change_words, totals

__all__ = ["LineScreen", "LiveScreen", "Screen"]


class Screen(Protocol):
    """What the session needs of a screen; used as a context manager."""

    interval_s: float
    """Seconds between two `show`."""

    def report(self, line: str) -> None:
        """A step of the start or of the end."""
        ...

    def show(self, shown: Shown) -> None:
        """The present state."""
        ...

    def close(self) -> None:
        """Gives the terminal back."""
        ...


class LiveScreen:
    """The view, drawn anew four times a second on the terminal's other page.

    Args:
        console: on a terminal.
    """

    interval_s = 0.25

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def report(self, line: str) -> None:
        """Printed above or, once the view is on, left to it."""
        if self._live is None:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, shown: Shown) -> None:
        """Draws."""
        if self._live is None:
            # our own loop says when: a thread that draws would compete with the one that reads
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        self._live.update(View(shown), refresh=True)

    def close(self) -> None:
        """Back to the page with the command."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class LineScreen:
    """Plain progress lines, for pipes and logs.

    Args:
        console: any.
    """

    interval_s = 1.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()

    def report(self, line: str) -> None:
        """Printed."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, shown: Shown) -> None:
        """One line of numbers; notices, changes, verdicts and commands when they are new."""
        if not self._said:
            self._once(shown.services)
            if shown.console:
                self._once(f"Console: {shown.console}")
            self._once("Join in from a second terminal:")
            for command in shown.invitation:
                self._once(f"  {command}")
        self._once(shown.notice)
        control = shown.control
        if control.change is not None and control.change.live_ms is not None:
            self._once(change_words(control.change, len(control.workers)))
        for trial in shown.trials:
            self._once(f"experiment {trial.number} compares with the champion: {trial.challenger.what}")
            if trial.over:
                self._once(f"experiment {trial.number}: {how_far(trial)}: {why(trial)}")
        live = f"revision {control.revision} live on {control.live} of {len(control.workers)} workers"
        self.report(f"{shown.elapsed_s:.0f} s   {totals(shown.numbers)}   {live}")

    def close(self) -> None:
        """Nothing to give back."""

    def _once(self, line: str) -> None:
        if line and line not in self._said:
            self._said.add(line)
            self.report(line)
