"""`streamtag model calibrate`: make a bundle's scores probabilities again, by recent truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from streamtag.cli.context import Output, OutputFormat, print_json, print_table, say
from streamtag.cli.model_labelled import (
    Draws,
    Labels,
    admitted_scorer,
    below,
    difference,
    number,
    read_documents,
    room,
    scores_of,
)
from streamtag.domain.release import BundleRef
from streamtag.model.bundle import read_bundle
from streamtag.model.registry import version_order

if TYPE_CHECKING:
    from streamtag.model.calibration.judge import Judgement
    from streamtag.model.calibration.recalibrate import Recalibrated


def calibrate(
    bundle: Annotated[str, typer.Argument(help="name, name@version or a path with a /.")],
    *,
    labels: Labels,
    out: Annotated[Path, typer.Option("--out", help="Directory of bundles to write <name>/<version>/ into.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Of the new bundle; default: made of the old one and the labels.")
    ] = None,
    keep_cutoffs: Annotated[
        bool,
        typer.Option("--keep-cutoffs", help="Default cut-offs keep their numbers; else they go on deciding the same."),
    ] = False,
    draws: Draws = 300,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Recalibrate a bundle on recent labelled documents into a new version; its ranking stays as it is.

    Per label by the number of its positives: temperature, Platt or isotonic, judged on documents that it was not fitted
    on. A label that does not get better keeps its scores. Draw the documents as the stream draws them.
    """
    module = room("calibration.recalibrate")
    scorer = admitted_scorer(bundle)
    data = read_documents(labels, scorer)
    scores = scores_of(scorer, data)
    found: Recalibrated = module.recalibrate(
        scorer,
        data,
        scores,
        out,
        version=version or f"{scorer.bundle.ref.version}-cal-{data.sha256[:8]}",
        labels_sha256=data.sha256,
        keep_cutoffs=keep_cutoffs,
        draws=draws,
    )
    ref = None if found.path is None else read_bundle(found.path).ref
    if output is OutputFormat.JSON:
        about = {"before": scorer.bundle.ref, "bundle": ref, "path": found.path and str(found.path)}
        cutoffs = msgspec.to_builtins(list(found.cutoffs))
        print_json({**about, "rows": len(data.texts), "labels": _judgements(found), "cutoffs": cutoffs})
        return
    _print(found, len(data.texts), draws)
    _say_outcome(found, ref, scorer.bundle.ref)


def _judgements(found: "Recalibrated") -> list[Any]:
    rows = []
    for one in found.judged.labels:
        built = msgspec.to_builtins(one)
        rows.append({"label": one.curve.label, "method": one.curve.method, "why": one.curve.why, **built})
    return rows


def _print(found: "Recalibrated", documents: int, draws: int) -> None:
    columns = ("label", "positives", "method", "log loss", "changed by", "Brier", "ECE, debiased", "ECE", "if perfect")
    rows = [
        (
            one.curve.label,
            one.curve.positives,
            one.curve.method,
            _both(one, "log_loss"),
            difference(one.difference["log_loss"]),
            _both(one, "brier"),
            _both(one, "ece_debiased"),
            _both(one, "ece"),
            f"{below(one.null_before)} → {below(one.null_after)}",
        )
        for one in found.judged.labels
    ]
    title = f"{documents} documents, before → cross-fitted after; 95 % intervals of {draws} draws; * excludes 0"
    print_table(columns, rows, title=title)
    for one in found.judged.labels:
        if one.curve.kept:
            say(f"  {one.curve.label} keeps its scores: {one.curve.why}")


def _both(one: "Judgement", figure: str) -> str:
    """Before and after; of a label that is kept, what was tried."""
    return f"{number(one.before[figure].value)} → {number(one.after[figure].value)}"


def _say_outcome(found: "Recalibrated", ref: BundleRef | None, before: BundleRef) -> None:
    if ref is None:
        say(f"no label got better, so nothing was written: {before} is as good as these documents can make it")
        return
    changed = [
        (one.curve.label, f"{cutoff.before:g}", f"{cutoff.after:g}", cutoff.changed)
        for one, cutoff in zip(found.judged.labels, found.cutoffs, strict=True)
        if not one.curve.kept
    ]
    print_table(("label", "cut-off before", "after", "documents decided otherwise"), changed)
    say(f"wrote {ref} to {found.path}; sha256 {ref.sha256}")
    if version_order(ref.version) < version_order(before.version):
        say(f"{ref.name} without a version goes on meaning {before.version} or later; write {ref} for this one.")
    say(f"Cut-offs that you have set yourselves are of the scores of {before}: map them, or choose them anew with")
    say("  streamtag model thresholds, before a release lets it decide.")
