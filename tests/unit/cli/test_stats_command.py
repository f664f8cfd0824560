"""`streamtag stats show`, `top` and its signals, on windows in an embedded Redis."""

import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import fakeredis
import numpy as np
import pytest
from rich.console import Group
from rich.live import Live
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.stats import _since_ms, app
from streamtag.cli.stats_views import sparkline, surprise
from streamtag.control.store import ControlStore
from streamtag.errors import NotFoundError, SettingsError
from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts, SegmentCounts
from streamtag.settings import RedisSettings
from streamtag.stats.comparison import Compared, signals
from streamtag.stats.label_figures import LabelFigures, label_figures
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, VERSION, WindowDocument, hour_before, start_of
from streamtag.stream.topic_reader import TopicReader

NOW_MS = int(time.time() * 1000)
START = start_of("5m", NOW_MS)
HOUR = hour_before(START)
LABELS = ("insult", "spam")


def cell(events: int, spam: int, insult: int = 0, *, both: int = 0, **changes: Any) -> Cell:
    def counts(alerts: int) -> LabelCounts:
        bins = [(b, n) for b, n in ((0, events - alerts), (1023, alerts)) if n]
        return LabelCounts(alerts, 1_000_000 * alerts, [b for b, _ in bins], [n for _, n in bins])

    sha = "0" * 64
    found = Cell(
        1, sha, "tiny@1", sha, 1, sha, "control", events, 0, {"insult": counts(insult), "spam": counts(spam)}, {}
    )
    if both:
        found.pairs = {"insult": {"spam": both}}
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def window(size: str, start: int, *cells: Cell, exact: bool = True) -> WindowDocument:
    return WindowDocument(VERSION, size, start, 7, exact, {"content/0": (0, 9)}, list(cells))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadModel]:
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"redis://127.0.0.1:{server.server_address[1]}/0"
    for name in ("STREAMTAG_CONFIG", "STREAMTAG_KAFKA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STREAMTAG_REDIS", url)
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    monkeypatch.setattr(context.stdout, "_width", 200)
    store = ControlStore(RedisSettings.model_validate({"url": url}))
    yield ReadModel(store)
    store.close()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "json" in arguments else result.stdout


def test_the_newest_window_is_shown_with_its_interval_and_what_was_before(model: ReadModel) -> None:
    model.put([window("5m", START, cell(1_000, 100)), window("1h", HOUR, cell(12_000, 600))])
    model.put([window("1h", HOUR + SIZES["1h"] - 7 * SIZES["1d"], cell(1_000, 20))])
    found = run("show", "--output", "json")
    spam = found["labels"]["spam"]
    assert (spam["events"], spam["alerts"], spam["rate"]) == (1_000, 100, 0.1)
    assert spam["interval"][0] < 0.1 < spam["interval"][1]
    assert (spam["rate_last_hour"], spam["rate_last_week"]) == (0.05, 0.02)
    assert (found["window"], found["start_ms"], found["exact"]) == ("5m", START, True)
    text = run("show", "spam")
    assert "10 %" in text
    assert "5 % (x2.00)" in text
    assert "insult" not in text.split("signal")[0]


def test_a_shadow_is_no_traffic_and_can_be_asked_for(model: ReadModel) -> None:
    shadow = cell(1_000, 900, arm="candidate", shadow=True, release=2)
    model.put([window("5m", START, cell(1_000, 100), shadow)])
    assert run("show", "--output", "json")["labels"]["spam"]["alerts"] == 100
    assert run("show", "--arm", "shadow", "--output", "json")["labels"]["spam"]["alerts"] == 900
    assert run("show", "--arm", "candidate", "--output", "json")["labels"] == {}
    assert run("show", "--release", "2", "--output", "json")["labels"] == {}


def test_title_and_events_count_the_cells_that_were_chosen(model: ReadModel) -> None:
    cells = cell(1_000, 100), cell(200, 50, arm="candidate", release=2), cell(30, 9, shadow=True, release=3)
    model.put([window("5m", START, *cells)])
    for options, words, events in (
        ((), "UTC: 1,200 events", 1_200),
        (("--arm", "candidate"), "UTC, candidate: 200 events", 200),
        (("--release", "1"), "UTC, release 1: 1,000 events", 1_000),
        (("--arm", "shadow", "--release", "3"), "UTC, shadow, release 3: 30 events", 30),
        (("--arm", "shadow", "--release", "1"), "UTC, shadow, release 1: 0 events", 0),
    ):
        assert words in run("show", *options)
        assert run("show", *options, "--output", "json")["events"] == events


