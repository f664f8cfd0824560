"""`streamtag release`: what decides as a whole, a bundle and a threshold revision, flipped together."""

from pathlib import Path
from typing import Annotated, Any

import typer

from streamtag.cli.context import (
    Author,
    Output,
    OutputFormat,
    Reason,
    author_or_user,
    print_facts,
    print_json,
    print_table,
    settings,
    warn,
)
from streamtag.cli.history import newest
from streamtag.cli.outcome import (
    BreakGlass,
    EndExperiments,
    Force,
    Wait,
    change_champion,
    liveness_text,
    read_text,
    report,
)
from streamtag.cli.thresholds import Limit
from streamtag.control.approval import policy_of
from streamtag.control.champion_guard import ChampionChange
from streamtag.control.change_requests import ChangeRequests
from streamtag.control.changes import ReleaseChanges
from streamtag.control.documents import Stored
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.liveness import LivenessProbe
from streamtag.control.proposal import Who
from streamtag.control.release_documents import ReleaseDocument
from streamtag.control.release_list import listed_releases
from streamtag.control.snapshot import SnapshotFile
from streamtag.control.store import ControlStore
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.domain.taxonomy import outdated
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import NotFoundError
from streamtag.model.admission import read_admitted
from streamtag.model.bundle import Bundle
from streamtag.model.registry import find_bundle
from streamtag.model.taxonomy_file import configured_taxonomy

app = typer.Typer(help="Releases (bundle + thresholds): list, show, promote, return, bring back.", no_args_is_help=True)


@app.command()
def show(output: Output = OutputFormat.TABLE) -> None:
    """Show the release that shall decide, and whether it does everywhere."""
    loaded = settings().settings
    store = ControlStore(loaded.redis)
    current = store.current()
    if current is None:
        raise NotFoundError("Redis holds no release yet", hint="The first worker to start seeds it.")
    live = LivenessProbe(store, loaded).check(current.ref)
    if output is OutputFormat.JSON:
        print_json({**_row(current.release), "live": live.answer, "live_since": live.since, "reasons": live.reasons})
        return
    document = current.release.document
    print_facts(
        {
            "release": document.number,
            "sha256": current.release.sha256,
            "bundle": current.ref.bundle,
            "bundle sha256": current.ref.bundle.sha256,
            "threshold revision": document.thresholds.revision,
            "author": document.author,
            "reason": document.reason,
            "since": f"{document.at:%Y-%m-%d %H:%M:%S} UTC",
            "note": document.note or None,
            "live": liveness_text(live),
        }
    )


