"""Experiments in the tagger: what goes out, what is counted, and that a shadow changes nothing for the champion."""

import base64
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tagging import LABELS, Rig, TextScorer, raw_record, record, release

from streamtag.control.experiment_documents import ExperimentDocument, ExperimentId, Phase, Unit
from streamtag.control.experiment_log import Experiment
from streamtag.control.experiment_watcher import ActiveExperiment
from streamtag.control.store import Current
from streamtag.control.watcher import ActiveRelease
from streamtag.domain.assignment import below, unit_hashes
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Mode
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events.summary import CommitSummary
from streamtag.model.bundle import Bundle
from streamtag.stats.ledger import contradictions
from streamtag.tagger import tagger
from streamtag.tagger.candidate import Candidate
from streamtag.tagger.tagger import Tagger
from streamtag.tagger.trials import Trials
from streamtag.telemetry.tracing import BatchTracer

SALT = "5a" * 16
AT = datetime(2026, 11, 23, 3, tzinfo=UTC)


class FakeBundle:
    labels = ("insult", "spam")  # in another order than the champion's
    reads_features = False
    stage2: object = None


class FakeCandidate:
    """Answers with the numbers in the texts, halved; or what the test says."""

    def __init__(self) -> None:
        self.asked: dict[int, list[str | None]] = {}
        self.why: Literal["loading", "failures", "shed"] | None = None
        self.scores: NDArray[np.float32] | None = None
        self.closed = False
        self.kept: list[int] = []
        self.times: list[tuple[float, float]] = []

    @property
    def ready(self) -> bool:
        return self.why is None

    def ask(self, texts: Sequence[str | None], features: object, ids: Sequence[str] | None) -> int | None:
        assert features is None
        self.ids = ids
        self.asked[len(self.asked)] = list(texts)
        self.kept.append(len(self.asked) - 1)
        return self.kept[-1]

    def answer(self, ticket: int, timeout_s: float) -> NDArray[np.float32] | None:
        assert timeout_s >= 0
        if self.why is not None:
            return None
        if self.scores is not None:
            return self.scores
        rows = [[float(word) / 2 for word in (text or "").split()][::-1] for text in self.asked[ticket]]
        return np.array(rows, dtype=np.float32)

    def times_since(self, moment: float) -> list[float]:
        return [took_s for at, took_s in self.times if at > moment]

    def why_not(self, ticket: int | None) -> Literal["loading", "failures", "shed"]:
        return self.why or "shed"

    def forget(self) -> None:
        self.kept.clear()

    def close(self) -> None:
        self.closed = True


def experiment(
    mode: Mode = "shadow",
    share: float = 1.0,
    *,
    unit: Unit = "event",
    cutoff: float = 0.25,
    bundle: bool = False,
    control: ActiveRelease | None = None,
    number: int = 3,
) -> ActiveExperiment:
    champion = control or release()
    candidate = release(9, ThresholdSet(dict.fromkeys(LABELS, cutoff)))
    document = ExperimentDocument(
        number=number,
        control=champion.ref,
        candidate=candidate.ref,
        unit=unit,
        salt=SALT,
        plan=ExperimentPlan(mode, {label: LabelPolicy() for label in LABELS}),
        base_rates={},
        author="anna",
        reason="why",
        at=AT,
    )
    found = Experiment(ExperimentId(number, "e" * 64), document, (Phase(share, AT),))

    return ActiveExperiment(found, cast(Current, candidate), cast(Bundle, FakeBundle()) if bundle else None)


