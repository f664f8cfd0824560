"""What scoring costs, step by step and beside scikit-learn: documents a second on one core.

The texts of the benchmark's corpus come in pools as large as the tagger's batches. The steps are those of
`streamtag.model.scorer` (stage 1, of a bundle with two stages), each on what the step before has made ready:

==========  =========================================================================================================
read        documents in the contract's own form: for n-grams cut, normalise, encode; for log events render, too
featurise   inputs of the graph: hash, look up, count, weigh, put into rectangles, run by run
graph       onnxruntime on inputs that lie ready
score       all of it, as the tagger calls it; more than the sum, for each step finds the caches of another
==========  =========================================================================================================

``sklearn`` is what one would write instead: `HashingVectorizer` on characters (2 to 5, 2**18 buckets, no word bounds),
a product with as many columns as the bundle has labels, a logistic function. It does the same kind of work, not the
same: no cutting, no normalising but lower case, no IDF, no calibration, code points for bytes.

The turns of all take place one after the other, round by round, so that what the machine does else passes into all
figures alike. Figures are CPU time of the process; neither Kafka nor Redis is needed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.preprocessor import Documents, Inputs
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.settings import load_settings
from streamtag.tagger.memory import keep_freed_memory

from . import report
from .corpus import Corpus

STEPS = ("read", "featurise", "graph", "score")
_TEXTS, _TEXTS_SKLEARN = 8_192, 1_024
_BUCKETS, _SIZES = 1 << 18, (2, 5)
_SEED = 20_261_128


class Steps:
    """The steps of one bundle on the corpus; what each step needs lies ready.

    Attributes:
        scorer: of the bundle.
        texts: the documents.
        inputs: of the graph, run by run.
    """

    def __init__(self, bundle: Path, texts: int = _TEXTS) -> None:
        settings = load_settings(environ={}).settings
        self.scorer = load_scorer(bundle, batch=settings.model.batch)
        self.texts = Corpus().texts[:texts]
        pool = settings.tagger.batch_size
        self._pools = [self.texts[at : at + pool] for at in range(0, len(self.texts), pool)]
        self._read = list(map(self._documents, self._pools))
        self.inputs = [inputs for documents in self._read for inputs in self._featurised(documents)]

    def work(self) -> Mapping[str, Callable[[], None]]:
        """Each step on all texts."""
        return {
            "read": lambda: _each(self._documents, self._pools),
            "featurise": lambda: _each(lambda documents: _each(len, self._featurised(documents)), self._read),
            "graph": lambda: _each(self.scorer.session.run, self.inputs),
            "score": lambda: _each(self.scorer.score, self._pools),
        }

    def shape(self) -> dict[str, float]:
        """Of weighted ids: how many a text has, and cells of the rectangles for each; empty for other contracts."""
        if any(inputs.keys() != {"ids", "weights"} for inputs in self.inputs):
            return {}
        cells = sum(inputs["ids"].size for inputs in self.inputs)
        used = sum(int(np.count_nonzero(inputs["weights"])) for inputs in self.inputs)
        return {"ids_per_text": round(used / len(self.texts), 1), "cells_per_id": round(cells / used, 3)}

    def _documents(self, pool: Sequence[str]) -> Documents:
        return self.scorer.preprocessor.read(pool, None)

    def _featurised(self, documents: Documents) -> Iterator[Inputs]:
        preprocessor = self.scorer.preprocessor
        for run in preprocessor.runs(documents, self.scorer.batch):
            yield preprocessor.inputs(documents, run)


def sklearn_scorer(labels: int) -> Callable[[Sequence[str]], NDArray[Any]]:
    """A scorer of the same kind made of scikit-learn's parts, with made-up weights."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer: Any = HashingVectorizer(  # type: ignore[no-untyped-call]
        analyzer="char", ngram_range=_SIZES, n_features=_BUCKETS, alternate_sign=False, dtype=np.float32
    )
    weights = np.random.default_rng(_SEED).normal(size=(_BUCKETS, labels)).astype(np.float32)

    def score(texts: Sequence[str]) -> NDArray[Any]:
        margins: NDArray[np.float32] = vectorizer.transform(texts) @ weights
        probabilities: NDArray[Any] = 1 / (1 + np.exp(-margins))
        return probabilities

    return score


def run(bundle: Path, *, rounds: int) -> dict[str, object]:
    """The whole measurement; the section ``models`` of ``reports/bench.json``."""
    keep_freed_memory()
    steps = Steps(bundle)
    peer = sklearn_scorer(len(steps.scorer.labels))
    some = steps.texts[:_TEXTS_SKLEARN]
    work = {name: (step, len(steps.texts)) for name, step in steps.work().items()}
    work["sklearn"] = (lambda: _each(peer, [some]), len(some))
    for step, _ in work.values():
        step()  # warm-up
    turns = [{name: _spent(step) / n * 1e6 for name, (step, n) in work.items()} for _ in range(rounds)]
    return {**facts(steps.scorer), **steps.shape(), **figures(turns)}


def facts(scorer: Scorer) -> dict[str, object]:
    """What was measured."""
    corpus = Corpus()
    return {
        "bundle": str(scorer.bundle.ref),
        "labels": len(scorer.labels),
        "run": scorer.batch,
        "corpus": corpus.facts(),
    }


def figures(turns: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """µs per text of each step and ratios, least, median and largest of all turns; ratios are taken turn by turn."""
    over = [turn["sklearn"] / turn["score"] for turn in turns]
    return {
        "us_per_text": {name: report.spread([turn[name] for turn in turns]) for name in turns[0]},
        "share_of_sklearn": {
            name: report.spread([turn[name] / turn["sklearn"] for turn in turns]) for name in turns[0]
        },
        "documents_per_s": round(float(np.median([1e6 / turn["score"] for turn in turns]))),
        "sklearn_over_score": round(float(np.median(over)), 2),
    }


def show(found: Mapping[str, object]) -> None:
    """The table."""
    us: Mapping[str, Mapping[str, float]] = found["us_per_text"]  # type: ignore[assignment]
    shares: Mapping[str, Mapping[str, float]] = found["share_of_sklearn"]  # type: ignore[assignment]
    rows = [
        (name, *(f"{one[figure]:.2f}" for figure in ("median", "min", "max")), f"{shares[name]['median']:.4f}")
        for name, one in us.items()
    ]
    title = f"{found['bundle']}: CPU time per text"
    report.table(title, ("step", "median µs", "least", "largest", "of sklearn"), rows)
    if "cells_per_id" in found:
        report.say(f"{found['ids_per_text']} ids a text, {found['cells_per_id']} cells of the rectangles for each")


def _each(function: Callable[[Any], object], items: Iterable[Any]) -> None:
    for item in items:
        function(item)


def _spent(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
