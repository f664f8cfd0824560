"""`streamtag stats`: runs the Faust app, under a supervisor that starts it again.

Run as a module it is the app itself: settings come as JSON on stdin, so that no secret shows in a process list.
"""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack

from streamtag.control.change_schedule import ScheduleThread
from streamtag.control.store import ControlStore
from streamtag.errors import SettingsError, StreamtagError, UnavailableError
from streamtag.settings import Settings
from streamtag.stats.kafka_security import read_security
from streamtag.stats.lease import forget_abandoned
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.state import StatsState
from streamtag.stats.supervisor import GRACE_S, Launch, supervise
from streamtag.telemetry.setup import start_telemetry

__all__ = ["end_with_the_supervisor", "run"]

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Runs the app until SIGTERM or SIGINT, starting it again when it ends by itself.

    Raises:
        SettingsError: Faust is not installed, or cannot do the TLS or SASL that Kafka's settings ask for.
        StreamtagError: the app ends again and again.
    """
    try:
        import faust  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise SettingsError(
            "`streamtag stats` needs Faust, which is not installed", hint="pip install 'streamtag[stats]'"
        ) from None
    read_security(settings.kafka)  # refused here, not by the child: it waits for Kafka first
    supervise([sys.executable, "-m", "streamtag.stats.app"], settings)


def serve(launch: Launch) -> None:
    """The app, in this process, until it is told to stop."""
    import faust  # noqa: PLC0415 - an extra

    from streamtag.stats.faust_app import build  # noqa: PLC0415 - as above

    settings = launch.settings
    with ExitStack() as stack:
        instance = f"{os.uname().nodename}-{os.getpid()}"
        telemetry = start_telemetry(settings.telemetry, role="stats", instance=instance, group=settings.stats.group)
        stack.callback(telemetry.close)
        if launch.restarts:
            telemetry.metrics.add("streamtag.stats.restarts", launch.restarts)
        store = ControlStore(settings.redis)
        stack.callback(store.close)
        _tidy(store)
        schedule = ScheduleThread(settings, telemetry.metrics)
        schedule.start()
        stack.callback(schedule.close)
        panes = stack.enter_context(PaneLog(settings))
        state = StatsState(
            settings,
            store,
            panes,
            telemetry.metrics,
            on_wait=lambda why: telemetry.health.set_ready("panes", False, why),
        )
        state.end()  # Faust ends at once where no broker answers, this waits
        worker = faust.Worker(
            build(settings, telemetry, state), quiet=True, override_logging=False, redirect_stdouts=False
        )
        worker.execute_from_commandline()


def _tidy(store: ControlStore) -> None:
    """Removes what a `streamtag stats rebuild` has left that was killed."""
    try:
        for generation in forget_abandoned(store):
            log.warning("windows of a rebuild that was abandoned were removed: generation %s", generation)
    except UnavailableError as error:  # the next app does it
        log.warning("%s", error.message)


def main() -> None:
    """Entry point of the child process."""
    launch = Launch.from_json(sys.stdin.buffer.readline())
    end_with_the_supervisor()
    sys.argv[1:] = []  # Faust reads options of its own there
    try:
        serve(launch)
    except StreamtagError as error:
        print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
        sys.exit(error.exit_code)


def end_with_the_supervisor() -> None:
    """From now on, the end of stdin is as good as SIGTERM: nobody watches any more. Returns at once."""
    threading.Thread(target=_watch, args=(sys.stdin.fileno(),), name="supervisor", daemon=True).start()


def _watch(stdin: int) -> None:
    # Not through `sys.stdin`: while a thread reads its buffer, the interpreter cannot end, and aborts.
    while os.read(stdin, 4_096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # Faust waits for ever for some of its parts, and the supervisor that would lose patience is gone.
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