class Trying(Rig):
    """A rig that takes part in experiments."""

    def __init__(self, *running: ActiveExperiment, overrides: dict[str, str] | None = None) -> None:
        super().__init__(overrides)
        self.running = running
        self.now_s = 1_000.0
        self.candidate = FakeCandidate()
        self.trials = Trials(
            lambda: self.running,
            lambda _bundle: cast(Candidate, self.candidate),
            budget_s=0.02,
            commit_interval_s=0.4,
            metrics=self.metrics,
            clock=lambda: self.now_s,
        )
        self.tagger = Tagger(
            self.settings,
            worker="g-0",
            release=lambda: self.active,
            stop=self.stop,
            metrics=self.metrics,
            tracer=BatchTracer(),
            trials=self.trials,
            clock_ms=lambda: self.now_ms,
        )


def rows_of(summaries: Sequence[dict[str, Any]]) -> list[tuple[str, int, tuple[bool, ...], tuple[bool, ...]]]:
    """(arm of the cell, hash, control, candidate) of every row."""
    found = []
    for one in summaries:
        for pane in one["panes"]:
            for rows in pane.get("experiments", ()):
                assert rows["labels"] == list(LABELS)
                raw = {name: base64.b64decode(part) for name, part in rows["units"].items()}
                hashes = np.frombuffer(raw["hash"], "<u8").tolist()
                for i, unit in enumerate(hashes):
                    bits = [
                        tuple(bool(raw[a][i] >> j & 1) for j in range(len(LABELS))) for a in ("control", "candidate")
                    ]
                    found.append((pane["arm"], unit, bits[0], bits[1]))
    return found


def sound(summaries: Sequence[dict[str, Any]]) -> None:
    for one in summaries:
        assert contradictions(msgspec.convert(one, CommitSummary, strict=False)) == []


scores = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=50)
@given(scores, st.sampled_from([0.2, 0.7, 1.0]))
def test_a_shadow_changes_nothing_of_what_goes_out(events: list[tuple[int, int]], share: float) -> None:
    records = [record(i, a / 100, b / 100, author=f"a{i % 3}") for i, (a, b) in enumerate(events)]
    plain, trying = Rig(), Trying(experiment(share=share, unit="author"))
    assert trying.process(*records) == plain.process(*records)
    with_it, without = trying.close(), plain.close()
    sound(with_it)
    assert [one["tagged"] for one in with_it] == [one["tagged"] for one in without]
    for one, other in zip(with_it, without, strict=True):
        decided = [pane for pane in one["panes"] if not pane.get("shadow")]
        for pane in decided:
            pane.pop("experiments", None)
        assert decided == other["panes"]


@pytest.mark.parametrize("end", [Tagger.committed, Tagger.undo])
def test_once_a_transaction_is_over_a_candidate_keeps_no_answers_for_it(end: Callable[[Tagger], None]) -> None:
    rig = Trying(experiment(bundle=True))
    rig.process(record(0, 0.9, 0.1))
    assert rig.candidate.kept == [0]
    end(rig.tagger)
    assert rig.candidate.kept == []


@settings(deadline=None, max_examples=50)
@given(scores, st.sampled_from([0.2, 0.7, 1.0]), st.booleans())
def test_the_rows_of_a_shadow_are_what_either_arm_says(
    events: list[tuple[int, int]], share: float, other_bundle: bool
) -> None:
    rig = Trying(experiment(share=share, bundle=other_bundle))
    rig.process(*(record(i, a / 100, b / 100) for i, (a, b) in enumerate(events)))
    summaries = rig.close()
    hashes = unit_hashes([f"e{i}".encode() for i in range(len(events))], SALT)
    inside = below(hashes, share)
    factor = 0.5 if other_bundle else 1.0
    expected = [
        (
            "control",
            int(hashes[i]),
            tuple(s >= 50 for s in event),
            tuple(round(s * 10_000 * factor) >= 250_000 for s in event),
        )
        for i, event in enumerate(events)
        if inside[i]
    ]
    assert sorted(rows_of(summaries)) == sorted(expected)
    shadow = [pane for one in summaries for pane in one["panes"] if pane.get("shadow")]
    assert sum(pane["events"] for pane in shadow) == inside.sum()
    assert {(pane["arm"], pane["release"]) for pane in shadow} <= {("candidate", 9)}
    alerts = Counter({label: sum(row[3][i] for row in expected) for i, label in enumerate(LABELS)})
    assert alerts == Counter({label: sum(pane["labels"][label]["alerts"] for pane in shadow) for label in LABELS})
    assert rig.trials.figures()["3-eeeeeeeeeeee"].scored == inside.sum()


