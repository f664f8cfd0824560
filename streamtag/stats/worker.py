"""One windower process: the windower on the runner, its health, a clean end on SIGTERM. Needs no Redis and no disk."""

import logging
from collections.abc import Callable
from contextlib import ExitStack

from streamtag.settings import Settings
from streamtag.stats.shard import ShardOptions, read_to
from streamtag.stats.windower import Windower
from streamtag.stream.options import StreamOptions
from streamtag.stream.runner import Runner
from streamtag.stream.slots import take_slot
from streamtag.stream.worker import StopSignals, kafka_check, settle_garbage, watch
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.setup import Telemetry, start_telemetry

log = logging.getLogger(__name__)

# Beside the largest pane or dead letter: its key, headers and framing.
_FRAMING_BYTES = 65_536


def run_windower(settings: Settings, *, on_ready: Callable[[Telemetry], None] | None = None) -> None:
    """Runs one windower until SIGTERM or SIGINT, then drains.

    Args:
        settings: validated settings.
        on_ready: called once the endpoint serves (not: once the windower is ready).

    Raises:
        StreamtagError: what a person must see; its exit code becomes the process's.
    """
    signals = StopSignals()
    windows = settings.windows
    with ExitStack() as stack:
        slot = stack.enter_context(take_slot(windows.group, settings.state_dir, windows.slot))
        telemetry = start_telemetry(settings.telemetry, role="windows", instance=slot.name, group=windows.group)
        stack.callback(telemetry.close)
        windower = make_windower(settings, slot.name, telemetry.metrics)
        runner = Runner(_options(settings, slot.name), windower, telemetry.metrics, keeper=windower)
        signals.forward(runner.stop)
        if on_ready is not None:
            on_ready(telemetry)
        watch(
            runner,
            telemetry,
            stack,
            stuck_after_s=windows.stuck_after_s,
            checks=lambda: {"kafka": kafka_check(runner)},
        )
        settle_garbage()
        log.info("windower starts", extra={"worker": slot.name, "group": windows.group})
        runner.run()
        log.info("windower has drained and stops")


def make_windower(settings: Settings, worker: str, metrics: Metrics) -> Windower:
    """The windower that these settings describe."""
    return Windower(
        panes_topic=settings.topics.panes,
        dead_letters_topic=settings.topics.dead_letters,
        worker=worker,
        max_letter_bytes=settings.dead_letters.max_bytes,
        options=shard_options(settings),
        metrics=metrics,
    )


def shard_options(settings: Settings) -> ShardOptions:
    """When panes close; whoever folds summaries again into the same panes needs the same."""
    windows = settings.windows
    return ShardOptions(idle_ms=windows.idle_ms, lateness_ms=windows.lateness_ms, max_open=windows.max_open)


def _options(settings: Settings, slot: str) -> StreamOptions:
    # Keyed upserts need no transaction, and give readers of the panes no gaps where its markers would be.
    return StreamOptions(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        topics=(settings.topics.stats,),
        transactional_id=slot,
        delivery="at_least_once",
        max_message_bytes=max(settings.windows.max_bytes, settings.dead_letters.max_bytes) + _FRAMING_BYTES,
        client=settings.kafka.client,
        consumer=settings.kafka.consumer,
        # Faust's client unpacks nothing else without further packages; the default level takes a sixth of the CPU time.
        producer={**settings.kafka.producer, "compression.type": "gzip", "compression.level": 1},
        read_to=read_to,
        **settings.windows.for_runner(),
    )
