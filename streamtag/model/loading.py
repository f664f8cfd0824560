"""From a directory to a scorer that may decide: every gate a bundle must pass before it is put to work.

Read → verify hashes → load the graph → largest inputs → parity → probabilities → same bits in any batch → warm-up. The
caller swaps only what came back from here; when a gate fails, whatever serves goes on serving.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamtag.errors import BundleError
from streamtag.model.bundle import MEND_HINT, read_bundle
from streamtag.model.contracts.preprocessor import Documents, FeatureRow
from streamtag.model.giving_way import give_way
from streamtag.model.manifest import Batching, Fixture
from streamtag.model.scorer import Scorer
from streamtag.model.session import ORT_ERRORS

# Own words, chosen for lengths: alone, among their like, and beside an outlier that stretches the padding.
_SHORT = ["", "a", "ok", "see you at noon", "Grüße aus Köln", "the train leaves at 10:45 from platform 3"]
_OUTLIER = " ".join(f"item {i}: {i * i} apples, {i % 7} pears and a note on row {i}" for i in range(80))


PARITY_GATE, INVARIANCE_GATE = "parity", "same bits in any batch"


def load_scorer(path: Path, *, batch: int, trusted: Sequence[str] = (), sha256: str | None = None) -> Scorer:
    """A scorer for the bundle at ``path`` that passed every gate.

    Args:
        path: bundle directory.
        batch: texts per run of the model.
        trusted: `model.trusted_keys`, see `read_bundle`.
        sha256: of its manifest, where it was found before: a directory can be changed in between.

    Raises:
        BundleError: names the gate and everything that failed it; or it is another bundle by now.
    """
    bundle = read_bundle(path, trusted=trusted)
    if sha256 is not None and bundle.ref.sha256 != sha256:
        raise BundleError(f"{path} has become another bundle since it was found: {bundle.ref}")
    give_way()
    scorer = Scorer(bundle, batch=batch)
    for stage, of in ((scorer, ""), (scorer.second, "stage 2 of ")):
        for gate, found in gates(stage) if stage is not None else ():
            if found:
                text = f"{of}bundle {scorer.bundle.ref} at {path} fails the gate: {gate}"
                raise BundleError(text, problems=found, hint=MEND_HINT)
    return scorer


def gates(scorer: Scorer) -> Iterator[tuple[str, list[str]]]:
    """Runs one gate after the other: its name, and everything that fails it. The last of them warms up."""
    documents = _Documents(scorer)
    checks = (
        ("largest inputs", _edge_problems),
        (PARITY_GATE, _parity_problems),
        ("probabilities", _range_problems),
        (INVARIANCE_GATE, _invariance_problems),
        ("warm-up", _warm_up),
    )
    for gate, check in checks:
        give_way()
        try:
            found = check(documents)
        except ORT_ERRORS as error:
            found = [f"the graph failed: {str(error).strip()[:300]}"]
        yield gate, found


class _Documents:
    """What the gates score: own texts, then the fixtures' (features are the fixtures' throughout), then an outlier.

    Each is scored alone once for all gates: a second stage takes milliseconds a document.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        texts, features = _columns(scorer.bundle.parity.fixtures)
        if features is not None:
            features = [*(features[i % len(features)] for i in range(len(_SHORT))), *features]
        self.texts, self.features = [*_SHORT, *texts], features
        self.rows = np.arange(len(self.texts))

    @cached_property
    def read(self) -> Documents:
        """All of them as the preprocessor reads them."""
        return self.scorer.preprocessor.read(
            [*self.texts, _OUTLIER], self.features and [*self.features, self.features[0]]
        )

    @cached_property
    def alone(self) -> NDArray[np.float32]:
        """Scores of all but the outlier, each in a run of its own."""
        return _each(self.scorer, self.read, self.rows)


def _edge_problems(documents: _Documents) -> list[str]:
    """The graph must bear the largest inputs that its contract can give, and answer with a row for each document."""
    scorer = documents.scorer
    edge = scorer.preprocessor.edge()
    if edge is not None:
        rows = max(1, (scorer.bundle.manifest.batching or Batching()).min_rows)
        scorer.session.run({name: np.repeat(values, rows, axis=0) for name, values in edge.items()})
    got, wanted = scorer.run(documents.read, documents.rows[:1]).shape, (1, len(scorer.labels))
    return [] if got == wanted else [f"gives scores of shape {got} for one document; must be {wanted}"]


