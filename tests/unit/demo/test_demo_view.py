"""The demo's screen at fixed sizes."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from made_up_outputs import seen
from made_up_trials import COLLECTING, FAILED, NEW, PASSED, STOPPED
from rich.console import Console

from streamtag.control.fleet import Heartbeat
from streamtag.control.release_documents import ReleaseId
from streamtag.devstack.demo.following import ChangeState, ControlState, WorkerState
from streamtag.devstack.demo.histogram import axis, sparkline
from streamtag.devstack.demo.screens import LineScreen
from streamtag.devstack.demo.statistics import BINS, Statistics, bin_of_scores
from streamtag.devstack.demo.trial_words import how_far, why
from streamtag.devstack.demo.view import Shown, View, lines
from streamtag.devstack.demo.windows import LabelWindow, WindowState

RELEASE = ReleaseId(3, "a" * 64)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMANDS = (
    "export STREAMTAG_REDIS=redis://127.0.0.1:20355 STREAMTAG_KAFKA=127.0.0.1:37003",
    '.venv/bin/streamtag thresholds set toxic=0.139 -m "try it"',
    ".venv/bin/streamtag experiment show 1",
    ".venv/bin/streamtag stats watch",
)
TRIALS = (FAILED, PASSED)
CONSOLE = "http://127.0.0.1:65535/#st_" + "x" * 43


def beat(pid: int, release: ReleaseId = RELEASE) -> Heartbeat:
    return Heartbeat(
        worker=f"w-{pid}", host="h", pid=pid, group="g", member_id="m", slot="s", started_at=AT, beat_at=AT,
        release=release.number, release_sha256=release.sha256, revision=release.number, positions={"content/0": 5},
        lag=2, ready=True,
    )  # fmt: skip


def shown(labels: int, change: ChangeState | None = None) -> Shown:
    names = [f"label_{i}" for i in range(labels)]
    statistics = Statistics(names)
    thresholds = dict.fromkeys(names, 0.5)
    events = [seen(i, dict.fromkeys(names, i / 100), thresholds=thresholds) for i in range(100)]
    statistics.add(events, 10.0)
    workers = (WorkerState(1, beat(1)), WorkerState(2, beat(2, ReleaseId(2, "b" * 64))), WorkerState(3, None))
    control = ControlState(RELEASE, 3, workers, change)
    windows = WindowState(1_795_000_020_000, 70, {name: LabelWindow(0.5, (0.4123, 0.5877)) for name in names}, 95, True)
    return Shown(
        elapsed_s=12.3,
        seconds=30.0,
        services="Broker and Redis are embedded.",
        numbers=statistics.numbers(10.0),
        control=control,
        windows=windows,
        trials=TRIALS,
        statistics={"windower": 8, "stats without Faust": 9},
        console=CONSOLE,
        invitation=COMMANDS,
        notice="a notice",
    )


@pytest.mark.parametrize("labels", [1, 6, 30])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (100, 30), (200, 60)])
def test_the_screen_fits_and_keeps_the_commands_whole(labels: int, width: int, height: int) -> None:
    found = [line.plain for line in lines(shown(labels), width, height)]
    assert len(found) == height
    assert max(len(line) for line in found) <= width
    assert tuple(found[-4:]) == COMMANDS
    assert f"Console: {CONSOLE}" in found
    assert any(line.startswith("latest tagged") for line in found) or labels == 30 or height < 32
    assert any(line.startswith("experiment 1 ") and "FAIL" in line for line in found)
    assert any(line.startswith("experiment 2 ") and "PASS" in line for line in found)
    assert any(line.startswith("label_0 ") for line in found)


@pytest.mark.parametrize(("width", "height"), [(40, 10), (20, 5), (80, 8)])
def test_on_a_tiny_terminal_it_still_fits(width: int, height: int) -> None:
    found = lines(shown(6), width, height)
    assert len(found) <= height
    assert max(len(line.plain) for line in found) <= width


def test_a_command_wider_than_the_terminal_is_folded_never_cut() -> None:
    folded = "".join(line.plain for line in lines(shown(1), 60, 30)[-5:])
    assert folded == "".join(COMMANDS)


def test_labels_that_do_not_fit_are_counted() -> None:
    text = "\n".join(line.plain for line in lines(shown(30), 80, 24))
    hidden = 30 - text.count("label_")
    assert f"and {hidden} more labels" in text


def test_a_worker_is_live_only_by_number_and_hash_of_the_champion() -> None:
    found = [line.plain for line in lines(shown(2), 80, 24) if line.plain.startswith("worker")]
    assert "revision 3 live" in found[0]
    assert "revision 2, not yet live" in found[1]
    assert "starting" in found[2]


def test_a_change_takes_the_place_of_the_notice() -> None:
    change = ChangeState(RELEASE, 3, "ada", "try it", ("toxic: 0.4 -> 0.1",), AT)
    assert "a notice" in "".join(line.plain for line in lines(shown(1), 80, 24))
    text = "".join(line.plain for line in lines(shown(1, change), 80, 24))
    assert "a notice" not in text
    assert "revision 3, not live everywhere yet: toxic: 0.4 -> 0.1 (ada)" in text
    text = "".join(line.plain for line in lines(shown(1, replace(change, live_ms=21.7)), 80, 24))
    assert "revision 3 live on 3 of 3 workers after 22 ms: toxic: 0.4 -> 0.1 (ada)" in text


def test_the_windows_of_each_label_stand_beside_what_is_read_from_tag_events() -> None:
    found = [line.plain for line in lines(shown(2), 100, 40)]
    assert "windows    70 events since 11:07 UTC   95 in all   exact" in found
    assert "windower   pid 8   stats without Faust   pid 9" in found
    row = next(line for line in found if line.startswith("label_0"))
    assert "50.0%  41.2 to 58.8%" in row
    doubtful = replace(shown(2), windows=WindowState(0, 70, {}, 95, False))
    assert any("95 in all   not exact" in line.plain for line in lines(doubtful, 100, 40))
    assert any("none yet" in line.plain for line in lines(replace(shown(2), windows=None), 100, 40))


def test_a_verdict_comes_with_its_reason_and_the_numbers_it_rests_on() -> None:
    assert (how_far(FAILED), how_far(COLLECTING), how_far(STOPPED)) == (
        "FAIL after 1.5 s",
        "COLLECTING",
        "stopped after 1.2 s",
    )
    assert why(NEW) == "nothing is counted yet"
    assert why(COLLECTING) == "calm about 1,200 more events"
    assert why(FAILED) == (
        "loud: worse by more than its tolerance, 8.0% -> 32.0%: surely over 2.35x, 1.20x allowed"
    )  # fmt: skip
    assert why(PASSED) == "all within ±20%: calm 15.5% -> 15.1%"
    assert why(STOPPED) == "release 5 decides now: try it"


def test_the_reasons_of_verdicts_fit_100_columns() -> None:
    found = [line.plain for line in lines(shown(6), 100, 40)]
    assert f"  {why(FAILED)}" in found
    assert f"  {why(PASSED)}" in found


def test_rich_draws_exactly_the_terminal() -> None:
    console = Console(
        file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None, legacy_windows=False
    )
    with console.capture() as captured:
        console.print(View(shown(6)))
    assert len(captured.get().rstrip("\n").split("\n")) == 24


def test_the_mark_divides_the_histogram_at_the_threshold() -> None:
    scores = np.array([0.001, 0.01, 0.09, 0.11, 0.9])
    line = sparkline(np.bincount(bin_of_scores(scores), minlength=BINS), 0.1, 41).plain
    left, right = line.split("│")
    assert len(line) == 41
    assert (sum(c != " " for c in left), sum(c != " " for c in right)) == (3, 2)
    assert axis(41).index(".1") == len(left)


def test_without_unicode_the_histogram_is_ascii() -> None:
    line = sparkline(np.ones(BINS, dtype=np.int64), 0.5, 30, ascii_only=True).plain
    assert line.isascii()
    assert len(line) == 30


def test_an_empty_histogram_is_blank_but_for_its_mark() -> None:
    assert sparkline(np.zeros(BINS, dtype=np.int64), 0.1, 20).plain.replace("│", "").strip() == ""
    assert sparkline(np.zeros(BINS, dtype=np.int64), None, 20).plain == " " * 20


def test_without_a_terminal_there_is_a_line_a_second_and_commands_only_once() -> None:
    out = io.StringIO()
    screen = LineScreen(Console(file=out, width=80))
    screen.show(shown(2))
    screen.show(shown(2))
    text = out.getvalue()
    assert all(text.count(command) == 1 for command in COMMANDS)
    assert text.count("events 100   tagged 50   dead letters 0") == 2
    assert text.count("revision 3 live on 1 of 3 workers") == 2
    assert text.count(f"experiment 1: FAIL after 1.5 s: {why(FAILED)}") == 1
    assert text.count("experiment 2: PASS after 4.5 s") == 1
