"""Rates and signals of labels as metrics, from windows in an embedded Redis."""

import fakeredis
from control_plane import new_store

from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts
from streamtag.stats.label_metrics import LabelMetrics
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, VERSION, WindowDocument, start_of
from streamtag.telemetry.metrics import Metrics

NEXT = start_of("5m", 1_800_000_000_000)
START = NEXT - SIZES["5m"]
HOUR = start_of("1h", START) - SIZES["1h"]


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
    model.put([window("1h", start_of("1h", NEXT) - SIZES["1h"], 20_000, 2_000, 2_000)])
    model.put([window("5m", NEXT, 5_000, 500, 500)])
    shown.show({"5m": window("5m", NEXT + SIZES["5m"], 100, 10, 12)})
    assert metrics.value("streamtag.label.signal", label="spam", signal="never") == 0


def test_without_an_hour_before_there_is_no_signal() -> None:
    model, metrics = ReadModel(new_store(fakeredis.FakeServer())), Metrics.in_memory()
    model.put([window("5m", START, 5_000, 0, 500)])
    LabelMetrics(metrics, model).show({"5m": window("5m", NEXT, 100, 10, 12)})
    assert metrics.value("streamtag.label.signal", label="spam", signal="never") == 0
