"""Scores that the model gave where it was made, to hold the graph against."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from streamtag import strict_json
from streamtag.events.content import FeatureValue
from streamtag.model.scorer import Scorer

_SHOWN = 10


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    scores: list[float] | dict[str, float]
    text: str = ""
    features: dict[str, FeatureValue] | None = None


@dataclass(frozen=True)
class Expected:
    """Documents with the scores they must get."""

    texts: Sequence[str]
    features: Sequence[dict[str, FeatureValue] | None]
    scores: Sequence[Sequence[float]]


def read_expected(content: bytes, labels: Sequence[str], problems: list[str]) -> Expected | None:
    """JSON lines of ``{"text", "features", "scores"}``; None, and why in ``problems``, when they are something else.

    Args:
        content: ``scores`` are a list in the order of ``labels``, or better a map from label to score: only then
            does it show when labels stand in another order than the columns of the graph.
        labels: of the graph's columns.
        problems: what is wrong is added here.
    """
    before = len(problems)
    lines, rows = [], []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            one = strict_json.decode(line, _Line)
        except msgspec.DecodeError as error:
            problems.append(f"expected scores: line {number}: {error}")
            continue
        lines.append(one)
        if isinstance(one.scores, dict):
            if one.scores.keys() != set(labels):
                problems.append(f"expected scores: line {number}: must have a score for each label, and for no other")
            rows.append([one.scores.get(label, 0.0) for label in labels])
        else:
            if len(one.scores) != len(labels):
                problems.append(f"expected scores: line {number}: {len(one.scores)} scores for {len(labels)} labels")
            rows.append(one.scores)
    if not lines and len(problems) == before:
        problems.append("expected scores: the file is empty")
    if len(problems) > before:
        return None
    return Expected([one.text for one in lines], [one.features for one in lines], rows)


def differences(scorer: Scorer, expected: Expected, tolerance: float, problems: list[str]) -> float:
    """The largest difference between the scores of the graph and the expected ones; too large ones are problems."""
    got = scorer.score(expected.texts, expected.features).astype(np.float64)
    wanted = np.array(expected.scores, dtype=np.float64)
    apart = np.abs(got - wanted)
    wrong = np.argwhere(~(apart <= tolerance))  # NaN compares false
    # Never the text: it may be anything.
    problems += [
        f"expected scores: document {i + 1}, {scorer.labels[j]}: {got[i, j]:.6f}, must be {wanted[i, j]:.6f} ± "
        f"{tolerance:g}"
        for i, j in wrong[:_SHOWN].tolist()
    ]
    if len(wrong) > _SHOWN:
        problems.append(
            f"expected scores: {len(wrong) - _SHOWN} more differ; labels in another order look like this, too"
        )
    return float(np.nanmax(apart, initial=0.0))
