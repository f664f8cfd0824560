"""`streamtag model evaluate --labels` and `compare`: bundles against labelled documents."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from streamtag.cli.context import Output, OutputFormat, print_facts, print_json, print_table, say, settings, warn
from streamtag.cli.model_labelled import (
    Draws,
    Labels,
    admitted_scorer,
    below,
    difference,
    interval,
    number,
    read_documents,
    room,
    scores_of,
    warn_of_few_groups,
    write_whole,
)
from streamtag.cli.outcome import read_text
from streamtag.cli.score import read_thresholds
from streamtag.errors import RefusedError
from streamtag.model import reports
from streamtag.model.evaluation.report import render
from streamtag.model.two_stages import final_scores

_OVERALL = {
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "hamming_loss": "Hamming loss",
    "mean_roc_auc": "mean ROC-AUC",
    "mean_average_precision": "mean AP",
    "mean_ece": "mean ECE",
}


def evaluate_labelled(
    which: str | None,
    labels: Path,
    *,
    thresholds: Path | None,
    terms: Path | None,
    html: Path | None,
    keep: str | None,
    robustness: bool,
    draws: int,
    output: OutputFormat,
) -> None:
    """What `streamtag model evaluate --labels` does."""
    evaluation = room("evaluation.evaluate")
    scorer = admitted_scorer(which)
    data = read_documents(labels, scorer)
    warn_of_few_groups(data)
    cutoffs = scorer.bundle.default_thresholds if thresholds is None else read_thresholds(thresholds, scorer.bundle)
    words = [] if terms is None else [line.strip() for line in read_text(terms).splitlines() if line.strip()]
    scores = scores_of(scorer, data)
    found = evaluation.evaluate_scores(data, scores, cutoffs, draws=draws, terms=words)
    if robustness:
        limits = evaluation.cutoffs_of(data, cutoffs)
        disguised = room("evaluation.robustness").robustness
        lost = disguised(data, scores, limits, partial(final_scores, scorer), draws=draws)
        found = dataclasses.replace(found, robustness=lost)
    if html is not None:
        write_whole(html, render(found, scorer.bundle.ref))
    if keep is not None:
        model = settings().settings.model
        report, place = reports.keep(scorer.bundle.ref, keep, found, model.directories)
        warn(f"kept as report {report.id} of {scorer.bundle.ref} in {place}")
    if output is OutputFormat.JSON:
        print_json({"bundle": scorer.bundle.ref, **msgspec.to_builtins(found)})
        return
    figures = found.figures
    print_facts(
        {
            "bundle": scorer.bundle.ref,
            "documents": f"{found.rows} in {found.groups} groups; 95 % intervals of {found.draws} bootstrap draws",
            **{name: interval(figures[key][0]) for key, name in _OVERALL.items() if key != "mean_ece"},
            "mean ECE": number(figures["mean_ece"][0].value),
            "mean ECE, debiased": interval(figures["mean_ece_debiased"][0]),
        }
    )
    columns = ("label", "positives", "cut-off", "precision", "recall", "F1", "ROC-AUC", "AP", "ECE", "if perfect")
    rows = [
        (
            label,
            found.positives[j],
            f"{found.cutoffs[j]:g}",
            *(number(figures[name][j].value) for name in ("precision", "recall")),
            *(interval(figures[name][j]) for name in ("f1", "roc_auc")),
            *(number(figures[name][j].value) for name in ("average_precision", "ece")),
            below(found.ece_null_95[j]),
        )
        for j, label in enumerate(found.labels)
    ]
    print_table(columns, rows)
    slices = [(s.by, s.value, s.rows, *(interval(s.figures[name]) for name in _SLICED)) for s in found.slices]
    if slices:
        print_table(("slice", "is", "documents", *_SLICED.values()), slices)
    if found.robustness:
        lost = [(d.kind, difference(d.mean_roc_auc), difference(d.macro_f1)) for d in found.robustness]
        print_table(("disguised by", "mean ROC-AUC", "macro F1"), lost, title="less clean text; * excludes 0")
    if found.terms:
        biases = [
            (t.term, t.label, t.rows, t.positives, *map(number, (t.subgroup_auc, t.bpsn_auc, t.bnsp_auc)))
            for t in found.terms
        ]
        print_table(("term", "label", "documents", "positives", "subgroup AUC", "BPSN AUC", "BNSP AUC"), biases)


_SLICED = {
    "macro_f1": "macro F1",
    "mean_roc_auc": "mean ROC-AUC",
    "mean_ece_debiased": "mean ECE, debiased",
}


def compare(
    a: Annotated[str, typer.Argument(help="Bundle to compare with: name, name@version or a path with a /.")],
    b: Annotated[str, typer.Argument(help="Bundle that would replace it.")],
    *,
    labels: Labels,
    draws: Draws = 1_000,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Say by how much bundle B is better or worse than A on the same labelled documents, with intervals.

    Paired: both score the same draws of documents, each bundle with its default cut-offs.
    """
    metrics, evaluation = room("evaluation.metrics"), room("evaluation.evaluate")
    first, second = admitted_scorer(a), admitted_scorer(b)
    if first.labels != second.labels:
        only = [f"{label}: only {first.bundle.ref} scores it" for label in first.labels if label not in second.labels]
        only += [f"{label}: only {second.bundle.ref} scores it" for label in second.labels if label not in first.labels]
        raise RefusedError(
            f"{first.bundle.ref} and {second.bundle.ref} do not score the same labels",
            problems=only or ["the same labels in another order"],
        )
    data = read_documents(labels, first)
    warn_of_few_groups(data)
    measured = [
        metrics.Measured(
            scores_of(scorer, data), data.targets, evaluation.cutoffs_of(data, scorer.bundle.default_thresholds)
        )
        for scorer in (first, second)
    ]
    found = metrics.paired(*measured, data.group, draws=draws)
    if output is OutputFormat.JSON:
        refs = {"a": first.bundle.ref, "b": second.bundle.ref}
        about = {"rows": len(data.texts), "draws": draws, "labels": data.labels}
        print_json({**refs, **about, "difference": msgspec.to_builtins(found)})
        return
    say(f"{second.bundle.ref} less {first.bundle.ref} on {len(data.texts)} documents; 95 % intervals; * excludes 0")
    print_table(("figure", "difference"), [(name, difference(found[key][0])) for key, name in _OVERALL.items()])
    shown = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC-AUC", "ece": "ECE"}
    rows = [(label, *(difference(found[key][j]) for key in shown)) for j, label in enumerate(data.labels)]
    print_table(("label", *shown.values()), rows)
