"""`streamtag doctor`: looks over settings, Kafka, Redis, bundle and host, and says what to do."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from streamtag.cli import context
from streamtag.cli.context import Output, OutputFormat, finite, print_json, print_table, say
from streamtag.doctor import kafka_cluster, local, redis_server
from streamtag.doctor.findings import Finding, examine
from streamtag.settings import Loaded, describe


def doctor(
    output: Output = OutputFormat.TABLE,
    timeout: Annotated[
        float,
        typer.Option("--timeout", min=0.1, max=60, callback=finite, help="Seconds to wait for one answer of Kafka."),
    ] = 5.0,
) -> None:
    """Check settings, Kafka, topics, Redis, bundle, clock and versions; exit code 1 when something fails.

    Only looks: creates no topic, changes no release. Ends within a minute even when nothing answers.
    """
    loaded = context.settings()
    settings = loaded.settings
    found = [_settings(loaded)]
    found += examine(
        [
            *local.examinations(settings),
            *kafka_cluster.examinations(settings, timeout),
            *redis_server.examinations(settings),
        ]
    )
    failed = any(finding.status == "fail" for finding in found)
    if output is OutputFormat.JSON:
        print_json({"ok": not failed, "checks": [asdict(finding) for finding in found]})
    else:
        print_table(
            ("check", "status", "finding", "what to do"), [(f.check, f.status, f.finding, f.action) for f in found]
        )
        say(_summary(found))
    if failed:
        raise typer.Exit(1)


def _settings(loaded: Loaded) -> Finding:
    changed = sum(loaded.origin(name) != "default" for name, _ in describe())
    return Finding("settings", "ok", f"valid, {changed} set (`streamtag config show --changed`)")


def _summary(found: Iterable[Finding]) -> str:
    statuses = [finding.status for finding in found]
    return ", ".join(f"{statuses.count(status)} {status}" for status in ("ok", "warn", "fail"))
