"""``streamtag windows``: run one windower."""

from typing import Annotated

import typer

from streamtag.cli import context
from streamtag.stats.worker import run_windower


def windows(
    group: Annotated[str | None, typer.Option(help="Kafka consumer group (windows.group).")] = None,
    slot: Annotated[str | None, typer.Option(help="Fixed slot, e.g. the StatefulSet ordinal (windows.slot).")] = None,
    port: Annotated[int | None, typer.Option(help="Port of /metrics, /livez, /readyz (telemetry.port).")] = None,
) -> None:
    """Run a windower: commit summaries in, panes of statistics out, until SIGTERM.

    Start as many as there is load for; each takes part of the partitions of the stats topic.
    """
    loaded = context.settings(windows__group=group, windows__slot=slot, telemetry__port=port)
    run_windower(loaded.settings)