def segment_cell(events: int, of_german: int, tagged: int, **changes: Any) -> Cell:
    de, rest = SegmentCounts(of_german, {"spam": tagged} if tagged else {}), SegmentCounts(events - of_german, {})
    return cell(events, tagged, segments={"lang": {"de": de, "other": rest}}, **changes)


def test_a_segment_has_counts_of_its_own(model: ReadModel) -> None:
    model.put([window("5m", START, segment_cell(1_000, 10, 4), segment_cell(50, 10, 5, arm="candidate", release=2))])
    found = run("show", "--segment", "lang=de", "--output", "json")
    assert found["events"] == 20
    spam = {"alerts": 9, "rate": 0.45, "rate_last_hour": None, "rate_last_week": None}
    assert found["labels"]["spam"] == spam
    assert "lang=de: 20 events" in run("show", "--segment", "lang=de")
    assert "candidate, lang=de: 10 events" in run("show", "--segment", "lang=de", "--arm", "candidate")
    with pytest.raises(SettingsError, match="dimension=value"):
        run("show", "--segment", "de")
    with pytest.raises(NotFoundError, match="no event of lang=en was counted") as caught:
        run("show", "--segment", "lang=en")
    assert "Counted there of lang: de, other." in caught.value.hint


def test_a_segment_is_compared_with_itself_an_hour_and_a_week_ago(model: ReadModel) -> None:
    model.put([window("5m", START, segment_cell(1_000, 100, 40)), window("1h", HOUR, segment_cell(9_000, 1_000, 100))])
    model.put([window("1h", HOUR + SIZES["1h"] - 7 * SIZES["1d"], cell(1_000, 900))])  # none of the segment
    spam = run("show", "--segment", "lang=de", "--output", "json")["labels"]["spam"]
    assert spam == {"alerts": 40, "rate": 0.4, "rate_last_hour": 0.1, "rate_last_week": None}
    assert "10 % (x4.00)" in run("show", "spam", "--segment", "lang=de")


