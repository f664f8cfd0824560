"""`streamtag change`: changes that somebody asks for, somebody else approves, and that go back by themselves."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from streamtag.cli.change_views import print_request, row
from streamtag.cli.context import (
    Output,
    OutputFormat,
    Reason,
    login_name,
    parse_assignments,
    parse_cutoffs,
    print_json,
    print_table,
    say,
    settings,
    warn,
)
from streamtag.cli.outcome import EndExperiments, Wait, read_text, report
from streamtag.cli.spans import moment_ahead, span
from streamtag.control.approval import policy_of
from streamtag.control.change_content import Composer
from streamtag.control.change_documents import ChangeRequest, Content
from streamtag.control.change_requests import ChangeRequests, Published
from streamtag.control.change_view import content_words, overlapping, request_view
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.control.threshold_reader import by_taxonomy
from streamtag.domain.change import Action, State
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import SettingsError, StreamtagError
from streamtag.model.admission import read_admitted
from streamtag.model.registry import find_bundle
from streamtag.model.taxonomy_file import configured_taxonomy, taxonomy_if_readable
from streamtag.settings import Settings

app = typer.Typer(
    help="Changes asked for and approved: open, list, show, approve, publish, take back.", no_args_is_help=True
)

Number = Annotated[int, typer.Argument(min=1, help="Of the change.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="What you have to say; kept for ever.")]
_LOOKED_AT = 200


def _open() -> tuple[Settings, ChangeRequests]:
    loaded = settings().settings
    return loaded, _requests(loaded)


def _requests(loaded: Settings) -> ChangeRequests:
    store = ControlStore(loaded.redis)
    return ChangeRequests(store, policy=policy_of(loaded), max_step=loaded.thresholds.max_step)


@app.command("open")
def open_(
    reason: Reason,
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[LABEL=VALUE]...", help="Cut-offs to move.")] = None,
    when: Annotated[list[str] | None, typer.Option("--when", help="Only for events of this segment: lang=de.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A whole set instead, as `thresholds apply` takes it.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="A bundle that shall decide: name, name@version, or a path.")
    ] = None,
    thresholds: Annotated[
        str, typer.Option("--thresholds", help="With --bundle: keep (the current ones), defaults, or a file.")
    ] = "keep",
    candidate_of: Annotated[
        int | None, typer.Option("--candidate-of", min=1, help="The candidate of this experiment shall decide.")
    ] = None,
    ticket: Annotated[str, typer.Option("--ticket", help="Where more about it stands, e.g. a link.")] = "",
    lasts: Annotated[
        str | None, typer.Option("--for", help="Goes back by itself after so long live: 30m, 2h, 7d.")
    ] = None,
    not_before: Annotated[
        str | None, typer.Option("--at", help="Goes live by itself then, once it may: 2h (from now), or RFC 3339.")
    ] = None,
    end_experiments: EndExperiments = False,
    publish_: Annotated[
        bool, typer.Option("--publish", help="Make it live at once, where it needs no second person.")
    ] = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Ask for a change. Nothing is live yet: where it needs a second person, somebody else approves it first.

    Its author is the user of this system who runs the command: no option says otherwise.
    """
    if publish_ and not_before is not None:
        raise SettingsError("--publish makes it live at once, and --at later: give one of them")
    loaded, requests = _open()
    content = _content(loaded, requests, pairs or [], when or [], file, bundle, thresholds, candidate_of)
    request = requests.open(
        content,
        Who(login_name(), reason),
        ticket=ticket,
        not_before=None if not_before is None else moment_ahead(not_before, "--at", datetime.now(UTC)),
        lasts=None if lasts is None else span(lasts, "--for"),
        end_experiments=end_experiments,
    )
    if not publish_ or request.needs:
        _tell(loaded, requests, request, output)
        return
    try:
        found = requests.publish(request.number, request.author, warn=warn)
    except StreamtagError:
        warn(f"change {request.number} is open, and not live: `streamtag change publish {request.number}` tries again")
        raise
    _done(loaded, requests, found, wait, output)


def open_request(loaded: Settings, compose: Callable[[Composer], Content], reason: str, output: OutputFormat) -> None:
    """Opens a request for what another command would do at once."""
    requests = _requests(loaded)
    request = requests.open(compose(requests.compose()), Who(login_name(), reason))
    _tell(loaded, requests, request, output)


