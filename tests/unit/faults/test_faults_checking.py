"""The campaign's checker finds what is planted, and nothing where nothing is."""

import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faults.checking import Checker
from faults.corpus import BAD, EVENT, LANGS, TOMBSTONE, Corpus, checksum
from faults.findings import Findings
from faults.releases import Known, Releases
from faults.staleness import Blur

from streamtag.domain.scores import BINS, bin_of
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events.summary import CommitSummary, LabelCounts, PaneCounts, SegmentCounts
from streamtag.tagger.emit import SOURCE_HEADER

N = 600
NOW_MS = 1_795_000_000_000
BUNDLE, RELEASE, REVISION = "b" * 64, "a" * 64, "c" * 64
CUTOFFS = {"spam": 0.5, "greeting": 0.25}


class Outcome:
    """What the checker asks of a message in the tags topic: a tag event, or a tombstone where ``event`` is None."""

    def __init__(self, offset: int, key: bytes | None, event: dict[str, Any] | None) -> None:
        self.offset = offset
        self.event = event
        self.appended_ms = NOW_MS
        self.into = 0
        self._key = key

    def value(self) -> bytes | None:
        return None if self.event is None else json.dumps(self.event).encode()

    def headers(self) -> list[tuple[str, bytes]]:
        return [(SOURCE_HEADER, b"content/0/%d" % self.offset)]

    def key(self) -> bytes | None:
        return self._key

    def partition(self) -> int:
        return self.into

    def timestamp(self) -> tuple[int, int]:
        return 2, self.appended_ms


class History:
    """One partition, two transactions, all of it right: to be spoilt."""

    def __init__(self) -> None:
        self.corpus = Corpus(1)
        self.ordinals = np.arange(N)
        self.facts = self.corpus.facts(self.ordinals)
        self.micro = np.random.default_rng(0).integers(0, 1_000_001, (len(self.corpus.texts), 2))
        self.outcomes = [self._outcome(int(n)) for n in self.ordinals[self.facts.kind != BAD]]
        self.dead = self.ordinals[self.facts.kind == BAD].tolist()
        self.letters = self.corpus.records(self.ordinals)
        """What a dead letter of each position would hold."""
        self.died_ms = NOW_MS
        self.died_late: list[int] = []
        """Dead letters that come when all is verified."""
        self.summaries = [self._summary(0, 200), self._summary(200, N)]
        self.releases = Releases(frozenset({BUNDLE}))
        self.releases._known[RELEASE] = Known(1, BUNDLE, REVISION, NOW_MS - 60_000, True)
        self.releases._sets[REVISION] = ThresholdSet(CUTOFFS)
        self.blurs: list[Blur] = []

    @property
    def tags(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.event is not None]

    def findings(self, *, exactly_once: bool = True) -> dict[str, int]:
        found = Findings()
        checker = Checker(2, self.corpus, {BUNDLE: self.micro}, self.releases, found, exactly_once=exactly_once)
        checker.inputs(0, self.ordinals.tolist(), self.ordinals.tolist(), [NOW_MS] * len(self.ordinals))
        checker.outcomes(self.outcomes)  # type: ignore[arg-type]
        self._die(checker, self.dead)
        for one in self.summaries:
            checker.summary(one)
        if self.died_late:
            checker.verify()
            self._die(checker, self.died_late)
        checker.finish(self.blurs, bound_ms=1_000)
        return found.violations()

    def supersede(self, ago_ms: int, *, bundle: str = BUNDLE) -> None:
        """The release of this history was followed by another so long before its outcomes were published."""
        self.releases._known["e" * 64] = Known(2, bundle, REVISION, NOW_MS - ago_ms, True)

    def _die(self, checker: Checker, offsets: list[int]) -> None:
        contents = [checksum(*self.letters[offset]) for offset in offsets]
        checker.dead(0, offsets, [self.died_ms] * len(offsets), contents)

    def _outcome(self, n: int) -> Outcome:
        key = self.corpus.keys[self.facts.entity[n]]
        return Outcome(n, key, self._event(n) if self.facts.kind[n] == EVENT else None)

    def _event(self, n: int) -> dict[str, Any]:
        micro = self.micro[self.facts.text[n]]
        scores = {label: int(m) / 1_000_000 for label, m in zip(CUTOFFS, micro, strict=True)}
        lang = LANGS[self.facts.lang[n]]
        tags = [{"label": b, "score": s, "threshold": CUTOFFS[b]} for b, s in scores.items() if s >= CUTOFFS[b]]
        event = {
            "id": str(n),
            "source": {"partition": 0, "offset": n, "timestamp_ms": NOW_MS},
            "tags": tags,
            "scores": scores,
            "thresholds": CUTOFFS,
            "release": {"sha256": RELEASE, "bundle": {"sha256": BUNDLE}, "thresholds": {"sha256": REVISION}},
            "processed_at": "2026-11-18T11:06:40.000Z",  # NOW_MS
        }
        return event | ({"segment": {"lang": lang}} if lang else {})

    def _summary(self, start: int, end: int) -> CommitSummary:
        kind, text = self.facts.kind[start:end], self.facts.text[start:end]
        micro = self.micro[text[kind == EVENT]]
        tagged = micro >= np.array([CUTOFFS[b] for b in CUTOFFS]) * 1_000_000
        labels = {}
        for j, label in enumerate(CUTOFFS):
            histogram = np.bincount(bin_of(micro[:, j]), minlength=BINS)
            bins = np.flatnonzero(histogram)
            labels[label] = LabelCounts(
                int(tagged[:, j].sum()), int(micro[:, j].sum()), bins.tolist(), histogram[bins].tolist()
            )
        langs = [LANGS[c] if LANGS[c] in ("de", "en") else "other" for c in self.facts.lang[start:end][kind == EVENT]]
        segments = {"lang": {str(v): SegmentCounts(langs.count(v), {}) for v in set(langs)}}
        pairs: dict[str, dict[str, int]] = {}
        for (i, one), (j, other) in itertools.combinations(sorted(enumerate(CUTOFFS), key=lambda label: label[1]), 2):
            if both := int((tagged[:, i] & tagged[:, j]).sum()):
                pairs.setdefault(one, {})[other] = both
        pane = PaneCounts(
            NOW_MS // 10_000 * 10_000,
            1,
            RELEASE,
            "tiny@1",
            BUNDLE,
            1,
            REVISION,
            "control",
            len(micro),
            0,
            labels,
            segments,
            pairs=pairs,
        )
        tags = int(tagged.any(axis=1).sum())
        counts = (tags, len(micro) - tags, int((kind == BAD).sum()), int((kind == TOMBSTONE).sum()))
        return CommitSummary(
            1, "content", 0, start, end, sum(counts), *counts, 10_000, "w", "exactly_once", NOW_MS, [pane]
        )


