"""Scoring for requests by a bundle of two stages: both, without a budget; a score is explained by its own stage."""

from pathlib import Path

from tiny_bundle import build_tiny_bundle

from streamtag.api.explaining import Explaining
from streamtag.api.scoring import Scoring
from streamtag.control.watcher import ActiveRelease
from streamtag.domain.release import ReleaseRef
from streamtag.events.content import ContentEvent
from streamtag.model.bundle import read_bundle
from streamtag.model.explain import Explainer
from streamtag.model.loading import load_scorer
from streamtag.model.two_stages import pair
from streamtag.tagger.rerank import infer_stages


def test_a_request_is_scored_by_both_stages_and_explained_by_the_one_that_decided(tmp_path: Path) -> None:
    parts = read_bundle(build_tiny_bundle(tmp_path)), read_bundle(build_tiny_bundle(tmp_path, name="b", weights_seed=3))
    bands = {"spam": (0.2, 0.8)}
    scorer = load_scorer(pair(*parts, tmp_path, name="tiny", version="2", bands=bands, sample=0.2), batch=16)
    ref = ReleaseRef(1, "1" * 64, scorer.bundle.ref, 1, "2" * 64)
    active = ActiveRelease(ref, scorer.bundle.default_thresholds, scorer, "redis")
    events = [ContentEvent(f"e{i}", f"item {i} of {i * i}") for i in range(40)]
    scoring, explaining = Scoring(lambda: active, batch=64, max_events=100, deadline_s=30), Explaining()
    scoring.start()
    try:
        scored = scoring.submit(events).result(30)
        found = explaining.submit(scored).result(60)
    finally:
        scoring.close()
        explaining.close()
    wanted = infer_stages(events, scorer)
    assert wanted.stages is not None
    assert [one.stage == "2" for one in scored.events] == wanted.stages.second.tolist()
    assert {one.stage2 for one in scored.events} == {None, "band", "sample"}
    assert [list(one.scores.values()) for one in scored.events] == (wanted.micro / 1_000_000).tolist()
    assert scorer.second is not None
    explainers = {"1": Explainer(scorer), "2": Explainer(scorer.second)}
    for one, explanations in zip(scored.events, found, strict=True):
        labels = [explanation.label for explanation in explanations]
        assert explanations == explainers[one.stage].explain(one.event.text or "", labels)
