"""What `streamtag stats` does, without Faust: follows the panes, keeps windows, judges experiments.

Faust is an extra that the demo does not ask for, and its client cannot make its topics on the embedded broker. Nothing
but the wrapping differs: windows, evidence and verdicts are those of `streamtag.stats.state.StatsState` either way.

Runs by hand, too: ``python -m streamtag.devstack.demo.stats_process demo.yaml`` until SIGTERM.
"""

import logging
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from streamtag.control.metrics import MetricSink
from streamtag.control.store import ControlStore
from streamtag.errors import StreamtagError, UnavailableError
from streamtag.settings import Settings, load_settings
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.state import StatsState
from streamtag.stream.worker import StopSignals
from streamtag.telemetry.setup import start_telemetry

__all__ = ["FromFirst", "follow"]

log = logging.getLogger(__name__)

_TURN_S = 0.2


class FromFirst(PaneLog):
    """A log all of which was written since the demo began: the mock broker looks up no times."""

    def position_at(self, at_ms: int) -> int:
        """The first position there is."""
        return self.bounds()[0]


def follow(settings: Settings, panes: PaneLog, metrics: MetricSink, stopping: threading.Event) -> None:
    """Follows the panes until told to stop.

    Raises:
        StreamtagError: what waiting does not mend.
    """
    with ExitStack() as stack:
        store = ControlStore(settings.redis)
        stack.callback(store.close)
        state = StatsState(settings, store, panes, metrics)
        state.restore()
        while not stopping.wait(_TURN_S):
            try:
                state.catch_up(state.end())
                state.flush()
                state.look()
            except UnavailableError as error:
                log.warning("trying again: %s", error.message)


def main(config: Path) -> None:
    """Entry point of the child process."""
    stopping = threading.Event()
    signals = StopSignals()
    signals.forward(stopping.set)
    try:
        settings = load_settings(config=config, environ={}).settings
        with ExitStack() as stack:
            telemetry = start_telemetry(settings.telemetry, role="stats", instance="demo", group=settings.stats.group)
            stack.callback(telemetry.close)
            panes = stack.enter_context(FromFirst(settings))
            follow(settings, panes, telemetry.metrics, stopping)
    except StreamtagError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