@settings(deadline=None, max_examples=50)
@given(scores, st.sampled_from([0.2, 0.7]), st.booleans())
def test_in_a_split_each_unit_has_one_arm_and_every_event_one_outcome(
    events: list[tuple[int, int]], share: float, other_bundle: bool
) -> None:
    rig = Trying(experiment("split", share, unit="author", bundle=other_bundle))
    authors = [None if i % 5 == 4 else f"a{i % 7}" for i in range(len(events))]
    records = [
        record(i, a / 100, b / 100, author=author)
        for (i, (a, b)), author in zip(enumerate(events), authors, strict=True)
    ]
    outputs = rig.process(*records)
    tags = rig.tags(outputs)
    assert [tag["id"] for tag in tags] == [f"e{i}" for i in range(len(events))]
    factor = 0.5 if other_bundle else 1.0
    expected = []
    for tag, event, author in zip(tags, events, authors, strict=True):
        chosen = author is not None and bool(below(unit_hashes([author.encode()], SALT), share)[0])
        arm, cutoff, times = ("candidate", 0.25, factor) if chosen else ("control", 0.5, 1.0)
        assert tag.get("arm", "control") == arm
        assert tag.get("experiment") == (None if author is None else "3-eeeeeeeeeeee")
        assert tag["release"]["number"] == (9 if chosen else 1)
        wanted = tuple(round(s * 10_000 * times) >= cutoff * 1_000_000 for s in event)
        assert {one["label"] for one in tag["tags"]} == {label for label, w in zip(LABELS, wanted, strict=True) if w}
        if author is not None:
            none = (False,) * len(LABELS)
            unit = int(unit_hashes([author.encode()], SALT)[0])
            expected.append((arm, unit, none if chosen else wanted, wanted if chosen else none))
    summaries = rig.close()
    sound(summaries)
    assert sorted(rows_of(summaries)) == sorted(expected)
    assert not any(pane.get("shadow") for one in summaries for pane in one["panes"])
    assert sum(one["in"] for one in summaries) == len(events)


@pytest.mark.parametrize("mode", ["shadow", "split"])
@pytest.mark.parametrize("why", ["loading", "shed", "failures"])
def test_a_candidate_that_does_not_answer_is_left_out_and_the_champion_decides(
    mode: Mode, why: Literal["loading", "shed", "failures"]
) -> None:
    rig = Trying(experiment(mode, 0.5, bundle=True))
    rig.candidate.why = why
    records = [record(i, 0.6, 0.1) for i in range(20)]
    tags = rig.tags(rig.process(*records))
    assert [tag["id"] for tag in tags] == [f"e{i}" for i in range(20)]
    assert {tag["release"]["number"] for tag in tags} == {1}
    summaries = rig.close()
    sound(summaries)
    chosen = int(below(unit_hashes([f"e{i}".encode() for i in range(20)], SALT), 0.5).sum())
    assert 0 < chosen < 20
    shed = sum(rows["shed"] for one in summaries for pane in one["panes"] for rows in pane.get("experiments", ()))
    assert shed == chosen
    assert rows_of(summaries) == []  # of a split neither: with one arm only, the assignment would look broken
    assert {tag.get("experiment") for tag in tags} == {None}
    assert getattr(rig.trials.figures()["3-eeeeeeeeeeee"], why) == chosen


