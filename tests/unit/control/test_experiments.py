"""Experiments: one atomic step each, conflicts that name the first, refusals that name everything, proven history."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from control_plane import ANNA, BORIS, BUNDLE, DEFAULTS, LABELS, current, heartbeat, new_changes, new_store
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_documents import ExperimentDocument, Phase
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges, champion_warnings
from streamtag.control.fleet import send
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import HexPeaks, VerdictDocument
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import Peaks, PhaseCounts, State
from streamtag.errors import ConflictError, NotFoundError, RefusedError

NEXT = BundleRef("demo", "2", "b" * 64)
STRICTER = NewCandidate(thresholds=ThresholdSet({"spam": 0.6, "insult": 0.6}))
SHADOW = Request(ExperimentPlan("shadow"), 1.0)
SPLIT = Request(ExperimentPlan("split"), 0.1, unit="author")


@pytest.fixture
def store() -> ControlStore:
    made = new_store()
    new_changes(made).seed(BUNDLE, LABELS, DEFAULTS)
    return made


@pytest.fixture
def log(store: ControlStore) -> ExperimentLog:
    return ExperimentLog(store)


@pytest.fixture
def changes(log: ExperimentLog) -> ExperimentChanges:
    return changes_of(log)


def changes_of(log: ExperimentLog) -> ExperimentChanges:
    ticks = itertools.count()
    start = datetime(2026, 11, 23, 4, tzinfo=UTC)
    return ExperimentChanges(log, now=lambda: start + timedelta(seconds=next(ticks)))


def judging(*labels: str, mode: str = "shadow") -> Request:
    """A request that judges just these."""
    plan = ExperimentPlan(mode, {name: LabelPolicy() for name in labels})  # type: ignore[arg-type]
    return Request(plan, 0.5, others=LabelPolicy(muted=True))


def test_a_start_makes_the_candidate_and_leaves_the_champion(
    store: ControlStore, log: ExperimentLog, changes: ExperimentChanges
) -> None:
    before = current(store)
    started = changes.start(SHADOW, STRICTER, ANNA)
    assert current(store) == before
    document = started.document
    assert (document.number, document.control) == (1, before.ref)
    candidate = store.load(changes.release(document.candidate.number).id)
    assert candidate.ref == document.candidate
    assert (candidate.ref.number, candidate.ref.bundle, candidate.ref.revision) == (2, BUNDLE, 2)
    assert candidate.thresholds == STRICTER.thresholds
    assert candidate.release.document.parent == before.id
    assert candidate.release.document.note == "candidate of experiment 1"
    assert started.phases == (Phase(1.0, document.at),)
    assert log.running() == [started]


def test_every_label_has_a_policy_the_named_ones_their_own(changes: ExperimentChanges) -> None:
    critical = LabelPolicy(critical=True)
    request = Request(ExperimentPlan("shadow", {"insult": critical}), 1.0, others=LabelPolicy(muted=True))
    plan = changes.start(request, STRICTER, ANNA).document.plan
    assert plan.labels == {"spam": LabelPolicy(muted=True), "insult": critical}


def test_each_experiment_has_a_salt_of_its_own(changes: ExperimentChanges) -> None:
    salts = set()
    for _ in range(3):
        started = changes.start(SHADOW, STRICTER, ANNA)
        salts.add(started.document.salt)
        changes.stop(started.id.number, ANNA)
    assert len(salts) == 3


def test_the_document_is_what_others_read(store: ControlStore, changes: ExperimentChanges) -> None:
    """The wire form: other programs and later versions read it, so its names stay."""
    request = Request(
        ExperimentPlan("shadow", {"spam": LabelPolicy(Tolerance("absolute", 0.005), "decrease", 2.0, critical=True)}),
        1.0,
        unit="author",
        base_rates={"spam": 0.02},
    )
    changes.start(request, NewCandidate(NEXT, LABELS), ANNA)
    raw = store.client.get(store.keys.experiment(1))
    assert isinstance(raw, bytes)
    found = json.loads(raw)
    assert set(found) == {
        *("number", "control", "candidate", "unit", "salt", "plan", "base_rates", "author", "reason", "at", "rollout"),
    }
    assert set(found["control"]) == {"number", "sha256", "bundle", "revision", "revision_sha256"}
    assert found["candidate"]["bundle"] == {"name": "demo", "version": "2", "sha256": "b" * 64}
    assert found["plan"]["labels"]["spam"] == {
        "tolerance": {"kind": "absolute", "size": 0.005},
        "direction": "decrease",
        "weight": 2,
        "critical": True,
        "muted": False,
    }
    assert found["plan"].items() >= {"mode": "shadow", "alpha": 0.05, "on_worse": "fail"}.items()
    assert (found["unit"], found["base_rates"], found["at"]) == ("author", {"spam": 0.02}, "2026-11-23T04:00:00Z")
    assert msgspec.json.encode(msgspec.json.decode(raw, type=ExperimentDocument)) == raw


def test_a_candidate_with_the_champions_thresholds_keeps_its_revision(
    store: ControlStore, changes: ExperimentChanges
) -> None:
    started = changes.start(SHADOW, NewCandidate(NEXT, LABELS, DEFAULTS), ANNA)
    assert (started.document.candidate.bundle, started.document.candidate.revision) == (NEXT, 1)
    assert store.heads().revision == 1


def test_an_earlier_release_and_an_earlier_candidate_can_be_challengers(
    store: ControlStore, changes: ExperimentChanges
) -> None:
    new_changes(store).set_thresholds({"spam": 0.55}, ANNA)
    first = changes.start(SHADOW, changes.release(1), ANNA)
    assert (first.document.control.number, first.document.candidate.number) == (2, 1)
    changes.stop(1, ANNA)
    changes.start(SHADOW, STRICTER, ANNA)
    changes.stop(2, ANNA)
    again = changes.start(SHADOW, changes.release(3), ANNA)
    assert again.document.candidate.number == 3
    assert store.heads().release == 3
    with pytest.raises(NotFoundError, match="no release 9"):
        changes.release(9)


def test_a_share_is_changed_by_a_new_phase(log: ExperimentLog, changes: ExperimentChanges) -> None:
    started = changes.start(SPLIT, STRICTER, ANNA)
    changed = changes.set_share(1, 0.5, BORIS)
    assert (changed.id, changed.document) == (started.id, started.document)
    assert [phase.share for phase in changed.phases] == [0.1, 0.5]
    assert changed.phases[1].began_at > changed.phases[0].began_at
    assert log.find(1) == changed
    assert log.running() == [changed]


def test_a_stopped_experiment_stays_readable_and_is_not_taken_up_again(
    log: ExperimentLog, changes: ExperimentChanges
) -> None:
    changes.start(SPLIT, STRICTER, ANNA)
    changes.set_share(1, 0.5, ANNA)
    changes.stop(1, BORIS)
    found = log.find(1)
    assert found.ended is not None
    assert (found.ended.author, found.ended.reason, found.share) == ("boris", "second try", 0.5)
    assert log.running() == []
    steps: list[Callable[[], object]] = [lambda: changes.set_share(1, 0.2, ANNA), lambda: changes.stop(1, ANNA)]
    for again in steps:
        with pytest.raises(ConflictError, match=r'boris stopped experiment 1 at 2026-11-23 .* UTC, "second try"'):
            again()


def verdict_on(experiment: Experiment, state: State = State.FAIL, **fields: Any) -> VerdictDocument:
    """A verdict that could have been reached."""
    known = {
        "number": experiment.id.number,
        "experiment_sha256": experiment.id.sha256,
        "state": state,
        "reasons": ("spam: worse by more than its tolerance",),
        "panes_from": 3,
        "panes_to": 10,
        "shards": {0: 70, 1: 90},
        "units": 1000,
        "phases": (PhaseCounts(1.0, 1000, 1000, {"spam": (30, 0, 4), "insult": (1, 0, 7)}),),
        "conflicts": 0,
        "shed": 2,
        "peaks": HexPeaks.of(Peaks({"spam": 0.1 + 0.2, "insult": 0.0}, 1e-300)),
        "hours": 1 / 3,
        "decided_at": datetime(2026, 11, 23, 4, 20, tzinfo=UTC),
    }
    return VerdictDocument(**{**known, **fields})


def test_a_verdict_ends_its_experiment_and_is_read_back_to_the_last_bit(
    store: ControlStore, log: ExperimentLog, changes: ExperimentChanges
) -> None:
    verdict = verdict_on(changes.start(SHADOW, STRICTER, ANNA))
    ended = changes.conclude(1, verdict, BORIS)
    assert ended.ended is not None
    assert (ended.ended.action, ended.ended.author) == ("verdict", "boris")
    assert (log.running(), log.find(1)) == ([], ended)
    stored = log.verdict(ended)
    assert stored is not None
    assert stored.document == verdict
    assert stored.document.peaks.to_peaks() == Peaks({"spam": 0.1 + 0.2, "insult": 0.0}, 1e-300)
    assert ended.ended.verdict is not None
    assert (ended.ended.verdict.state, ended.ended.verdict.sha256) == (State.FAIL, stored.sha256)
    steps: list[Callable[[], object]] = [lambda: changes.set_share(1, 0.2, ANNA), lambda: changes.stop(1, ANNA)]
    for again in steps:
        with pytest.raises(ConflictError, match="boris concluded experiment 1 with FAIL"):
            again()
    (entry,) = store.audit(1)
    expected = {"action": "experiment-verdict", "author": "boris", "state": "FAIL", "verdict": stored.sha256}
    assert entry.fields.items() >= expected.items()


def test_the_verdict_document_is_what_others_read(store: ControlStore, changes: ExperimentChanges) -> None:
    """The wire form: other programs and later versions read it, so its names stay."""
    changes.conclude(1, verdict_on(changes.start(SHADOW, STRICTER, ANNA)), ANNA)
    raw = store.client.get(store.keys.verdict(1))
    assert isinstance(raw, bytes)
    found = json.loads(raw)
    assert set(found) == {
        *("number", "experiment_sha256", "state", "reasons", "panes_from", "panes_to", "shards", "units", "phases"),
        *("conflicts", "shed", "peaks", "hours", "decided_at", "expired"),
    }
    assert (found["state"], found["shards"]) == ("FAIL", {"0": 70, "1": 90})
    assert found["phases"] == [
        {
            "share": 1.0,
            "control_units": 1000,
            "candidate_units": 1000,
            "labels": {"spam": [30, 0, 4], "insult": [1, 0, 7]},
        }
    ]
    assert found["peaks"]["worse"] == {"spam": "0x1.3333333333334p-2", "insult": "0x0.0p+0"}


def test_a_verdict_can_be_stored_again_and_changes_nothing(
    log: ExperimentLog, store: ControlStore, changes: ExperimentChanges
) -> None:
    verdict = verdict_on(changes.start(SHADOW, STRICTER, ANNA))
    first = changes.conclude(1, verdict, ANNA)
    changes.start(SHADOW, STRICTER, ANNA)
    before = snapshot(store)
    assert changes.conclude(1, verdict, BORIS) == first
    assert snapshot(store) == before


@pytest.mark.parametrize("end", ["stop", "return", "verdict"])
def test_an_experiment_that_has_ended_otherwise_gets_no_verdict(
    log: ExperimentLog, changes: ExperimentChanges, end: str
) -> None:
    started = changes.start(SHADOW, STRICTER, ANNA)
    if end == "verdict":
        changes.conclude(1, verdict_on(started, units=999), BORIS)
    else:
        changes.stop(1, BORIS, action=end)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match=r"boris .*experiment 1"):
        changes.conclude(1, verdict_on(started), ANNA)
    assert log.find(1).ended == log.latest().document  # type: ignore[union-attr]


def test_a_verdict_stands_whatever_changes_beside_it(
    log: ExperimentLog, changes: ExperimentChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion, the share, another experiment: evidence that was enough is no less for it."""
    started = changes.start(judging("spam"), STRICTER, ANNA)
    commit, other = log.commit, changes_of(ExperimentLog(log.store))
    beside: list[Callable[[], object]] = [
        lambda: other.start(judging("insult"), STRICTER, BORIS),
        lambda: other.set_share(1, 0.7, BORIS),
        lambda: new_changes(log.store).set_thresholds({"insult": 0.7}, BORIS),
    ]

    def boris_first(*arguments: Any, **options: Any) -> Any:
        if beside:
            beside.pop(0)()
        return commit(*arguments, **options)

    monkeypatch.setattr(log, "commit", boris_first)
    changes.conclude(1, verdict_on(started), ANNA)
    assert beside == []
    assert [experiment.id.number for experiment in log.running()] == [2]
    assert log.verdict(log.find(1)) is not None