def test_a_right_history_has_no_findings() -> None:
    assert History().findings() == {}


def event(history: History, index: int) -> dict[str, Any]:
    """Of the tag event at this index."""
    found = history.tags[index].event
    assert found is not None
    return found


def lose(history: History) -> None:
    history.outcomes.remove(history.tags[5])


def double(history: History) -> None:
    history.outcomes.insert(9, history.tags[8])


def lose_a_dead_letter(history: History) -> None:
    del history.dead[0]


def double_a_dead_letter(history: History) -> None:
    history.dead.append(history.dead[0])


def tombstones(history: History) -> list[Outcome]:
    return [outcome for outcome in history.outcomes if outcome.event is None]


def lose_a_tombstone(history: History) -> None:
    history.outcomes.remove(tombstones(history)[0])


def double_a_tombstone(history: History) -> None:
    history.outcomes.append(tombstones(history)[0])


def kill_a_sound_event(history: History) -> None:
    dies = history.tags[3]
    history.outcomes.remove(dies)
    history.dead.append(dies.offset)


def invent_an_outcome(history: History) -> None:
    """One for an offset that holds no record, as after an aborted transaction upstream."""
    history.ordinals = np.delete(history.ordinals, history.tags[-1].offset)


def copy_from_another_record(history: History) -> None:
    event(history, 3)["id"] = event(history, 4)["id"]


def swap_scores(history: History) -> None:
    one, other = event(history, 3), event(history, 4)
    for part in ("scores", "tags"):
        one[part], other[part] = other[part], one[part]


def decide_otherwise(history: History) -> None:
    next(t.event for t in history.tags if t.event and t.event["tags"])["tags"] = []


def use_other_cutoffs(history: History) -> None:
    event(history, 7).update(thresholds={"spam": 1.0, "greeting": 1.0}, tags=[])


def use_an_unknown_release(history: History) -> None:
    event(history, 7)["release"] = event(history, 7)["release"] | {"sha256": "d" * 64}


def use_a_bad_bundle(history: History) -> None:
    event(history, 7)["release"] = event(history, 7)["release"] | {"bundle": {"sha256": "0" * 64}}


