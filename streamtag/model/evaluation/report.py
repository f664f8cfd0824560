"""The evaluation as one HTML page that needs nothing beside itself: inline SVG and CSS, light and dark."""

import math
from collections.abc import Sequence
from html import escape

from streamtag.model.evaluation.evaluate import Curves, Evaluation
from streamtag.model.evaluation.metrics import Interval

__all__ = ["render"]

_SIDE, _EDGE = 200, 28
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6878;--line:#d8dee6;--page:#fff;--mark:#2563eb}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b6;--line:#333c48;--page:#14181e;--mark:#7aa7ff}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);
max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2.2rem}p,caption,small{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}small{display:block}
.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}figcaption{color:var(--soft);font-size:.85rem}
svg text{fill:var(--soft);font-size:10px}
.axis{stroke:var(--line);fill:none}.curve{stroke:var(--mark);fill:none;stroke-width:2}
.dot{fill:var(--mark)}
"""
_OVERALL = {
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "hamming_loss": "Hamming loss",
    "mean_roc_auc": "mean ROC-AUC",
    "mean_average_precision": "mean average precision",
    "mean_ece": "mean ECE",
    "mean_ece_debiased": "mean ECE, debiased",
}
_SHOWN = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "ece": "ECE",
    "ece_debiased": "ECE, debiased",
    "brier": "Brier",
}


def render(found: Evaluation, bundle: str, sha256: str) -> str:
    """The page. It holds figures alone, no text of any document; ``bundle`` and labels are escaped."""
    intervals = f"95 % intervals of {found.draws} bootstrap draws of groups"
    about = f"{found.rows} documents in {found.groups} groups. In small print: {intervals}."
    parts = [
        f"<h1>{escape(bundle)}</h1>",
        f"<p>sha256 {escape(sha256)}<br>{about} A dash: nothing supports the figure.</p>",
        "<h2>All labels</h2>",
        _table(list(_OVERALL.values()), [[_interval(found.figures[name][0]) for name in _OVERALL]]),
        "<h2>Each label</h2>",
        _table(["label", "known", "positives", "cut-off", *_SHOWN.values(), "ECE if perfect"], _label_rows(found)),
        "<p>“ECE if perfect”: a perfectly calibrated model with these scores stays below it 95 times of 100.</p>",
        "<h2>Calibration and precision over recall</h2>",
        '<div class="plots">',
        *(_plots(label, curves) for label, curves in zip(found.labels, found.curves, strict=True)),
        "</div>",
    ]
    if found.slices:
        rows = [
            [escape(f"{s.by}: {s.value}"), str(s.rows), *(_interval(s.figures[name]) for name in _OVERALL)]
            for s in found.slices
        ]
        parts += ["<h2>Slices</h2>", _table(["slice", "documents", *_OVERALL.values()], rows)]
    if found.terms:
        rows = [
            [
                escape(f"{t.term}: {t.label}"),
                str(t.rows),
                str(t.positives),
                *map(_number, (t.subgroup_auc, t.bpsn_auc, t.bnsp_auc)),
            ]
            for t in found.terms
        ]
        columns = ["term: label", "documents", "positives", "subgroup AUC", "BPSN AUC", "BNSP AUC"]
        note = "<p>Low BPSN: the term alone raises the score. Low BNSP: the term alone lowers it.</p>"
        parts += ["<h2>Identity terms</h2>", _table(columns, rows), note]
    pairs = [
        [escape(label), *(_number(value) for value in row)]
        for label, row in zip(found.labels, found.cooccurrence, strict=True)
    ]
    parts += ["<h2>Which labels come together (φ)</h2>", _table(["label", *map(escape, found.labels)], pairs)]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(bundle)}</title>"
    body = "\n".join(parts)
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"


def _label_rows(found: Evaluation) -> list[list[str]]:
    return [
        [
            escape(label),
            str(found.known[j]),
            str(found.positives[j]),
            f"{found.cutoffs[j]:g}",
            *(_interval(found.figures[name][j]) for name in _SHOWN),
            _number(found.ece_null_95[j]),
        ]
        for j, label in enumerate(found.labels)
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _plots(label: str, curves: Curves) -> str:
    most = max((rows for _, _, rows in curves.reliability), default=1)
    dots = "".join(
        f'<circle class="dot" cx="{_x(mean):.1f}" cy="{_y(share):.1f}" r="{2 + 5 * math.sqrt(rows / most):.1f}">'
        f"<title>mean score {mean:.3f}, positive {share:.3f}, {rows} documents</title></circle>"
        for mean, share, rows in curves.reliability
    )
    diagonal = f'<path class="axis" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>'
    points = " ".join(f"{_x(recall):.1f},{_y(precision):.1f}" for recall, precision in curves.precision_recall)
    curve = f'<polyline class="curve" points="{points}"/>' if points else ""
    calibration = _plot(f"{label}: share of positives over score", diagonal + dots)
    return calibration + _plot(f"{label}: precision over recall", curve)


def _plot(caption: str, drawn: str) -> str:
    size = _SIDE + 2 * _EDGE
    frame = f'<rect class="axis" x="{_EDGE}" y="{_EDGE}" width="{_SIDE}" height="{_SIDE}"/>'
    ends = "".join(
        f'<text x="{_x(v) - 3}" y="{_y(0) + 14}">{v}</text><text x="{_EDGE - 14}" y="{_y(v) + 4}">{v}</text>'
        for v in (0, 1)
    )
    svg = f'<svg role="img" aria-label="{escape(caption)}" width="{size}" height="{size}" viewBox="0 0 {size} {size}">'
    return f"<figure>{svg}{frame}{ends}{drawn}</svg><figcaption>{escape(caption)}</figcaption></figure>"


def _x(value: float) -> float:
    return _EDGE + value * _SIDE


def _y(value: float) -> float:
    return _EDGE + (1 - value) * _SIDE


def _interval(found: Interval) -> str:
    if math.isnan(found.value):
        return "–"
    if math.isnan(found.low):
        return f"{found.value:.3f}"
    return f"{found.value:.3f}<small>{found.low:.3f} to {found.high:.3f}</small>"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
