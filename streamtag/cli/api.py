"""`streamtag api`: the HTTP API."""

from typing import Annotated

import typer

from streamtag.cli import context
from streamtag.errors import SettingsError


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
    try:
        from streamtag.api.server import run_api  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"`streamtag api` needs the package {error.name}", hint="Install the extra: pip install 'streamtag[api]'."
        ) from None
    run_api(context.settings(api__host=host, api__port=port, telemetry__port=metrics_port).settings)