@app.command()
def promote(
    bundle: Annotated[str, typer.Argument(help="name, name@version, or a path to a bundle on this machine.")],
    reason: Reason,
    author: Author = None,
    thresholds: Annotated[
        str, typer.Option("--thresholds", help="keep (the current ones), defaults (the bundle's own), or a file.")
    ] = "keep",
    force: Force = False,
    break_glass: BreakGlass = False,
    end_experiments: EndExperiments = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make a bundle decide, with thresholds that fit it, as one step.

    Workers load it first (hashes, parity, batch invariance) and swap between batches; one that lacks the bundle or
    finds it wrong keeps the old release and says so.
    """
    loaded = settings().settings
    found = read_admitted(find_bundle(bundle, loaded.model.directories), loaded.model)
    wanted = _thresholds(thresholds, found)
    taxonomy = configured_taxonomy(loaded.model)
    for line in outdated(taxonomy, found.labels) if taxonomy else ():
        warn(f"{line}: this bundle tags with the id it has")
    who = Who(author_or_user(author), reason)
    change_champion(
        loaded,
        who,
        lambda changes: changes.promote(
            found.ref, found.labels, who, thresholds=wanted, critical=found.critical, force=force
        ),
        break_glass=break_glass,
        end_experiments=end_experiments,
        output=output,
        wait_s=wait,
    )


def _thresholds(choice: str, bundle: Bundle) -> ThresholdSet | None:
    if choice == "keep":
        return None
    if choice == "defaults":
        return bundle.default_thresholds
    return parse_threshold_file(read_text(Path(choice)), choice).thresholds


@app.command("return")
def return_(
    reason: Reason,
    number: Annotated[
        int | None, typer.Argument(metavar="[RELEASE]", help="An earlier release; default: the one before.")
    ] = None,
    author: Author = None,
    end_experiments: EndExperiments = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Go back in one step: a new release with the bundle and the thresholds of an earlier one, whatever the step.

    Without a number it goes back once: where somebody has just done so, nothing is written, and the exit code is 5.
    History is never rewritten.
    """
    who = Who(author_or_user(author), reason)
    change_champion(
        settings().settings,
        who,
        lambda changes: changes.return_to(number, who),
        end_experiments=end_experiments,
        output=output,
        wait_s=wait,
    )


@app.command("list")
def list_(limit: Limit = 20, output: Output = OutputFormat.TABLE) -> None:
    """List all releases, newest first, with their state: those that decide or have decided, and candidates."""
    store = ControlStore(settings().settings.redis)
    found = listed_releases(ExperimentLog(store), limit)
    if output is OutputFormat.JSON:
        rows = [{**_row(one.stored), "state": one.state, "experiments": one.experiments} for one in found]
        print_json(rows)
        return
    columns = ("release", "state", "at (UTC)", "bundle", "revision", "author", "reason", "note")
    cells = []
    for one in found:
        number, *about = _cells(one.stored.document)
        cells.append((number, one.text, *about))
    print_table(columns, cells)


@app.command()
def history(limit: Limit = 20, output: Output = OutputFormat.TABLE) -> None:
    """Show the releases, newest first; each is proven by the hash that its successor holds."""
    store = ControlStore(settings().settings.redis)
    found, broken = newest(store.releases(), limit)
    if output is OutputFormat.JSON:
        print_json([_row(stored) for stored in found])
    else:
        columns = ("release", "at (UTC)", "bundle", "revision", "author", "reason", "note")
        print_table(columns, [_cells(stored.document) for stored in found])
    if broken is not None:
        raise broken


@app.command("restore-snapshot")
def restore_snapshot(
    reason: Reason,
    author: Author = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A snapshot copied from a worker's host; default: this host's.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even where Redis or a worker knows a later release.")] = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Bring a worker's last good release back into a Redis that was emptied or restored from an older state."""
    loaded = settings().settings
    snapshot = SnapshotFile(loaded.state_dir, loaded.redis.namespace, path=file)
    found = snapshot.read()
    if found.current is None:
        raise NotFoundError(
            found.reason or f"there is no snapshot {snapshot.path}",
            hint="Run this on a worker's host, or give a copy of its file with --file; state_dir says where it lies.",
        )
    store = ControlStore(loaded.redis)
    changes = ReleaseChanges(store, max_step=loaded.thresholds.max_step)
    who = Who(author_or_user(author), reason)
    requests = ChangeRequests(store, policy=policy_of(loaded), max_step=loaded.thresholds.max_step)
    withdrawn: list[int] = []
    # Before it decides: from then on the schedule would find nothing amiss.
    outcome = changes.restore_snapshot(
        found.current, who, force=force, first=lambda: withdrawn.extend(requests.withdraw_scheduled(who))
    )
    for number in withdrawn:
        warn(f"change {number} waited for its hour, and may have been live already: withdrawn; if it was not, ask anew")
    report(ChampionChange(outcome, []), store, loaded, output, wait)


def _row(stored: Stored[ReleaseDocument]) -> dict[str, Any]:
    document = stored.document
    return {
        "release": document.number,
        "sha256": stored.sha256,
        "bundle": document.bundle,
        "revision": document.thresholds.revision,
        "revision_sha256": document.thresholds.sha256,
        "author": document.author,
        "reason": document.reason,
        "at": document.at,
        "note": document.note,
        "parent": document.parent,
    }


def _cells(document: ReleaseDocument) -> tuple[Any, ...]:
    bundle = f"{document.bundle.name}@{document.bundle.version}"
    at = f"{document.at:%Y-%m-%d %H:%M:%S}"
    return document.number, at, bundle, document.thresholds.revision, document.author, document.reason, document.note
