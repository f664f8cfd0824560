"""What a committed change looks like to whoever made it: what changed, and whether it is live everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from streamtag.cli.context import OutputFormat, finite, print_json, say, warn
from streamtag.control import champion_guard
from streamtag.control.approval import Ungoverned
from streamtag.control.champion_guard import ChampionChange
from streamtag.control.changes import Outcome, ReleaseChanges
from streamtag.control.fleet import Liveness
from streamtag.control.liveness import LivenessProbe
from streamtag.control.proposal import Who, describe
from streamtag.control.store import ControlStore
from streamtag.domain.thresholds import Change
from streamtag.errors import RefusedError
from streamtag.settings import Settings

Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, callback=finite, help="Seconds to wait until the change is live everywhere; 0 = look once."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Pass the guard rail on the size of a step.")]
EndExperiments = Annotated[
    bool,
    typer.Option(
        "--end-experiments", help="Even where experiments compare with the present release: they are stopped."
    ),
]

BreakGlass = Annotated[
    bool,
    typer.Option(
        "--break-glass",
        help="Without a second person, where one is needed and nobody can be reached; the audit says so for ever.",
    ),
]


def change_champion(
    settings: Settings,
    who: Who,
    make: Callable[[ReleaseChanges], Outcome],
    *,
    end_experiments: bool,
    output: OutputFormat,
    wait_s: float,
    break_glass: bool = False,
) -> None:
    """Makes a change of what decides, ends the experiments that it ends, and says what has become of it.

    Raises:
        ApprovalError: a second person is needed, and nobody has broken the glass.
        RefusedError: experiments compare with the present champion, and ``end_experiments`` is not set.
    """
    store = ControlStore(settings.redis)
    permit = Ungoverned(break_glass)
    change = champion_guard.change_champion(
        store, settings, who, make, end_experiments=end_experiments, warn=warn, permit=permit
    )
    report(change, store, settings, output, wait_s)


def report(
    change: ChampionChange, store: ControlStore, settings: Settings, output: OutputFormat, wait_s: float
) -> None:
    """Says what was committed at once, then whether it is live; JSON comes as one document at the end."""
    if output is OutputFormat.TABLE:
        _print_change(change)
    found, waited_s = LivenessProbe(store, settings).wait(change.outcome.current.ref, wait_s)
    if output is OutputFormat.TABLE:
        say(liveness_text(found, waited_s))
        return
    print_json(
        {
            **change.facts(),
            "changes": change_rows(change.changes),
            "live": found.answer,
            "live_ms": round(waited_s * 1000) if found.answer == "yes" else None,
            "live_since": found.since,
            "live_reasons": found.reasons,
        }
    )


def change_rows(changes: list[Change]) -> list[dict[str, object]]:
    """Changes as JSON; ``segment`` is empty for base cut-offs."""
    return [{"segment": c.where, "label": c.label, "before": c.before, "after": c.after} for c in changes]


def liveness_text(found: Liveness, waited_s: float | None = None) -> str:
    """One line for people, and one for each reason."""
    if found.answer == "yes":
        since = f"{found.since:%Y-%m-%d %H:%M:%S} UTC" if found.since else "?"
        return f"live everywhere since {since}" + (f" (seen after {waited_s:.2f} s)" if waited_s is not None else "")
    head = "not live everywhere" if found.answer == "no" else "unknown whether it is live everywhere"
    return "\n".join([head, *(f"  - {reason}" for reason in found.reasons)])


def read_text(path: Path) -> str:
    """A file given on the command line; ``-`` is stdin.

    Raises:
        RefusedError: it cannot be read.
    """
    try:
        return typer.get_text_stream("stdin").read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _print_change(change: ChampionChange) -> None:
    outcome = change.outcome
    ref = outcome.current.ref
    what = f"release {ref.number}: bundle {ref.bundle}, threshold revision {ref.revision}"
    say(f"committed {what}" if outcome.committed else f"nothing to change: {what} says so already")
    before = outcome.before
    if before is not None and before.ref.bundle != ref.bundle:
        say(f"  bundle: {before.ref.bundle} -> {ref.bundle}")
    for cutoff in change.changes:
        say(f"  {describe(cutoff)}")
    for experiment in change.ended:
        say(f"  stopped experiment {experiment.id.number}: it compared with the release before")
