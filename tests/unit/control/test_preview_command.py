"""`streamtag thresholds preview`, on windows in an embedded Redis."""

import time
from pathlib import Path
from typing import Any

import pytest
from control_plane import ANNA, BUNDLE, LABELS, Run, current

from streamtag.control.changes import ReleaseChanges
from streamtag.control.store import ControlStore
from streamtag.domain.release import BundleRef
from streamtag.errors import NotFoundError, RefusedError, SettingsError
from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts, SegmentCounts
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, VERSION, WindowDocument, start_of

pytest_plugins = ("command_line",)

HOUR = start_of("1h", time.time_ns() // 1_000_000) - SIZES["1h"]


def cell(**changes: Any) -> Cell:
    """Of each label 60 scores in bin 0, 30 in bin 512 and 10 in bin 768; 20 of the events are German."""
    labels = {label: LabelCounts(40, 0, [0, 512, 768], [60, 30, 10]) for label in LABELS}
    segments = {"lang": {"de": SegmentCounts(20, {}), "other": SegmentCounts(80, {})}}
    facts: dict[str, Any] = {"bundle_sha256": BUNDLE.sha256, "release": 1, "arm": "control", **changes}
    return Cell(
        release_sha256="0" * 64, bundle=str(BUNDLE), revision=1, revision_sha256="0" * 64, events=100, by_arrival=0,
        labels=labels, segments=segments, **facts,
    )  # fmt: skip


def window(start: int, *cells: Cell, exact: bool = True) -> WindowDocument:
    return WindowDocument(VERSION, "1h", start, 7, exact, {"content/0": (0, 9)}, list(cells))


@pytest.fixture
def counted(seeded: ControlStore) -> ControlStore:
    other = cell(bundle_sha256="f" * 64)
    shadow = cell(shadow=True, arm="candidate")
    ReadModel(seeded).put([window(HOUR, cell(), other, shadow), window(HOUR - SIZES["1h"], cell(), exact=False)])
    return seeded


def test_it_says_what_a_change_would_have_done(counted: ControlStore, run: Run) -> None:
    found = run("thresholds", "preview", "spam=0.75", "--last", "24h", "--minutes-per-tag", 2, "-o", "json")
    assert (found["events"], found["others"], found["windows"], found["exact"]) == (200, 100, 2, False)
    assert found["changes"] == [{"segment": "", "label": "spam", "before": 0.5, "after": 0.75}]
    spam = found["labels"]["spam"]
    assert (spam["now"], spam["then"]) == (
        {"low": 80, "expected": 80, "high": 80},
        {"low": 20, "expected": 20, "high": 20},
    )
    assert (spam["lost"]["low"], spam["gained"]["high"]) == (60, 0)
    assert spam["then_per_hour"]["low"] == pytest.approx(20 / found["hours"])
    assert spam["review_minutes_per_hour"]["low"] == pytest.approx(40 / found["hours"])
    # Two thirds of the events since the first of them were this bundle's, and so is as much of that time.
    assert found["hours"] == pytest.approx(200 / 300 * (found["to_ms"] - HOUR + SIZES["1h"]) / SIZES["1h"])
    assert current(counted).id.number == 1


def test_a_segment_is_bounded_by_its_size(counted: ControlStore, run: Run) -> None:
    found = run("thresholds", "preview", "spam=0.75", "--when", "lang=de", "--last", "24h", "-o", "json")
    lost = found["labels"]["spam"]["lost"]
    assert (lost["low"], lost["high"]) == (0, 40)  # of 60 that lie between, at most those of the 40 German events
    unknown = run("thresholds", "preview", "spam=0.75", "--when", "tenant=a", "--last", "24h", "-o", "json")
    assert unknown["labels"]["spam"]["lost"]["high"] == 60


def test_people_see_the_labels_that_move_and_what_the_guard_rail_says(counted: ControlStore, run: Run) -> None:
    text = run("thresholds", "preview", "spam=0.9", "--last", "24h")
    assert "spam" in text
    assert "insult" not in text
    assert "needs --force: spam: 0.5 -> 0.9" in text
    assert "100 that another bundle decided" in text


def test_a_file_is_previewed_as_apply_would_take_it(counted: ControlStore, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "set.yaml"
    file.write_text("labels: {" + ", ".join(f"{label}: 0.75" for label in LABELS) + "}")
    found = run("thresholds", "preview", "--file", file, "--last", "24h", "-o", "json")
    assert {one["then"]["low"] for one in found["labels"].values()} == {20}


def test_after_another_bundle_was_promoted_nothing_is_known(counted: ControlStore, run: Run) -> None:
    ReleaseChanges(counted, max_step=1).promote(BundleRef("tiny", "9", "9" * 64), LABELS, ANNA)
    with pytest.raises(NotFoundError, match="no event that tiny@9 decided"):
        run("thresholds", "preview", "spam=0.6")


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        (("spam=2",), RefusedError, "labels.spam: 2.0 is outside"),
        (("ham=0.5",), RefusedError, "labels.ham: the bundle does not score"),
        (("spam=x",), RefusedError, "'x' is not a number"),
        ((), SettingsError, "give either"),
        (("spam=0.6", "--last", "soon"), SettingsError, "is no time"),
        (("spam=0.6", "--last", "2999-01-01T00:00:00Z"), SettingsError, "in the future"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    counted: ControlStore, run: Run, arguments: tuple[str, ...], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error) as caught:
        run("thresholds", "preview", *arguments)
    assert problem in f"{caught.value} {getattr(caught.value, 'problems', '')}"
