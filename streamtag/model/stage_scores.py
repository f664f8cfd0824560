"""Scores of both stages as they were recorded, and the bands that follow from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag import strict_json
from streamtag.domain.band_proposal import Proposal, propose
from streamtag.domain.scores import MICRO
from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.bundle import Bundle

__all__ = ["Proposed", "StageScores", "propose_bands", "read_stage_scores"]

_SAMPLE = "sample"
_MOST_PROBLEMS = 20


@dataclass(frozen=True, eq=False)
class StageScores:
    """What both stages said of the same events, none of which was chosen by its scores.

    Attributes:
        first, second: millionths, int64 [n, labels].
        passed_over: lines of other events: not sampled, or scored by other bundles.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    passed_over: int


@dataclass(frozen=True)
class Proposed:
    """Bands of a bundle.

    Attributes:
        labels: what was found for each.
        bands: of the labels that are decided: label to [low, high].
        share: of the events seen, those with a score in any band.
    """

    labels: Mapping[str, Proposal]
    bands: Mapping[str, list[float]]
    share: float


class _Line(msgspec.Struct):
    """The fields of a tag event, or of a line of `streamtag score`, that matter here."""

    scores: dict[str, float] = {}
    stage1_scores: dict[str, float] | None = None
    stage2: str | None = _SAMPLE  # a file of scores alone says nothing of stages: all of it counts
    stage: str = "1"
    release: dict[str, Any] = {}


def read_stage_scores(paths: Sequence[Path], bundle: Bundle) -> StageScores:
    """Reads JSON lines: tag events of the bundle, lines of `streamtag score`, or ``{stage1_scores, scores}`` alone.

    Raises:
        NotFoundError: a file cannot be read.
        RefusedError: lines that are none of these, by their numbers; or no event of the sample among them.
    """
    labels = bundle.labels
    first, second, problems, passed_over = list[list[int]](), list[list[int]](), list[str](), 0
    for where, raw in _lines(paths):
        try:
            line = strict_json.decode(raw, _Line)
        except msgspec.DecodeError:
            problems.append(f"{where}: not a tag event, nor a line of `streamtag score`")
            continue
        if line.stage1_scores is None or line.stage2 != _SAMPLE or not _of(bundle, line.release):
            passed_over += 1
            continue
        try:
            first.append(_micro(line.stage1_scores, labels))
            second.append(_micro(line.scores, labels))
        except KeyError as missing:
            problems.append(f"{where}: no score of {missing.args[0]!r}")
        except ValueError:
            problems.append(f"{where}: a score that is no probability")
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise RefusedError("some lines cannot be read", problems=problems[:_MOST_PROBLEMS] + more)
    if not first:
        raise RefusedError(
            f"no event among {passed_over} lines that both stages of {bundle.ref} scored and that is in the sample",
            hint="Score some with a bundle whose sample is 1, or wait for the stream's sample.",
        )
    return StageScores(np.array(first, dtype=np.int64), np.array(second, dtype=np.int64), passed_over)


def propose_bands(
    seen: StageScores, labels: Sequence[str], cutoffs: Mapping[str, float], *, miss: float, confidence: float
) -> Proposed:
    """The smallest band of each label that leaves at most ``miss`` of its flips outside, with this confidence."""
    found = {
        label: propose(
            seen.first[:, j], seen.second[:, j], round(cutoffs[label] * MICRO), miss=miss, confidence=confidence
        )
        for j, label in enumerate(labels)
    }
    held = np.zeros(len(seen.first), dtype=np.bool_)
    bands = {}
    for j, (label, one) in enumerate(found.items()):
        if one.low is not None and one.high is not None:
            bands[label] = [one.low / MICRO, one.high / MICRO]
            held |= (seen.first[:, j] >= one.low) & (seen.first[:, j] <= one.high)
    return Proposed(found, bands, float(held.mean()))


def _lines(paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Place and content of each line that is not blank."""
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    if raw.strip():
                        yield f"{path}:{number}", raw
        except OSError as error:
            raise NotFoundError(f"cannot read {path}: {error.strerror}") from None


def _of(bundle: Bundle, release: Mapping[str, Any]) -> bool:
    """Whether a line was scored by this bundle; a line that does not say by which is taken to be."""
    named = release.get("bundle")
    sha256 = named.get("sha256") if isinstance(named, Mapping) else release.get("bundle_sha256")
    return sha256 is None or sha256 == bundle.ref.sha256


def _micro(scores: Mapping[str, float], labels: Sequence[str]) -> list[int]:
    found = [scores[label] for label in labels]
    if not all(0 <= score <= 1 for score in found):
        raise ValueError
    return [round(score * MICRO) for score in found]