def _content(
    loaded: Settings,
    requests: ChangeRequests,
    pairs: list[str],
    when: list[str],
    file: Path | None,
    bundle: str | None,
    thresholds: str,
    candidate_of: int | None,
) -> Content:
    if sum((bool(pairs), file is not None, bundle is not None, candidate_of is not None)) != 1 or (when and not pairs):
        raise SettingsError("give one of: cut-offs (LABEL=VALUE, with --when), --file, --bundle, --candidate-of")
    if thresholds != "keep" and bundle is None:
        raise SettingsError("--thresholds goes with --bundle")
    composer, read = requests.compose(), by_taxonomy(configured_taxonomy(loaded.model), warn)
    if candidate_of is not None:
        return composer.candidate(ExperimentLog(requests.store).find(candidate_of))
    if bundle is not None:
        found = read_admitted(find_bundle(bundle, loaded.model.directories), loaded.model)
        wanted = {"keep": None, "defaults": found.default_thresholds}.get(thresholds)
        if thresholds not in ("keep", "defaults"):
            wanted = read(parse_threshold_file(read_text(Path(thresholds)), thresholds).thresholds, found.labels)
        return composer.promotion(found.ref, found.labels, found.critical, wanted)
    if file is not None:
        name = "stdin" if str(file) == "-" else str(file)
        return composer.replacement(read(parse_threshold_file(read_text(file), name).thresholds, composer.labels))
    cutoffs = read(ThresholdSet(parse_cutoffs(pairs)), composer.labels).labels
    return composer.moves(cutoffs, parse_assignments(when, "--when"))


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many, newest first.")] = 20,
    state: Annotated[list[State] | None, typer.Option("--state", help="Only these; several are possible.")] = None,
    for_a_time: Annotated[
        bool, typer.Option("--for-a-time", help="Those that are live and go back by themselves; no --state then.")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List changes that were asked for, newest first."""
    if state and for_a_time:
        raise SettingsError("--for-a-time lists those that are live: leave out --state")
    loaded, requests = _open()
    found = requests.log.for_a_time(limit) if for_a_time else requests.log.page(limit, states=state or ())
    if output is OutputFormat.JSON:
        taxonomy = taxonomy_if_readable(loaded.model, warn)
        print_json([request_view(one, taxonomy) for one in found])
        return
    columns = ("change", "state", "what", "author", "reason", "approved by", "until (UTC)", "ticket")
    print_table(columns, [row(one) for one in found])


@app.command()
def show(number: Number, output: Output = OutputFormat.TABLE) -> None:
    """Show one change: what it asks for, who owns its labels, what was done, and what keeps it from going live."""
    loaded, requests = _open()
    _tell(loaded, requests, requests.log.find(number)[0], output)


@app.command()
def approve(number: Number, comment: Comment = "", output: Output = OutputFormat.TABLE) -> None:
    """Approve what somebody else asks for. Who approves is the user of this system: no option says otherwise."""
    _say(number, "approve", comment, output)


@app.command()
def reject(number: Number, comment: Comment, output: Output = OutputFormat.TABLE) -> None:
    """Reject what somebody else asks for."""
    _say(number, "reject", comment, output)


@app.command()
def withdraw(number: Number, comment: Comment = "", output: Output = OutputFormat.TABLE) -> None:
    """Withdraw what you asked for yourself."""
    _say(number, "withdraw", comment, output)


@app.command()
def comment(number: Number, comment: Comment, output: Output = OutputFormat.TABLE) -> None:
    """Say something about it."""
    _say(number, "comment", comment, output)


@app.command()
def publish(number: Number, wait: Wait = 5.0, output: Output = OutputFormat.TABLE) -> None:
    """Make it live, if nothing speaks against it.

    Exit code 0 once committed, 3 refused (no approval, frozen), 5 somebody has changed the same since it was opened.
    """
    loaded, requests = _open()
    _done(loaded, requests, requests.publish(number, login_name(), warn=warn), wait, output)


@app.command()
def restore(
    number: Number,
    reason: Reason,
    end_experiments: EndExperiments = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Take back what it has changed, as far as nobody has changed it since. Goes through a freeze."""
    loaded, requests = _open()
    who = Who(login_name(), reason)
    found = requests.restore(number, who, end_experiments=end_experiments, warn=warn)
    _done(loaded, requests, found, wait, output)


def _say(number: int, action: Action, comment: str, output: OutputFormat) -> None:
    loaded, requests = _open()
    _tell(loaded, requests, requests.say(number, action, Who(login_name(), comment)), output)


def _tell(loaded: Settings, requests: ChangeRequests, request: ChangeRequest, output: OutputFormat) -> None:
    others = requests.log.page(_LOOKED_AT)
    seen: dict[str, Any] = {
        "obstacles": requests.obstacles(request),
        "overlaps": overlapping(request, others),
    }
    view = {**request_view(request, taxonomy_if_readable(loaded.model, warn)), **seen}
    if output is OutputFormat.JSON:
        print_json(view)
    else:
        print_request(view)


def _done(loaded: Settings, requests: ChangeRequests, found: Published, wait_s: float, output: OutputFormat) -> None:
    request = found.request
    if output is OutputFormat.TABLE:
        say(f"change {request.number} is {request.state}: {', '.join(content_words(request.content))}")
        for line in request.kept:
            say(f"  stays as it is: {line}")
        if request.expires_at is not None and request.state is State.LIVE:
            say(f"  goes back by itself at {request.expires_at:%Y-%m-%d %H:%M:%S} UTC")
    if found.change is not None:
        report(found.change, requests.store, loaded, output, wait_s)
    elif output is OutputFormat.JSON:
        print_json(request_view(request, taxonomy_if_readable(loaded.model, warn)))
