"""One run of the demo: launch, watch, let its story go on, drain, sum up."""

import time
from contextlib import ExitStack

from streamtag.control.experiment_log import ExperimentLog
from streamtag.devstack.demo.console import start_console
from streamtag.devstack.demo.cutoffs import plain
from streamtag.devstack.demo.events import EventSource
from streamtag.devstack.demo.feed import Feed
from streamtag.devstack.demo.following import ControlState, Following
from streamtag.devstack.demo.interrupts import Interrupts
from streamtag.devstack.demo.invitation import invitation
from streamtag.devstack.demo.launch import LONGEST_S, DemoOptions, Launched, launch, start_statistics
from streamtag.devstack.demo.reader import OutputReader
from streamtag.devstack.demo.screens import Screen
from streamtag.devstack.demo.startup_time import command_age_s
from streamtag.devstack.demo.statistics import Statistics
from streamtag.devstack.demo.story import Story
from streamtag.devstack.demo.summary import OwnChange, Summary
from streamtag.devstack.demo.trials import Trials
from streamtag.devstack.demo.view import Shown
from streamtag.devstack.demo.windows import WindowState, read_windows
from streamtag.errors import UnavailableError
from streamtag.stats.read_model import ReadModel

__all__ = ["run_demo"]

_READY_S = 60.0
_FIRST_TAG_S = 30.0
_DRAIN_S = 15.0
_LIVE_S = 5.0
_READ_S = 0.05
_LOOK_S = 0.2
_STATISTICS_S = 0.5
_COUNTED_S = 5.0


def run_demo(options: DemoOptions, screen: Screen) -> Summary:
    """Runs the demo on the main thread until its time is up or somebody interrupts it; nothing it started survives.

    Raises:
        StreamtagError: a part does not start, or ends by itself; says which, with its last log lines.
        KeyboardInterrupt: interrupted before there was an event.
    """
    with Interrupts() as interrupts, ExitStack() as stack:
        try:
            stack.callback(screen.close)
            session = _Session(options, launch(options, stack, screen.report), screen, interrupts, stack)
            return session.run()
        finally:
            interrupts.defer()
            screen.close()


