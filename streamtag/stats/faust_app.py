"""The Faust app around `StatsState`: an agent on the panes topic, a timer and web views.

Nothing exact rests on Faust: the state knows which position comes next, reads again what it was not given, and goes on
from its own checkpoint, not from Faust's commits. Of several apps in the group the one that is given the partition of
the panes topic is active; the others stand by.

Faust acknowledges a record whose agent has raised, so whatever is unexpected ends the process at once: `supervisor.py`
starts another. It blocks nobody: all work on the state is done by one thread of its own.
"""

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import faust
from faust.types import TP, StreamT
from faust.types.web import Request, Response
from faust.web import View

from streamtag.errors import ConflictError, StreamtagError, UnavailableError
from streamtag.settings import KafkaSettings, Settings
from streamtag.stats.kafka_security import read_security
from streamtag.stats.label_figures import label_figures
from streamtag.stats.label_metrics import LabelMetrics
from streamtag.stats.membership import Neglect, watch_membership
from streamtag.stats.state import StatsState
from streamtag.telemetry.setup import Telemetry

__all__ = ["EXIT_BROKEN", "build"]

log = logging.getLogger(__name__)

EXIT_BROKEN = 70
"""As BSD's sysexits call it: a defect, or a state that somebody else has taken over; start again."""
_LOOK_S = 1.0
_CATCH_UP_S = 5.0
_DRAIN_S, _STOP_S = 3.0, 6.0
"""From the wish to stop: what was added up is written by then; the process ends by then, whatever still waits.

While Kafka is away that is Faust's client, for a coordinator to be told of it, and our own thread, for the log.
"""
_TELL_S = 10.0
"""An app that lacks a right stays for so long, to say so, and is started again."""
_ANY_PORT = 6066  # Faust wants one, also where it serves nothing

T = TypeVar("T")


def build(settings: Settings, telemetry: Telemetry, state: StatsState) -> faust.App:
    """The app, ready to be run by a `faust.Worker`.

    Raises:
        SettingsError: Kafka's client settings ask for what Faust's client does not have.
    """
    stats = settings.stats
    files = settings.state_dir / "faust"  # by default it is made in the working directory
    files.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        stats.group,
        datadir=str(files),
        broker="kafka://" + settings.kafka.bootstrap_servers.replace(",", ";"),
        broker_credentials=_credentials(settings.kafka),
        # The state says where to go on; what comes before is read from the topic.
        consumer_auto_offset_reset="latest",
        broker_session_timeout=stats.session_timeout_s,
        broker_heartbeat_interval=max(1, stats.session_timeout_s // 3),
        broker_commit_interval=1.0,
        # Each of these has been seen to crash or to lose state otherwise (shared research on Faust and Kafka 4).
        processing_guarantee="at_least_once",
        # Not for tables, of which there are none: at 0 it would leave its own assignor, which lets whoever has the
        # partition keep it, for one that does not, and that an earlier version in the same group does not speak.
        table_standby_replicas=1,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_enabled=stats.web_port is not None,
        web_host=stats.web_host,
        web_bind=stats.web_host,
        web_port=stats.web_port or _ANY_PORT,
        web_in_thread=False,
    )
    panes = app.topic(settings.topics.panes, key_type=bytes, value_type=bytes, value_serializer="raw", partitions=1)
    _Follower(app, TP(settings.topics.panes, 0), panes, telemetry, state)
    return app


