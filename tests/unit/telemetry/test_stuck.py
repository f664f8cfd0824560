"""The stuck detector, with a clock of its own."""

import logging
import threading

import pytest

from streamtag.telemetry.health import Health
from streamtag.telemetry.metrics import InMemoryMetrics, Metrics
from streamtag.telemetry.stuck import StuckDetector


class Bench:
    """A worker whose progress, work and time a test decides."""

    def __init__(self) -> None:
        self.count = 0
        self.work = True
        self.now = 1_000.0
        self.metrics: InMemoryMetrics = Metrics.in_memory()
        self.health = Health()
        self.detector = StuckDetector(
            lambda: (self.count, self.work),
            stuck_after_s=60,
            metrics=self.metrics,
            health=self.health,
            clock=lambda: self.now,
        )
        self.detector.look()

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.detector.look()


def test_silence_with_work_at_hand_is_stuck_and_not_live() -> None:
    bench = Bench()
    assert not bench.after(59)
    assert bench.after(1)
    assert bench.metrics.value("streamtag.stuck") == 1
    live, reasons = bench.health.live()
    assert not live
    assert "60 s" in reasons[0]


def test_progress_keeps_the_worker_live() -> None:
    bench = Bench()
    for _ in range(10):
        bench.count += 1
        assert not bench.after(59)
    assert bench.metrics.value("streamtag.stuck") == 0


def test_an_idle_worker_is_never_stuck() -> None:
    bench = Bench()
    bench.work = False
    assert not bench.after(10_000)
    bench.work = True
    assert not bench.after(59), "silence counts from when work came, not from before"
    assert bench.after(61)


@pytest.mark.parametrize("cure", ["progress", "work ends"])
def test_progress_or_the_end_of_the_work_lifts_it(cure: str) -> None:
    bench = Bench()
    assert bench.after(61)
    if cure == "progress":
        bench.count += 1
    else:
        bench.work = False
    assert not bench.after(1)
    assert bench.health.live() == (True, [])
    assert bench.metrics.value("streamtag.stuck") == 0


def test_stacks_of_all_threads_are_logged_once_and_without_variables(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    release = threading.Event()

    def stalled_in_here(secret: str) -> None:
        release.wait(10)
        assert secret

    thread = threading.Thread(target=stalled_in_here, args=("classified-content",), name="inference", daemon=True)
    thread.start()
    with caplog.at_level(logging.INFO, logger="streamtag"):
        bench.after(61)
        bench.after(61)
    release.set()
    thread.join()
    stacks = [vars(r) for r in caplog.records if r.message == "stack"]
    inference = [s for s in stacks if s["thread_name"].startswith("inference")]
    assert len(inference) == 1
    assert any("stalled_in_here" in frame for frame in inference[0]["stack"])
    assert "classified-content" not in str(stacks)


def test_the_watchdog_thread_looks_by_itself_and_stops() -> None:
    looked = threading.Event()

    def progress() -> tuple[int, bool]:
        looked.set()
        return 0, True

    detector = StuckDetector(progress, stuck_after_s=0.05, metrics=Metrics.in_memory(), health=Health())
    detector.start()
    assert looked.wait(30)
    detector.close()
    assert "stuck-detector" not in {t.name for t in threading.enumerate()}
