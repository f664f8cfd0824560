import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from bench import gaps, load, memory, profiler
from bench.downstream import Arrivals
from bench.readings import Reading, between
from bench.upstream import NUMBER, Counters, Written
from plot import Line, chart

from streamtag.errors import RefusedError

S = 1_000_000_000


def arrivals(numbers: list[int], at_ns: list[int], partitions: list[int] | None = None) -> Arrivals:
    return Arrivals(
        np.array(numbers, np.int64), np.array(at_ns, np.int64), np.array(partitions or [0] * len(numbers), np.int16)
    )


def reading(at: float, *, events: int = 0, workers_s: float = 0.0, machine_s: float = 0.0) -> Reading:
    return Reading(at, events, workers_s, broker_s=0.0, harness_s=0.0, machine_s=machine_s)


def steady(*, ms: float, per_s: float, seconds: float, slower_by: float = 0.0) -> dict[str, object]:
    """A step whose tags all come ``ms`` after their events were due, and by ``slower_by`` of the time later."""
    events = int(per_s * seconds)
    due = np.arange(events) / per_s
    at = (due * (1 + slower_by) * 1e9 + ms * 1e6).astype(np.int64)
    found = Arrivals(np.arange(events), at, np.zeros(events, np.int16))
    return load.step_figures(Written(0, events, 0, per_s, 0.0), found, reading(0), reading(seconds, events=events))


def test_latency_counts_from_when_an_event_was_due() -> None:
    due, ms = load.latencies(Written(7, 3, 10 * S, 2.0, 0.0), np.array([11, 11, 11], np.int64) * S)
    assert due.tolist() == [0.0, 0.5, 1.0]
    assert ms.tolist() == [1000.0, 500.0, 0.0]


def test_a_stall_counts_for_every_event_that_was_due_in_it() -> None:
    # All tags arrive at once, 2 s after a start at 100 events a second: the median waited half of that.
    found = np.full(200, 2 * S, np.int64)
    _, ms = load.latencies(Written(0, 200, 0, 100.0, 0.0), found)
    assert np.median(ms) == pytest.approx(1005, abs=10)


def test_a_pipeline_that_keeps_up_is_not_saturated() -> None:
    found = steady(ms=80, per_s=100, seconds=20)
    assert found["saturated"] is False
    assert found["p50_ms"] == found["max_ms"] == 80


def test_a_pipeline_that_falls_behind_is_saturated() -> None:
    found = steady(ms=80, per_s=100, seconds=20, slower_by=0.1)
    assert found["saturated"] is True
    assert found["backlog_growth_per_s"] == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize(("numbers", "said"), [([5, 6], "1 have no"), ([5, 6, 7, 7], "1 more than one")])
def test_a_lost_or_doubled_event_gives_no_figure(numbers: list[int], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        arrivals(numbers, [1] * len(numbers)).by_number(5, 3)


def test_arrivals_are_found_by_number_among_those_of_other_steps() -> None:
    assert arrivals([9, 6, 5, 7], [4, 2, 1, 3]).by_number(5, 3).tolist() == [1, 2, 3]


def test_the_number_of_an_event_is_read_from_its_tag_event() -> None:
    assert int(b'{"id":"event-000000042","source":{}}'[NUMBER]) == 42


def test_both_ends_see_what_is_on_its_way() -> None:
    counters = Counters()
    counters.add_written(5)
    counters.add_read(2)
    assert (counters.written, counters.read, counters.behind) == (5, 2, 3)


def test_the_gap_is_the_longest_one_that_ends_after_the_event() -> None:
    at_ns = np.array([0, 9, 10, 11, 15, 16]) * S
    assert gaps.longest_gap(at_ns, since_ns=10 * S) == (11 * S, 15 * S)


def test_recovery_is_over_when_the_last_partition_is_tagged_again() -> None:
    found = arrivals([0] * 6, [0, 1 * S, 0, 5 * S, 6 * S, 8 * S], [0, 0, 1, 1, 0, 2])
    assert gaps.recovery_s(found, 0, [0, 1]) == 6.0
    assert gaps.gap_s(found, 0, [0]) == 5.0


def test_memory_that_grows_shows_in_the_slope_and_its_start_does_not() -> None:
    samples = [memory.Sample(0, 10.0, 20, 15)]
    samples += [memory.Sample(n * 100_000, 150 + 0.2 * n, 20, 15) for n in range(1, 101)]
    found = memory.figures(samples)
    assert found["rss_slope_mb_per_million"] == pytest.approx(2.0)
    assert found["rss_mb"] == 170


def test_cpu_time_is_per_event_and_others_are_what_is_left() -> None:
    found = between(reading(0), reading(2, events=1_000, workers_s=0.05, machine_s=1.05))
    assert found["events_per_s"] == 500
    assert found["worker_us"] == 50
    assert found["others_cores"] == 0.5


def test_a_function_of_ours_is_charged_with_what_it_calls() -> None:
    thread = "Processing._run (streamtag/stream/processing.py:205)"
    stacks = [
        f"{thread};infer (streamtag/tagger/infer.py:3);run (onnxruntime/session.py:9) 3",
        f"{thread};infer (streamtag/tagger/infer.py:5) 1",
        f"{thread};Condition.wait (threading.py:1) 50",
        "Source.run (streamtag/stream/source.py:1) 50",
    ]
    assert profiler.functions(stacks) == {"infer (streamtag/tagger/infer.py)": 1.0}


@pytest.mark.parametrize(
    ("shared_object", "name"),
    [
        ("_multiarray_umath.cpython-311-x86_64-linux-gnu.so", "numpy"),
        ("libpython3.11.so.1.0", "interpreter"),
        ("[kernel.kallsyms]", "kernel"),
        ("_core.cpython-311-x86_64-linux-gnu.so", "msgspec"),
        ("libz.so", "other"),
    ],
)
def test_shared_objects_are_told_apart(shared_object: str, name: str) -> None:
    assert profiler.component(shared_object) == name


@pytest.mark.parametrize("log_y", [False, True])
def test_a_chart_is_xml_and_keeps_all_points_inside(log_y: bool) -> None:
    lines = [Line("a & b", [(1.0, 3.0), (50.0, 180.0)]), Line("c", [(1.0, 1.0), (50.0, 999.0)])]
    root = ET.fromstring(chart("t < u", lines, x="%", y="ms", log_y=log_y, limit=150.0))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    points = [p for line in root.iter("{http://www.w3.org/2000/svg}polyline") for p in line.attrib["points"].split()]
    assert len(points) == 4
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= width
        assert 0 <= y <= height
        assert not math.isnan(x + y)