def _parity_problems(documents: _Documents) -> list[str]:
    scorer = documents.scorer
    parity = scorer.bundle.parity
    expected = np.array([fixture.scores for fixture in parity.fixtures], dtype=np.float64)
    got = documents.alone[len(_SHORT) :].astype(np.float64)
    apart = np.abs(got - expected)
    # NaN compares false: ask for what must hold, not for its opposite
    wrong = np.argwhere(~(apart <= parity.tolerance))
    return [
        f"fixture {i}, {scorer.labels[j]}: {got[i, j]:.7f}, must be {expected[i, j]:.7f} ± {parity.tolerance:g}"
        for i, j in wrong.tolist()
    ]


def _range_problems(documents: _Documents) -> list[str]:
    """What scores anything else than 0 … 1 would make dead letters of its events."""
    refused = [i for i in documents.read.refused if i < len(documents.rows)]  # by the contract: they have no scores
    scores = np.delete(documents.alone, refused, axis=0)
    # NaN compares false: ask for what must hold, not for its opposite
    wrong = scores[~((scores >= 0) & (scores <= 1)).all(axis=1)]
    if not len(wrong):
        return []
    reach = f"from {wrong.min():g} to {wrong.max():g}"
    return [f"{len(wrong)} of {len(scores)} documents have scores {reach}; must be 0 … 1: are they logits?"]


def _invariance_problems(documents: _Documents) -> list[str]:
    """Each document alone must have the bits it has in every other company and padding."""
    scorer, read, everyone, alone = documents.scorer, documents.read, documents.rows, documents.alone
    companies = {
        "in a batch": _together(scorer, read, everyone),
        "in a full batch, reversed": _in_full_batches(scorer, read, everyone[::-1])[::-1],
    }
    if scorer.preprocessor.mixes:  # else those that share a run are of one width, whoever comes along
        companies["beside a long text"] = _together(scorer, read, np.append(everyone, len(everyone)))[:-1]
        companies["with more padding"] = _each(scorer, read, everyone, wider=3)
    found = []
    for company, scores in companies.items():
        differ = np.flatnonzero((scores.view(np.uint32) != alone.view(np.uint32)).any(axis=1))
        if len(differ):
            found.append(f"{len(differ)} of {len(alone)} texts score differently {company} than alone")
    return found


def _columns(fixtures: Sequence[Fixture]) -> tuple[list[str], list[FeatureRow | None] | None]:
    features: list[FeatureRow | None] = [fixture.features for fixture in fixtures]
    return [fixture.text for fixture in fixtures], features if any(one is not None for one in features) else None


def _each(scorer: Scorer, read: Documents, rows: NDArray[np.intp], *, wider: int = 0) -> NDArray[np.float32]:
    """Scores of documents, each in a run of its own."""
    return np.concatenate([scorer.run(read, rows[i : i + 1], wider=wider) for i in range(len(rows))])


def _together(scorer: Scorer, read: Documents, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Scores of documents in as few runs as the contract allows, in the order of ``rows``."""
    scores = np.empty((len(rows), len(scorer.labels)), dtype=np.float32)
    for places in _split(scorer, read, rows, len(rows)):
        scores[places] = scorer.run(read, rows[places])
    return scores


def _in_full_batches(scorer: Scorer, read: Documents, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """The same in runs of exactly the size the scorer cuts, filled up with the first document of each."""
    scores = np.empty((len(rows), len(scorer.labels)), dtype=np.float32)
    for places in _split(scorer, read, rows, scorer.batch):
        filling = np.full(scorer.batch - len(places), rows[places[0]])
        scores[places] = scorer.run(read, np.append(rows[places], filling))[: len(places)]
    return scores


def _split(scorer: Scorer, read: Documents, rows: NDArray[np.intp], most: int) -> Iterator[NDArray[np.intp]]:
    """Places in ``rows`` of what may share a run: anything, or what the contract puts together."""
    limits = scorer.bundle.manifest.batching
    most = min(most, (limits and limits.max_rows) or most)
    if scorer.preprocessor.mixes:
        yield from (np.arange(at, min(at + most, len(rows))) for at in range(0, len(rows), most))
        return
    place_of = np.full(read.n, -1, dtype=np.intp)
    place_of[rows] = np.arange(len(rows))
    for run in scorer.preprocessor.runs(read, read.n):
        places = np.sort(place_of[run][place_of[run] >= 0])
        yield from (places[at : at + most] for at in range(0, len(places), most))


def _warm_up(documents: _Documents) -> list[str]:
    # First runs of a shape pay for kernels and page faults; after this, the first real batch does not. What runs by
    # width has had full runs of the common ones in the gate before.
    scorer, features = documents.scorer, documents.features
    sizes = sorted({1, scorer.batch}) if scorer.preprocessor.mixes else []
    for size in sizes:
        scorer.score([_OUTLIER[:180]] * size, features and features[:1] * size)
    scorer.take_filled()
    return []
