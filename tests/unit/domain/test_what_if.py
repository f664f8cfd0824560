"""What if: against deciding every event again by either set."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamtag.domain.scores import BINS, MICRO, bin_of, from_micro
from streamtag.domain.thresholds import Compiled, Override, Segment, ThresholdSet, decide
from streamtag.domain.what_if import Range, at_least, between, what_if

LABELS = ("insult", "spam")
LANGS = ("de", "en", "fr")


class Events:
    """Scores in millionths [n, labels], and the segment of each."""

    def __init__(self, micro: NDArray[np.int64], segments: Sequence[Segment]) -> None:
        self.micro, self.segments, self.count = micro, segments, Counter(segments)
        self.bins = {
            label: np.bincount(bin_of(micro[:, i]), minlength=BINS).astype(np.int64) for i, label in enumerate(LABELS)
        }

    def size(self, when: Mapping[str, str]) -> int:
        wanted = tuple(when.get(d) for d in ("lang", "channel", "tenant"))
        return sum(n for one, n in self.count.items() if all(w in (None, v) for w, v in zip(wanted, one, strict=True)))

    def tagged(self, thresholds: ThresholdSet) -> NDArray[np.bool_]:
        compiled = Compiled(thresholds, LABELS)
        rows = compiled.rows(self.segments)
        return decide(from_micro(self.micro), compiled.matrix[rows])


def check(events: Events, before: ThresholdSet, after: ThresholdSet, *, exact: bool = False) -> None:
    old, new = events.tagged(before), events.tagged(after)
    for i, found in enumerate(what_if(events.bins, before, after, events.size)):
        truths = {
            "now": old[:, i].sum(),
            "then": new[:, i].sum(),
            "gained": (new & ~old)[:, i].sum(),
            "lost": (old & ~new)[:, i].sum(),
        }
        for name, truth in truths.items():
            span: Range = getattr(found, name)
            assert span.low <= truth <= span.high, (name, found)
            assert span.low - 1e-6 <= span.expected <= span.high + 1e-6, (name, found)
            if exact:
                assert span.exact, (name, found)


micro = st.one_of(st.integers(0, MICRO), st.integers(0, BINS).map(lambda edge: -(-edge * MICRO // BINS)))
cutoffs = st.fixed_dictionaries({label: micro.map(lambda m: m / MICRO) for label in LABELS})
overrides = st.builds(
    Override,
    st.dictionaries(st.sampled_from(["lang", "tenant"]), st.sampled_from(LANGS), min_size=1),
    st.dictionaries(st.sampled_from(LABELS), micro.map(lambda m: m / MICRO), min_size=1),
)
sets = st.builds(ThresholdSet, cutoffs, st.lists(overrides, max_size=3).map(tuple))
some = st.lists(
    st.tuples(micro, micro, st.sampled_from([*LANGS, None]), st.sampled_from([*LANGS, None])), min_size=1, max_size=40
).map(lambda found: Events(np.array([f[:2] for f in found], np.int64), [(f[2], None, f[3]) for f in found]))


@settings(max_examples=150)
@given(some, sets, sets)
def test_the_truth_lies_within_every_range(events: Events, before: ThresholdSet, after: ThresholdSet) -> None:
    check(events, before, after)


def test_a_million_events_are_counted_exactly_at_the_edges_of_bins_and_within_a_bin_elsewhere() -> None:
    rng = np.random.default_rng(7)
    scores = np.rint(rng.beta(0.5, 6, (1_000_000, 2)) * MICRO).astype(np.int64)
    events = Events(scores, [(None, None, None)] * len(scores))
    edges = [ThresholdSet(dict.fromkeys(LABELS, edge)) for edge in (0.5, 0.25, 1023 / 1024, 0.0)]
    for after in edges[1:]:
        check(events, edges[0], after, exact=all(round(c * MICRO) == c * MICRO for c in after.labels.values()))
    before, after = ThresholdSet({"insult": 0.5, "spam": 0.4711}), ThresholdSet({"insult": 0.123456, "spam": 0.7})
    check(events, before, after)
    for found in what_if(events.bins, before, after, events.size):
        widest = 2 * int(events.bins[found.label][100:].max())
        assert all(one.high - one.low <= widest for one in (found.now, found.then, found.gained, found.lost))


@pytest.mark.parametrize(
    ("cutoff", "low", "expected", "high"),
    [
        (0.0, 4, 4.0, 4),
        (0.5, 3, 3.0, 3),
        (0.500488, 1, 2.0, 3),  # halfway through the bin that holds two
        (1.0, 0, 0.0, 1),
    ],
)
def test_a_bin_that_is_cut_is_in_doubt(cutoff: float, low: int, expected: float, high: int) -> None:
    found = at_least(np.bincount([0, 512, 512, 1023], minlength=BINS).astype(np.int64), cutoff)
    assert (found.low, found.high) == (low, high)
    assert found.expected == pytest.approx(expected, abs=0.01)


def test_nothing_lies_between_a_cut_off_and_one_that_is_no_higher() -> None:
    bins = np.ones(BINS, np.int64)
    assert between(bins, 0.5, 0.5) == between(bins, 0.6, 0.5) == Range(0, 0.0, 0)


def test_a_segment_of_which_nothing_is_known_puts_all_events_in_doubt() -> None:
    bins = {"spam": np.bincount([100] * 10 + [900] * 10, minlength=BINS).astype(np.int64)}
    before = ThresholdSet({"spam": 0.5}, (Override({"lang": "de"}, {"spam": 0.25}),))
    after = ThresholdSet({"spam": 0.75}, (Override({"lang": "de"}, {"spam": 0.0}),))
    [found] = what_if(bins, before, after, lambda _: 20)
    assert (found.now.low, found.now.high) == (0, 20)
    [found] = what_if(bins, before, after, lambda _: 0)
    assert found.now == Range(10, 10.0, 10)
    assert (found.before, found.after, found.events) == (0.5, 0.75, 20)


def test_labels_that_either_set_lacks_are_left_out() -> None:
    bins = {label: np.ones(BINS, np.int64) for label in (*LABELS, "other")}
    found = what_if(bins, ThresholdSet({"spam": 0.5, "insult": 0.5}), ThresholdSet({"spam": 0.6}), lambda _: 0)
    assert [one.label for one in found] == ["spam"]
