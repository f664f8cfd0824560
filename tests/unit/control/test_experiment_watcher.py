"""Following experiments in a worker: what is proven is exposed, what is not is said and left out."""

from typing import Any, cast

import pytest
from control_plane import BUNDLE, DEFAULTS, LABELS, RecordedMetrics, new_changes, new_store
from services import wait_until

from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiment_watcher import ExperimentWatcher
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import BundleError, UnavailableError
from streamtag.model.bundle import Bundle
from streamtag.settings import load_settings

WHO = Who("anna", "why")
OTHER = BundleRef("demo", "2", "c" * 64)
STRICTER = ThresholdSet({"spam": 0.4, "insult": 0.6})


class FakeBundle:
    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels


class Rig:
    def __init__(self) -> None:
        self.store: ControlStore = new_store()
        new_changes(self.store).seed(BUNDLE, LABELS, DEFAULTS)
        self.changes = ExperimentChanges(ExperimentLog(self.store))
        self.metrics = RecordedMetrics()
        self.found: list[BundleRef] = []
        self.missing = False
        self.labels: tuple[str, ...] = LABELS
        settings = load_settings(environ={}, overrides={"redis.poll_interval_s": "0.05"}).settings
        self.watcher = ExperimentWatcher(settings, find=self.find, metrics=self.metrics, store=self.store)

    def find(self, ref: BundleRef) -> Bundle:
        self.found.append(ref)
        if self.missing:
            raise BundleError(f"bundle demo@2 is not here, attempt {len(self.found)}")
        return cast(Bundle, FakeBundle(self.labels))

    def start(self, bundle: BundleRef | None = None, *, muted: str = "insult") -> int:
        plan = ExperimentPlan("shadow", {muted: LabelPolicy(muted=True)})
        candidate = NewCandidate(bundle, LABELS, STRICTER)
        return self.changes.start(Request(plan, 0.5), candidate, WHO).id.number


def test_what_runs_is_exposed_with_its_candidate() -> None:
    rig = Rig()
    rig.watcher.look()
    assert rig.watcher.current() == ()
    number = rig.start()
    rig.watcher.look()
    [active] = rig.watcher.current()
    assert (active.experiment.id.number, active.experiment.share, active.bundle) == (number, 0.5, None)
    assert active.candidate.thresholds == STRICTER
    assert rig.found == []


def test_it_is_the_same_object_until_something_changes() -> None:
    rig = Rig()
    number = rig.start()
    rig.watcher.look()
    before = rig.watcher.current()
    rig.watcher.look()
    assert rig.watcher.current() is before
    rig.changes.set_share(number, 0.9, WHO)
    rig.watcher.look()
    [active] = rig.watcher.current()
    assert (active.experiment.share, len(active.experiment.phases)) == (0.9, 2)
    rig.changes.stop(number, WHO)
    rig.watcher.look()
    assert rig.watcher.current() == ()


def test_a_redis_that_went_back_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    number = rig.start()
    before = rig.store.client.get(rig.store.keys.experiments)
    rig.changes.stop(number, WHO)
    rig.watcher.look()
    assert rig.watcher.current() == ()
    assert before is not None
    rig.store.client.set(rig.store.keys.experiments, before)  # as a replica has it that lagged behind
    rig.watcher.look()
    rig.watcher.look()
    assert len(rig.watcher.current()) == 1
    assert rig.metrics.counts == {"streamtag.experiment.errors": 1}
    assert "one that somebody has stopped since may run again" in caplog.text


def test_another_bundle_is_found_once() -> None:
    rig = Rig()
    number = rig.start(OTHER)
    rig.watcher.look()
    rig.changes.set_share(number, 0.9, WHO)
    rig.watcher.look()
    assert rig.found == [OTHER]
    [active] = rig.watcher.current()
    assert active.bundle is not None


def test_a_bundle_that_scores_other_labels_than_its_thresholds_name_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.labels = ("spam", "threat")
    rig.start(OTHER)
    rig.watcher.look()
    assert rig.watcher.current() == ()
    assert rig.metrics.counts["streamtag.experiment.errors"] == 1
    assert "do not match" in caplog.text
    assert "insult" in caplog.text
    assert "threat" in caplog.text


