"""What it costs to take up another bundle: how long it loads, and how long events wait meanwhile.

One thread scores as the tagger does, run after run without a pause; another loads a bundle through every gate, as the
watcher of the champion does, and puts it in the place of the scorer; allocator and collector are set as in a tagger.
Events wait for as long as one run takes, so a stall is what the longest run beside a load takes longer than the usual
one. Needs neither Kafka nor Redis.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.settings import load_settings
from streamtag.stream.worker import settle_garbage
from streamtag.tagger.memory import keep_freed_memory

from . import report
from .corpus import Corpus
from .propagation import percentile

BATCH = load_settings(environ={}).settings.model.batch
_TEXTS = 8_192
_PAUSE_S = 0.1


@dataclass
class _Runs:
    """When each run of the model began and ended, seconds; and whether its scorer was new."""

    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)


class _Serving:
    """Scores in a thread of its own by whatever `scorer` is, until closed."""

    def __init__(self, scorer: Scorer, texts: Sequence[str]) -> None:
        self.scorer = scorer
        self.runs = _Runs()
        self._pools = [texts[at : at + BATCH] for at in range(0, len(texts) - BATCH + 1, BATCH)]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="serving")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _serve(self) -> None:
        last, number = self.scorer, 0
        while not self._closing.is_set():
            scorer = self.scorer
            began = time.perf_counter()
            scorer.score(self._pools[number % len(self._pools)])
            self.runs.ended.append(time.perf_counter())
            self.runs.began.append(began)
            self.runs.first.append(scorer is not last)
            last, number = scorer, number + 1


def run(bundle: Path, *, swaps: int) -> dict[str, object]:
    """Swaps ``bundle`` for itself, freshly loaded, ``swaps`` times under full load."""
    keep_freed_memory()
    settle_garbage()
    serving = _Serving(load_scorer(bundle, batch=BATCH), Corpus().texts[:_TEXTS])
    loads: list[tuple[float, float]] = []
    try:
        time.sleep(_PAUSE_S)  # caches and allocator of the first runs
        quiet_from = time.perf_counter()
        time.sleep(_PAUSE_S * swaps)
        quiet_until = time.perf_counter()
        with ThreadPoolExecutor(1) as watcher:
            for _ in range(swaps):
                began = time.perf_counter()
                serving.scorer = watcher.submit(load_scorer, bundle, batch=BATCH).result()
                loads.append((began, time.perf_counter()))
                time.sleep(_PAUSE_S)
    finally:
        serving.close()
    return figures(serving.runs, (quiet_from, quiet_until), loads)


def figures(runs: _Runs, quiet: tuple[float, float], loads: Sequence[tuple[float, float]]) -> dict[str, object]:
    """Milliseconds of runs in the quiet, beside loads and just after a swap; seconds of loads."""
    began, ended = np.array(runs.began), np.array(runs.ended)
    took_ms = (ended - began) * 1_000
    usual = took_ms[(began >= quiet[0]) & (ended <= quiet[1])]
    beside = np.zeros(len(began), dtype=bool)
    for start, end in loads:
        beside |= (ended >= start) & (began <= end)
    seconds = sorted(end - start for start, end in loads)
    found: dict[str, object] = {
        "swaps": len(loads),
        "load_s": round(percentile(seconds, 0.5), 4),
        "load_max_s": round(seconds[-1], 4),
        "quiet_ms": _spread(usual),
        "beside_a_load_ms": _spread(took_ms[beside]),
        "first_of_a_new_one_ms": _spread(took_ms[np.array(runs.first)]),
    }
    return {**found, "stall_ms": round(float(took_ms[beside].max() - np.median(usual)), 2)}


def _spread(took_ms: NDArray[np.float64]) -> Mapping[str, float]:
    if not len(took_ms):
        return {"runs": 0}
    p50, p99 = np.percentile(took_ms, [50, 99])
    found = {"p50": p50, "p99": p99, "max": took_ms.max()}
    return {"runs": len(took_ms), **{name: round(float(value), 2) for name, value in found.items()}}


def show(found: Mapping[str, object]) -> None:
    """For people."""
    report.say(
        f"{found['swaps']} swaps: loaded in {found['load_s']} s (at most {found['load_max_s']} s); "
        f"the longest run beside a load took {found['stall_ms']} ms longer than usual"
    )
    for name in ("quiet_ms", "beside_a_load_ms", "first_of_a_new_one_ms"):
        report.say(f"  {name}: {found[name]}")
