"""`streamtag model thresholds`: cut-offs that reach a goal on labelled documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import typer

from streamtag import strict_yaml
from streamtag.cli.context import Output, OutputFormat, finite, print_json, print_table, say, warn
from streamtag.cli.model_labelled import (
    Bundle,
    Labels,
    admitted_scorer,
    bounds,
    read_documents,
    room,
    scores_of,
    write_whole,
)
from streamtag.domain.thresholds import DIMENSIONS, Override, ThresholdSet
from streamtag.errors import SettingsError

if TYPE_CHECKING:
    from streamtag.model.goals import Choice


def thresholds(
    bundle: Bundle = None,
    *,
    goal: Annotated[str, typer.Option("--goal", help='E.g. "recall | precision >= 0.9", "fbeta(2)".')],
    labels: Labels,
    out: Annotated[Path, typer.Option("--out", help="Threshold file to write, for `thresholds apply`.")],
    by: Annotated[str | None, typer.Option("--by", help="Also per lang, channel or tenant.")] = None,
    events_per_hour: Annotated[
        float | None, typer.Option("--events-per-hour", min=0, callback=finite, help="Traffic the documents stand for.")
    ] = None,
    min_positives: Annotated[
        int, typer.Option("--min-positives", min=1, help="With fewer positives or negatives a label is undecided.")
    ] = 20,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.999, callback=finite, help="Of the bounds.")
    ] = 0.95,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Find the cut-off of each label that reaches a goal on labelled documents, and write them as a threshold file.

    An undecided label keeps the bundle's default. Documents must be drawn as the stream draws them: precision and
    alerts per hour depend on how rare a label is.
    """
    goals = room("goals")
    wanted = goals.parse_goal(goal)
    if by is not None and by not in DIMENSIONS:
        raise SettingsError(f"--by {by} is no dimension of segments", hint=f"Known are {', '.join(DIMENSIONS)}.")
    if wanted.kind == "alerts" and not events_per_hour:
        raise SettingsError("alerts per hour need to know the traffic", hint="Give --events-per-hour, above 0.")
    scorer = admitted_scorer(bundle)
    data = read_documents(labels, scorer)
    scores = scores_of(scorer, data)

    values = np.array(data.fields[by] if by else [""] * len(data.texts))
    found = {
        label: goals.choose_by(
            wanted,
            scores[:, j],
            data.targets[:, j],
            values,
            min_positives=min_positives,
            confidence=confidence,
            events_per_hour=events_per_hour,
        )
        for j, label in enumerate(data.labels)
    }
    base = {label: one for label, (one, _) in found.items()}
    segments = {
        value: {label: by_value[value] for label, (_, by_value) in found.items()}
        for value in sorted(set(values.tolist()) - {""})
    }
    default = scorer.bundle.default_thresholds.labels
    cutoffs = {label: default[label] if c.cutoff is None else c.cutoff for label, c in base.items()}
    overrides = [
        Override({by or "": value}, decided)
        for value, choices in segments.items()
        if (decided := {label: c.cutoff for label, c in choices.items() if c.cutoff is not None})
    ]
    about = {"bundle": str(scorer.bundle.ref), "goal": goal, "documents": len(data.texts)}
    undecided = {label: c.undecided for label, c in base.items() if c.undecided}
    document = {"about": {**about, "undecided": undecided}, **ThresholdSet(cutoffs, overrides).to_dict()}
    write_whole(out, strict_yaml.dump(document))
    if output is OutputFormat.JSON:
        parts = {"labels": base, "segments": segments}
        print_json({**about, "path": str(out), **msgspec.to_builtins(parts)})
        return
    _print_choices(base, default, f"all that no cut-off by {by} decides" if by else "all documents")
    for value, choices in segments.items():
        _print_choices(choices, cutoffs, f"{by} = {value}")
    say(f"wrote {out}; look at it, then: streamtag thresholds apply {out} --reason '…'")
    if undecided:
        warn(f"undecided, kept at the bundle's default: {', '.join(undecided)}", style="yellow")


def _print_choices(choices: dict[str, "Choice"], kept: Any, title: str) -> None:
    rows = [
        (
            label,
            c.positives,
            f"{kept[label]:g} (kept)" if c.cutoff is None else f"{c.cutoff:g}",
            bounds(c.precision),
            bounds(c.recall),
            "" if c.cutoff is None else c.alerts,
            c.undecided,
        )
        for label, c in choices.items()
    ]
    print_table(
        ("label", "positives", "cut-off", "precision", "recall", "alerts", "undecided because"), rows, title=title
    )
