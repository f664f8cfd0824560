"""The figures of a model card: those that a manifest records, in any of their forms, and those measured since."""

from collections.abc import Iterable, Mapping
from typing import Any

from streamtag.model.card_forms import UNKNOWN, known_evaluation
from streamtag.model.card_tables import interval, number, table

__all__ = ["measured", "recorded"]

_SHOWN_TERMS = 6


def recorded(evaluation: Mapping[str, Any], labels: list[dict[str, Any]], *, elsewhere: bool = False) -> Iterable[str]:
    """What the manifest says: figures by label, parts that are compared with a baseline, losses under disguise.

    Args:
        evaluation: of the manifest.
        labels: of the manifest, with their cut-offs.
        elsewhere: figures measured since follow, so that there is nothing to say where the manifest has none.
    """
    if not evaluation:
        if not elsewhere:
            yield "Not recorded. `streamtag model evaluate --labels` measures it on documents of your own."
        return
    if not known_evaluation(evaluation):
        yield UNKNOWN
        return
    yield f"On {evaluation.get('rows', 0):,} rows: {evaluation.get('split', 'of an unknown choice')}."
    cutoffs = {one["id"]: one["threshold"] for one in labels}
    overall = {
        "micro F1": interval(evaluation.get("f1", {}).get("micro")),
        "macro F1": interval(evaluation.get("f1", {}).get("macro")),
        "mean ROC-AUC": number(evaluation.get("mean_roc_auc")),
        "mean average precision": number(evaluation.get("mean_average_precision"), 3),
        "mean ECE": number(evaluation.get("mean_ece")),
    }
    told = {name: value for name, value in overall.items() if value}
    if told:
        yield table(tuple(told), [tuple(told.values())])
    if "labels" in evaluation:
        yield _by_label(evaluation, cutoffs)
        yield _if_perfect()
    if lost := {kind: n for kind, n in evaluation.get("roc_auc_lost", {}).items() if n is not None}:
        yield "Mean ROC-AUC lost when every text is disguised (below 0: gained):"
        yield table(tuple(lost), [tuple(number(n) for n in lost.values())])
    for name, part in evaluation.items():
        if isinstance(part, Mapping) and "bundle" in part:
            yield from _compared(name, part, cutoffs)


def _by_label(evaluation: Mapping[str, Any], cutoffs: Mapping[str, float]) -> str:
    f1 = evaluation.get("f1", {}).get("labels", {})
    rows: list[tuple[str, ...]] = []
    for label, one in evaluation["labels"].items():
        own = f1.get(label, {})
        rows.append(
            (
                f"`{label}`",
                f"{one['positives']:,}",
                number(one["roc_auc"]),
                number(one["average_precision"], 3),
                number(own.get("f1"), 3),
                number(one["ece"]),
                f"< {one['ece_null_95']:.4f}",
                _cutoff(cutoffs, label),
            )
        )
    columns = ["label", "positives", "ROC-AUC", "average precision", "F1", "ECE", "ECE if perfect", "default cut-off"]
    if not f1:
        columns.remove("F1")
        rows = [row[:4] + row[5:] for row in rows]
    return table(columns, rows)


def _cutoff(cutoffs: Mapping[str, float], label: str) -> str:
    """Of a label; none of one that the bundle does not score."""
    return f"{cutoffs[label]:g}" if label in cutoffs else ""


def _if_perfect() -> str:
    return (
        "`ECE if perfect`: what a perfectly calibrated model with these scores stays below in 95 of 100 draws of this "
        "size; an ECE under it is no evidence of miscalibration. Figures on a dozen positives are rough."
    )


