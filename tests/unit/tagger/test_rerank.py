"""Two stages in the tagger: who goes, within which budget, what is recorded, and that no event is lost to stage 2."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pipeline import WORDS
from tagging import LABELS, Rig, TextScorer, raw_record, record, release
from tiny_bundle import build_tiny_bundle

from streamtag.batch.scoring import EventScorer
from streamtag.domain.two_stage import Bands, Route
from streamtag.events.content import ContentEvent
from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.two_stages import pair
from streamtag.tagger.rerank import Budget, Limits, infer_stages

RAISES_LATER, NAN_LATER = "0.45 0.1", "0.46 0.1"


class Opposite(TextScorer):
    """A second stage that says the opposite of the first; two texts it cannot bear."""

    def score(self, texts: Sequence[str], features: None) -> NDArray[np.float32]:
        if RAISES_LATER in texts:
            self.batches.append(len(texts))
            raise RuntimeError("cannot bear it")
        scores = 1 - super().score(texts, features)
        scores[[text == NAN_LATER for text in texts]] = np.nan
        return scores


class TwoStages(TextScorer):
    """Unsure of spam between 0.4 and 0.6."""

    def __init__(self, sample: float = 0.0) -> None:
        super().__init__()
        self.second: Any = Opposite()
        self.bands: Any = Bands.of(LABELS, {"spam": (0.4, 0.6)}, sample)


def staged(sample: float = 0.0, **settings: str) -> Rig:
    overrides = {f"tagger.{name}": value for name, value in settings.items()}
    return Rig(overrides, release(scorer=TwoStages(sample)))


def events(*texts: str) -> list[ContentEvent]:
    return [ContentEvent(f"e{i}", text) for i, text in enumerate(texts)]


def routes(tags: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(tag.get("stage", "1"), tag.get("stage2")) for tag in tags]


def test_uncertain_events_have_the_scores_of_stage_2_and_say_what_stage_1_had_said() -> None:
    rig = staged(stage2_share="1")
    sure, unsure = rig.tags(rig.process(record(0, 0.9, 0.1), record(1, 0.4, 0.1)))
    assert (sure["scores"], sure.get("stage", "1")) == ({"spam": 0.9, "insult": 0.1}, "1")
    assert not {"stage2", "stage1_scores"} & sure.keys()
    assert unsure["scores"] == {"spam": 0.6, "insult": 0.9}
    assert (unsure["stage"], unsure["stage2"]) == ("2", "band")
    assert unsure["stage1_scores"] == {"spam": 0.4, "insult": 0.1}
    assert [tag["label"] for tag in unsure["tags"]] == ["spam", "insult"]


def test_statistics_count_the_scores_that_decided() -> None:
    rig = staged(stage2_share="1")
    rig.process(record(0, 0.4, 0.1))
    [one] = rig.close()
    [pane] = one["panes"]
    assert {label: counts["sum_micro"] for label, counts in pane["labels"].items()} == {
        "spam": 600_000,
        "insult": 900_000,
    }


def test_beyond_the_budget_stage_1_decides_and_the_event_says_so() -> None:
    rig = staged(stage2_share="0.5", stage2_per_batch="3")
    outputs = rig.process(*(record(i, 0.5, 0.1) for i in range(8)))
    assert routes(rig.tags(outputs)) == [("2", "band")] * 3 + [("1", "shed")] * 5
    assert all("stage1_scores" not in tag for tag in rig.tags(outputs)[3:])
    rig.close()
    assert rig.metrics.value("streamtag.stage2.events", outcome="band") == 3
    assert rig.metrics.value("streamtag.stage2.events", outcome="shed") == 5


def test_the_sample_goes_whatever_its_scores() -> None:
    rig = staged(sample=1.0, stage2_share="1")
    tags = rig.tags(rig.process(record(0, 0.9, 0.1), record(1, 0.5, 0.1)))
    assert routes(tags) == [("2", "sample")] * 2


def test_whoever_fills_the_sample_gets_no_more_than_the_budget() -> None:
    rig = staged(sample=1.0, stage2_share="1", stage2_per_batch="3")
    tags = rig.tags(rig.process(*(record(i, 0.9 if i % 2 else 0.5, 0.1) for i in range(6))))
    assert routes(tags) == [("2", "sample")] * 3 + [("1", None), ("1", "shed"), ("1", None)]
    assert rig.active is not None
    second: Any = rig.active.scorer.second
    assert second.batches == [3]
    rig.close()
    counted = {why: rig.metrics.value("streamtag.stage2.events", outcome=why) for why in ("sample", "first", "shed")}
    assert counted == {"sample": 3, "first": 2, "shed": 1}


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (Limits(0.1, None, 64), 0.1 * 200 * 64),
        (Limits(1.0, 200.0, 64), 200.0 * 200 * 0.02),
        (Limits(1.0, None, 3), 200 * 3),
        (Limits(1.0, None, 64, time_share=1e-9), 4),  # what is saved at first, for a model nobody knows
    ],
)
def test_a_stream_of_nothing_but_the_sample_stays_within_each_limit(limits: Limits, most: float) -> None:
    now, gone = [0.0], 0
    budget = Budget(limits, clock=lambda: now[0])
    for _ in range(200):
        found = infer_stages(events(*["0.9 0.1"] * 64), TwoStages(1.0), budget).stages  # type: ignore[arg-type]
        assert found is not None
        gone += int(found.second.sum())
        if limits.time_share < 1:
            budget.took(1, 0.1)
        now[0] += 0.02
    assert 0.9 * most <= gone <= most


def test_what_stage_2_cannot_score_keeps_the_scores_of_stage_1() -> None:
    rig = staged(stage2_share="1")
    made = [record(0, 0.5, 0.1), record(1, text=RAISES_LATER), record(2, text=NAN_LATER), record(3, 0.6, 0.1)]
    outputs = rig.process(*made)
    assert not rig.dead(outputs)
    tags = rig.tags(outputs)
    assert routes(tags) == [("2", "band"), ("1", "failed"), ("1", "failed"), ("2", "band")]
    assert [tag["scores"]["spam"] for tag in tags] == [0.5, 0.45, 0.46, 0.4]
    rig.close()
    assert rig.metrics.value("streamtag.stage2.events", outcome="failed") == 2


def test_what_stage_1_refuses_never_reaches_stage_2() -> None:
    rig = staged(sample=1.0, stage2_share="1")
    outputs = rig.process(record(0, 0.5, 0.1), raw_record(1, b'{"id": "no text", "features": {}}'), record(2, 0.5, 0.1))
    assert len(rig.dead(outputs)) == 1
    assert routes(rig.tags(outputs)) == [("2", "sample")] * 2
    assert rig.active is not None
    second: Any = rig.active.scorer.second
    assert second.batches == [2]


def test_what_was_undone_is_not_counted() -> None:
    rig = staged(stage2_share="1")
    rig.process(record(0, 0.5, 0.1))
    rig.tagger.undo()
    rig.covered = {}
    rig.process(record(0, 0.5, 0.1))
    rig.close()
    assert rig.metrics.value("streamtag.stage2.events", outcome="band") == 1


def test_without_scores_in_tag_events_there_are_none_of_stage_1_either() -> None:
    rig = staged(stage2_share="1", scores="false")
    [tag] = rig.tags(rig.process(record(0, 0.5, 0.1)))
    assert (tag["scores"], tag["stage"]) == ({}, "2")
    assert "stage1_scores" not in tag


def test_a_slow_stage_takes_no_more_than_its_share_of_the_time() -> None:
    now = [0.0]
    budget = Budget(Limits(1.0, None, 64, time_share=0.5), clock=lambda: now[0])
    spent = 0.0
    for turn in range(200):
        allowed = budget.allow(512, 50)
        assert allowed <= (10 if turn else 4)  # 0.1 s of 10 ms each; the first batch shows what an event takes
        spent += allowed * 0.01
        if allowed:
            budget.took(allowed, allowed * 0.01)
        now[0] += allowed * 0.01 + 0.005
    assert 0.4 * now[0] <= spent <= 0.5 * now[0] + 0.1


def test_a_fast_stage_is_not_held_back_by_time() -> None:
    now = [0.0]
    budget = Budget(Limits(1.0, None, 64, time_share=0.5), clock=lambda: now[0])
    granted = []
    for _ in range(20):
        granted.append(budget.allow(512, 64))
        budget.took(granted[-1], granted[-1] * 60e-6)
        now[0] += 0.02
    assert granted == [4, *[64] * 19]


@pytest.mark.parametrize("each_s", [0.15, 0.09])
def test_however_slow_a_stage_is_some_events_go(each_s: float) -> None:
    now, gone = [0.0], 0
    budget = Budget(Limits(1.0, None, 64, time_share=0.5), clock=lambda: now[0])
    for _ in range(1_000):
        allowed = budget.allow(512, 50)
        if allowed:
            budget.took(allowed, allowed * each_s)
        gone += allowed
        now[0] += allowed * each_s + 0.01
    assert gone * each_s == pytest.approx(0.5 * now[0], rel=0.15)


def test_a_freeze_is_forgotten() -> None:
    now = [0.0]
    budget = Budget(Limits(1.0, None, 64, time_share=0.5), clock=lambda: now[0])
    budget.took(20, 30.0)
    granted = []
    for _ in range(200):
        now[0] += 0.02
        granted.append(budget.allow(512, 64))
        if granted[-1]:
            budget.took(granted[-1], granted[-1] * 60e-6)
    assert granted[-10:] == [64] * 10


def test_of_another_model_nobody_knows_how_long_it_takes() -> None:
    now = [0.0]
    budget = Budget(Limits(1.0, None, 64, time_share=0.5), clock=lambda: now[0])
    first, second = object(), object()
    budget.meet(first)
    budget.took(64, 64 * 60e-6)
    now[0] += 1.0
    budget.meet(first)
    assert budget.allow(512, 50) == 50
    budget.meet(second)
    assert budget.allow(512, 50) == 4


def test_a_rate_lets_as_many_through_as_time_has_passed() -> None:
    now = [0.0]
    budget = Budget(Limits(1.0, 10.0, 100), clock=lambda: now[0])
    granted = []
    for at in (0.0, 0.5, 0.75, 60.0, 60.0):
        now[0] = at
        granted.append(budget.allow(100, 100))
    assert granted == [0, 5, 2, 10, 0]  # what was not used is kept for one second


def test_one_stage_asks_for_no_budget_and_says_nothing_of_stages() -> None:
    found = infer_stages(events("0.5 0.1"), TextScorer())  # type: ignore[arg-type]
    assert found.stages is None
    whole = infer_stages(events("0.5 0.1", "0.9 0.9"), TwoStages())  # type: ignore[arg-type]
    assert whole.stages is not None
    assert whole.stages.route.tolist() == [Route.BAND, Route.FIRST]
    assert whole.micro.tolist() == [[500_000, 900_000], [900_000, 900_000]]
    assert whole.stages.first.tolist() == [[500_000, 100_000], [900_000, 900_000]]


def test_batch_scores_equal_those_of_the_stream_where_no_budget_shed(tmp_path: Path) -> None:
    first, second = build_tiny_bundle(tmp_path), build_tiny_bundle(tmp_path, name="slow", weights_seed=3)
    bands = {"spam": (0.3, 0.7), "greeting": (0.45, 0.55)}
    parts = read_bundle(first), read_bundle(second)
    scorer = load_scorer(pair(*parts, tmp_path, name="tiny", version="2", bands=bands, sample=0.1), batch=16)
    thresholds = scorer.bundle.default_thresholds
    rig = Rig(
        {"tagger.stage2_share": "1", "tagger.stage2_per_batch": "100", "tagger.stage2_time_share": "1"},
        release(thresholds=thresholds, scorer=scorer),
    )
    texts = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 2 + i % 9)) for i in range(120)]
    made = [record(i, text=text) for i, text in enumerate(texts)]
    stream = [tag for at in range(0, len(made), 37) for tag in rig.tags(rig.process(*made[at : at + 37]))]
    batch = EventScorer(scorer, thresholds)
    found = batch.score([ContentEvent(f"e{i}", text) for i, text in enumerate(texts)])
    for row, tag in enumerate(stream):
        assert dict(zip(batch.labels, found.scores[row].tolist(), strict=True)) == tag["scores"]
        staged = found.staged(row, batch.labels)
        assert (staged.stage, staged.stage2) == (tag.get("stage", "1"), tag.get("stage2"))
        assert staged.stage1_scores == tag.get("stage1_scores")
    assert {tag.get("stage2") for tag in stream} == {None, "band", "sample"}
