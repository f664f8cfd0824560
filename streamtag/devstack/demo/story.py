"""What the demo does by itself: it starts two experiments, lets events of one kind flood in, and answers that.

The answer, a higher cut-off, it leaves to whoever watches, but in a run that ends by itself.
"""

import contextlib
from dataclasses import dataclass

from streamtag.control.changes import ReleaseChanges, Who
from streamtag.devstack.demo.challengers import Challenger
from streamtag.devstack.demo.cutoffs import DemoCutoffs, plain
from streamtag.devstack.demo.events import EventSource
from streamtag.devstack.demo.following import ControlState, Following
from streamtag.devstack.demo.trials import Trials
from streamtag.errors import ConflictError

__all__ = ["AUTHOR", "Move", "Story"]

AUTHOR = "streamtag demo"
_EXPERIMENTS_S, _EXPERIMENTS = 4.0, 1 / 7
"""Experiments begin after so many seconds, or earlier: after this part of a run that ends by itself."""
_SPIKE_S, _SPIKE = 20.0, 0.45
"""The spike begins after so many seconds, or after this part of a run that ends by itself."""
_ANSWER = 0.6
"""The demo moves the cut-off after this part."""
_WAIT_FOR_VERDICTS = 0.75
"""Experiments compare with the release that decides now, so the change waits for them; for no longer than this part."""


@dataclass(frozen=True)
class Move:
    """The change that the demo has made: cut-offs and threshold revisions, before and after."""

    label: str
    before: float
    after: float
    old_revision: int
    new_revision: int


class Story:
    """Raises `UnavailableError` when Redis does not answer in time.

    Args:
        seconds: of events until the demo ends by itself; None: it changes nothing then.
        label: to play with.
        cutoffs: to play with it.
        following: says what decides now.
        changes: of the champion.
        trials: the experiments.
        challengers: for them.
        events: where they come from.
    """

    def __init__(
        self,
        seconds: float | None,
        label: str,
        cutoffs: DemoCutoffs,
        following: Following,
        changes: ReleaseChanges,
        trials: Trials,
        challengers: tuple[Challenger, ...],
        events: EventSource,
    ) -> None:
        self._seconds = seconds
        self._label = label
        self._cutoffs = cutoffs
        self._following = following
        self._changes = changes
        self._trials = trials
        self._challengers = challengers
        self._events = events
        self._spike_s = _SPIKE_S if seconds is None else seconds * _SPIKE
        self._begin_s = _EXPERIMENTS_S if seconds is None else min(_EXPERIMENTS_S, seconds * _EXPERIMENTS)
        self.move: Move | None = None
        """The change, once it is made."""
        self.notice = ""
        """What it is about to do."""

    def step(self, elapsed_s: float, control: ControlState) -> None:
        """To be called again and again; with what decides now."""
        if self._trials.states:
            self.notice = ""
        elif elapsed_s < self._begin_s:
            self.notice = (
                f"After {self._begin_s:.2g} s the demo compares {len(self._challengers)} challengers in shadow."
            )
            return
        else:
            self._trials.start(self._challengers, AUTHOR)
        if elapsed_s < self._spike_s:
            self.notice = (
                f"After {self._spike_s:.2g} s a flood of grumbling begins: harmless, and yet tagged {self._label}."
            )
            return
        self._events.spike = True
        if self._seconds is not None and self.move is None:
            self._move(elapsed_s, self._seconds, control)
        elif self.move is None:
            self.notice = (
                f"{self._label} is tagged on far more events than usual, and they are harmless: raise its cut-off."
            )

    def _move(self, elapsed_s: float, seconds: float, control: ControlState) -> None:
        before, after = self.cutoff_and_other()
        answer_s = seconds * _ANSWER
        if elapsed_s < answer_s:
            step = f"{self._label} from {plain(before)} to {plain(after)}"
            self.notice = f"A flood of grumbling. After {answer_s:.3g} s the demo moves {step}."
            return
        if self._trials.running:
            if elapsed_s < seconds * _WAIT_FOR_VERDICTS:
                self.notice = f"The demo moves {self._label} to {plain(after)} once the experiments have ended."
                return
            self._trials.stop(AUTHOR, "this run is too short for a verdict")
            if self._trials.running:
                return
        old = control.revision
        new = old
        with contextlib.suppress(ConflictError):  # somebody at the second terminal was faster: theirs is measured
            who = Who(AUTHOR, "a flood of harmless grumbling")
            new = self._changes.set_thresholds({self._label: after}, who, force=True).current.ref.revision
        self.move = Move(self._label, before, after, old, new)

    def cutoff_and_other(self) -> tuple[float, float]:
        """The present cut-off of the label to play with, and the one to try next."""
        current = self._following.cutoff(self._label)
        present = self._cutoffs.start[self._label] if current is None else current
        return present, self._cutoffs.other(self._label, present)
