"""What a second stage is worth, and costs: ``python -m tests.bench.two_stages STAGE1 STAGE2 --data DATA [--svg FILE]``.

Two bundles of the same labels, on the rows that were held out of the training of both. The
bands are a margin around each label's default cut-off, in logits, so nothing here is fitted to those rows. Beside each
share of events that a margin sends to stage 2 stands what the same share gives when it is chosen by chance. CPU is that
of `infer_stages` in pools of 512, the least of several rounds in one process. ``--rounds 1`` for a slow second stage.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray
from svg_plot import Axis, Line, Panel, draw

from streamtag.domain.scores import MICRO, from_micro
from streamtag.domain.two_stage import Bands, margin_bands
from streamtag.events.content import ContentEvent
from streamtag.model.evaluation.held_out import held_out_lines
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.model.training.held_out import masked_figures
from streamtag.tagger.rerank import infer_stages

POOL = 512
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, np.inf)


@dataclass(frozen=True)
class Row:
    """One margin: share of events at stage 2, CPU an event, and figures by the band and by chance."""

    margin: float
    share: float
    cpu_us: float
    by_band: dict[str, float]
    by_chance: dict[str, float]


@dataclass(frozen=True)
class HeldOut:
    """Rows that neither bundle was trained on."""

    texts: list[str]
    targets: NDArray[np.int8]


def held_out(first: Scorer, second: Scorer, data: Path) -> HeldOut:
    """Rows that were held out of the training of both."""
    lines = [msgspec.json.decode(line) for line in held_out_lines(first.bundle.manifest, data)]
    also = {msgspec.json.decode(line)["text"] for line in held_out_lines(second.bundle.manifest, data)}
    kept = [line for line in lines if line["text"] in also]
    targets = [[line["labels"].get(label, -1) for label in first.labels] for line in kept]
    return HeldOut([line["text"] for line in kept], np.array(targets, dtype=np.int8))


def bands_of(scorer: Scorer, margin: float, sample: float = 0.0) -> Bands:
    """A band of ``margin`` logits to either side of each default cut-off; 0: none."""
    ends = margin_bands(scorer.bundle.default_thresholds.labels, margin) if margin else {}
    return Bands.of(scorer.labels, ends, sample)


def measure(scorer: Scorer, rows: HeldOut, rounds: int) -> list[Row]:
    """Every margin, on a scorer that has both stages."""
    events = [ContentEvent(str(i), text) for i, text in enumerate(rows.texts)]
    pools = [events[at : at + POOL] for at in range(0, len(events), POOL)]
    cpu_us = least_cpu(scorer, pools, rounds)
    found = []
    for margin in MARGINS:
        micro, share = scores(scorer, pools, bands_of(scorer, margin))
        chance, _ = scores(scorer, pools, bands_of(scorer, 0.0, sample=share))
        found.append(Row(margin, share, cpu_us[margin], figures(scorer, micro, rows), figures(scorer, chance, rows)))
    return found


def least_cpu(scorer: Scorer, pools: Sequence[list[ContentEvent]], rounds: int) -> dict[float, float]:
    """Margin to µs of CPU an event; the margins take turns, so that what else the machine does meets all alike."""
    least = dict.fromkeys(MARGINS, float("inf"))
    for _ in range(rounds):
        for margin in MARGINS:
            bands = bands_of(scorer, margin)
            began = time.process_time()
            scores(scorer, pools, bands)
            least[margin] = min(least[margin], time.process_time() - began)
    total = sum(map(len, pools))
    return {margin: seconds / total * 1e6 for margin, seconds in least.items()}


def scores(scorer: Scorer, pools: Sequence[list[ContentEvent]], bands: Bands) -> tuple[NDArray[np.int64], float]:
    """Final scores, int64 [n, labels], and the share of events at stage 2."""
    scorer.bands = bands
    found = [infer_stages(pool, scorer) for pool in pools]
    asked = [one.stages.second for one in found if one.stages is not None]
    return np.concatenate([one.micro for one in found]), float(np.concatenate(asked).mean())


def figures(scorer: Scorer, micro: NDArray[np.int64], rows: HeldOut) -> dict[str, float]:
    """Ranking over all rows, and F1 by the default cut-offs of stage 1."""
    ranked = masked_figures(scorer.labels, from_micro(micro).astype(np.float32), rows.targets)
    cutoffs = np.array([round(label.threshold * MICRO) for label in scorer.bundle.manifest.labels])
    return {
        "macro_f1": macro_f1(micro >= cutoffs, rows.targets == 1, rows.targets >= 0),
        "roc_auc": ranked.mean_roc_auc or 0.0,
        "ap": ranked.mean_average_precision or 0.0,
    }


def macro_f1(tagged: NDArray[np.bool_], yes: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    """Mean over the labels; what is unknown counts nowhere."""
    hits = (tagged & yes & known).sum(axis=0)
    return float(np.mean(2 * hits / np.maximum(1, (tagged & known).sum(axis=0) + (yes & known).sum(axis=0))))


def table(rows: Sequence[Row]) -> str:
    """As the documentation has it."""
    head = ("margin, logits", "at stage 2", "µs CPU an event", "macro F1", "mean ROC-AUC", "mean AP", "F1 by chance")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        name = {0.0: "none: stage 1 alone", np.inf: "all: stage 2 alone"}.get(row.margin, f"{row.margin:g}")
        quality = [f"{row.by_band[figure]:.4f}" for figure in ("macro_f1", "roc_auc", "ap")]
        cells = (name, f"{row.share:.1%}", f"{row.cpu_us:.1f}", *quality, f"{row.by_chance['macro_f1']:.4f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row]) -> str:
    """Quality and CPU over the share of events at stage 2."""
    shares = Axis(0, 1, [(at / 4, f"{at * 25} %") for at in range(5)])
    f1 = [row.by_band["macro_f1"] for row in rows] + [row.by_chance["macro_f1"] for row in rows]
    cpu = [row.cpu_us for row in rows]
    band = Line([(row.share, row.by_band["macro_f1"]) for row in rows], "#1f77b4", "by band")
    chance = Line([(row.share, row.by_chance["macro_f1"]) for row in rows], "#999999", "by chance", dashed=True)
    quality = Panel("macro F1 over the share of events at stage 2", shares, _axis(f1, 0.005, 3), [band, chance])
    cost = Line([(row.share, row.cpu_us) for row in rows], "#d62728")
    return draw([quality, Panel("µs of CPU an event", shares, _axis([0.0, *cpu], 20, 0), [cost])])


def _axis(values: Sequence[float], step: float, digits: int) -> Axis:
    first, last = int(np.floor(min(values) / step)), int(np.ceil(max(values) / step))
    return Axis(first * step, last * step, [(at * step, f"{at * step:.{digits}f}") for at in range(first, last + 1)])


def main(
    stage1: Path,
    stage2: Path,
    data: Annotated[Path, typer.Option(help="Directory of the data sets.")],
    rounds: Annotated[int, typer.Option(min=1, help="Of each margin, for CPU time.")] = 9,
    svg: Annotated[Path | None, typer.Option(help="Write the plot to this file.")] = None,
) -> None:
    """Prints the table."""
    scorer, second = load_scorer(stage1, batch=64), load_scorer(stage2, batch=64)
    if scorer.labels != second.labels:
        raise typer.BadParameter("the two bundles do not score the same labels in the same order")
    scorer.second = second
    rows = held_out(scorer, second, data)
    found = measure(scorer, rows, rounds)
    print(f"{len(rows.texts)} rows, mean {np.mean([len(text) for text in rows.texts]):.0f} characters")
    print(table(found))
    if svg is not None:
        svg.write_text(plot(found), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
