import os
import subprocess
from collections.abc import Iterator

import pytest
from bench import cpu
from bench.measure import Mark, Watch, figures

from streamtag.errors import StreamtagError


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def mark(position: int, at: float, peer_s: float = 0.0, broker_s: float = 0.0, machine_s: float = 0.0) -> Mark:
    return Mark(position, at, peer_s, broker_s, machine_s, harness_s=0.0)


def watch(process: subprocess.Popen[bytes], positions: list[int], deadline_s: float = 10) -> Watch:
    return Watch(process, [], iter(positions).__next__, total=100, deadline_s=deadline_s)


def test_a_window_opens_at_the_first_commit_from_a_quarter_on(process: subprocess.Popen[bytes]) -> None:
    first, last = watch(process, [0, 20, 20, 31, 31, 60, 90, 100]).window()
    assert (first.position, last.position) == (31, 100)


def test_the_cpu_is_read_when_a_commit_happens_not_some_time_after(process: subprocess.Popen[bytes]) -> None:
    # 0 → 25 between two looks is a commit; the same position at the next look is not
    first, _ = watch(process, [25, 25, 100]).window()
    assert first.position == 25


def test_a_peer_that_ends_early_gives_no_figure(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with pytest.raises(StreamtagError, match="ended with -9 at 10 of 100"):
        watch(process, [10]).window()


def test_a_peer_that_is_too_slow_gives_no_figure(process: subprocess.Popen[bytes]) -> None:
    with pytest.raises(StreamtagError, match="10 of 100 records"):
        watch(process, [10, 10], deadline_s=0).window()


def test_figures_are_per_event_of_the_window() -> None:
    found = figures(mark(100, 10, 1, 2, 20), mark(300, 14, 2, 4, 31))
    assert found["us"] == pytest.approx(1 / 200 * 1e6)
    assert found["broker_us"] == pytest.approx(2 / 200 * 1e6)
    assert found["events_per_s"] == pytest.approx(50)
    assert found["others_cores"] == pytest.approx((11 - 3) / 4)


@pytest.mark.parametrize("last", [mark(100, 11, peer_s=5), mark(900, 11, peer_s=0.19)])
def test_a_window_too_small_for_the_clock_is_refused(last: Mark) -> None:
    with pytest.raises(StreamtagError, match="too few to measure"):
        figures(mark(100, 10), last)


def test_cpu_time_of_a_process_is_what_the_kernel_says() -> None:
    before = cpu.process_s(os.getpid())
    times = os.times()
    step_s = 0.02  # each of the two counts in steps of 10 ms, and their sum in floats
    assert before - step_s <= times.user + times.system <= cpu.process_s(os.getpid()) + step_s
    assert cpu.machine_s() >= before
    assert cpu.peak_rss_mib(os.getpid()) > 10
