"""From a directory to a scorer that may decide: every gate a bundle must pass before it is put to work.

Read → verify hashes → load the graph → parity → same bits in any batch → warm-up. The caller swaps only what came
back from here; when a gate fails, whatever serves goes on serving.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamtag.errors import BundleError
from streamtag.model.bundle import read_bundle
from streamtag.model.ngrams import PAD_TO, Features
from streamtag.model.scorer import Scorer
from streamtag.model.session import ORT_ERRORS

# Own words, chosen for lengths: alone, among their like, and beside an outlier that stretches the padding.
_SHORT = ["", "a", "ok", "see you at noon", "Grüße aus Köln", "the train leaves at 10:45 from platform 3"]
_OUTLIER = " ".join(f"item {i}: {i * i} apples, {i % 7} pears and a note on row {i}" for i in range(80))


def load_scorer(path: Path, *, batch: int, trusted: Sequence[str] = ()) -> Scorer:
    """A scorer for the bundle at ``path`` that passed every gate.

    Args:
        path: bundle directory.
        batch: texts per run of the model.
        trusted: `model.trusted_keys`, see `read_bundle`.

    Raises:
        BundleError: names the gate and everything that failed it.
    """
    scorer = Scorer(read_bundle(path, trusted=trusted), batch=batch)
    bundle = scorer.bundle
    for gate, check in (("parity", _parity_problems), ("same bits in any batch", _invariance_problems)):
        try:
            found = check(scorer)
        except ORT_ERRORS as error:
            found = [f"the graph failed: {str(error).strip()[:300]}"]
        if found:
            raise BundleError(f"bundle {bundle.ref} at {path} fails the gate: {gate}", problems=found)
    _warm_up(scorer)
    return scorer


def _parity_problems(scorer: Scorer) -> list[str]:
    parity = scorer.bundle.parity
    expected = np.array([fixture.scores for fixture in parity.fixtures], dtype=np.float64)
    got = scorer.score([fixture.text for fixture in parity.fixtures]).astype(np.float64)
    apart = np.abs(got - expected)
    # NaN compares false: ask for what must hold, not for its opposite
    wrong = np.argwhere(~(apart <= parity.tolerance))
    return [
        f"fixture {i}, {scorer.labels[j]}: {got[i, j]:.7f}, must be {expected[i, j]:.7f} ± {parity.tolerance:g}"
        for i, j in wrong.tolist()
    ]


def _invariance_problems(scorer: Scorer) -> list[str]:
    """Each text alone must have the bits it has in every other company and padding."""
    texts = [*_SHORT, *(fixture.text for fixture in scorer.bundle.parity.fixtures)]
    alone = np.concatenate([_run(scorer, [text]) for text in texts])
    companies = {
        "in a batch": _run(scorer, texts),
        "in a batch, reversed": _run(scorer, texts[::-1])[::-1],
        "beside a long text": _run(scorer, [*texts, _OUTLIER])[:-1],
        "in a full batch": _in_full_batches(scorer, texts),
        "with more padding": np.concatenate([_run(scorer, [text], extra=3 * PAD_TO) for text in texts]),
    }
    found = []
    for company, scores in companies.items():
        differ = np.flatnonzero((scores.view(np.uint32) != alone.view(np.uint32)).any(axis=1))
        if len(differ):
            found.append(f"{len(differ)} of {len(texts)} texts score differently {company} than alone")
    return found


def _in_full_batches(scorer: Scorer, texts: Sequence[str]) -> NDArray[np.float32]:
    """Scores of ``texts`` in runs of exactly the size the scorer cuts, filled up with the first of them."""
    rows = []
    for at in range(0, len(texts), scorer.batch):
        run = list(texts[at : at + scorer.batch])
        rows.append(_run(scorer, run + [texts[0]] * (scorer.batch - len(run)))[: len(run)])
    return np.concatenate(rows)


def _run(scorer: Scorer, texts: Sequence[str], *, extra: int = 0) -> NDArray[np.float32]:
    """One run of the graph on exactly these texts, padded by ``extra`` more than needed."""
    featuriser = scorer.featuriser
    features = featuriser.features(texts)
    if extra:
        ids = np.pad(features.ids, ((0, 0), (0, extra)), constant_values=featuriser.n_buckets)
        features = Features(ids, np.pad(features.weights, ((0, 0), (0, 0), (0, extra))))
    return scorer.session.run(features)


def _warm_up(scorer: Scorer) -> None:
    # First runs of a shape pay for kernels and page faults; after this, the first real batch does not.
    for size in sorted({1, scorer.batch}):
        scorer.score([_OUTLIER[:180]] * size)
