"""What a challenger in shadow costs the champion: latency at half load, without one and with several kinds of them.

Half of the load is half of what one worker can do without an experiment. The steps take turns, all at that rate, on one
worker; their latencies count from when an event was due, as in `load`.
"""

import signal
import statistics
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx
from child_processes import child_of, signal_to
from stalling_bundle import FOR_EVER, stall

from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.fleet import ExperimentFigures
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.thresholds import ThresholdSet
from streamtag.model import loading
from streamtag.model.bundle import MODEL, Bundle, read_bundle, write_bundle
from streamtag.model.parity import PARITY_TEXTS
from streamtag.model.scorer import Scorer

from . import report
from .corpus import Corpus
from .load import Load
from .stack import running
from .taggers import Pipeline

KINDS = ("none", "thresholds", "bundle", "stopped", "hangs")
"""``stopped`` hangs without a processor (SIGSTOP to its process), ``hangs`` in a loop that never ends."""
RATIOS = tuple(f"{kind}_over_none" for kind in KINDS[1:])
_OUTCOMES = ("scored", "shed", "failures")
_CAPACITY_EVENTS = 100_000
_TRICKLE_PER_S = 500.0
_SAMPLE = 2_000
_NUDGE = 1.01
_LOOK_S = 0.05
_WHO = Who("bench", "what a shadow costs")


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        bundle: directory of the champion's model.
        seconds: of each step, after its warm-up.
        rounds: steps of each kind.
    """

    bundle: Path
    seconds: float = 15.0
    rounds: int = 3


class Challengers:
    """Starts and stops experiments on a pipeline, one at a time."""

    def __init__(self, pipeline: Pipeline, bundle: Bundle) -> None:
        self._pipeline = pipeline
        self._store = ControlStore(pipeline.redis)
        self._changes = ExperimentChanges(ExperimentLog(self._store))
        self._copies = {"bundle": _copy(bundle, "2", bundle.model), "hangs": _copy(bundle, "3", _hanging(bundle))}
        self._running: tuple[int, str] | None = None

    def begin(self, kind: str) -> None:
        """A shadow experiment that scores every event; ``none`` begins none."""
        if kind == "none":
            return
        started = self._changes.start(Request(ExperimentPlan("shadow", {}), 1.0), self._candidate(kind), _WHO)
        self._running = started.id.number, str(started.id)

    def end(self) -> None:
        """Stops what runs."""
        if self._running is not None:
            self._changes.stop(self._running[0], _WHO)
        self._running = None

    def figures(self) -> ExperimentFigures:
        """What the worker says of the challenger; all 0 while it has not said anything."""
        found = [beat.experiments.get(self._running[1]) for beat in self._pipeline.beats() if self._running]
        return next((figures for figures in found if figures is not None), ExperimentFigures())

    def meets_events(self, kind: str) -> bool:
        """Whether it does by now what its kind does."""
        found = self.figures()
        return found.shed > 0 if kind == "hangs" else found.scored > 0

    @contextmanager
    def stopped(self, worker: int) -> Iterator[None]:
        """Stops the challenger's process, and each one that the worker puts into its place."""
        over = threading.Event()

        def stop_all() -> None:
            while not over.wait(_LOOK_S):
                found = child_of(worker)
                if found is not None:
                    with suppress(ProcessLookupError):  # killed meanwhile: it did not answer
                        signal_to(found, signal.SIGSTOP)

        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(stop_all)
            try:
                yield
            finally:
                over.set()
                stopping.result()

    def close(self) -> None:
        """Lets go of the client."""
        self._store.close()

    def _candidate(self, kind: str) -> NewCandidate:
        if kind != "thresholds":
            copy = self._copies["hangs" if kind == "hangs" else "bundle"]
            return NewCandidate(copy.ref, copy.labels)
        champion = self._store.current()
        assert champion is not None
        cutoffs = champion.thresholds.labels.items()
        return NewCandidate(thresholds=ThresholdSet({name: round(at * _NUDGE, 6) for name, at in cutoffs}))