def _compared(name: str, part: Mapping[str, Any], cutoffs: Mapping[str, float]) -> Iterable[str]:
    """A part of the labels beside its baseline."""
    sources = part.get("sources", {})
    yield f"### {name.capitalize()}"
    yield f"Beside a baseline: {part['baseline']}. In brackets: 95 % intervals, by group; `above it` is paired."
    rows: list[tuple[str, ...]] = []
    for source, one in {"all": part, **(sources if len(sources) > 1 else {})}.items():
        for figure in ("micro", "macro"):
            bundle, other = one["bundle"], one["tfidf"]
            counts = f"{bundle['rows']:,}, {bundle['groups']:,}"
            figures = interval(bundle[figure]), interval(other[figure]), interval(one["above"][figure], "+")
            rows.append((source, counts, f"{figure} F1", *figures))
    yield table(("rows of", "rows, groups", "figure", "bundle", "baseline", "above it"), rows)
    rows = [
        (
            f"`{label}`",
            f"{one['positives']:,.0f}",
            *(f"{one[figure]:.3f}" for figure in ("f1", "precision", "recall")),
            number(part["tfidf"]["labels"].get(label, {}).get("f1"), 3),
            _cutoff(cutoffs, label),
        )
        for label, one in part["bundle"]["labels"].items()
    ]
    yield table(("label", "positives", "F1", "precision", "recall", "F1 of the baseline", "default cut-off"), rows)


def measured(title: str, found: Mapping[str, Any]) -> Iterable[str]:
    """One `streamtag model evaluate --output json`."""
    yield f"### {title}"
    yield (
        f"{found['rows']:,} documents in {found['groups']:,} groups; in brackets 95 % intervals of {found['draws']:,} "
        "bootstrap draws of groups."
    )
    figures = found["figures"]
    names = {"micro_f1": "micro F1", "macro_f1": "macro F1", "hamming_loss": "Hamming loss",
             "mean_roc_auc": "mean ROC-AUC", "mean_ece_debiased": "mean ECE, debiased"}  # fmt: skip
    yield table(tuple(names.values()), [[interval(figures[name][0]) for name in names]])
    by_label = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC-AUC",
                "ece_debiased": "ECE, debiased", "brier": "Brier"}  # fmt: skip
    rows = [
        (
            f"`{label}`",
            f"{found['positives'][j]:,}",
            *(interval(figures[name][j]) for name in by_label),
            "" if found["ece_null_95"][j] is None else f"< {found['ece_null_95'][j]:.4f}",
        )
        for j, label in enumerate(found["labels"])
        if found["positives"][j]
    ]
    yield table(("label", "positives", *by_label.values(), "ECE if perfect"), rows)
    yield from _robustness(found.get("robustness", []))
    yield from _slices(found.get("slices", []))
    yield from _terms(found.get("terms", []))


def _robustness(disguises: list[dict[str, Any]]) -> Iterable[str]:
    if disguises:
        yield "**Disguised spelling**: the same documents, each disguised, less their clean text; below 0 is lost."
        rows = [
            (one["kind"].replace("_", " "), *(interval(one[name], "+", 4) for name in ("mean_roc_auc", "macro_f1")))
            for one in disguises
        ]
        yield table(("disguised by", "mean ROC-AUC", "macro F1"), rows)


def _slices(slices: list[dict[str, Any]]) -> Iterable[str]:
    if slices:
        yield "**Slices**"
        names = {"macro_f1": "macro F1", "mean_roc_auc": "mean ROC-AUC", "mean_ece_debiased": "mean ECE, debiased"}
        rows = [
            (f"{one['by']}: {one['value']}", f"{one['rows']:,}", *(interval(one["figures"][name]) for name in names))
            for one in slices
        ]
        yield table(("slice", "documents", *names.values()), rows)


def _terms(terms: list[dict[str, Any]]) -> Iterable[str]:
    """The worst terms; a long table of good ones hides them."""
    known = [one for one in terms if one["bpsn_auc"] is not None and one["bnsp_auc"] is not None]
    if not known:
        return
    words = {one["term"] for one in known}
    yield (
        f"**Identity terms** ({len(words)}; Borkan et al. 2019). Low BPSN: the term alone raises the score. Low BNSP: "
        "it lowers it. The lowest of each, for each label:"
    )
    rows = []
    for label in dict.fromkeys(one["label"] for one in known):
        own = [one for one in known if one["label"] == label]
        for name, figure in (("BPSN", "bpsn_auc"), ("BNSP", "bnsp_auc")):
            lowest = sorted(own, key=lambda one: one[figure])[:_SHOWN_TERMS]
            told = ", ".join(f"{one['term']} {one[figure]:.3f}" for one in lowest)
            rows.append((f"`{label}`", name, told))
    yield table(("label", "AUC", "lowest"), rows)
