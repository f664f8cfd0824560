"""`streamtag dev`: a real Kafka and Redis on this host, for a person."""

import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from streamtag.cli.context import Output, OutputFormat, print_json, print_table, say, settings, warn
from streamtag.devstack.local_stack import LocalStack, ServiceStatus
from streamtag.events.topic_admin import TopicAdmin
from streamtag.events.topics import Remedy, declared_topics, read_declarations
from streamtag.settings import KafkaSettings, Settings
from streamtag.settings.secrets import shown_url

app = typer.Typer(help="A real Kafka and Redis on this host: start, stop, look.", no_args_is_help=True)

_VARIABLES = {"kafka": "STREAMTAG_KAFKA", "redis": "STREAMTAG_REDIS"}


@app.command()
def up(output: Output = OutputFormat.TABLE) -> None:
    """Start what does not run yet, create the declared topics, and say how to reach it.

    Services named by STREAMTAG_KAFKA and STREAMTAG_REDIS are used as they are; no topics are created on them. Both
    run until `streamtag dev down`, on loopback only, with their data under the setting state_dir.
    """
    loaded = settings().settings
    stack = _stack(loaded)
    if output is OutputFormat.TABLE and not all(service.answers for service in stack.status()):
        warn("Starting (the first time downloads 43 MB for Kafka) …")
    services = stack.up()
    created = _create_topics(loaded, services)
    if output is OutputFormat.JSON:
        print_json({"services": [_document(service) for service in services], "topics_created": created})
        return
    _print(services)
    if created:
        say(f"Topics created: {', '.join(created)}.")
    for service in services:
        if service.started is not None:  # of one that is not ours, the variable is where we have it from
            say(f"export {_VARIABLES[service.name]}={service.address}")


@app.command()
def down(
    output: Output = OutputFormat.TABLE,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Remove their data, too.")] = False,
) -> None:
    """Stop what `dev up` started. Data are kept unless told otherwise; external services are not touched."""
    stack = _stack(settings().settings)
    stopped = stack.down()
    if delete_data:
        stack.delete_data()
    if output is OutputFormat.JSON:
        print_json({"stopped": stopped, "data_deleted": delete_data})
        return
    say(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


@app.command()
def status(output: Output = OutputFormat.TABLE) -> None:
    """Show both services; exit code 0 when both answer, 1 when not."""
    services = _stack(settings().settings).status()
    if output is OutputFormat.JSON:
        print_json([_document(service) for service in services])
    else:
        _print(services)
    if not all(service.answers for service in services):
        raise typer.Exit(1)


def _stack(loaded: Settings) -> LocalStack:
    return LocalStack(loaded.state_dir, os.environ)


def _create_topics(loaded: Settings, services: Sequence[ServiceStatus]) -> list[str]:
    """Creates missing topics on a Kafka that is ours; leaves existing ones to `streamtag topics apply`."""
    kafka = next(service for service in services if service.name == "kafka")
    if kafka.started is None:
        return []
    # not the client options of the settings: they are for another cluster, and this one speaks plaintext
    admin = TopicAdmin(KafkaSettings(bootstrap_servers=kafka.started.address))
    declared = declared_topics(loaded.topics, read_declarations())
    missing = [difference for difference in admin.compare(declared) if difference.remedy is Remedy.CREATE]
    return [difference.topic for difference in admin.apply(declared, missing, add_partitions=False)]


def _print(services: Sequence[ServiceStatus]) -> None:
    print_table(("service", "state", "address", "pid"), [_row(service) for service in services])
    for service in services:
        if service.started and service.state in ("running", "silent"):
            say(f"{service.name} log: {service.started.log}")


def _row(service: ServiceStatus) -> Sequence[Any]:
    state = f"{service.state} (started in {service.start_s:.1f} s)" if service.fresh else service.state
    pid = service.started.pid if service.started and service.state in ("running", "silent") else None
    return service.name, state, shown_url(service.address or ""), pid


def _document(service: ServiceStatus) -> dict[str, Any]:
    ours = service.started
    return {
        "service": service.name,
        "state": service.state,
        "address": shown_url(service.address or "") or None,
        "pid": ours.pid if ours else None,
        "since": ours.started_at if ours else None,
        "log": ours.log if ours else None,
        "started_now": service.fresh,
        "start_s": round(service.start_s, 3),
    }