def use_a_refused_release(history: History) -> None:
    """One that was the champion for a moment, and whose bundle no worker may load."""
    history.releases._known[RELEASE] = Known(1, BUNDLE, REVISION, 1, False)


def disbelieve_a_timestamp(history: History) -> None:
    event(history, 7)["time_flag"] = "by_arrival"


def change_the_order(history: History) -> None:
    keyed = [i for i, t in enumerate(history.outcomes) if t.key() == history.tags[0].key()]
    i, j = keyed[0], keyed[1]
    history.outcomes[i], history.outcomes[j] = history.outcomes[j], history.outcomes[i]


def move_a_tombstone_behind_the_next_of_its_key(history: History) -> None:
    for passed in tombstones(history):
        later = [o for o in history.outcomes if o.key() == passed.key() and o.offset > passed.offset]
        if passed.key() is not None and later:
            history.outcomes.remove(passed)
            history.outcomes.append(passed)
            return
    raise AssertionError("no tombstone is followed by an outcome of its key")


def scatter_a_key(history: History) -> None:
    next(tag for tag in history.tags if tag.key() is not None).into = 1


def let_a_tombstone_pass_with_the_key_of_another(history: History) -> None:
    first, *others = tombstones(history)
    first._key = next(other.key() for other in others if other.key() != first.key())


def write_the_letter_of_another(history: History) -> None:
    history.letters[history.dead[0]] = history.letters[history.dead[1]]


def write_the_letter_under_the_key_of_another(history: History) -> None:
    (_, value), at = history.letters[history.dead[0]], history.dead[0]
    history.letters[at] = b"entity-none", value


def date_a_dead_letter_otherwise(history: History) -> None:
    history.died_ms += 1


def swap_tagged_and_clean(history: History) -> None:
    one = history.summaries[1]
    one.tagged, one.clean = one.clean, one.tagged
    assert one.tagged != one.clean


def say_a_pane_twice(history: History) -> None:
    panes = history.summaries[1].panes
    panes.append(copy.deepcopy(panes[0]))


def count_under_another_revision(history: History) -> None:
    history.summaries[1].panes[0].revision_sha256 = "0" * 64


def count_under_another_bundle(history: History) -> None:
    history.summaries[1].panes[0].bundle_sha256 = "0" * 64


def count_for_the_other_arm(history: History) -> None:
    history.summaries[1].panes[0].arm = "candidate"


def skip_a_range(history: History) -> None:
    del history.summaries[0]


def repeat_a_range(history: History) -> None:
    history.summaries.append(history.summaries[1])


def let_ranges_overlap(history: History) -> None:
    history.summaries[1] = history._summary(190, N)


def miscount(history: History) -> None:
    history.summaries[0].dead += 1
    history.summaries[0].in_ += 1


def break_the_balance(history: History) -> None:
    history.summaries[0].in_ += 1


def missum(history: History) -> None:
    history.summaries[1].panes[0].labels["spam"].sum_micro += 1


def misplace(history: History) -> None:
    history.summaries[1].panes[0].start_ms += 10_000


def forget_a_language(history: History) -> None:
    history.summaries[1].panes[0].segments["lang"].popitem()


def stop_early(history: History) -> None:
    del history.summaries[1]


def follow_too_late(history: History) -> None:
    history.supersede(1_200)


def load_too_late(history: History) -> None:
    history.supersede(2_200, bundle="f" * 64)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lose, "lost"),
        (double, "doubled"),
        (lose_a_dead_letter, "lost"),
        (double_a_dead_letter, "doubled"),
        (lose_a_tombstone, "lost"),
        (double_a_tombstone, "doubled"),
        (kill_a_sound_event, "outcome"),
        (invent_an_outcome, "invented"),
        (copy_from_another_record, "changed"),
        (swap_scores, "score"),
        (decide_otherwise, "decision"),
        (use_other_cutoffs, "threshold"),
        (use_an_unknown_release, "release"),
        (use_a_bad_bundle, "release"),
        (use_a_refused_release, "release"),
        (disbelieve_a_timestamp, "placement"),
        (change_the_order, "order"),
        (move_a_tombstone_behind_the_next_of_its_key, "order"),
        (scatter_a_key, "partition"),
        (let_a_tombstone_pass_with_the_key_of_another, "changed"),
        (write_the_letter_of_another, "changed"),
        (write_the_letter_under_the_key_of_another, "changed"),
        (date_a_dead_letter_otherwise, "changed"),
        (swap_tagged_and_clean, "counts"),
        (say_a_pane_twice, "recount"),
        (count_under_another_revision, "recount"),
        (count_under_another_bundle, "recount"),
        (count_for_the_other_arm, "recount"),
        (skip_a_range, "gap"),
        (repeat_a_range, "overlap"),
        (let_ranges_overlap, "overlap"),
        (miscount, "counts"),
        (break_the_balance, "counts"),
        (missum, "recount"),
        (misplace, "recount"),
        (forget_a_language, "recount"),
        (stop_early, "uncovered"),
        (follow_too_late, "stale"),
        (load_too_late, "stale"),
    ],
)
def test_each_planted_fault_is_found(spoil: Callable[[History], None], expected: str) -> None:
    history = History()
    spoil(history)
    assert expected in history.findings()