@pytest.mark.parametrize("why", [None, "loading"])
def test_a_batch_without_a_unit_of_the_candidate_takes_part_where_it_could_have_answered(
    why: Literal["loading"] | None,
) -> None:
    rig = Trying(experiment("split", 0.5, bundle=True))
    rig.candidate.why = why
    control = [i for i in range(20) if not below(unit_hashes([f"e{i}".encode()], SALT), 0.5)[0]]
    for i in control:
        rig.process(record(i, 0.6, 0.1))
    assert len(rows_of(rig.close())) == (len(control) if why is None else 0)


def test_a_candidate_of_two_stages_says_in_its_tag_events_which_one_decided() -> None:
    rig = Trying()
    active = experiment("split", bundle=True)
    assert active.bundle is not None
    active.bundle.stage2 = active.bundle  # type: ignore[misc]
    rig.running = (active,)
    # final scores, those of stage 1, and the route: nothing uncertain, in a band, not valid, shed
    rig.candidate.scores = np.array(
        [[0.9, 0.1, 0.9, 0.1, 0], [0.2, 0.3, 0.4, 0.5, 1], [np.nan] * 5, [0.6, 0.6, 0.6, 0.6, 3]], dtype=np.float32
    )
    tags = rig.tags(rig.process(*(record(i, 0.6, 0.1) for i in range(4))))
    assert rig.candidate.ids == ["e0", "e1", "e2", "e3"]
    found = [(tag.get("arm"), tag.get("stage"), tag.get("stage2")) for tag in tags]
    assert found == [("candidate", None, None), ("candidate", "2", "band"), (None,) * 3, ("candidate", None, "shed")]
    assert tags[1]["scores"] == {"insult": 0.2, "spam": 0.3}
    assert tags[1]["stage1_scores"] == {"insult": 0.4, "spam": 0.5}


def test_scores_that_are_no_probabilities_are_shed() -> None:
    rig = Trying(experiment(bundle=True))
    rig.candidate.scores = np.array([[0.9, 0.9], [np.nan, 0.1], [0.1, 1.5]], dtype=np.float32)
    rig.process(*(record(i, 0.6, 0.1) for i in range(3)))
    summaries = rig.close()
    assert len(rows_of(summaries)) == 1
    figures = rig.trials.figures()["3-eeeeeeeeeeee"]
    assert (figures.scored, figures.invalid) == (1, 2)


def test_an_experiment_against_another_champion_is_stale_and_takes_no_part() -> None:
    rig = Trying(experiment(control=release(8)))
    rig.process(record(0, 0.6, 0.1))
    assert rows_of(rig.close()) == []
    rig.active = release(8)
    rig.process(record(1, 0.6, 0.1))
    assert len(rows_of(rig.close())) == 1


def test_what_was_undone_is_not_counted() -> None:
    rig = Trying(experiment())
    rig.process(record(0, 0.6, 0.1))
    rig.tagger.undo()
    rig.process(record(0, 0.6, 0.1))
    assert len(rows_of(rig.close())) == 1


@pytest.mark.parametrize(
    ("took_ms", "p99_ms"),
    [
        ([], None),
        ([500] * 19, None),
        ([4] * 19 + [500], 4),
        ([4] * 18 + [400, 500], 400),
        ([4] * 989 + [60] * 11, 60),
        ([4_000] * 7, None),
        ([4_000] * 8, 4_000),
    ],
    ids=["none", "few", "one slow", "some slow", "more than 1 in 100 slow", "few slow ones", "too slow for many"],
)
def test_the_99th_percentile_is_of_all_answers_of_a_minute_unless_they_are_few(
    took_ms: list[int], p99_ms: float | None
) -> None:
    rig = Trying(experiment("split", 0.5, bundle=True))
    rig.candidate.why = "shed"  # nobody waited for any of them
    rig.process(*(record(i, 0.6, 0.1) for i in range(20)))
    rig.candidate.times = [(rig.now_s - 60, 9.0)] * 100 + [(rig.now_s - 1, ms / 1000) for ms in took_ms]
    figures = rig.trials.figures()["3-eeeeeeeeeeee"]
    assert figures.scored == 0
    assert figures.p99_ms == (None if p99_ms is None else pytest.approx(p99_ms))


