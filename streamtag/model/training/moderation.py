"""The bundle ``moderation``: what its labels mean, how it is trained, how it is measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from streamtag.model.manifest import Label
from streamtag.model.scorer import Scorer
from streamtag.model.training.assemble import Records, as_scorer, write_model
from streamtag.model.training.data import LABELS, Dataset
from streamtag.model.training.metrics import Figures, evaluate
from streamtag.model.training.split import Split
from streamtag.model.training.train import Recipe, Report, environment, split_dataset, train

NAME = "moderation"
DESCRIPTION = "English comments: toxicity and its kinds, as annotated in the Jigsaw Toxic Comment Classification data."
_MEANINGS = {
    "toxic": "Rude, disrespectful or unreasonable: likely to make people leave a discussion.",
    "severe_toxic": "Very hateful, aggressive or disrespectful.",
    "obscene": "Swear words and other obscene language.",
    "threat": "Announces or wishes violence against somebody.",
    "insult": "Inflammatory or negative towards a person or group.",
    "identity_hate": "Hatred of people for who they are: origin, religion, gender, orientation, disability.",
}
_CRITICAL = frozenset({"threat"})


def train_moderation(data: Dataset, directory: Path, *, version: str, recipe: Recipe, report: Report) -> Path:
    """Trains, measures on the held-out split and writes the bundle below ``directory``; returns its path."""
    labels = [Label(name, _MEANINGS[name], threshold=0.5, critical=name in _CRITICAL) for name in LABELS]
    fitted, split = train(data, labels, recipe, report)
    record = _training_record(data, split, recipe)
    draft = Records(NAME, version, DESCRIPTION, training=record)
    report(f"measure on {split.test.sum()} held-out rows")
    figures = measure(as_scorer(fitted, draft), data, split)
    finished = Records(NAME, version, DESCRIPTION, training=record, evaluation=_evaluation_record(figures))
    return write_model(directory, fitted, finished)


def measure(scorer: Scorer, data: Dataset, split: Split) -> Figures:
    """Figures on the rows held out by ``split``."""
    rows = split.test.nonzero()[0].tolist()
    return evaluate(scorer.labels, scorer.score([data.texts[i] for i in rows]), data.targets[rows])


def split_of(training: Mapping[str, Any], data: Dataset, report: Report) -> Split:
    """The split that a bundle's training record describes, found anew from the data."""
    return split_dataset(data, msgspec.convert(training["recipe"], Recipe), report)


def _training_record(data: Dataset, split: Split, recipe: Recipe) -> dict[str, Any]:
    return {
        "data": [{"name": "jigsaw_toxic/" + data.file.name, "sha256": data.sha256, "rows": len(data)}],
        "recipe": msgspec.to_builtins(recipe),
        "rows": {
            "train": int(split.train.sum()),
            "train_natural": int((split.train & data.natural).sum()),
            "test": int(split.test.sum()),
        },
        "threshold_rule": "highest F1 on out-of-fold natural-rate training rows, three decimals",
        "environment": environment(),
    }


def _evaluation_record(figures: Figures) -> dict[str, Any]:
    return {
        "split": "natural-rate rows, held out by group hash before training",
        **msgspec.to_builtins(figures),
    }
