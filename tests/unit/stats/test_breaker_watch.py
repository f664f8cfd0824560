"""The newest window turns a label to review only, and trusts it again."""

from datetime import UTC, datetime

from change_rig import Rig
from control_plane import ANNA, RecordedMetrics

from streamtag.control.breakers import BreakerLog
from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts
from streamtag.settings import BreakerSettings
from streamtag.stats.breaker_watch import AUTHOR, BreakerWatch
from streamtag.stats.windows import VERSION, WindowDocument, start_of

SETTINGS = BreakerSettings(rates={"spam": 0.1, "*": 0.5}, min_alerts=20, close_after_s=600)  # type: ignore[call-arg]


def window_at(at: datetime, events: int, **alerts: int) -> dict[str, WindowDocument]:
    """The newest windows, of which those of five minutes hold this moment."""
    labels = {label: LabelCounts(n, 0, [], []) for label, n in alerts.items()}
    traffic = Cell(1, "0" * 64, "tiny@1", "0" * 64, 1, "0" * 64, "control", events, 0, labels, {})
    wild = {label: LabelCounts(events, 0, [], []) for label in alerts}
    beside = Cell(2, "1" * 64, "tiny@1", "0" * 64, 1, "0" * 64, "candidate", events, 0, wild, {}, shadow=True)
    start_ms = start_of("5m", round(at.timestamp() * 1000))
    return {"5m": WindowDocument(VERSION, "5m", start_ms, 7, True, {}, [traffic, beside])}


class Watched(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.seed()
        self.wait(1 / 60)  # a window that has just begun says nothing
        self.metrics = RecordedMetrics()
        self.log = BreakerLog(self.store, now=self.now)
        self.watch = self.of(SETTINGS)

    def of(self, settings: BreakerSettings) -> BreakerWatch:
        return BreakerWatch(settings, self.store, self.metrics, settle_s=15, now=self.now)

    def look(self, events: int, **alerts: int) -> list[str]:
        """At a window of now."""
        return self.watch.look(window_at(self.now(), events, **alerts))


def test_a_label_that_goes_wild_is_turned_to_review_and_trusted_again() -> None:
    rig = Watched()
    assert rig.look(1_000, spam=90, insult=300) == []
    (done,) = rig.look(1_000, spam=151, insult=300)
    assert done == "open spam: 151 of 1,000 events (15.10%) in the newest window, bound 10.00%"
    assert rig.log.active().labels == {"spam"}
    assert rig.log.present().labels["spam"].by == AUTHOR
    assert rig.look(2_000, spam=900, insult=300) == [], "said once"
    rig.wait(0.25)
    assert rig.look(1_000, spam=80, insult=300) == [], "not yet low enough"
    (done,) = rig.look(1_000, spam=50, insult=300)
    assert done.startswith("close spam")
    assert rig.log.active().labels == frozenset()
    assert rig.metrics.counts == {
        "streamtag.breaker.flips/spam/open": 1,
        "streamtag.breaker.flips/spam/close": 1,
    }
    assert rig.metrics.values["streamtag.breaker.open"] == 0
    assert rig.actions() == ["breaker-close", "breaker-open", "seed"]


def test_the_first_source_alone_opens_nothing() -> None:
    """Its pane of a new window comes first, and a label may be frequent in it alone."""
    rig = Watched()
    rig.wait(4 / 60)
    assert rig.look(1_000, spam=200) == []
    rig.wait(14.9 / 3600)
    assert rig.look(1_000, spam=200) == []
    rig.wait(0.1 / 3600)
    assert len(rig.look(8_000, spam=1_200)) == 1


def test_what_a_person_has_closed_stays_so_for_a_window() -> None:
    rig = Watched()
    rig.look(1_000, spam=500)
    rig.log.close("spam", ANNA)
    assert rig.look(1_000, spam=500) == []
    rig.wait(5 / 60)
    assert len(rig.look(1_000, spam=500)) == 1


def test_what_was_counted_before_it_was_closed_never_opens_it_again() -> None:
    rig = Watched()
    spike = window_at(rig.now(), 1_000, spam=500)
    assert len(rig.watch.look(spike)) == 1
    rig.wait(1 / 60)
    rig.log.close("spam", ANNA)
    for _ in range(30):  # nothing newer comes: no traffic, or no windower
        rig.wait(1 / 60)
        assert rig.watch.look(spike) == []
    assert rig.log.active().labels == frozenset()
    assert len(rig.look(1_000, spam=500)) == 1


def test_a_window_of_long_ago_opens_and_closes_nothing() -> None:
    rig = Watched()
    before = window_at(rig.now(), 1_000, spam=500, insult=0)
    rig.wait(0.25)
    assert rig.watch.look(before) == [], "what came late, after a restart"
    assert len(rig.look(1_000, spam=500)) == 1
    quiet = window_at(rig.now(), 1_000, spam=0)
    rig.wait(0.25)
    assert rig.watch.look(quiet) == []
    assert rig.log.active().labels == {"spam"}


def test_every_other_label_has_the_bound_of_all_and_without_bounds_nothing_happens() -> None:
    rig = Watched()
    assert len(rig.look(1_000, insult=601)) == 1
    other = Watched()
    assert other.of(BreakerSettings()).look(window_at(other.now(), 1_000, insult=1_000)) == []  # type: ignore[call-arg]
    assert other.watch.look({}) == [], "no window yet"
    assert other.actions() == ["seed"]


def test_times_are_those_of_the_clock() -> None:
    rig = Watched()
    rig.look(1_000, spam=500)
    assert rig.log.present().labels["spam"].at == datetime(2026, 11, 23, 3, 1, tzinfo=UTC)
