"""``streamtag tagger``: run one worker."""

from typing import Annotated

import typer

from streamtag.cli import context
from streamtag.tagger.worker import run_worker


def tagger(
    group: Annotated[str | None, typer.Option(help="Kafka consumer group (tagger.group).")] = None,
    delivery: Annotated[str | None, typer.Option(help="exactly_once or at_least_once (tagger.delivery).")] = None,
    slot: Annotated[str | None, typer.Option(help="Fixed slot, e.g. the StatefulSet ordinal (tagger.slot).")] = None,
    port: Annotated[int | None, typer.Option(help="Port of /metrics, /livez, /readyz (telemetry.port).")] = None,
) -> None:
    """Run a tagger: content events in, tag events, statistics and dead letters out, until SIGTERM.

    Start as many as there is load for; each takes part of the partitions.
    """
    loaded = context.settings(tagger__group=group, tagger__delivery=delivery, tagger__slot=slot, telemetry__port=port)
    run_worker(loaded.settings)
