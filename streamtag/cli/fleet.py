"""`streamtag fleet`: every worker, what it decides by, and whether the champion is live everywhere."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli.context import Output, OutputFormat, print_json, print_table, say, settings, stdout, warn
from streamtag.cli.outcome import liveness_text
from streamtag.control.fleet import Fleet, Heartbeat, Liveness, read_fleet
from streamtag.control.liveness import LivenessProbe
from streamtag.control.partition_places import partition_of
from streamtag.control.store import ControlStore
from streamtag.errors import NotFoundError, RefusedError, UnavailableError
from streamtag.settings import Settings

_COLUMNS = (
    "worker",
    "pid",
    "release",
    "revision",
    "since (UTC)",
    "from position",
    "lag",
    "latency p50, p99 (ms)",
    "state",
    "last error",
)


def fleet(
    watch: Annotated[bool, typer.Option("--watch", help="Again and again; JSON comes as lines.")] = False,
    group: Annotated[str | None, typer.Option("--group", help="Consumer group; default: tagger.group.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show the workers of the consumer group: release, positions it took effect at, lag, latency, last error."""
    loaded = settings(tagger__group=group).settings
    store = ControlStore(loaded.redis)
    probe = LivenessProbe(store, loaded)
    if not watch:
        _show(store, probe, loaded, output)
        return
    while True:
        if output is OutputFormat.TABLE:
            stdout.clear()
        try:
            _show(store, probe, loaded, output)
        except UnavailableError as error:
            warn(error.message)
        time.sleep(loaded.redis.heartbeat_s)


def _show(store: ControlStore, probe: LivenessProbe, loaded: Settings, output: OutputFormat) -> None:
    number, live = _liveness(store, probe)
    found = read_fleet(store, loaded.tagger.group)
    if output is OutputFormat.JSON:
        workers = [msgspec.to_builtins(beat) for beat in found.heartbeats]
        print_json({"group": loaded.tagger.group, "release": number, "live": live, "workers": workers})
        return
    champion = "no release" if number is None else f"release {number}"
    say(f"group {loaded.tagger.group}, {champion}: {liveness_text(live)}")
    print_table(_COLUMNS, [_cells(beat, found) for beat in found.heartbeats])


def _liveness(store: ControlStore, probe: LivenessProbe) -> tuple[int | None, Liveness]:
    """The champion's number and whether it is live; unknown where Redis has no champion that can be read."""
    try:
        current = store.current()
    except (NotFoundError, RefusedError) as error:
        return None, Liveness("unknown", reasons=(error.message,))
    if current is None:
        return None, Liveness("unknown", reasons=("Redis holds no release",))
    return current.id.number, probe.check(current.ref)


def _cells(beat: Heartbeat, found: Fleet) -> tuple[Any, ...]:
    state = "ready" if beat.ready else "not ready"
    silent_s = (found.now - beat.beat_at).total_seconds()
    notes = [f"{state}, heard {silent_s:.1f} s ago", *beat.reasons]
    since = None
    if beat.applied_at_ms is not None:
        since = f"{datetime.fromtimestamp(beat.applied_at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    begins = beat.effective_from
    positions = " ".join(f"{place}:{begins[place]}" for place in sorted(begins, key=partition_of))
    latency = None if beat.latency_p50_ms is None else f"{beat.latency_p50_ms:,}, {beat.latency_p99_ms:,}"
    name = beat.worker if beat.host in beat.worker else f"{beat.worker} on {beat.host}"
    facts = (beat.pid, beat.release, beat.revision, since, positions, beat.lag, latency)
    return name, *facts, "\n".join(notes), beat.last_error
