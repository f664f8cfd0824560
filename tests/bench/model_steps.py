"""What scoring costs by step, in µs of CPU per text: ``python -m tests.bench.model_steps [BUNDLE]``.

On the corpus of the benchmark (mean 180 characters), in pools of 512 as the tagger hands them over, cut by length into
runs of 64. Each figure is the least of several rounds in one process: what the code costs, not what a busy machine
adds.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from streamtag.model.loading import load_scorer
from streamtag.model.ngrams import IDS, WEIGHTS
from streamtag.model.registry import find_bundle

from .corpus import Corpus

POOL, RUN, TEXTS, ROUNDS = 512, 64, 8_192, 9


def main() -> None:
    """Prints the table."""
    scorer = load_scorer(find_bundle(sys.argv[1] if len(sys.argv) > 1 else "moderation", []), batch=RUN)
    texts = Corpus().texts[:TEXTS]
    pools = [texts[at : at + POOL] for at in range(0, TEXTS, POOL)]
    encode, featurise = scorer.featuriser.encode_all, scorer.featuriser.features_of
    by_length = [sorted(encode(pool), key=len) for pool in pools]
    runs = [pool[at : at + RUN] for pool in by_length for at in range(0, POOL, RUN)]
    features = [featurise(run) for run in runs]
    inputs = [{IDS: f.ids, WEIGHTS: f.weights} for f in features]
    cells = sum(f.ids.size for f in features)
    used = sum(int(np.count_nonzero(f.weights)) for f in features)
    print(f"{scorer.bundle.ref}: {np.mean([len(t) for t in texts]):.0f} characters, {used / TEXTS:.0f} ids a text")
    print(f"{cells / used:.2f} cells per id (padding), {sum(not t.isascii() for t in texts) / TEXTS:.0%} not ASCII")
    _print("cut, normalise, encode", lambda: _each(encode, pools))
    _print("hash, weigh, pad", lambda: _each(featurise, runs))
    _print("graph", lambda: _each(scorer.session.run, inputs))
    _print("score: all of it, sorted", lambda: _each(scorer.score, pools))


def _each(function: Callable[[Any], object], items: Sequence[object]) -> None:
    for item in items:
        function(item)


def _print(name: str, work: Callable[[], object]) -> None:
    least = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    print(f"{name:<28}{least / TEXTS * 1e6:6.2f} µs")


if __name__ == "__main__":
    main()
