"""Stage 3: every event is decided by the cut-offs of its own segment, and those are what is published."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tagging import LABELS, release

from streamtag.domain.thresholds import Override, Segment, ThresholdSet
from streamtag.events.content import ContentEvent
from streamtag.tagger.decide import Deciding, decide_batch

SEGMENTED = ThresholdSet(
    {"spam": 0.5, "insult": 0.25},
    (
        Override({"lang": "de"}, {"spam": 0.75}),
        Override({"channel": "chat", "tenant": "a"}, {"insult": 0.0}),
    ),
)
segments = st.tuples(st.sampled_from(["de", "en", None]), st.sampled_from(["chat", None]), st.sampled_from(["a", None]))
events = st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(0, 1_000_000), segments), max_size=20)


@settings(deadline=None)
@given(events, st.sampled_from([SEGMENTED, ThresholdSet({"spam": 0.5, "insult": 0.25})]))
def test_a_batch_is_decided_event_by_event(given_events: list[tuple[int, int, Segment]], found: ThresholdSet) -> None:
    deciding = Deciding(release(1, found))
    batch = [ContentEvent("e", "t", lang=s[0], channel=s[1], tenant=s[2]) for _, _, s in given_events]
    micro = np.array([[spam, insult] for spam, insult, _ in given_events], dtype=np.int64).reshape(-1, 2)
    decisions = decide_batch(batch, micro, deciding)
    for i, (spam, insult, segment) in enumerate(given_events):
        cutoffs = found.effective(segment)
        published = json.loads(bytes(deciding.cutoffs_json(int(decisions.rows[i]))))
        assert published == cutoffs
        wanted = [spam / 1e6 >= cutoffs["spam"], insult / 1e6 >= cutoffs["insult"]]
        assert decisions.tagged[i].tolist() == wanted
        assert decisions.scores[i].tolist() == [spam / 1e6, insult / 1e6]
        assert decisions.segments[i] == segment


def test_columns_are_in_the_order_of_the_bundle_not_of_the_threshold_set() -> None:
    deciding = Deciding(release(1, ThresholdSet({"insult": 0.25, "spam": 0.5})))
    assert deciding.labels == LABELS
    assert deciding.compiled.matrix.tolist() == [[0.5, 0.25]]
    assert json.loads(bytes(deciding.cutoffs_json(0))) == {"spam": 0.5, "insult": 0.25}
