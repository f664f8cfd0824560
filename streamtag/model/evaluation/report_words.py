"""What the evaluation page says in words: what stands out, and how to read a figure."""

import math
from collections.abc import Iterator
from html import escape

from streamtag.model.evaluation.result import Evaluation

__all__ = ["GLOSSARY", "summary"]

GLOSSARY = {
    "Precision, recall, F1": "Of what was tagged, how much is right; of what is there, how much was tagged; their "
    "harmonic mean. All at the cut-offs.",
    "ROC-AUC": "The chance that a positive scores above a negative. 0.5 is guessing. It flatters rare labels: look at "
    "average precision, too.",
    "Average precision": "Precision averaged over recall. Guessing gives the share of positives.",
    "ECE": "Mean distance between scores and the share of positives at them, in 15 bins. It is too high on few "
    "documents: “perfect” is what a perfectly calibrated model with these scores stays below 95 times of 100; "
    "“debiased” is less the bias that the draws show.",
    "Brier": "Mean squared distance between score and truth. Smaller is better; it depends on how rare a label is.",
    "Interval": "What 95 of 100 draws of whole groups of documents give. Two bundles whose bands overlap may still "
    "differ: streamtag model compare draws them together.",
}


def summary(found: Evaluation, few: int) -> Iterator[str]:
    """Lines of HTML: the best and the weakest label, what cannot be said, and which scores are no probabilities."""
    enough = [j for j, n in enumerate(found.positives) if n >= few]
    ranked = sorted((found.figures["f1"][j].value, j) for j in enough if not math.isnan(found.figures["f1"][j].value))
    if len(ranked) > 1:
        (worst, low), (best, high) = ranked[0], ranked[-1]
        yield (
            f"F1 is highest for {_name(found, high)} ({best:.3f}) and lowest for {_name(found, low)} ({worst:.3f}), "
            f"among labels with {few} positives or more."
        )
    rare = [j for j in range(len(found.labels)) if j not in enough]
    if rare:
        yield f"Fewer than {few} positives, too few to judge by: {', '.join(_name(found, j) for j in rare)}."
    off = [j for j in enough if found.figures["ece"][j].value > found.ece_null_95[j]]
    if off:
        named = ", ".join(_name(found, j) for j in off)
        yield (
            f"The ECE is above what chance explains for {named}: of perfectly calibrated labels, one in 20 is. "
            "<code>streamtag model calibrate</code> says whether that can be mended."
        )
    elif enough:
        yield "Of no label with positives enough do these documents show that its scores are no probabilities."


def _name(found: Evaluation, j: int) -> str:
    return f"<strong>{escape(found.labels[j])}</strong>"