@pytest.mark.parametrize(
    ("ago_ms", "bundle"), [(900, BUNDLE), (1_900, "f" * 64)], ids=["other cut-offs", "another bundle"]
)
def test_a_release_may_decide_until_the_bound(ago_ms: int, bundle: str) -> None:
    history = History()
    history.supersede(ago_ms, bundle=bundle)
    assert history.findings() == {}


def test_a_blur_excuses_the_writer_it_names_and_only_as_long_as_it_lasts() -> None:
    history = History()
    history.supersede(5_000)
    cut_off = Blur(NOW_MS - 4_900, NOW_MS - 500, frozenset({"w"}))
    for blur, stale in [
        (cut_off, False),
        (replace(cut_off, writers=None), False),
        (replace(cut_off, writers=frozenset({"another"})), True),
        (replace(cut_off, end_ms=NOW_MS - 4_000), True),
    ]:
        history.blurs = [blur]
        assert ("stale" in history.findings()) == stale, blur


def test_it_counts_when_an_event_was_decided_not_when_the_broker_took_it() -> None:
    history = History()
    history.supersede(500)
    for outcome in history.outcomes:
        outcome.appended_ms = NOW_MS + 10_000
    assert history.findings() == {}


@pytest.mark.parametrize("step", ["2026-11-18T10:06:40.000Z", "2026-11-18T11:07:10.000Z"], ids=["back", "forward"])
def test_a_stepped_clock_hides_no_stale_decision(step: str) -> None:
    history = History()
    history.supersede(1_200)
    for tag in history.tags:
        assert tag.event is not None
        tag.event["processed_at"] = step
    assert "stale" in history.findings()


def test_blurs_that_overlap_excuse_no_more_than_they_cover() -> None:
    history = History()
    history.supersede(5_000)
    history.blurs = [Blur(NOW_MS - 4_900, NOW_MS - 2_500, None), Blur(NOW_MS - 4_800, NOW_MS - 2_500, None)]
    assert "stale" in history.findings()


def test_at_least_once_allows_what_one_transaction_held() -> None:
    history = History()
    history.outcomes += [outcome for outcome in history.outcomes if outcome.offset >= 200]
    history.summaries.append(history.summaries[1])
    assert history.findings(exactly_once=False).keys() == {"doubled", "overlap"}


def test_at_least_once_is_right_without_repetitions_too() -> None:
    assert History().findings(exactly_once=False) == {}


def kill_what_is_tagged(history: History) -> None:
    history.dead.append(history.tags[3].offset)


def kill_what_was_tagged_long_ago(history: History) -> None:
    history.died_late.append(history.tags[3].offset)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (kill_what_is_tagged, "outcome"),
        (kill_what_was_tagged_long_ago, "outcome"),
        (change_the_order, "order"),
        (scatter_a_key, "partition"),
        (write_the_letter_of_another, "changed"),
        (missum, "recount"),
        (swap_tagged_and_clean, "counts"),
    ],
)
def test_at_least_once_excuses_no_more_than_repetitions(spoil: Callable[[History], None], expected: str) -> None:
    history = History()
    spoil(history)
    assert expected in history.findings(exactly_once=False)


def test_a_dead_letter_that_comes_again_late_is_doubled_only() -> None:
    history = History()
    history.died_late.append(history.dead[0])
    assert history.findings(exactly_once=False).keys() == {"doubled"}


@pytest.mark.parametrize("again", ["outcomes", "range"])
def test_at_least_once_does_not_recount_what_was_repeated(again: str) -> None:
    """One processing may have decided otherwise than the other."""
    history = History()
    missum(history)
    if again == "range":
        history.summaries.append(history.summaries[1])
    else:
        history.outcomes.append(history.tags[-1])
    assert not history.findings(exactly_once=False).keys() & {"recount", "counts"}
