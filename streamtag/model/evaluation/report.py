"""The evaluation as one HTML page that needs nothing beside itself: inline SVG and CSS, light and dark, no script.

It holds figures alone, no text of any document; whatever comes from outside is escaped.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from streamtag.domain.release import BundleRef
from streamtag.model.evaluation.metrics import Interval
from streamtag.model.evaluation.report_plots import difference_bar, interval_bar, key, precision_recall, reliability
from streamtag.model.evaluation.report_words import GLOSSARY, summary
from streamtag.model.evaluation.result import Disguise, Evaluation

__all__ = ["render"]

_TILES = {
    "macro_f1": ("macro F1", "Mean over labels, at the cut-offs. Rare labels count as much as common ones."),
    "micro_f1": ("micro F1", "Over all decisions together. Common labels count most."),
    "mean_roc_auc": ("mean ROC-AUC", "How often a positive scores above a negative; no cut-off is part of it."),
    "mean_ece_debiased": ("mean ECE, debiased", "How far scores are from being probabilities. 0 is best."),
}
_BARS = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC-AUC"}
_SLICED = {"macro_f1": "macro F1", "mean_roc_auc": "mean ROC-AUC", "mean_ece_debiased": "mean ECE, debiased"}
_FEW = 20
_GUESSING = 0.5
"""Of an AUC: where its rail begins."""
_WORST_TERMS = 12
_WIDE = '<div class="wide" tabindex="0">'
"""Of a table that may be wider than the screen; the keyboard can scroll it, too."""


def render(found: Evaluation, bundle: BundleRef, title: str = "") -> str:
    """The page.

    Args:
        found: all figures.
        bundle: whose they are.
        title: on what they were measured, where somebody said.
    """
    name = escape(str(bundle))
    sections = [
        ("labels", "Each label", _labels(found)),
        ("curves", "Precision, recall and calibration", _curves(found)),
        ("robustness", "Disguised spelling", _robustness(found.robustness)),
        ("slices", "Slices", _slices(found)),
        ("terms", "Identity terms", _terms(found)),
        ("together", "Which labels come together", _together(found)),
    ]
    shown = [(anchor, heading, body) for anchor, heading, body in sections if body]
    links = "".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading, _ in shown)
    bodies = "\n".join(f'<section id="{anchor}"><h2>{heading}</h2>{body}</section>' for anchor, heading, body in shown)
    style = files(__package__).joinpath("report_style.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}: evaluation</title><style>{style}</style>"
    )
    on = f"{escape(title)} · " if title else ""
    intervals = f"95 % of {found.draws:,} bootstrap draws" if found.groups > 1 else "unknown, as there is one group"
    about = (
        f"{on}{found.rows:,} labelled documents in {found.groups:,} groups · {len(found.labels)} labels · intervals: "
        f"{intervals} · sha256 <code>{escape(bundle.sha256[:12])}…</code>"
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}</head>\n<body><main><header><h1>{name}</h1>'
        f"<p>{about}</p><nav>{links}</nav></header>\n{_tiles(found)}\n{_words(found)}\n{bodies}\n{_glossary()}"
        "<footer>Made by streamtag model evaluate. A dash: nothing supports the figure.</footer></main></body></html>\n"
    )


def _tiles(found: Evaluation) -> str:
    tiles = []
    for name, (title, meaning) in _TILES.items():
        figure = found.figures[name][0]
        tiles.append(
            f'<div class="card tile"><div class="name">{title}</div><div class="value">{_number(figure.value)}</div>'
            f'<div class="range">{_range(figure)}</div><p>{meaning}</p></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _words(found: Evaluation) -> str:
    return f'<ul class="words">{"".join(f"<li>{line}</li>" for line in summary(found, _FEW))}</ul>'


def _labels(found: Evaluation) -> str:
    rows = []
    for j, label in enumerate(found.labels):
        figures = {name: column[j] for name, column in found.figures.items() if len(column) == len(found.labels)}
        rows.append(
            [
                escape(label),
                f"{found.positives[j]:,}<small>of {found.known[j]:,}</small>",
                f"{found.cutoffs[j]:g}",
                *(_with_bar(name, figures[name]) for name in _BARS),
                _number(figures["average_precision"].value),
                _calibrated(figures["ece"], found.ece_null_95[j], found.positives[j]),
                _number(figures["brier"].value, 4),
            ]
        )
    columns = [
        "label",
        "positives",
        "cut&#8209;off",
        *_BARS.values(),
        "average precision",
        "calibration (ECE)",
        "Brier",
    ]
    return (
        '<p class="lead">The stroke is the figure, the band its interval, on a rail from 0 to 1 (ROC-AUC: from 0.5). '
        f"A wide band means few documents. With fewer than {_FEW} positives, read nothing into a figure.</p>"
        f"{_table(columns, rows)}"
    )


def _with_bar(name: str, figure: Interval) -> str:
    if math.isnan(figure.value):
        return "–"
    bar = "" if name.endswith("ece_debiased") else interval_bar(figure, _GUESSING if name.endswith("auc") else 0.0)
    return f'<div class="fig">{_number(figure.value)}{bar}</div><small>{_range(figure)}</small>'


def _calibrated(ece: Interval, perfect: float, positives: int) -> str:
    if math.isnan(ece.value):
        return "–"
    said = f"{ece.value:.4f}<small>perfect: &lt; {perfect:.4f}</small>"
    if positives < _FEW:
        return f'<span class="chip warn">too few</span> {said}'
    if ece.value <= perfect:
        return f'<span class="chip good">✓ as if perfect</span> {said}'
    return f'<span class="chip bad">✗ off</span> {said}'


def _curves(found: Evaluation) -> str:
    cards = []
    for j, (label, curves) in enumerate(zip(found.labels, found.curves, strict=False)):
        if not curves.reliability:
            continue
        recall, precision = (found.figures[name][j].value for name in ("recall", "precision"))
        cut = None if math.isnan(recall) or math.isnan(precision) else (recall, precision)
        base = found.positives[j] / found.known[j]
        cards.append(
            f'<article class="card"><div class="head"><h3>{escape(label)}</h3><span class="soft">'
            f"{found.positives[j]:,} positives, {base:.2%}</span></div>"
            f'<div class="pair">{precision_recall(label, curves, base, cut)}'
            f"{reliability(label, curves)}</div></article>"
        )
    if not cards:
        return ""
    signs = key(
        [
            ('<line class="curve" x1="0" y1="6" x2="16" y2="6"/>', "precision over recall"),
            ('<circle class="cut" cx="8" cy="6" r="4"/>', "at the cut-off"),
            (
                '<circle class="dot" cx="8" cy="6" r="4"/>',
                "share of positives among scores of a tenth; size: documents",
            ),
            ('<line class="spread" x1="8" y1="0" x2="8" y2="12"/>', "its 95 % interval"),
            ('<line class="base" x1="0" y1="6" x2="16" y2="6"/>', "left: tagging all; right: perfectly calibrated"),
        ]
    )
    lead = (
        "Left: what a cut-off can buy. Right: whether scores are probabilities; its axes are stretched where rare "
        "labels score."
    )
    return f'<p class="lead">{lead}</p>{signs}<div class="plots">{"".join(cards)}</div>'


def _robustness(disguises: Sequence[Disguise]) -> str:
    if not disguises:
        return ""
    figures = [figure for each in disguises for figure in (each.mean_roc_auc, each.macro_f1)]
    most = max((abs(v) for each in figures for v in (each.low, each.high) if not math.isnan(v)), default=0) or 1.0
    rows = [
        [escape(each.kind.replace("_", " ")), *(_lost(figure, most) for figure in (each.mean_roc_auc, each.macro_f1))]
        for each in disguises
    ]
    lead = (
        "Every document disguised in one way, against its clean text, paired. Left of the line: lost. "
        f"The rail ends at ±{most:.3f}."
    )
    return f'<p class="lead">{lead}</p>{_table(["disguised by", "mean ROC-AUC", "macro F1"], rows)}'


def _lost(figure: Interval, most: float) -> str:
    if math.isnan(figure.value):
        return "–"
    bar = difference_bar(figure, most)
    spread = "interval unknown" if math.isnan(figure.low) else f"{figure.low:+.4f} to {figure.high:+.4f}"
    return f'<div class="fig">{figure.value:+.4f}{bar}</div><small>{spread}</small>'


def _slices(found: Evaluation) -> str:
    if not found.slices:
        return ""
    rows = [
        [escape(f"{s.by}: {s.value}"), f"{s.rows:,}", *(_with_bar(name, s.figures[name]) for name in _SLICED)]
        for s in found.slices
    ]
    lead = (
        "The same figures on parts of the documents. Where a band lies apart from the others, the bundle is not the "
        "same for all."
    )
    return f'<p class="lead">{lead}</p>{_table(["slice", "documents", *_SLICED.values()], rows)}'


def _terms(found: Evaluation) -> str:
    known = [t for t in found.terms if not (math.isnan(t.bpsn_auc) and math.isnan(t.bnsp_auc))]
    if not known:
        return ""
    known.sort(key=lambda t: min(v for v in (t.bpsn_auc, t.bnsp_auc) if not math.isnan(v)))
    rows = [
        [
            escape(f"{t.term}: {t.label}"),
            f"{t.rows:,}",
            f"{t.positives:,}",
            *(_auc(v) for v in (t.subgroup_auc, t.bpsn_auc, t.bnsp_auc)),
        ]
        for t in known
    ]
    columns = ["term: label", "documents", "positives", "subgroup AUC", "BPSN AUC", "BNSP AUC"]
    rest = ""
    if rows[_WORST_TERMS:]:
        more = f"the other {len(rows) - _WORST_TERMS}"
        rest = f"<details><summary>{more}</summary>{_table(columns, rows[_WORST_TERMS:])}</details>"
    lead = (
        "How well a label is told apart where a term is mentioned; the lowest first. Low BPSN: the term alone raises "
        "the score. Low BNSP: the term alone lowers it."
    )
    return f'<p class="lead">{lead}</p>{_table(columns, rows[:_WORST_TERMS])}{rest}'


def _auc(value: float) -> str:
    return f'<div class="fig">{_number(value)}{interval_bar(Interval(value, value, value), _GUESSING)}</div>'


def _together(found: Evaluation) -> str:
    if len(found.labels) < 2 or not found.cooccurrence:
        return ""
    rows = [
        f'<tr><th scope="row">{escape(label)}</th>{"".join(map(_shade, row))}</tr>'
        for label, row in zip(found.labels, found.cooccurrence, strict=True)
    ]
    head = "".join(f"<th>{escape(label)}</th>" for label in found.labels)
    return (
        '<p class="lead">φ of each pair of labels in the documents, not in the scores: 1 always together, 0 by chance, '
        f'below 0 seldom.</p>{_WIDE}<table class="heat"><thead><tr><th>label</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _shade(value: float) -> str:
    if math.isnan(value):
        return "<td>–</td>"
    share = round(abs(value) * 100)
    colour = "--mark-soft" if value >= 0 else "--line"
    return f'<td style="background:color-mix(in srgb,var({colour}) {share}%,transparent)">{value:.2f}</td>'


def _glossary() -> str:
    entries = "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in GLOSSARY.items())
    return f"<details><summary>How to read these figures</summary><dl>{entries}</dl></details>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return f"{_WIDE}<table><thead><tr>{head}</tr></thead><tbody>\n{''.join(_rows(rows))}</tbody></table></div>"


def _rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for first, *cells in rows:
        yield f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'


def _range(figure: Interval) -> str:
    return "" if math.isnan(figure.low) else f"{figure.low:.3f} to {figure.high:.3f}"


def _number(value: float, decimals: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"
