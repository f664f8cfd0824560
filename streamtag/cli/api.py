"""`streamtag api`: the HTTP API."""

from typing import Annotated

import typer

from streamtag.cli import context


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on (api.host).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (api.port).")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics, /livez, /readyz (telemetry.port).")
    ] = None,
) -> None:
    """Run the HTTP API until SIGTERM: scoring, what decides and changing it, statistics.

    Requests bring a token (`streamtag token create`). It listens on this machine alone unless TLS is set up.
    """
    server = context.optional_module("streamtag.api.server", "`streamtag api`", "api")
    server.run_api(context.settings(api__host=host, api__port=port, telemetry__port=metrics_port).settings)