def run(plan: Plan) -> dict[str, object]:
    """The whole measurement; the section ``shadow`` of ``reports/bench.json``."""
    with ExitStack() as exits:
        stack = exits.enter_context(running())
        pipeline = exits.enter_context(Pipeline(stack, plan.bundle))
        challengers = exits.enter_context(closing(Challengers(pipeline, read_bundle(plan.bundle))))
        load = Load(pipeline, exits)
        capacity = load.capacity(_CAPACITY_EVENTS)
        rate = capacity["events_per_s"] / 2
        report.say(f"capacity {capacity['events_per_s']:,.0f} events/s: steps at {rate:,.0f}")
        steps: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for _ in range(plan.rounds):
            for kind, made in steps.items():
                made.append(_step(load, challengers, kind, rate, plan.seconds))
                report.say(f"{kind}: p50 {made[-1]['p50_ms']} ms, p99 {made[-1]['p99_ms']} ms")
        return {**over_none(steps), "capacity": capacity, "seconds": plan.seconds, "steps": steps, **stack.services}


def over_none(steps: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """The champion's p99 beside each kind of challenger, over that without one; medians of their steps."""
    p99 = {kind: _median(step["p99_ms"] for step in made) for kind, made in steps.items()}
    return {f"{kind}_over_none": round(ms / p99["none"], 3) for kind, ms in p99.items() if kind != "none"}


def show(found: Mapping[str, object]) -> None:
    """The table."""
    steps: Mapping[str, Sequence[Mapping[str, Any]]] = found["steps"]  # type: ignore[assignment]
    rows = []
    for kind, made in steps.items():
        p99 = [step["p99_ms"] for step in made]
        over = "" if kind == "none" else f"{float(str(found[f'{kind}_over_none'])):.2f}"
        shares = [f"{_median(step['outcomes'][name] for step in made):.0%}" for name in _OUTCOMES]
        others = [f"{_median(step[name] for step in made):.0f}" for name in ("p50_ms", "max_ms", "worker_us")]
        saturated = sum(bool(step["saturated"]) for step in made)
        name = f"{kind} ({saturated} of {len(made)} saturated)" if saturated else kind
        rows.append((name, f"{_median(p99):.0f}", f"{min(p99):.0f} – {max(p99):.0f}", over, *others, *shares))
    columns = ("challenger", "p99", "least – largest", "× none", "p50", "max", "worker µs/event", *_OUTCOMES)
    report.table("Event due to committed tag of the champion at half load, ms", columns, rows)


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def _step(load: Load, challengers: Challengers, kind: str, rate: float, seconds: float) -> dict[str, Any]:
    """One step beside one challenger; ``outcomes`` are shares of the events that it should have scored."""
    challengers.begin(kind)
    if kind != "none":
        load.trickle(_TRICKLE_PER_S, lambda: challengers.meets_events(kind), f"the challenger ({kind}) takes part")
    before = challengers.figures()
    with challengers.stopped(load.worker.pid) if kind == "stopped" else nullcontext():
        step = load.step(rate, seconds)
    after = challengers.figures()
    challengers.end()
    grown = {name: getattr(after, name) - getattr(before, name) for name in _OUTCOMES}
    return {**step, "outcomes": {name: n / max(1, sum(grown.values())) for name, n in grown.items()}}


def _copy(bundle: Bundle, version: str, model: bytes) -> Bundle:
    """The same bundle with another graph, under another version, beside it."""
    files = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}
    manifest = msgspec.structs.replace(bundle.manifest, version=version, files={})
    return read_bundle(write_bundle(bundle.path.parent.parent, manifest, {**files, MODEL: model}))


def _hanging(bundle: Bundle) -> bytes:
    """Its graph, made to turn for ever on the n-gram that most texts have; it passes the gates, which have no such."""
    featuriser = Scorer(bundle, batch=64).featuriser
    gates = [*PARITY_TEXTS, *loading._SHORT, loading._OUTLIER]
    usual = {int(i) for text in gates for i in featuriser.features([text]).ids.ravel()}
    seen = Counter(
        int(i) for text in Corpus().texts[:_SAMPLE] for i in featuriser.features([text]).ids.ravel() if i not in usual
    )
    [(common, _)] = seen.most_common(1)
    model = onnx.load_from_string(bundle.model)
    stall(model, {common: FOR_EVER})
    return bytes(model.SerializeToString())
