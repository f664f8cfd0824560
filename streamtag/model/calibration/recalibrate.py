"""`streamtag model calibrate`: from a bundle and recent truth to a new version whose scores are probabilities again.

The graph stays as it is, with one rising curve per label behind its scores; so this works for every contract, ranks
documents as before, and leaves labels alone that it cannot help.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.domain.scores import MICRO, to_micro
from streamtag.errors import BundleError
from streamtag.model.bundle import Bundle, write_bundle
from streamtag.model.calibration.curve import probabilities
from streamtag.model.calibration.graph import with_curves
from streamtag.model.calibration.judge import FOLDS, Judged, judge
from streamtag.model.evaluation.labelled import Labelled
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import MODEL, PARITY, Curve, Manifest, Recalibration, dump
from streamtag.model.parity import TOLERANCE, make_parity
from streamtag.model.scorer import Scorer
from streamtag.model.training.held_out import masked_figures

__all__ = ["Cutoff", "Recalibrated", "recalibrate"]


@dataclass(frozen=True)
class Cutoff:
    """A default cut-off before and after, and on how many of the labelled documents they decide otherwise."""

    before: float
    after: float
    changed: int


@dataclass(frozen=True)
class Recalibrated:
    """What was found, and the bundle.

    Attributes:
        path: of the bundle; None where no label got better, so that there is none.
        judged: every label.
        cutoffs: in the order of the labels; empty where there is no bundle.
    """

    path: Path | None
    judged: Judged
    cutoffs: Sequence[Cutoff] = ()


def recalibrate(
    scorer: Scorer,
    data: Labelled,
    scores: NDArray[np.float32],
    directory: Path,
    *,
    version: str,
    labels_sha256: str,
    keep_cutoffs: bool = False,
    draws: int,
) -> Recalibrated:
    """Recalibrates a bundle and writes it below ``directory`` as another version.

    Args:
        scorer: of the bundle.
        data: recent truth, drawn as the stream draws it.
        scores: of its documents by ``scorer``.
        directory: of bundles.
        version: of the new bundle.
        labels_sha256: of the file of labelled documents.
        keep_cutoffs: False: default cut-offs move with the scores, so that the same events are decided; True: they
            keep their numbers.
        draws: of the bootstrap.

    Raises:
        BundleError: the bundle has two stages, the version exists with other content, or the new graph fails a gate.
    """
    if scorer.bundle.manifest.stage2 is not None:
        raise BundleError(
            f"{scorer.bundle.ref} has two stages",
            hint="Recalibrate the bundle of each stage, and put them together again with bands of the new scores.",
        )
    judged = judge(data, scores, draws=draws)
    curves = [one.curve for one in judged.labels]
    if all(curve.kept for curve in curves):
        return Recalibrated(None, judged)
    old = scorer.bundle
    model = with_curves(old.model, curves, len(old.manifest.recalibrations) + 1)
    step = Recalibration(old.ref.name, old.ref.version, old.ref.sha256, labels_sha256, len(data.texts), curves)
    changes: dict[str, Any] = {
        "version": version,
        "recalibrations": [*old.manifest.recalibrations, step],
        "evaluation": _evaluation(judged, data),
    }
    manifest = msgspec.structs.replace(old.manifest, **changes)
    new = Scorer(replace(old, manifest=manifest, model=model), batch=scorer.batch)
    after = new.score(data.texts, data.features)
    _check_graph(old, curves, scores, after)
    cutoffs = [_cutoff(new, j, curves[j], scores[:, j], after[:, j], keep_cutoffs) for j in range(len(curves))]
    labels = [
        msgspec.structs.replace(label, threshold=cutoff.after)
        for label, cutoff in zip(manifest.labels, cutoffs, strict=True)
    ]
    path = _write(new, msgspec.structs.replace(manifest, labels=labels), directory)
    return Recalibrated(path, judged, cutoffs)


def _evaluation(judged: Judged, data: Labelled) -> dict[str, Any]:
    """Figures for the manifest: those of its predecessor are of other scores."""
    figures = masked_figures(data.labels, judged.scores.astype(np.float32), data.targets)
    split = (
        f"labelled documents that it was recalibrated on, each scored by curves fitted on the other {FOLDS - 1} folds"
    )
    return {"split": split, **msgspec.to_builtins(figures)}


def _check_graph(old: Bundle, curves: Sequence[Curve], before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
    """The graph must give what was fitted, and a label that is kept the very bits it had."""
    apart = np.abs(after - probabilities(curves, before))
    wrong = [
        f"label {curve.label}: up to {gap:.2g} apart"
        for curve, gap in zip(curves, apart.max(axis=0).tolist(), strict=True)
        if not gap <= (0 if curve.kept else TOLERANCE)  # NaN compares false
    ]
    if wrong:
        raise BundleError(
            f"the graph of {old.ref} does not give what was fitted", problems=wrong, hint="Nothing was written."
        )


def _cutoff(
    new: Scorer, j: int, curve: Curve, before: NDArray[np.float32], after: NDArray[np.float32], keep: bool
) -> Cutoff:
    """The cut-off that decides as the old one did: by the curve, moved in between the documents on either side."""
    old = new.bundle.manifest.labels[j].threshold
    tagged = to_micro(before) >= round(old * MICRO)
    scores = to_micro(after)
    if keep or curve.kept:
        micro = round(old * MICRO)
    else:
        micro = round(float(probabilities([curve], np.array([[old]]))[0, 0]) * MICRO)
        least = int(scores[~tagged].max()) + 1 if not tagged.all() else 0
        most = int(scores[tagged].min()) if tagged.any() else MICRO
        if least <= most:
            micro = min(max(micro, least), most)
    return Cutoff(old, micro / MICRO, int(((scores >= micro) != tagged).sum()))


def _write(new: Scorer, manifest: Manifest, directory: Path) -> Path:
    """With fixtures of the same documents, and every gate passed before it lies where it is found."""
    bundle, fixtures = new.bundle, new.bundle.parity.fixtures
    features = [fixture.features for fixture in fixtures]
    given = features if any(one is not None for one in features) else None
    parity = make_parity(new, [fixture.text for fixture in fixtures], given, tolerance=bundle.parity.tolerance)
    files = {MODEL: bundle.model, PARITY: dump(parity), **bundle.contents}
    with tempfile.TemporaryDirectory(prefix="streamtag-calibrate-") as scratch:
        load_scorer(write_bundle(Path(scratch), manifest, files), batch=new.batch)
    return write_bundle(directory, manifest, files)
