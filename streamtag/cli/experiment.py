"""`streamtag experiment`: a challenger against the champion on live traffic."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from streamtag.cli import verdict_views
from streamtag.cli.change import open_request
from streamtag.cli.context import (
    Author,
    Output,
    OutputFormat,
    Reason,
    author_or_user,
    finite,
    parse_assignments,
    parse_cutoffs,
    print_json,
    print_table,
    say,
    settings,
    warn,
)
from streamtag.cli.experiment_views import describe, print_experiment
from streamtag.cli.outcome import BreakGlass, EndExperiments, Wait, change_champion, read_text
from streamtag.cli.thresholds import Limit
from streamtag.control.approval import Ungoverned, policy_of
from streamtag.control.experiment_candidate import Choice, candidate_of, read_by_taxonomy
from streamtag.control.experiment_documents import ExperimentChange
from streamtag.control.experiment_file import load_plan, merge, request_of
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_view import experiment_state, experiment_view, label_rows, looks_view
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import NotFoundError, SettingsError
from streamtag.settings import Settings
from streamtag.stats.given_rates import with_measured_rates
from streamtag.stats.kept_panes import outlasts_its_panes
from streamtag.stats.ledger_reader import reader_options
from streamtag.stats.look_store import LookStore
from streamtag.stats.pane_log import PaneLog
from streamtag.stats.read_model import ReadModel
from streamtag.stats.recompute import recompute, recompute_from_source
from streamtag.stream.topic_reader import TopicReader

app = typer.Typer(help="Experiments (champion against challenger): start, show, change the share, stop, promote.")

Number = Annotated[int, typer.Argument(help="Number of the experiment.")]
Share = Annotated[
    float | None, typer.Option("--share", callback=finite, help="Of units given to the candidate, or scored by both.")
]


def _open(break_glass: bool = False) -> tuple[Settings, ExperimentLog, ExperimentChanges]:
    loaded = settings().settings
    log = ExperimentLog(ControlStore(loaded.redis))
    permit = Ungoverned(break_glass)
    return loaded, log, ExperimentChanges(log, policy=policy_of(loaded), permit=permit)


@app.command()
def start(
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LABEL=VALUE]...", help="Cut-offs that differ from --thresholds, or the champion's."),
    ] = None,
    *,
    when: Annotated[list[str] | None, typer.Option("--when", help="The segment that these are of: lang=de.")] = None,
    reason: Reason,
    author: Author = None,
    challenger: Annotated[
        int | None, typer.Option("--challenger", help="An earlier release, or the candidate of an earlier experiment.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="name, name@version, or a path; default: the champion's bundle.")
    ] = None,
    thresholds: Annotated[
        str | None,
        typer.Option("--thresholds", help="keep (the champion's), defaults (the bundle's own), or a file."),
    ] = None,
    plan: Annotated[Path | None, typer.Option("--plan", help="YAML or JSON with what follows; options win.")] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="shadow (both score the same units) or split. Default: shadow.")
    ] = None,
    share: Share = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Counted once: event (default), author, channel, tenant or key.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="LABEL=WORDS: ±20% or ±0.005, increase, decrease, critical, muted, weight 2."),
    ] = None,
    others: Annotated[
        str | None, typer.Option("--others", help="The same words for every other label, e.g. muted. Default: ±20%.")
    ] = None,
    base_rate: Annotated[
        list[str] | None,
        typer.Option("--base-rate", help="LABEL=RATE: alerts per unit of the champion. Default: measured."),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", callback=finite, help="Chance of a wrong verdict. Default: 0.05.")
    ] = None,
    max_units: Annotated[int | None, typer.Option("--max-units", help="Give up after this many units.")] = None,
    max_hours: Annotated[
        float | None, typer.Option("--max-hours", callback=finite, help="Give up after this long.")
    ] = None,
    ramp: Annotated[
        list[str] | None,
        typer.Option("--ramp", help='Larger share by itself, e.g. "25% after 10000 units, 1 h"; several, in order.'),
    ] = None,
    on_pass: Annotated[
        str | None, typer.Option("--on-pass", help="hold (the default: a person promotes) or promote.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            help="NAME=VALUE past which the candidate is taken back: failures, shed, invalid, dead (parts, e.g. 1%), "
            "p99_ms, lag, min_events.",
        ),
    ] = None,
    break_glass: BreakGlass = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Open a change request instead: it begins when that is published.")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Compare a challenger with the champion. Says everything that speaks against it, if anything does.

    Exit code 0 once it is recorded and announced, 3 refused, 5 somebody else was first.
    """
    loaded, log, changes = _open(break_glass)
    options = {
        "mode": mode,
        "share": share,
        "unit": unit,
        "others": others,
        "alpha": alpha,
        "max_units": max_units,
        "max_hours": max_hours,
    }
    raw = load_plan(read_text(plan), str(plan)) if plan else {}
    given: dict[str, Any] = {
        **_said(options),
        "labels": _words(label or []),
        "base_rates": _rates(base_rate or []),
        "rollout": _said({"ramp": ramp, "on_pass": on_pass, "limits": parse_assignments(limit or [], "--limit")}),
    }
    request = request_of(merge(raw, given))
    cutoffs, segment = parse_cutoffs(pairs or []), parse_assignments(when or [], "--when")
    choice = Choice(challenger, bundle, _thresholds(thresholds), cutoffs, segment)
    candidate = candidate_of(choice, changes, log.store, loaded.model, warn)
    request = read_by_taxonomy(request, log.store, loaded.model, warn)
    request, told = with_measured_rates(request, log.store, datetime.now(UTC))
    for line in told if output is OutputFormat.TABLE else ():
        say(line)
    for line in outlasts_its_panes(request.plan, loaded.topics):
        warn(line)
    if ask and (author is not None or break_glass):
        raise SettingsError("--author and --break-glass do not go with --ask: it is opened by whoever you are here")
    if ask:
        open_request(loaded, lambda composer: composer.experiment(request, candidate), reason, output)
        return
    experiment = changes.start(request, candidate, Who(author_or_user(author), reason))
    _report("started", log, experiment, output)