class _Session:
    def __init__(
        self, options: DemoOptions, launched: Launched, screen: Screen, interrupts: Interrupts, stack: ExitStack
    ) -> None:
        self._options = options
        self._launched = launched
        self._screen = screen
        self._interrupts = interrupts
        self._following = Following(launched.store, launched.worker_pids, launched.base)
        self._statistics = Statistics(launched.labels)
        self._reader = OutputReader(launched.settings)
        stack.callback(self._reader.close)
        settings = launched.settings
        self._events = EventSource(options.seed)
        self._feed = Feed(settings.kafka.bootstrap_servers, settings.topics.input[0], self._events, options.rate)
        self._usual: tuple[int, int, int] | None = None
        self._control: ControlState = self._following.look()
        self._began_s: float | None = None
        self._ended_s = 0.0
        self._look_at_s = self._statistics_at_s = self._show_at_s = 0.0
        self._first_tag_s: float | None = None
        self._label = launched.labels[0]
        self._model = ReadModel(launched.store)
        self._trials = Trials(ExperimentLog(launched.store), self._model)
        self._windows: WindowState | None = None
        self._story = Story(
            options.seconds,
            self._label,
            launched.cutoffs,
            self._following,
            launched.changes,
            self._trials,
            launched.challengers,
            self._events,
        )
        self._live: tuple[float, float | None] | None = None
        self._console = ""

    def run(self) -> Summary:
        """Until the time is up, or Ctrl-C."""
        self._wait_ready()
        self._interrupts.defer()
        start_statistics(self._launched)
        self._console = start_console(self._launched)
        self._feed.start()
        self._began_s = time.monotonic()
        while not (self._interrupts.asked or self._time_is_up()):
            self._turn()
            self._story.step(self._elapsed_s(), self._control)
            if self._events.spike and self._usual is None:
                revision = self._control.revision
                self._usual = revision, *self._counts(revision)
        return self._finish()

    # -- start -------------------------------------------------------------------------------------------------------

    def _wait_ready(self) -> None:
        """Returns when one worker decides by the demo's cut-offs; the others join while events flow."""
        deadline = time.monotonic() + _READY_S
        while not any(w.heartbeat and w.heartbeat.ready for w in self._control.workers) or not self._control.live:
            self._launched.processes.check()
            if time.monotonic() > deadline:
                raise UnavailableError(f"no worker is ready after {_READY_S:g} s:\n{self._launched.processes.tail()}")
            time.sleep(_READ_S)
            self._control = self._following.look()

    # -- one turn ----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Reads what has come; now and then looks at the fleet, and shows."""
        outputs = self._reader.read(_READ_S)
        now_s = time.time()
        self._statistics.add(outputs.tags, now_s)
        self._statistics.add_dead(outputs.dead, now_s)
        if self._first_tag_s is None and self._statistics.tagged:
            self._first_tag_s = command_age_s()
        tick_s = time.monotonic()
        if tick_s >= self._look_at_s:
            self._look_at_s = tick_s + _LOOK_S
            self._look()
        if tick_s >= self._statistics_at_s:
            self._statistics_at_s = tick_s + _STATISTICS_S
            self._trials.look()
            self._windows = read_windows(self._model, round(now_s * 1000))
        if tick_s >= self._show_at_s:
            self._show_at_s = tick_s + self._screen.interval_s
            self._screen.show(self._shown(now_s))

    def _look(self) -> None:
        self._launched.processes.check()
        if self._feed.error is not None:
            raise UnavailableError(f"events cannot be written: {self._feed.error}")
        if self._first_tag_s is None and self._elapsed_s() > _FIRST_TAG_S:
            raise UnavailableError(f"no tag after {_FIRST_TAG_S:g} s of events:\n{self._launched.processes.tail()}")
        self._control = self._following.look()
        change = self._control.change
        if change is not None and change.live_ms is not None:
            first = self._statistics.revisions.get(change.revision)
            seen_ms = None if first is None else max(0.0, (first.seen_at_s - change.at.timestamp()) * 1000)
            self._live = change.live_ms, seen_ms

    def _shown(self, now_s: float) -> Shown:
        current, wanted = self._story.cutoff_and_other()
        launched = self._launched
        too_far = abs(wanted - current) > launched.settings.thresholds.max_step
        pids = launched.processes.pids.items()
        return Shown(
            elapsed_s=self._elapsed_s(),
            seconds=self._options.seconds,
            services=launched.services.words,
            numbers=self._statistics.numbers(now_s),
            control=self._control,
            windows=self._windows,
            trials=self._trials.states,
            console=self._console,
            statistics={name: pid for name, pid in pids if pid not in launched.worker_pids},
            invitation=invitation(
                launched.services, f"{self._label}={plain(wanted)}", force=too_far, experiments=self._trials.awaited
            ),
            notice=self._story.notice,
        )

    def _elapsed_s(self) -> float:
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    def _time_is_up(self) -> bool:
        if self._options.seconds is None:
            return self._elapsed_s() >= LONGEST_S
        change = self._control.change
        waiting = self._story.move is not None and (change is None or change.live_ms is None)
        return self._elapsed_s() >= self._options.seconds + (_LIVE_S if waiting else 0.0)

    # -- end ---------------------------------------------------------------------------------------------------------

    def _finish(self) -> Summary:
        """Ends the events, and reads on until each has an outcome."""
        self._ended_s = self._elapsed_s()
        self._feed.stop()
        deadline = time.monotonic() + _DRAIN_S
        while self._statistics.outcomes < self._feed.written and time.monotonic() < deadline:
            self._turn()
        self._wait_counted(deadline)
        self._screen.close()
        p50_ms, p99_ms = self._statistics.whole_latency_ms()
        numbers = self._statistics.numbers(time.time())
        services = self._launched.services
        live_ms, seen_ms = self._live or (None, None)
        return Summary(
            events=self._feed.written,
            tagged=numbers.tagged,
            clean=numbers.clean,
            dead_lettered=numbers.dead_lettered,
            again=numbers.again,
            first_tag_s=self._first_tag_s,
            live_ms=live_ms,
            seen_ms=seen_ms,
            change=self._own_change(),
            trials=self._trials.states,
            windows=self._windows,
            seconds=self._ended_s,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            kafka=services.kind,
            redis=services.redis_kind,
            delivery=services.delivery,
            workers=self._options.workers,
        )

    def _wait_counted(self, deadline: float) -> None:
        """Until the windows hold every event that was decided: the last pane closes by the wall clock."""
        deadline = min(deadline, time.monotonic() + _COUNTED_S)
        while time.monotonic() < deadline:
            numbers = self._statistics.numbers(time.time())
            if self._windows is not None and self._windows.all_events >= numbers.tagged + numbers.clean:
                return
            self._turn()

    def _own_change(self) -> OwnChange | None:
        move = self._story.move
        if move is None:
            return None
        # what the revision decided before the spike is not of it
        revision, *usual = self._usual or (0, 0, 0)
        before = self._counts(move.old_revision)
        if revision == move.old_revision:
            before = before[0] - usual[0], before[1] - usual[1]
        return OwnChange(
            move.label, move.before, move.after, _rate(*usual), _rate(*before), _rate(*self._counts(move.new_revision))
        )

    def _counts(self, revision: int) -> tuple[int, int]:
        """Events that a revision has decided, and those of them that have the label."""
        found = self._statistics.revisions.get(revision)
        return (found.events, found.alerts[self._label]) if found else (0, 0)


def _rate(events: int, alerts: int) -> float | None:
    return alerts / events if events else None
