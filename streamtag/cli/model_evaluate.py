"""`streamtag model evaluate --labels`, `compare` and `thresholds`: a bundle against labelled documents."""

import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import typer
import yaml
from numpy.typing import NDArray

from streamtag.cli.context import Output, OutputFormat, print_facts, print_json, print_table, say, settings, warn
from streamtag.cli.outcome import read_text
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.domain.thresholds import DIMENSIONS, Override, ThresholdSet, problems
from streamtag.errors import RefusedError, StreamtagError
from streamtag.model.admission import load_admitted
from streamtag.model.evaluation.labelled import Labelled, read_labelled
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.model.two_stages import final_scores

if TYPE_CHECKING:
    from streamtag.model.goals import Choice

Labels = Annotated[Path, typer.Option("--labels", help="Labelled documents: JSON lines, or CSV.")]
Draws = Annotated[int, typer.Option("--draws", min=100, help="Draws of the bootstrap.")]
Bundle = Annotated[str | None, typer.Argument(help="name, name@version or a path with a /; default: model.bundle.")]

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
    robustness: bool,
    draws: int,
    output: OutputFormat,
) -> None:
    """What `streamtag model evaluate --labels` does."""
    evaluation = _room("evaluation.evaluate")
    scorer = _scorer(which)
    data = _read(labels, scorer)
    cutoffs = scorer.bundle.default_thresholds if thresholds is None else _read_thresholds(thresholds, scorer)
    words = [] if terms is None else [line.strip() for line in read_text(terms).splitlines() if line.strip()]
    scores = _scores(scorer, data)
    found = evaluation.evaluate_scores(data, scores, cutoffs, draws=draws, terms=words)
    disguises = []
    if robustness:
        limits = evaluation.cutoffs_of(data, cutoffs)
        disguises = _room("evaluation.robustness").robustness(
            data, scores, limits, partial(final_scores, scorer), draws=draws
        )
    if html is not None:
        page = _room("evaluation.report").render(found, str(scorer.bundle.ref), scorer.bundle.ref.sha256)
        _write(html, page)
    if output is OutputFormat.JSON:
        print_json({"bundle": scorer.bundle.ref, **msgspec.to_builtins(found), "robustness": disguises})
        return
    figures = found.figures
    print_facts(
        {
            "bundle": scorer.bundle.ref,
            "documents": f"{found.rows} in {found.groups} groups; 95 % intervals of {found.draws} bootstrap draws",
            **{name: _interval(figures[key][0]) for key, name in _OVERALL.items() if key != "mean_ece"},
            "mean ECE": _number(figures["mean_ece"][0].value),
            "mean ECE, debiased": _interval(figures["mean_ece_debiased"][0]),
        }
    )
    columns = ("label", "positives", "cut-off", "precision", "recall", "F1", "ROC-AUC", "AP", "ECE", "if perfect")
    rows = [
        (
            label,
            found.positives[j],
            f"{found.cutoffs[j]:g}",
            *(_number(figures[name][j].value) for name in ("precision", "recall")),
            *(_interval(figures[name][j]) for name in ("f1", "roc_auc")),
            *(_number(figures[name][j].value) for name in ("average_precision", "ece")),
            _below(found.ece_null_95[j]),
        )
        for j, label in enumerate(found.labels)
    ]
    print_table(columns, rows)
    slices = [(s.by, s.value, s.rows, *(_interval(s.figures[name]) for name in _SLICED)) for s in found.slices]
    if slices:
        print_table(("slice", "is", "documents", *_SLICED.values()), slices)
    if disguises:
        lost = [(d.kind, _difference(d.mean_roc_auc), _difference(d.macro_f1)) for d in disguises]
        print_table(("disguised by", "mean ROC-AUC", "macro F1"), lost, title="less clean text; * excludes 0")
    if found.terms:
        biases = [
            (t.term, t.label, t.rows, t.positives, *map(_number, (t.subgroup_auc, t.bpsn_auc, t.bnsp_auc)))
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
    metrics, evaluation = _room("evaluation.metrics"), _room("evaluation.evaluate")
    first, second = _scorer(a), _scorer(b)
    if first.labels != second.labels:
        only = [f"{label}: only {first.bundle.ref} scores it" for label in first.labels if label not in second.labels]
        only += [f"{label}: only {second.bundle.ref} scores it" for label in second.labels if label not in first.labels]
        raise RefusedError(
            f"{first.bundle.ref} and {second.bundle.ref} do not score the same labels",
            problems=only or ["the same labels in another order"],
        )
    data = _read(labels, first)
    measured = [
        metrics.Measured(
            _scores(scorer, data), data.targets, evaluation.cutoffs_of(data, scorer.bundle.default_thresholds)
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
    print_table(("figure", "difference"), [(name, _difference(found[key][0])) for key, name in _OVERALL.items()])
    shown = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC-AUC", "ece": "ECE"}
    rows = [(label, *(_difference(found[key][j]) for key in shown)) for j, label in enumerate(data.labels)]
    print_table(("label", *shown.values()), rows)


def thresholds(
    bundle: Bundle = None,
    *,
    goal: Annotated[str, typer.Option("--goal", help='E.g. "recall | precision >= 0.9", "fbeta(2)".')],
    labels: Labels,
    out: Annotated[Path, typer.Option("--out", help="Threshold file to write, for `thresholds apply`.")],
    by: Annotated[str | None, typer.Option("--by", help="Also per lang, channel or tenant.")] = None,
    events_per_hour: Annotated[
        float | None, typer.Option("--events-per-hour", min=0, help="Traffic the documents stand for.")
    ] = None,
    min_positives: Annotated[
        int, typer.Option("--min-positives", min=1, help="With fewer positives or negatives a label is undecided.")
    ] = 20,
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.999, help="Of the bounds.")] = 0.95,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Find the cut-off of each label that reaches a goal on labelled documents, and write them as a threshold file.

    An undecided label keeps the bundle's default. Documents must be drawn as the stream draws them: precision and
    alerts per hour depend on how rare a label is.
    """
    goals = _room("goals")
    wanted = goals.parse_goal(goal)
    if by is not None and by not in DIMENSIONS:
        raise StreamtagError(f"--by {by} is no dimension of segments", hint=f"Known are {', '.join(DIMENSIONS)}.")
    if wanted.kind == "alerts" and not events_per_hour:
        raise StreamtagError("alerts per hour need to know the traffic", hint="Give --events-per-hour, above 0.")
    scorer = _scorer(bundle)
    data = _read(labels, scorer)
    scores = _scores(scorer, data)

    def chosen(mask: NDArray[np.bool_]) -> dict[str, "Choice"]:
        # a segment has its share of the traffic and the same share of a budget of alerts, so both stay as they are
        return {
            label: goals.choose(
                wanted,
                scores[mask, j],
                data.targets[mask, j],
                min_positives=min_positives,
                confidence=confidence,
                events_per_hour=events_per_hour,
            )
            for j, label in enumerate(data.labels)
        }

    everywhere = chosen(np.ones(len(data.texts), dtype=bool))
    values = np.array(data.fields[by]) if by else np.array([])
    segments = {value: chosen(values == value) for value in sorted(set(values.tolist()) - {""})}
    default = scorer.bundle.default_thresholds.labels
    base = {label: default[label] if c.cutoff is None else c.cutoff for label, c in everywhere.items()}
    overrides = [
        Override({by or "": value}, decided)
        for value, found in segments.items()
        if (decided := {label: c.cutoff for label, c in found.items() if c.cutoff is not None})
    ]
    about = {"bundle": str(scorer.bundle.ref), "goal": goal, "documents": len(data.texts)}
    undecided = {label: c.undecided for label, c in everywhere.items() if c.undecided}
    document = {"about": {**about, "undecided": undecided}, **ThresholdSet(base, overrides).to_dict()}
    _write(out, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    if output is OutputFormat.JSON:
        parts = {"labels": everywhere, "segments": segments}
        print_json({**about, "path": str(out), **msgspec.to_builtins(parts)})
        return
    _print_choices(everywhere, default, "all documents")
    for value, found in segments.items():
        _print_choices(found, base, f"{by} = {value}")
    say(f"wrote {out}; look at it, then: streamtag thresholds apply {out}")
    if undecided:
        warn(f"undecided, kept at the bundle's default: {', '.join(undecided)}", style="yellow")


def _print_choices(choices: dict[str, "Choice"], kept: Any, title: str) -> None:
    rows = [
        (
            label,
            c.positives,
            f"{kept[label]:g} (kept)" if c.cutoff is None else f"{c.cutoff:g}",
            _bounds(c.precision),
            _bounds(c.recall),
            c.alerts or "",
            c.undecided,
        )
        for label, c in choices.items()
    ]
    print_table(
        ("label", "positives", "cut-off", "precision", "recall", "alerts", "undecided because"), rows, title=title
    )


def _scorer(which: str | None) -> Scorer:
    model = settings().settings.model
    return load_admitted(find_bundle(which or model.bundle, model.directories), model)


def _read(path: Path, scorer: Scorer) -> Labelled:
    return read_labelled(path, scorer.labels, max_chars=settings().settings.events.max_text_chars)


def _scores(scorer: Scorer, data: Labelled) -> NDArray[np.float32]:
    if scorer.reads_features:
        raise RefusedError(
            f"{scorer.bundle.ref} reads numeric features, which a file of labelled documents does not carry",
            hint="Only bundles that read text alone can be measured this way.",
        )
    scores = final_scores(scorer, data.texts)
    bad = np.nonzero(~np.isfinite(scores).all(axis=1))[0]
    if len(bad):
        found = [f"document {i + 1}" for i in bad[:20].tolist()]
        raise RefusedError(f"{scorer.bundle.ref} cannot score {len(bad)} of the documents", problems=found)
    return scores


def _read_thresholds(path: Path, scorer: Scorer) -> ThresholdSet:
    found = parse_threshold_file(read_text(path), str(path)).thresholds
    wrong = problems(found, scorer.labels)
    if wrong:
        raise RefusedError(f"{path} does not fit bundle {scorer.bundle.ref}", problems=wrong)
    return found


def _write(path: Path, text: str) -> None:
    """Whole or not at all: under a temporary name beside it, flushed to the disk, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StreamtagError(f"cannot write {path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _room(module: str) -> ModuleType:
    """A module that needs more than scoring does, or a word on what to install."""
    try:
        return import_module(f"streamtag.model.{module}")
    except ModuleNotFoundError as error:
        raise StreamtagError(
            f"evaluation needs the package {error.name}", hint="Install the extra: pip install 'streamtag[train]'."
        ) from None


def _interval(found: Any) -> str:
    return "" if np.isnan(found.value) else f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def _difference(found: Any) -> str:
    if np.isnan(found.value):
        return ""
    sure = " *" if found.low > 0 or found.high < 0 else ""
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]{sure}"


def _bounds(found: Sequence[float] | None) -> str:
    return "" if found is None else f"{found[1]:.3f} [{found[0]:.3f}, {found[2]:.3f}]"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"


def _below(value: float) -> str:
    return "" if np.isnan(value) else f"< {value:.4f}"