def _thresholds(choice: str | None) -> ThresholdSet | Literal["keep", "defaults"] | None:
    match choice:
        case None | "keep" | "defaults":
            return choice
    return parse_threshold_file(read_text(Path(choice)), choice).thresholds


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _words(pairs: list[str]) -> dict[str, str]:
    """Words of each label; several options for one label add up."""
    found: dict[str, str] = {}
    for pair in pairs:
        for name, words in parse_assignments([pair], "--label").items():
            found[name] = f"{found[name]},{words}" if name in found else words
    return found


def _rates(pairs: list[str]) -> dict[str, float]:
    rates = parse_assignments(pairs, "--base-rate")
    try:
        return {name: float(rate) for name, rate in rates.items()}
    except ValueError as error:
        raise SettingsError(f"--base-rate: {error}") from None


@app.command()
def show(number: Number, output: Output = OutputFormat.TABLE) -> None:
    """Show what an experiment compares, and what came of it.

    That is: what is worse, by how much, how sure that is, and what would settle the rest.
    """
    _, log, _ = _open()
    experiment = log.find(number)
    champion, plan = log.store.champion(), experiment.document.plan
    stored = log.verdict(experiment)
    found = stored.document if stored is not None else ReadModel(log.store).evidence(experiment.id)
    if output is OutputFormat.JSON:
        labels = None if found is None else list(label_rows(plan, found))
        seen = looks_view(experiment, LookStore(log.store).read(experiment.id))
        known = {"verdict": stored and found, "evidence": found, "labels": labels, "history": seen["items"]}
        print_json({**experiment_view(experiment, champion), **known})
        return
    print_experiment(experiment, champion)
    if found is not None:
        verdict_views.print_evidence(plan, found, final=stored is not None)
    elif experiment.ended is None:
        say("Nothing is known yet: `streamtag windows` and `streamtag stats` make evidence of what workers count.")