def test_watch_shows_a_frame_at_once_and_ends_with_ctrl_c(model: ReadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    slept, shown = list[float](), list[tuple[Any, bool]]()

    def interrupted(seconds: float) -> None:
        slept.append(seconds)
        model.put([window("1m", start_of("1m", NOW_MS), cell(10, 1))])
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    update = Live.update

    def keep(live: Live, frame: Any, *, refresh: bool) -> None:
        shown.append((frame, refresh))
        update(live, frame, refresh=refresh)

    monkeypatch.setattr(Live, "update", keep)
    run("watch", "--every", "0.5")
    assert slept == [0.5, 0.5]
    words = [str(frame.renderables[0] if isinstance(frame, Group) else frame) for frame, _ in shown]
    assert [at_once for _, at_once in shown] == [True, True]
    assert "no 1m window yet" in words[0]
    assert "10 events, exact" in words[1]


def test_what_watch_showed_last_stays_on_the_screen(model: ReadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    model.put([window("1m", start_of("1m", NOW_MS), cell(10, 1))])
    assert "10 events, exact" in run("watch")


def test_where_nothing_was_counted_it_says_so(model: ReadModel) -> None:
    assert model.load("5m", START) is None
    with pytest.raises(NotFoundError, match="no 5m window"):
        run("show")
    with pytest.raises(NotFoundError, match="begins 2026-01-01"):
        run("show", "--at", "2026-01-01T00:00:00Z")


def test_a_window_that_is_not_exact_says_so(model: ReadModel) -> None:
    model.put([window("1m", start_of("1m", NOW_MS), cell(10, 1), exact=False)])
    assert "not exact" in run("show", "--window", "1m")


def test_top_begins_with_what_has_moved_most(model: ReadModel) -> None:
    model.put([window("5m", START, cell(1_000, 500, 100)), window("1h", HOUR, cell(12_000, 1_200, 1_200))])
    found = list(run("top", "--output", "json")["labels"])
    assert found[0] == "spam"
    assert list(run("top", "--limit", "1", "--output", "json")["labels"]) == ["spam"]


def test_what_behaves_differently_is_a_signal(model: ReadModel) -> None:
    reference = window("1h", HOUR, cell(20_000, 2_000, 2_000, both=200))
    assert signals(window("5m", START, cell(1_000, 100, 100, both=10)), reference) == []
    silent = {s.name for s in signals(window("5m", START, cell(5_000, 0, 500)), reference)}
    assert {"never", "score_drift"} <= silent
    together = {s.name for s in signals(window("5m", START, cell(5_000, 500, 500, both=490)), reference)}
    assert "association" in together
    model.put([reference, window("5m", START, cell(5_000, 0, 500))])
    assert "no event of 5,000 is tagged spam" in run("show")


def test_a_label_that_another_bundle_does_not_have_has_not_fallen_silent() -> None:
    reference = window("1h", HOUR, cell(20_000, 8_000, 2_000))
    later = cell(5_000, 0, 500)
    del later.labels["spam"]
    assert signals(window("5m", START, later), reference) == []
    # In the window of the promotion the bundle of before has decided a few: its own events are what it is measured by.
    assert signals(window("5m", START, cell(50, 20, 5), later), reference) == []
    few = signals(window("5m", START, cell(20, 0, 2), later), reference)
    assert "never" not in {one.name for one in few}
    [never] = [one for one in signals(window("5m", START, cell(400, 0, 40), later), reference) if one.name == "never"]
    assert (never.labels, never.m) == (("spam",), 400)


def test_the_set_of_labels_is_that_of_both_windows() -> None:
    # Without spam, as the bundle has it no more, most events had no label before, too.
    reference = window("1h", HOUR, cell(20_000, 8_000, 20))
    later = cell(5_000, 0, 5)
    del later.labels["spam"]
    assert signals(window("5m", START, later), reference) == []
    same = {one.name for one in signals(window("5m", START, cell(5_000, 0, 5)), reference)}
    assert {"never", "same_set"} <= same


class StatsTopic:
    """As much of a reader as a place needs; no summary counts anything."""

    def __init__(self, partitions: int) -> None:
        self.asked: dict[int, tuple[int, int]] = {}
        self._partitions = partitions

    def bounds(self, _topic: str) -> dict[int, tuple[int, int]]:
        return dict.fromkeys(range(self._partitions), (0, 9))

    def batches(self, _topic: str, ranges: dict[int, tuple[int, int]]) -> Iterator[list[Any]]:
        self.asked = ranges
        yield []


def since(topic: StatsTopic, *given: str) -> int:
    return _since_ms(list(given), cast(TopicReader, topic), "stats")


def test_an_offset_alone_is_a_place_where_the_stats_topic_has_one_partition() -> None:
    topic = StatsTopic(1)
    with pytest.raises(NotFoundError, match="nothing is counted"):
        since(topic, "7")
    assert topic.asked == {0: (7, 9)}
    with pytest.raises(NotFoundError, match="nothing is counted"):
        since(topic, "0/8")
    assert topic.asked == {0: (8, 9)}


def test_an_offset_alone_is_refused_where_it_does_not_say_which_partition_is_meant() -> None:
    with pytest.raises(SettingsError, match="stats has 4 partitions, and an offset alone") as refused:
        since(StatsTopic(4), "48210")
    assert "--from 0/48210" in (refused.value.hint or "")


@pytest.mark.parametrize("given", [["1", "2"], ["0/1", "2"], ["0/1", "0/2"], ["0/1", "2h"], ["0/x"], ["1/"]])
def test_places_that_do_not_fit_together_are_refused(given: list[str]) -> None:
    with pytest.raises(SettingsError, match="PARTITION/OFFSET of stats once for each partition"):
        since(StatsTopic(2), *given)


@pytest.mark.parametrize("given", ["2h", "2026-11-23T03:00:00Z"])
def test_a_time_is_still_a_time(given: str) -> None:
    assert 1_700_000_000_000 < since(StatsTopic(1), given) < NOW_MS + SIZES["1h"]


def test_labels_of_several_cells_add_up() -> None:
    [insult, spam] = label_figures(window("5m", START, cell(10, 1, 2), cell(20, 3, 4, release=2)))
    assert (insult.label, insult.events, insult.alerts) == ("insult", 30, 6)
    assert (spam.alerts, spam.bins.sum(), spam.mean_score) == (4, 30, 4 / 30)


def test_the_sparkline_shows_the_few_beside_the_many() -> None:
    bins = np.zeros(1024, np.int64)
    assert sparkline(bins).strip() == ""
    bins[0], bins[1023] = 1_000_000, 1
    line = sparkline(bins)
    assert (line[0], line[-1]) == ("█", "▁")


def test_nothing_surprises_more_than_a_label_that_never_was_tagged() -> None:
    def of(alerts: int, hour: float | None) -> float:
        return surprise(
            Compared(LabelFigures("threat", 1_000, alerts, 0.1, np.zeros(1_024, dtype=np.int64)), hour, None)
        )

    assert of(50, 0.0) == math.inf
    assert 0 < of(500, 0.1) < math.inf
    assert of(0, 0.0) == of(50, 0.05) == of(50, None) == 0