class _Follower:
    """What the app does; made for its side effects on ``app``."""

    def __init__(self, app: faust.App, source: TP, panes: Any, telemetry: Telemetry, state: StatsState) -> None:
        self._app = app
        self._source = source
        self._telemetry = telemetry
        self._state = state
        self._labels = LabelMetrics(telemetry.metrics, state.model)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stats")
        self._active = False
        self._looked_at = 0.0
        self._neglect = Neglect()
        app.agent(panes, name="panes")(self._follow)
        app.timer(_LOOK_S, name="look")(self._look)
        app.on_before_shutdown.connect(self._shut_down, weak=False)
        app.page("/stats/")(self._stats_page())
        app.page("/experiments/")(self._experiments_page())
        # Not a timer of Faust: these begin when it has started, which it never has where it lost its group before.
        watch_membership(lambda: app._consumer, lambda error: self._give_up("following the group", error))

    # -- Faust calls -------------------------------------------------------------------------------------------------

    async def _follow(self, stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            position, value = event.message.offset, event.value
            try:
                await self._do(lambda: self._feed(position, value))  # noqa: B023 - awaited before the next
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - Faust would go on behind the record
                self._give_up("following the panes", error)

    async def _look(self, _app: Any = None) -> None:
        try:
            consumer = self._app.consumer
            if consumer is None or self._source not in consumer.assignment():
                await self._do(self._become_idle)
                await self._do(self._look_from_aside)
                return
            self._neglect = Neglect()
            await self._do(self._become_active)
            await self._do(self._work)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a timer that raises is never called again
            self._give_up("looking at experiments", error)

    async def _shut_down(self, *_: Any, **__: Any) -> None:
        threading.Thread(target=_end_after, args=(_STOP_S,), name="stop", daemon=True).start()
        if self._active:
            try:
                await asyncio.wait_for(self._do(self._state.flush), _DRAIN_S)
            except (TimeoutError, StreamtagError) as error:
                log.warning("what was added up last is read again by the next one: %s", error)

    # -- on the thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Once a second: what Faust has not brought, what has changed, what experiments have come to."""
        if self._due():
            self._state.keep_up()
        ready, reason = True, ""
        try:
            self._state.flush()
            self._state.look()
            self._labels.show(self._state.latest)
        except ConflictError:
            raise
        except StreamtagError as error:
            log.warning("%s", error.message)
            ready, reason = False, error.message
        self._telemetry.health.set_ready("panes", ready, reason)

    def _look_from_aside(self) -> None:
        """Once a second: whoever could not read the panes is not ready to take over."""
        if self._due():
            end = self._state.end()
            if self._neglect.seen(self._state.kept(), end):
                raise UnavailableError("panes are published, and the group gives them to nobody: joining it anew")
        self._telemetry.health.set_ready("panes", True, "")

    def _due(self) -> bool:
        """Whether the log was not looked at for long enough."""
        now = time.monotonic()
        if now - self._looked_at < _CATCH_UP_S:
            return False
        self._looked_at = now
        return True

    # -- inside ------------------------------------------------------------------------------------------------------

    # On the state's thread, one after the other: nothing is fed to a state that stands by.

    def _feed(self, position: int, value: bytes) -> None:
        self._become_active()
        self._state.feed(position, value)

    def _become_active(self) -> None:
        if not self._active:
            self._state.restore()
            self._active = True

    def _become_idle(self) -> None:
        if self._active:
            self._active = False
            self._state.stand_by()
            self._labels.hide()

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _give_up(self, doing: str, error: BaseException) -> None:
        code = error.exit_code if isinstance(error, UnavailableError) else EXIT_BROKEN
        log.critical("%s failed; starting again", doing, exc_info=error)
        # The client names in its own error, as text, what Kafka has said; and its routine has ended for good.
        refused = re.search(r"(\w+)AuthorizationFailedError", repr(error))
        if refused is not None:  # no defect: asked again until somebody gives the right, and told meanwhile
            code = UnavailableError.exit_code
            name = f"{refused[1].upper()}_AUTHORIZATION_FAILED"
            self._telemetry.metrics.add("streamtag.kafka.errors", code=name)
            self._telemetry.health.set_ready("kafka", False, f"{doing}: {name} ({error})")
            time.sleep(_TELL_S)
        logging.shutdown()
        os._exit(code)

    # -- web ---------------------------------------------------------------------------------------------------------

    def _stats_page(self) -> type[View]:
        state = self._state

        class Stats(View):
            """The newest window of each size, label by label."""

            async def get(self, request: Request, **_: Any) -> Response:
                return self.json(
                    {
                        size: {
                            "start_ms": document.start_ms,
                            "position": document.position,
                            "exact": document.exact,
                            "labels": {
                                one.label: {"events": one.events, "alerts": one.alerts, "rate": one.rate}
                                for one in label_figures(document)
                            },
                        }
                        for size, document in state.latest.items()
                    }
                )

        return Stats

    def _experiments_page(self) -> type[View]:
        state = self._state

        class Experiments(View):
            """What is known of the experiments that run."""

            async def get(self, request: Request, **_: Any) -> Response:
                return self.json({"experiments": state.evidence()})

        return Experiments


def _end_after(seconds: float) -> None:
    time.sleep(seconds)
    log.warning("still not stopped after %.0f s: the group learns of it by the end of the session", seconds)
    logging.shutdown()
    os._exit(0)


def _credentials(kafka: KafkaSettings) -> Any:
    """TLS and SASL in the words of Faust's client."""
    found = read_security(kafka)
    if found.mechanism is None:
        return None if found.tls is None else faust.SSLCredentials(found.tls)
    return faust.SASLCredentials(
        username=found.username, password=found.password, ssl_context=found.tls, mechanism=found.mechanism
    )