def test_a_verdict_that_is_none_or_of_another_experiment_is_refused(
    log: ExperimentLog, store: ControlStore, changes: ExperimentChanges
) -> None:
    started = changes.start(SHADOW, STRICTER, ANNA)
    before = snapshot(store)
    wrong = verdict_on(started, State.COLLECTING, experiment_sha256="f" * 64)
    with pytest.raises(RefusedError) as refused:
        changes.conclude(1, wrong, ANNA)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["verdict", "state"]
    with pytest.raises(NotFoundError, match="no experiment 2"):
        changes.conclude(2, verdict_on(started, number=2), ANNA)
    assert snapshot(store) == before


def test_a_verdict_that_is_not_what_was_stored_is_refused(
    log: ExperimentLog, store: ControlStore, changes: ExperimentChanges
) -> None:
    started = changes.start(SHADOW, STRICTER, ANNA)
    ended = changes.conclude(1, verdict_on(started), ANNA)
    store.client.set(store.keys.verdict(1), msgspec.json.encode(verdict_on(started, State.PASS)))
    with pytest.raises(RefusedError, match="verdict on experiment 1 is not what was published"):
        log.verdict(ended)
    store.client.delete(store.keys.verdict(1))
    with pytest.raises(NotFoundError, match="verdict on experiment 1 is missing"):
        log.verdict(ended)