def test_an_experiment_whose_bundle_is_not_here_is_left_out_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamtag.control.experiment_watcher._RETRY_S", 0.0)
    rig = Rig()
    rig.missing = True
    rig.start(OTHER)
    other = rig.start(muted="spam")
    rig.watcher.look()
    assert [one.experiment.id.number for one in rig.watcher.current()] == [other]
    assert rig.metrics.counts["streamtag.experiment.errors"] == 1
    rig.missing = False
    rig.watcher.look()
    assert len(rig.watcher.current()) == 2


def test_a_look_that_redis_interrupts_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamtag.control.experiment_watcher._RETRY_S", 0.0)
    rig = Rig()
    rig.missing = True
    rig.start(OTHER)
    rig.watcher.look()
    rig.missing = False

    def away(_log: ExperimentLog) -> None:
        raise UnavailableError("Redis is away")

    with monkeypatch.context() as patch:
        patch.setattr(ExperimentLog, "running", away)
        with pytest.raises(UnavailableError):
            rig.watcher.look()
    rig.watcher.look()
    assert len(rig.watcher.current()) == 1


def test_why_it_is_left_out_is_said_once_a_minute_however_it_is_worded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streamtag.control.experiment_watcher._RETRY_S", 0.0)
    rig = Rig()
    rig.missing = True
    rig.start(OTHER)
    for _ in range(5):
        rig.watcher.look()
    assert [record.getMessage().endswith("attempt 1") for record in caplog.records] == [True]
    assert rig.metrics.counts["streamtag.experiment.errors"] == 5


def test_an_experiment_that_cannot_be_compared_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another version of streamtag may start it; in the hot path it would end every worker."""
    for check in ("request_problems", "problems"):
        monkeypatch.setattr(f"streamtag.control.experiments.{check}", lambda *_: [])
    rig = Rig()
    rig.labels = (*LABELS, "new")
    thresholds = ThresholdSet(dict.fromkeys(rig.labels, 0.5))
    request = Request(ExperimentPlan("shadow", {}), 0.5)
    rig.changes.start(request, NewCandidate(OTHER, rig.labels, thresholds), WHO)
    rig.changes.start(request, NewCandidate(None, (), ThresholdSet({"spam": 0.5})), WHO)
    rig.watcher.look()
    assert rig.watcher.current() == ()
    assert rig.metrics.counts["streamtag.experiment.errors"] == 2


def test_while_redis_is_away_what_ran_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.start()
    rig.watcher.start()
    wait_until(rig.watcher.current, 20, "the experiment is followed")
    looks: list[object] = []

    def away(log: ExperimentLog) -> None:
        looks.append(log)
        raise UnavailableError("Redis is away")

    monkeypatch.setattr(ExperimentLog, "heads", away)
    wait_until(lambda: len(looks) > 2, 20, "it has looked again")
    assert len(rig.watcher.current()) == 1
    rig.watcher.close()


def test_an_alias_that_cannot_be_read_and_a_defect_end_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    rig.start()
    rig.watcher.start()
    wait_until(rig.watcher.current, 20, "the experiment is followed")
    key, client = rig.store.keys.experiments, rig.store.client
    sound: Any = client.get(key)
    client.set(key, b"by hand")
    wait_until(lambda: rig.metrics.counts.get("streamtag.experiment.errors", 0) >= 2, 20, "two looks in vain")
    assert "unexpected" not in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(ExperimentLog, "heads", lambda _log: 1 / 0)
        wait_until(lambda: "unexpected error; it goes on" in caplog.text, 20, "a look that met a defect")
    assert len(rig.watcher.current()) == 1, "what ran goes on"
    assert sum("cannot be followed here" in line for line in caplog.messages) == 1, "said once a minute"
    client.set(key, sound)
    rig.start(muted="spam")
    wait_until(lambda: len(rig.watcher.current()) == 2, 20, "both are followed")
    rig.watcher.close()
