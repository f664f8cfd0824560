"""Rates and signals of labels as metrics, from windows in an embedded Redis."""

import fakeredis
import pytest
from control_plane import new_store

from streamtag.domain.drift import critical_psi, psi
from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts
from streamtag.stats.label_metrics import LabelMetrics
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, VERSION, WindowDocument, hour_before, start_of
from streamtag.telemetry.metrics import Metrics

NEXT = start_of("5m", 1_800_000_000_000)
START = NEXT - SIZES["5m"]
HOUR = hour_before(START)


def window(size: str, start: int, events: int, spam: int, insult: int) -> WindowDocument:
    def counts(alerts: int) -> LabelCounts:
        filled = [(b, n) for b, n in ((0, events - alerts), (1023, alerts)) if n]
        return LabelCounts(alerts, 1_000_000 * alerts, [b for b, _ in filled], [n for _, n in filled])

    labels = {"insult": counts(insult), "spam": counts(spam)}
    cell = Cell(1, "0" * 64, "tiny@1", "0" * 64, 1, "0" * 64, "control", events, 0, labels, {})
    return WindowDocument(VERSION, size, start, 7, True, {"content/0": (0, 9)}, [cell])


def test_a_label_that_has_fallen_silent_is_a_signal_until_it_is_heard_again() -> None:
    model, metrics = ReadModel(new_store(fakeredis.FakeServer())), Metrics.in_memory()
    shown = LabelMetrics(metrics, model)
    model.put([window("1h", HOUR, 20_000, 2_000, 2_000), window("5m", START, 5_000, 0, 500)])
    newest = window("5m", NEXT, 100, 10, 12)
    shown.show({"5m": newest})
    assert metrics.value("streamtag.label.rate", label="insult", window="5m") == 0.12
    assert metrics.value("streamtag.label.signal", label="spam", signal="never") == 1
    assert metrics.value("streamtag.label.signal", label="insult", signal="never") == 0
    model.put([window("1h", hour_before(NEXT), 20_000, 2_000, 2_000)])
    model.put([window("5m", NEXT, 5_000, 500, 500)])
    shown.show({"5m": window("5m", NEXT + SIZES["5m"], 100, 10, 12)})
    assert metrics.value("streamtag.label.signal", label="spam", signal="never") == 0


def test_without_an_hour_before_there_is_no_signal() -> None:
    model, metrics = ReadModel(new_store(fakeredis.FakeServer())), Metrics.in_memory()
    model.put([window("5m", START, 5_000, 0, 500)])
    LabelMetrics(metrics, model).show({"5m": window("5m", NEXT, 100, 10, 12)})
    assert metrics.value("streamtag.label.signal", label="spam", signal="never") == 0


def test_how_far_scores_have_drifted_is_shown_for_each_label_beside_what_chance_explains() -> None:
    model, metrics = ReadModel(new_store(fakeredis.FakeServer())), Metrics.in_memory()
    shown = LabelMetrics(metrics, model)
    reference, drifted = window("1h", HOUR, 20_000, 2_000, 2_000), window("5m", START, 5_000, 1_000, 505)
    model.put([reference, drifted])
    shown.show({"5m": window("5m", NEXT, 100, 10, 12)})
    for label, alerts in (("spam", 1_000), ("insult", 505)):
        assert metrics.value("streamtag.label.psi", label=label) == pytest.approx(
            psi([18_000, 2_000], [5_000 - alerts, alerts])
        )
        assert metrics.value("streamtag.label.psi.critical", label=label) == pytest.approx(
            critical_psi(20_000, 5_000, 2, 0.05 / 2)
        )
    assert metrics.value("streamtag.label.signal", label="spam", signal="score_drift") == 1
    assert metrics.value("streamtag.label.signal", label="insult", signal="score_drift") == 0
    few = window("5m", NEXT, 20, 2, 2)
    model.put([window("1h", hour_before(NEXT), 20_000, 2_000, 2_000), few])
    shown.show({"5m": window("5m", NEXT + SIZES["5m"], 100, 10, 12)})
    assert metrics.value("streamtag.label.psi", label="spam") == 0, "absent: too few events to tell"
    assert metrics.value("streamtag.label.psi.critical", label="spam") == 0


def test_what_is_hidden_is_shown_again_when_windows_come_anew() -> None:
    model, metrics = ReadModel(new_store(fakeredis.FakeServer())), Metrics.in_memory()
    shown = LabelMetrics(metrics, model)
    model.put([window("1h", HOUR, 20_000, 2_000, 2_000), window("5m", START, 5_000, 0, 500)])
    newest = {"5m": window("5m", NEXT, 100, 10, 12)}
    names = ("streamtag.label.rate", "streamtag.label.signal", "streamtag.label.psi", "streamtag.label.psi.critical")
    shown.show(newest)
    before = [metrics.series(name) for name in names]
    assert all(before)
    shown.hide()
    assert [metrics.series(name) for name in names] == [{}] * len(names)
    shown.show(newest)
    assert [metrics.series(name) for name in names] == before