def test_what_runs_or_was_stopped_has_no_verdict(log: ExperimentLog, changes: ExperimentChanges) -> None:
    assert log.verdict(changes.start(SHADOW, STRICTER, ANNA)) is None
    assert log.verdict(changes.stop(1, ANNA)) is None


def test_shadows_on_disjoint_labels_run_side_by_side(log: ExperimentLog, changes: ExperimentChanges) -> None:
    for label in LABELS:
        changes.start(judging(label), STRICTER, ANNA)
    changes.set_share(1, 0.7, ANNA)
    assert [(e.id.number, e.share) for e in log.running()] == [(1, 0.7), (2, 0.5)]
    changes.stop(1, ANNA)
    assert [e.id.number for e in log.running()] == [2]
    assert [e.id.number for e in log.experiments()] == [1, 2]


def test_every_step_is_audited_and_announced(store: ControlStore, changes: ExperimentChanges) -> None:
    pubsub = store.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    pubsub.subscribe(store.keys.channel)
    pubsub.get_message(timeout=1)
    started = changes.start(SPLIT, STRICTER, ANNA)
    changes.set_share(1, 0.5, BORIS)
    changes.stop(1, ANNA)
    entries = [entry.fields for entry in store.audit(3)]
    assert [entry["action"] for entry in entries] == ["experiment-stop", "experiment-phase", "experiment-start"]
    assert [(entry["author"], entry["share"]) for entry in entries] == [
        ("anna", "0.5"),
        ("boris", "0.5"),
        ("anna", "0.1"),
    ]
    assert entries[0].items() >= {"experiment": "1", "control": "1", "candidate": "2", "mode": "split"}.items()
    assert entries[0]["experiment_sha256"] == started.id.sha256
    heard = [pubsub.get_message(timeout=1)["data"] for _ in range(3)]
    assert heard[-1] == store.client.get(store.keys.experiments)
    assert len(set(heard)) == 3