@app.command()
def verify(
    number: Number,
    from_source: Annotated[
        bool, typer.Option("--from-source", help="From the commit summaries, in the order in which panes brought them.")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Compute the verdict on an experiment again from the panes topic, at the positions that it names.

    Exit code 0 when every integer, the decision and (on this platform) every bit of the evidence are equal, else 1.
    """
    settings, log, _ = _open()
    experiment = log.find(number)
    stored = log.verdict(experiment)
    if stored is None:
        raise NotFoundError(
            f"experiment {number} has no verdict: {experiment_state(experiment, log.store.champion())}",
            hint="`streamtag experiment show` says how far its evidence is.",
        )
    verdict, keep = stored.document, 2 * settings.windows.max_open
    start, end, expired = verdict.panes_from, verdict.panes_to, verdict.expired
    with PaneLog(settings) as panes, TopicReader(reader_options(settings)) as reader:
        again = (
            recompute_from_source(
                panes, reader, settings.topics.stats, experiment, start, end, keep=keep, expired=expired
            )
            if from_source
            else recompute(panes, experiment, start, end, keep=keep, expired=expired)
        ).document()
    differing = [
        {"field": name, "stored": getattr(verdict, name), "again": getattr(again, name)}
        for name in verdict.__struct_fields__
        if getattr(verdict, name) != getattr(again, name)
    ]
    source = "stats" if from_source else "panes"
    if output is OutputFormat.JSON:
        print_json({"experiment": number, "from": source, "equal": not differing, "differing": differing})
    elif not differing:
        say(f"equal: {verdict.state} from {verdict.units:,} units, computed again from {source} ({start} to {end})")
    else:
        print_table(("field", "stored", "computed again"), [tuple(one.values()) for one in differing])
    if differing:
        raise typer.Exit(1)


@app.command("list")
def list_(
    limit: Limit = 20,
    running: Annotated[bool, typer.Option("--running", help="Only those that run.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List experiments, the one that was changed last first."""
    _, log, _ = _open()
    champion = log.store.champion()
    found: list[Experiment] = log.running() if running else []
    if not running:
        for experiment in log.experiments():
            found.append(experiment)
            if len(found) == limit:
                break
    if output is OutputFormat.JSON:
        print_json([experiment_view(experiment, champion) for experiment in found[:limit]])
        return
    columns = ("experiment", "state", "mode", "control", "candidate", "share", "began (UTC)", "author", "reason")
    print_table(columns, [_cells(one, experiment_state(one, champion)) for one in found[:limit]])


@app.command()
def history(
    number: Annotated[int | None, typer.Argument(help="Number of an experiment; default: all.")] = None,
    limit: Limit = 20,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what was done to experiments, by whom and why, newest first: starts, shares, ends, verdicts.

    Each step is proven by the hash that its successor holds.
    """
    _, log, _ = _open()
    found = (stored.document for stored in log.changes())
    steps = list(islice((step for step in found if number in (None, step.run.experiment.number)), limit))
    if not steps and number is not None:
        raise NotFoundError(f"there is no experiment {number}", hint="`streamtag experiment list` names them.")
    if output is OutputFormat.JSON:
        print_json([_step_row(step) for step in steps])
        return
    columns = ("at (UTC)", "experiment", "step", "share", "verdict", "author", "reason")
    print_table(columns, [_step_cells(step) for step in steps])


@app.command()
def phase(
    number: Number,
    share: Annotated[float, typer.Option("--share", callback=finite, help="The new share.")],
    reason: Reason,
    author: Author = None,
    break_glass: BreakGlass = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Begin a new phase with another share. Evidence goes on; nothing else of an experiment can be changed."""
    _, log, changes = _open(break_glass)
    _report("changed", log, changes.set_share(number, share, Who(author_or_user(author), reason)), output)


@app.command()
def stop(number: Number, reason: Reason, author: Author = None, output: Output = OutputFormat.TABLE) -> None:
    """End an experiment, for good. The champion goes on deciding everything."""
    _, log, changes = _open()
    _report("stopped", log, changes.stop(number, Who(author_or_user(author), reason)), output)


@app.command()
def promote(
    number: Number,
    reason: Reason,
    author: Author = None,
    force: Annotated[bool, typer.Option("--force", help="Without PASS, too.")] = False,
    break_glass: BreakGlass = False,
    end_experiments: EndExperiments = False,
    wait: Wait = 5.0,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make the candidate of an experiment the champion: exactly its bundle and its thresholds, as one step.

    Exit code 0 once committed, 3 refused (no PASS), 5 the champion is no longer the one it was compared with.
    """
    loaded, log, _ = _open()
    experiment, who = log.find(number), Who(author_or_user(author), reason)
    change_champion(
        loaded,
        who,
        lambda changes: changes.promote_candidate(experiment, who, force=force),
        break_glass=break_glass,
        end_experiments=end_experiments,
        output=output,
        wait_s=wait,
    )


def _report(done: str, log: ExperimentLog, experiment: Experiment, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(experiment_view(experiment, log.store.champion()))
    else:
        say(f"{done} {describe(experiment)}")


def _step_row(step: ExperimentChange) -> dict[str, Any]:
    return {
        "experiment": step.run.experiment.number,
        "action": step.action,
        "share": step.run.phases[-1].share,
        "verdict": step.verdict,
        "author": step.author,
        "reason": step.reason,
        "at": step.at,
    }


def _step_cells(step: ExperimentChange) -> tuple[Any, ...]:
    verdict = step.verdict.state if step.verdict else None
    what = step.run.experiment.number, step.action, f"{step.run.phases[-1].share:g}", verdict
    return (f"{step.at:%Y-%m-%d %H:%M:%S}", *what, step.author, step.reason)


def _cells(experiment: Experiment, state: str) -> tuple[Any, ...]:
    document = experiment.document
    arms = document.control.number, document.candidate.number
    about = f"{experiment.share:g}", f"{document.at:%Y-%m-%d %H:%M:%S}", document.author, document.reason
    return (experiment.id.number, state, document.plan.mode, *arms, *about)
