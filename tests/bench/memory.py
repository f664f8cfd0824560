"""Memory, descriptors and threads of one worker at full speed over millions of events.

The upstream stays a bounded way ahead, so neither the backlog nor the disk grows with the run: old segments go.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from plot import Line, chart

from streamtag.errors import StreamtagError

from . import report
from .downstream import Downstream
from .readings import Meter, between
from .stack import running
from .taggers import Pipeline
from .upstream import Ahead, Counters, Upstream

PLOT = Path("docs/memory.svg")
_WINDOW_EVENTS = 20_000
_EVERY_S = 1.0
_STALLED_S = 60.0
# Of the events: caches, pools and the allocator's arenas have found their size by then.
_WARM_UP_SHARE = 0.1
_TYPICAL_PER_S = 15_000
# The broker looks every five minutes: what it holds is that much and this.
_RETENTION = {"retention.bytes": str(128 << 20), "segment.bytes": str(32 << 20)}
_POINTS = 500


@dataclass(frozen=True)
class Sample:
    """One look at the worker."""

    events: int
    rss_mb: float
    descriptors: int
    threads: int


def look(pid: int, events: int) -> Sample:
    """Now, at so many events."""
    process = Path(f"/proc/{pid}")
    lines = (process / "status").read_text(encoding="ascii", errors="replace").splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return Sample(
        events=events,
        # kB there means KiB
        rss_mb=round(int(status["VmRSS"].split()[0]) * 1024 / 1e6, 2),
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        threads=int(status["Threads"]),
    )


def figures(samples: Sequence[Sample]) -> dict[str, float]:
    """Most of each, and how resident memory grows after the warm-up: MB a million events, by least squares."""
    warm = [sample for sample in samples if sample.events >= samples[-1].events * _WARM_UP_SHARE]
    slope, _ = np.polyfit([s.events / 1e6 for s in warm], [s.rss_mb for s in warm], 1)
    return {
        "rss_mb": max(sample.rss_mb for sample in samples),
        "rss_slope_mb_per_million": round(float(slope), 3),
        "rss_after_warm_up_mb": warm[0].rss_mb,
        "rss_at_the_end_mb": warm[-1].rss_mb,
        "descriptors_after_warm_up": warm[0].descriptors,
        "descriptors": max(sample.descriptors for sample in samples),
        "threads_after_warm_up": warm[0].threads,
        "threads": max(sample.threads for sample in samples),
    }


def run(bundle: Path, *, events: int) -> Mapping[str, object]:
    """The whole measurement; the section ``memory`` of ``reports/bench.json``.

    Raises:
        StreamtagError: the worker has ended or stalled.
        RefusedError: an event has no tag event, or two.
    """
    report.say(f"{events:,} events: about {events / _TYPICAL_PER_S / 60:.0f} minutes")
    counters, samples = Counters(), []
    with ExitStack() as exits:
        stack = exits.enter_context(running())
        pipeline = exits.enter_context(Pipeline(stack, bundle, config=_RETENTION))
        upstream = exits.enter_context(closing(Upstream(stack.bootstrap, pipeline.topics["input"], counters)))
        downstream = exits.enter_context(
            closing(Downstream(stack.bootstrap, pipeline.topics["tags"], pipeline.partitions, counters))
        )
        worker = pipeline.start()
        pipeline.wait_shared(worker)
        meter = Meter([worker.pid], stack.broker_pids, [upstream.pid, downstream.pid])
        upstream.begin(Ahead(events, _WINDOW_EVENTS))
        first, moved_at = meter.read(0), time.monotonic()
        while counters.read < events:
            worker.check_alive()
            samples.append(look(worker.pid, counters.read))
            time.sleep(_EVERY_S)
            if counters.read > samples[-1].events:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > _STALLED_S:
                raise StreamtagError(f"no tag has come for {_STALLED_S:g} s, at {counters.read} of {events} events")
            if len(samples) % 60 == 0:
                report.say(f"{samples[-1].events:,} events, {samples[-1].rss_mb:.0f} MB")
        last = meter.read(counters.read)
        samples.append(look(worker.pid, counters.read))
        written = upstream.written()
        downstream.take().by_number(written.first, written.events)
    thinned = samples[:: max(1, len(samples) // _POINTS)]
    return {
        **figures(samples),
        "events": events,
        **between(first, last),
        **stack.services,
        "samples": [asdict(sample) for sample in thinned],
    }


def show(found: Mapping[str, object]) -> None:
    """A few lines."""
    report.say(
        f"{found['events']:,} events at {found['events_per_s']:,}/s: at most {found['rss_mb']:.0f} MB resident, "
        f"{found['rss_slope_mb_per_million']} MB more a million events after the warm-up"
    )
    for name in ("descriptors", "threads"):
        report.say(f"{name}: {found[f'{name}_after_warm_up']} after the warm-up, at most {found[name]}")


def draw(found: Mapping[str, object]) -> str:
    """Resident memory over events, as SVG."""
    samples: Sequence[Mapping[str, float]] = found["samples"]  # type: ignore[assignment]
    line = Line("RSS", [(sample["events"] / 1e6, sample["rss_mb"]) for sample in samples])
    return chart(
        "Resident memory of one worker", [line], x="million events", y="MB", limit=report.GOALS["rss_mb"].bound
    )