@pytest.mark.parametrize("first", ["start", "phase", "stop"])
@pytest.mark.parametrize("second", ["start", "phase", "stop"])
def test_of_two_operators_at_once_the_second_learns_of_the_first(
    log: ExperimentLog, changes: ExperimentChanges, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    changes.start(judging("spam"), STRICTER, ANNA)
    commit, other = log.commit, changes_of(ExperimentLog(log.store))
    state: dict[str, Any] = {}

    def boris_first(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(log, "commit", commit)
        step(other, first, BORIS)
        state["keys"] = snapshot(log.store)
        return commit(*arguments, **options)

    monkeypatch.setattr(log, "commit", boris_first)
    done = {"start": "started experiment 2", "phase": "set the share of experiment 1 to 0.7", "stop": "stopped exper"}
    with pytest.raises(ConflictError, match=f"boris {done[first]}.*second try.*Nothing was written"):
        step(changes, second, ANNA)
    assert snapshot(log.store) == state["keys"]


def step(changes: ExperimentChanges, action: str, who: Who) -> Experiment:
    if action == "start":
        return changes.start(judging("insult"), STRICTER, who)
    return changes.set_share(1, 0.7, who) if action == "phase" else changes.stop(1, who)


def snapshot(store: ControlStore) -> dict[bytes, Any]:
    """Everything in Redis."""
    client: Any = store.client
    read = {b"string": client.get, b"hash": client.hgetall, b"stream": client.xrange}
    return {key: read[client.type(key)](key) for key in client.scan_iter()}


@pytest.mark.parametrize("action", ["start", "phase"])
def test_a_champion_that_changed_meanwhile_is_a_conflict_that_names_who_did(
    log: ExperimentLog, changes: ExperimentChanges, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    changes.start(judging("spam"), STRICTER, ANNA)
    commit = log.commit

    def boris_first(*arguments: Any, **options: Any) -> Any:
        new_changes(log.store).set_thresholds({"insult": 0.7}, BORIS)
        return commit(*arguments, **options)

    monkeypatch.setattr(log, "commit", boris_first)
    with pytest.raises(ConflictError, match=r"boris was first: release 3 .*it changed insult: 0\.6 -> 0\.7"):
        step(changes, action, ANNA)
    assert [(e.id.number, len(e.phases)) for e in log.running()] == [(1, 1)]


def test_a_step_whose_reply_was_lost_is_recognised_not_called_a_conflict(
    log: ExperimentLog, changes: ExperimentChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = log.commit

    def twice(*arguments: Any, **options: Any) -> Any:
        commit(*arguments, **options)
        return commit(*arguments, **options)

    monkeypatch.setattr(log, "commit", twice)
    changes.start(SHADOW, STRICTER, ANNA)
    assert len(log.running()) == 1
    assert len(log.store.audit()) == 2


def test_a_release_committed_beside_a_starting_experiment_takes_the_next_numbers(
    store: ControlStore, changes: ExperimentChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.commit

    def experiment_first(**arguments: Any) -> Any:
        monkeypatch.setattr(store, "commit", commit)
        changes.start(SHADOW, STRICTER, BORIS)
        return commit(**arguments)

    monkeypatch.setattr(store, "commit", experiment_first)
    outcome = new_changes(store).set_thresholds({"insult": 0.7}, ANNA)
    assert (outcome.current.id.number, outcome.current.ref.revision) == (3, 3)
    assert current(store) == outcome.current
    assert [release.document.number for release in store.releases()] == [3, 1]


def test_every_reason_against_a_start_is_named(store: ControlStore, changes: ExperimentChanges) -> None:
    changes.start(judging("spam"), STRICTER, BORIS)
    before = snapshot(store)
    request = Request(
        ExperimentPlan(
            "split",
            {"spam": LabelPolicy(Tolerance("relative", 0.0)), "spma": LabelPolicy(), "insult": LabelPolicy(weight=0)},
            alpha=0.7,
            max_hours=0,
        ),
        share=1.0,
        unit="thread",
        base_rates={"nobody": 0.1, "spam": 2.0},
    )
    candidate = NewCandidate(NEXT, ("spam", "threat"), ThresholdSet({"spam": 1.5, "threat": 0.5}))
    with pytest.raises(RefusedError, match="cannot be started") as refused:
        changes.start(request, candidate, Who("anna", " "))
    text = "\n".join(refused.value.problems)
    for expected in (
        "reason: empty",
        "labels.spam: 1.5 is outside",
        "labels.insult: the champion scores it, the candidate does not",
        "labels.threat: the candidate scores it, the champion does not",
        "labels.spma: neither release scores this label",
        "base_rates.nobody: neither release scores this label",
        "base_rates.spam: 2.0 is outside 0 … 1",
        "unit: 'thread' is unknown; known are event, author, channel, tenant, key",
        "share: 1 is outside 0 … 1, both excluded",
        "labels.spam.tolerance: 0 is outside 0 … 1",
        "labels.insult.weight: 0 is not above 0",
        "alpha: 0.7 is outside",
        "max_hours: must be above 0",
        'mode: experiment 1 of boris ("second try") runs on the same units',
        'labels.spam: experiment 1 of boris ("second try") judges it already',
    ):
        assert expected in text, text
    assert snapshot(store) == before


def test_labels_that_are_muted_on_either_side_do_not_overlap(log: ExperimentLog, changes: ExperimentChanges) -> None:
    changes.start(judging("spam"), STRICTER, ANNA)
    with pytest.raises(RefusedError) as refused:
        changes.start(SHADOW, STRICTER, ANNA)
    assert [p.partition(":")[0] for p in refused.value.problems] == ["labels.spam"]
    changes.start(judging("insult"), STRICTER, ANNA)
    assert len(log.running()) == 2


@pytest.mark.parametrize("modes", [("split", "split"), ("split", "shadow"), ("shadow", "split")])
def test_a_split_has_its_units_to_itself(changes: ExperimentChanges, modes: tuple[str, str]) -> None:
    changes.start(judging("spam", mode=modes[0]), STRICTER, ANNA)
    with pytest.raises(RefusedError) as refused:
        changes.start(judging("insult", mode=modes[1]), STRICTER, ANNA)
    assert refused.value.problems == (
        'mode: experiment 1 of anna ("first try") runs on the same units, and a split needs them for itself',
    )


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_a_share_outside_its_range_is_refused(changes: ExperimentChanges, mode: str, share: float) -> None:
    request = Request(ExperimentPlan(mode), share)  # type: ignore[arg-type]
    with pytest.raises(RefusedError) as refused:
        changes.start(request, STRICTER, ANNA)
    assert [p.partition(":")[0] for p in refused.value.problems] == ["share"]


@pytest.mark.parametrize(
    ("rates", "problem"),
    [
        ({}, "labels.spam.tolerance: absolute, but the label's rate is not known"),
        ({"spam": 0.0027}, "labels.spam.tolerance: 0.005 is not below the label's rate of 0.0027"),
        ({"spam": 0.005}, "labels.spam.tolerance: 0.005 is not below"),
    ],
)
def test_an_absolute_tolerance_must_be_known_to_lie_below_the_rate(
    changes: ExperimentChanges, rates: dict[str, float], problem: str
) -> None:
    plan = ExperimentPlan("shadow", {"spam": LabelPolicy(Tolerance("absolute", 0.005))})
    with pytest.raises(RefusedError) as refused:
        changes.start(Request(plan, 1.0, base_rates=rates), STRICTER, ANNA)
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(problem)
    changes.start(Request(plan, 1.0, base_rates={"spam": 0.02}), STRICTER, ANNA)


@pytest.mark.parametrize(
    ("share", "who", "problems"),
    [(0.1, ANNA, ["share: it is 0.1 already"]), (1.0, Who("", "x"), ["author: empty", "share: 1 is outside"])],
)
def test_a_phase_that_cannot_begin_is_refused(
    log: ExperimentLog, changes: ExperimentChanges, share: float, who: Who, problems: list[str]
) -> None:
    changes.start(SPLIT, STRICTER, ANNA)
    with pytest.raises(RefusedError) as refused:
        changes.set_share(1, share, who)
    assert all(any(found.startswith(p) for found in refused.value.problems) for p in problems)
    assert log.find(1).phases[-1].share == 0.1


def test_an_experiment_whose_control_no_longer_decides_gets_no_new_phase(
    store: ControlStore, log: ExperimentLog, changes: ExperimentChanges
) -> None:
    changes.start(SPLIT, STRICTER, ANNA)
    new_changes(store).set_thresholds({"insult": 0.7}, BORIS)
    with pytest.raises(RefusedError) as refused:
        changes.set_share(1, 0.5, ANNA)
    assert refused.value.problems == (
        "control: release 3 decides now, and the experiment compares with release 1; stop it, and start a new one",
    )
    changes.stop(1, ANNA)
    assert log.running() == []


def test_whoever_changes_the_champion_can_be_told_what_it_ends(
    store: ControlStore, log: ExperimentLog, changes: ExperimentChanges
) -> None:
    assert champion_warnings(log.running(), current(store).id) == []
    changes.start(SPLIT, STRICTER, ANNA)
    (warning,) = champion_warnings(log.running(), current(store).id)
    for expected in ("experiment 1", "split", "anna", "first try", "release 2 with release 1", "started anew"):
        assert expected in warning
    new_changes(store).set_thresholds({"insult": 0.7}, BORIS)
    assert champion_warnings(log.running(), current(store).id) == []


def test_nothing_is_started_on_a_redis_behind_its_workers(store: ControlStore, changes: ExperimentChanges) -> None:
    send(store, heartbeat(release=5, release_sha256="f" * 64, revision=1), 1.0)
    with pytest.raises(RefusedError, match="restored from an older state"):
        changes.start(SHADOW, STRICTER, ANNA)


def test_there_is_nothing_to_compare_with_in_an_empty_redis() -> None:
    with pytest.raises(NotFoundError, match="holds no release"):
        changes_of(ExperimentLog(new_store())).start(SHADOW, STRICTER, ANNA)


def test_an_unknown_experiment_is_not_found(log: ExperimentLog, changes: ExperimentChanges) -> None:
    asked: list[Callable[[], object]] = [
        lambda: log.find(7),
        lambda: changes.stop(7, ANNA),
        lambda: changes.set_share(7, 0.5, ANNA),
    ]
    for ask in asked:
        with pytest.raises(NotFoundError, match="no experiment 7"):
            ask()


Damage = Callable[[ControlStore], object]


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda s: s.client.set(s.keys.experiments, b"\xff"), RefusedError, "what experiments run in Redis cannot be"),
        (lambda s: s.client.hset(s.keys.heads, "experiment", "many"), RefusedError, "what experiments run in Redis"),
        (lambda s: s.client.delete(s.keys.experiment(1)), NotFoundError, "experiment 1 is missing in Redis"),
        (lambda s: s.client.delete(s.keys.experiment_change(2)), NotFoundError, "experiment change 2 is missing"),
        (lambda s: s.client.append(s.keys.experiment(1), b" "), RefusedError, "experiment 1 is not what was published"),
        (lambda s: s.client.append(s.keys.experiment_change(1), b" "), RefusedError, "experiment change 1 is not what"),
    ],
)
def test_what_is_damaged_is_named_and_never_guessed(
    store: ControlStore,
    log: ExperimentLog,
    changes: ExperimentChanges,
    damage: Damage,
    error: type[Exception],
    message: str,
) -> None:
    changes.start(SPLIT, STRICTER, ANNA)
    changes.set_share(1, 0.5, ANNA)
    damage(store)
    with pytest.raises(error, match=message):
        list(log.experiments())


def test_documents_are_never_overwritten(store: ControlStore, log: ExperimentLog, changes: ExperimentChanges) -> None:
    store.client.set(store.keys.experiment(1), b"something")
    with pytest.raises(RefusedError, match="experiment 1 exists in Redis already"):
        changes.start(SHADOW, STRICTER, ANNA)
    assert store.client.get(store.keys.experiment(1)) == b"something"
    assert (log.heads().experiment, store.heads().release) == (0, 1)


def test_numbers_that_were_given_meanwhile_are_not_given_again(
    log: ExperimentLog, changes: ExperimentChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = log.commit

    def counted(*arguments: Any, **options: Any) -> Any:
        log.store.client.hset(log.store.keys.heads, "experiment", 4)
        return commit(*arguments, **options)

    monkeypatch.setattr(log, "commit", counted)
    with pytest.raises(RefusedError, match="experiment 1 exists in Redis already") as refused:
        changes.start(SHADOW, STRICTER, ANNA)
    assert log.store.keys.heads in refused.value.hint
    assert changes.start(SHADOW, STRICTER, ANNA).id.number == 5


class Model:
    """What ought to be there after a list of steps."""

    def __init__(self) -> None:
        self.shares: dict[int, list[float]] = {}
        self.running: list[int] = []


steps = st.lists(
    st.tuples(st.sampled_from(["spam", "insult", "phase", "stop", "release"]), st.integers(1, 5), st.integers(1, 99)),
    max_size=12,
)


@given(steps=steps)
@settings(max_examples=30, deadline=None)
def test_whatever_is_done_the_log_says_what_runs_and_all_that_was(steps: list[tuple[str, int, int]]) -> None:
    store = new_store()
    releases: ReleaseChanges = new_changes(store)
    releases.seed(BUNDLE, LABELS, DEFAULTS)
    log = ExperimentLog(store)
    changes, model = changes_of(log), Model()
    for action, number, percent in steps:
        try:
            if action in LABELS:
                started = changes.start(judging(action), STRICTER, ANNA)
                model.shares[started.id.number] = [0.5]
                model.running.append(started.id.number)
            elif action == "phase":
                changes.set_share(number, percent / 100, ANNA)
                model.shares[number].append(percent / 100)
            elif action == "stop":
                changes.stop(number, ANNA)
                model.running.remove(number)
            else:
                releases.set_thresholds({"spam": 0.5 + percent / 1000}, ANNA)
        except (RefusedError, NotFoundError, ConflictError):
            continue
    assert [e.id.number for e in log.running()] == sorted(model.running)
    found = {e.id.number: e for e in log.experiments()}
    assert {n: [phase.share for phase in e.phases] for n, e in found.items()} == model.shares
    assert {n for n, e in found.items() if e.ended is None} == set(model.running)
    assert sorted(found) == list(range(1, len(found) + 1))
