"""Hypothesis strategies for threshold sets over a small world, so that overrides meet often."""

from hypothesis import strategies as st

from streamtag.domain.thresholds import Override, Segment, ThresholdSet

LABELS = ("spam", "insult", "threat")
VALUES = {"lang": ("de", "en", "de,tenant=a"), "channel": ("chat",), "tenant": ("a",)}

cutoffs = st.integers(0, 1_000_000).map(lambda micro: micro / 1_000_000)
conditions = st.fixed_dictionaries({}, optional={d: st.sampled_from(v) for d, v in VALUES.items()}).filter(bool)
overrides = st.builds(Override, conditions, st.dictionaries(st.sampled_from(LABELS), cutoffs, min_size=1))
threshold_sets = st.builds(
    ThresholdSet, st.fixed_dictionaries(dict.fromkeys(LABELS, cutoffs)), st.lists(overrides, max_size=5).map(tuple)
)


def _values(dimension: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from((*VALUES[dimension], "unheard of", None))


segments: st.SearchStrategy[Segment] = st.tuples(_values("lang"), _values("channel"), _values("tenant"))