def test_a_candidate_that_shares_the_scores_of_the_champion_takes_no_time() -> None:
    rig = Trying(experiment())
    rig.process(*(record(i, 0.6, 0.1) for i in range(30)))
    figures = rig.trials.figures()["3-eeeeeeeeeeee"]
    assert (figures.scored, figures.p99_ms) == (30, None)


def test_events_that_the_champion_refuses_take_no_part() -> None:
    rig = Trying(experiment(bundle=True), overrides={"dead_letters.max_consecutive": "100"})
    outputs = rig.process(record(0, 0.6, 0.1), record(1, text="a text the model cannot bear"), record(2, 0.1, 0.6))
    assert len(rig.dead(outputs)) == 1
    rig.candidate.scores = np.array([[0.9, 0.0], [0.5, 0.5], [0.0, 0.9]], dtype=np.float32)
    found = rows_of(rig.close())
    assert sorted(row[3] for row in found) == [(False, True), (True, False)]


def test_a_candidate_is_told_which_events_have_no_text() -> None:
    """A champion that reads features only decides them; a candidate that reads texts could not."""
    champion = TextScorer()
    champion.reads_text = False
    rig = Trying(experiment(bundle=True))
    rig.active = release(scorer=champion)
    rig.candidate.scores = np.array([[0.9, 0.9], [np.nan, np.nan], [0.9, 0.9]], dtype=np.float32)
    rig.process(record(0, 0.6, 0.1), raw_record(1, b'{"id": "e1", "features": {"amount": 1}}'), record(2, text=""))
    assert rig.candidate.asked[0] == ["0.6 0.1", None, ""]
    assert len(rows_of(rig.close())) == 2
    figures = rig.trials.figures()["3-eeeeeeeeeeee"]
    assert (figures.scored, figures.invalid) == (2, 1)


def test_an_experiment_that_ends_lets_its_candidate_go() -> None:
    rig = Trying(experiment(bundle=True))
    rig.process(record(0, 0.6, 0.1))
    rig.close()
    rig.running = ()
    rig.process(record(1, 0.6, 0.1))
    assert rig.candidate.closed
    assert rows_of(rig.close()) == []


def test_an_experiment_may_end_while_its_candidate_has_answered_and_nothing_is_committed() -> None:
    rig = Trying(experiment(bundle=True))
    rig.process(record(0, 0.6, 0.1))
    rig.running = ()
    rig.process(record(1, 0.6, 0.1))
    assert rig.candidate.closed
    rig.close()


def test_a_shadow_keeps_no_texts_until_the_transaction_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    room = 2**18
    monkeypatch.setattr(tagger, "_MAX_HELD_BYTES", room)
    rig = Trying(experiment(bundle=True))
    monkeypatch.setattr(rig.candidate, "ask", lambda *_: None)  # the real one writes the texts into a pipe
    rig.process(record(0, 0.9, 0.1))
    rig.close()
    tracemalloc.start()
    events = 0
    while not rig.tagger.full():
        rig.process(*[record(events + i, text=f"0.9 0.1{' ' * 2_000}") for i in range(64)])
        events += 64
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.2 * room
    assert 0.4 * room < events * (256 + 9 * len(LABELS)) < 0.7 * room  # as much again is expected of the candidate


def test_two_shadows_at_once_each_have_their_rows() -> None:
    rig = Trying(experiment(cutoff=0.2), experiment(cutoff=0.8, number=4))
    rig.process(record(0, 0.6, 0.1))
    summaries = rig.close()
    ids = [rows["id"] for one in summaries for pane in one["panes"] for rows in pane.get("experiments", ())]
    assert sorted(ids) == ["3-eeeeeeeeeeee", "4-eeeeeeeeeeee"]
    sound(summaries)
