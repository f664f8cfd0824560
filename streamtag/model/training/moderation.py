"""The bundle ``moderation``: what its labels mean, how it is trained, how it is measured."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.errors import StreamtagError
from streamtag.model.manifest import Label
from streamtag.model.scorer import Scorer
from streamtag.model.training.assemble import Records, as_scorer, write_model
from streamtag.model.training.data import LABELS, Dataset
from streamtag.model.training.metrics import Figures, evaluate
from streamtag.model.training.split import Split
from streamtag.model.training.train import Recipe, Report, environment, split_dataset, train
from streamtag.model.two_stages import final_scores

NAME = "moderation"
DESCRIPTION = "English comments: toxicity and its kinds, as annotated in the Jigsaw Toxic Comment Classification data."
HELD_OUT = "natural-rate rows, held out by group hash before training"
_MEANINGS = {
    "toxic": "Rude, disrespectful or unreasonable: likely to make people leave a discussion.",
    "severe_toxic": "Very hateful, aggressive or disrespectful.",
    "obscene": "Swear words and other obscene language.",
    "threat": "Announces or wishes violence against somebody.",
    "insult": "Inflammatory or negative towards a person or group.",
    "identity_hate": "Hatred of people for who they are: origin, religion, gender, orientation, disability.",
}
THRESHOLD_RULE = "lowest with an F1 within {within:.0%} of the best, out of fold, on natural-rate rows"
_CRITICAL = frozenset({"threat"})
RECIPE = Recipe()
"""Of the bundle that ships."""


def train_moderation(data: Dataset, directory: Path, *, version: str, recipe: Recipe, report: Report) -> Path:
    """Trains, measures on the held-out split and writes the bundle below ``directory``; returns its path."""
    labels = [Label(name, _MEANINGS[name], threshold=0.5, critical=name in _CRITICAL) for name in LABELS]
    fitted, split = train(data, labels, recipe, report)
    record = _training_record(data, split, recipe)
    draft = Records(NAME, version, DESCRIPTION, training=record)
    report(f"measure on {split.test.sum()} held-out rows")
    figures = measure(as_scorer(fitted, draft), data, split.test)
    finished = Records(NAME, version, DESCRIPTION, training=record, evaluation=_evaluation_record(figures))
    return write_model(directory, fitted, finished)


class Evaluation(msgspec.Struct, frozen=True):
    """Figures of a bundle on data of the same form.

    Attributes:
        split: which rows.
        as_recorded: equal to the manifest's; None on data the manifest says nothing about.
        figures: the figures.
    """

    split: str
    as_recorded: bool | None
    figures: Figures


def evaluate_bundle(scorer: Scorer, data: Dataset, report: Report) -> Evaluation:
    """Measures on rows the bundle never saw: those held out of its training file, or all of another file's.

    Raises:
        StreamtagError: the bundle's labels are not those of the data.
    """
    manifest = scorer.bundle.manifest
    if scorer.labels != LABELS:
        raise StreamtagError(f"bundle {scorer.bundle.ref} has the labels {scorer.labels}, the data {LABELS}")
    if any(source.get("sha256") == data.sha256 for source in manifest.training.get("data", ())):
        recipe = msgspec.convert(manifest.training["recipe"], Recipe)
        figures = measure(scorer, data, split_dataset(data, recipe, report).test)
        recorded = {name: manifest.evaluation.get(name) for name in msgspec.to_builtins(figures)}
        return Evaluation(HELD_OUT, recorded == msgspec.to_builtins(figures), figures)
    report(f"{data.file} is not what {scorer.bundle.ref} was trained from: all natural-rate rows are taken")
    return Evaluation("all natural-rate rows of another file", None, measure(scorer, data, data.natural))


def measure(scorer: Scorer, data: Dataset, use: NDArray[np.bool_]) -> Figures:
    """Figures on the rows marked in ``use``, bool [rows]."""
    rows = np.flatnonzero(use).tolist()
    return evaluate(scorer.labels, final_scores(scorer, [data.texts[i] for i in rows]), data.targets[rows])


def _training_record(data: Dataset, split: Split, recipe: Recipe) -> dict[str, Any]:
    return {
        "data": [{"name": "jigsaw_toxic/" + data.file.name, "sha256": data.sha256, "rows": len(data)}],
        "recipe": msgspec.to_builtins(recipe),
        "rows": {
            "train": int(split.train.sum()),
            "train_natural": int((split.train & data.natural).sum()),
            "test": int(split.test.sum()),
        },
        "threshold_rule": THRESHOLD_RULE.format(within=recipe.f1_within),
        "environment": environment(),
    }


def _evaluation_record(figures: Figures) -> dict[str, Any]:
    return {
        "split": HELD_OUT,
        **msgspec.to_builtins(figures),
    }
