"""Bundles of two stages: made of two bundles, and scored as a whole where there are no events (evaluation)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import to_micro
from streamtag.errors import RefusedError
from streamtag.model.bundle import Bundle, write_bundle
from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.model.manifest import MANIFEST, STAGE2, Band, Manifest, Stage2, StageBundle
from streamtag.model.scorer import Scorer

__all__ = ["final_scores", "pair"]

Bands = Mapping[str, tuple[float, float]]


def pair(
    first: Bundle,
    second: Bundle | None,
    out: Path,
    *,
    name: str,
    version: str,
    bands: Bands,
    sample: float,
) -> Path:
    """Writes a bundle of two stages and returns its path.

    Args:
        first: scores every event. Where it has two stages itself, only the first of them counts.
        second: scores those that the first is unsure of; None: the second stage that ``first`` has.
        out: directory of bundles.
        name: of the new bundle.
        version: likewise.
        bands: label to the scores of stage 1 that are not trusted.
        sample: share of events that go to stage 2 whatever their scores.

    Raises:
        RefusedError: the two do not score the same labels in the same order, or there is no second stage.
        BundleError: the version exists with other content, or the bands are not valid.
    """
    manifest, files = _own(first)
    if second is None:
        if first.stage2 is None:
            raise RefusedError(f"{first.ref} has one stage", hint="Name the bundle that shall be stage 2.")
        kept = {file: content for file, content in _read(first).items() if file.startswith(STAGE2)}
        second = first.stage2
    else:
        if second.stage2 is not None:
            raise RefusedError(f"{second.ref} has two stages itself", hint="Name the bundle its second stage was.")
        kept = {STAGE2 + file: content for file, content in _read(second).items()}
        kept[STAGE2 + MANIFEST] = (second.path / MANIFEST).read_bytes()
    if first.labels != second.labels:
        raise RefusedError(
            f"{first.ref} and {second.ref} do not score the same labels in the same order",
            problems=[f"stage 1: {', '.join(first.labels)}", f"stage 2: {', '.join(second.labels)}"],
        )
    stage2 = Stage2(
        bundle=StageBundle(second.ref.name, second.ref.version, second.ref.sha256),
        bands=[Band(label, *bands[label]) for label in first.labels if label in bands]
        + [Band(label, *ends) for label, ends in bands.items() if label not in first.labels],
        sample=sample,
    )
    manifest = msgspec.structs.replace(
        manifest,
        name=name,
        version=version,
        evaluation={},  # those of stage 1 are not those of the whole
        stage2=stage2,
    )
    return write_bundle(out, manifest, {**files, **kept})


def final_scores(
    scorer: Scorer, texts: Sequence[str], features: Sequence[FeatureRow | None] | None = None
) -> NDArray[np.float32]:
    """Scores as an event gets them that is not in the sample, without a budget; float32 [n, labels].

    Of a bundle with one stage these are `Scorer.score`. What stage 2 cannot score keeps the scores of stage 1.
    """
    scores = scorer.score(texts, features)
    if scorer.second is None or scorer.bands is None:
        return scores
    fit: NDArray[np.bool_] = np.all(np.isfinite(scores), axis=1)
    rows = np.flatnonzero(fit & scorer.bands.hold(to_micro(np.where(fit[:, None], scores, 0))))
    chosen = rows.tolist()
    second = scorer.second.score(
        [texts[row] for row in chosen], None if features is None else [features[row] for row in chosen]
    )
    valid: NDArray[np.bool_] = np.all(np.isfinite(second), axis=1)
    scores[rows[valid]] = second[valid]
    return scores


def _own(bundle: Bundle) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and files of a bundle without a second stage that it may have."""
    files = {name: content for name, content in _read(bundle).items() if not name.startswith(STAGE2)}
    return msgspec.structs.replace(bundle.manifest, stage2=None), files


def _read(bundle: Bundle) -> dict[str, bytes]:
    # Files that have changed since the bundle was verified are found when the new one is.
    return {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}
