"""The campaign's checker finds what is planted, and nothing where nothing is."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from faults.checking import Checker
from faults.corpus import BAD, EVENT, LANGS, TOMBSTONE, Corpus
from faults.findings import Findings
from faults.releases import Known, Releases

from streamtag.domain.scores import BINS, bin_of
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events.summary import CommitSummary, LabelCounts, PaneCounts, SegmentCounts

N = 600
NOW_MS = 1_795_000_000_000
BUNDLE, RELEASE, REVISION = "b" * 64, "a" * 64, "c" * 64
CUTOFFS = {"spam": 0.5, "greeting": 0.25}


class Tag:
    """What the checker asks of a Kafka message."""

    def __init__(self, event: dict[str, Any], key: bytes | None) -> None:
        self.event = event
        self._key = key

    def value(self) -> bytes:
        return json.dumps(self.event).encode()

    def key(self) -> bytes | None:
        return self._key

    def partition(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 2, NOW_MS


class History:
    """One partition, one transaction, all of it right: to be spoilt."""

    def __init__(self) -> None:
        self.corpus = Corpus(1)
        self.ordinals = np.arange(N)
        self.facts = self.corpus.facts(self.ordinals)
        self.micro = np.random.default_rng(0).integers(0, 1_000_001, (len(self.corpus.texts), 2))
        self.tags = [self._tag(int(n)) for n in self.ordinals[self.facts.kind == EVENT]]
        self.dead = self.ordinals[self.facts.kind == BAD].tolist()
        self.tombstones = self.ordinals[self.facts.kind == TOMBSTONE].tolist()
        self.summaries = [self._summary(0, 200), self._summary(200, N)]

    def findings(self, *, exactly_once: bool = True) -> dict[str, int]:
        found = Findings()
        releases = Releases(frozenset({BUNDLE}))
        releases._known[RELEASE] = Known(1, BUNDLE, REVISION, 1, True)
        releases._sets[REVISION] = ThresholdSet(CUTOFFS)
        checker = Checker(1, self.corpus, {BUNDLE: self.micro}, releases, found, exactly_once=exactly_once)
        checker.inputs(0, self.ordinals.tolist(), self.ordinals.tolist(), [NOW_MS] * N)
        checker.tags(self.tags)
        checker.dead(0, self.dead)
        checker.tombstones(0, self.tombstones)
        for one in self.summaries:
            checker.summary(one)
        checker.finish([], bound_ms=1_000)
        return found.violations()

    def _tag(self, n: int) -> Tag:
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
            "processed_at": "2026-11-18T11:06:40.000Z",
        }
        return Tag(event | ({"segment": {"lang": lang}} if lang else {}), self.corpus.keys[self.facts.entity[n]])

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
        )
        tags = int(tagged.any(axis=1).sum())
        counts = (tags, len(micro) - tags, int((kind == BAD).sum()), int((kind == TOMBSTONE).sum()))
        return CommitSummary(
            1, "content", 0, start, end, sum(counts), *counts, 10_000, "w", "exactly_once", NOW_MS, [pane]
        )


def test_a_right_history_has_no_findings() -> None:
    assert History().findings() == {}


def lose(history: History) -> None:
    del history.tags[5]


def double(history: History) -> None:
    history.tags.insert(9, history.tags[8])


def lose_a_dead_letter(history: History) -> None:
    del history.dead[0]


def double_a_tombstone(history: History) -> None:
    history.tombstones.append(history.tombstones[0])


def swap_scores(history: History) -> None:
    one, other = history.tags[3].event, history.tags[4].event
    one["scores"], other["scores"], one["tags"], other["tags"] = (
        other["scores"],
        one["scores"],
        other["tags"],
        one["tags"],
    )


def decide_otherwise(history: History) -> None:
    event = next(t.event for t in history.tags if t.event["tags"])
    event["tags"] = []


def use_other_cutoffs(history: History) -> None:
    event = history.tags[7].event
    event["thresholds"] = {"spam": 1.0, "greeting": 1.0}
    event["tags"] = []


def use_an_unknown_release(history: History) -> None:
    history.tags[7].event["release"] = history.tags[7].event["release"] | {"sha256": "d" * 64}


def change_the_order(history: History) -> None:
    keyed = [i for i, t in enumerate(history.tags) if t.key() == history.tags[0].key()]
    i, j = keyed[0], keyed[1]
    history.tags[i], history.tags[j] = history.tags[j], history.tags[i]


def skip_a_range(history: History) -> None:
    del history.summaries[0]


def repeat_a_range(history: History) -> None:
    history.summaries.append(history.summaries[1])


def miscount(history: History) -> None:
    history.summaries[0].dead += 1
    history.summaries[0].in_ += 1


def missum(history: History) -> None:
    history.summaries[1].panes[0].labels["spam"].sum_micro += 1


def stop_early(history: History) -> None:
    del history.summaries[1]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lose, "lost"),
        (double, "doubled"),
        (lose_a_dead_letter, "lost"),
        (double_a_tombstone, "doubled"),
        (swap_scores, "score"),
        (decide_otherwise, "decision"),
        (use_other_cutoffs, "threshold"),
        (use_an_unknown_release, "release"),
        (change_the_order, "order"),
        (skip_a_range, "gap"),
        (repeat_a_range, "overlap"),
        (miscount, "counts"),
        (missum, "recount"),
        (stop_early, "uncovered"),
    ],
)
def test_each_planted_fault_is_found(spoil: Callable[[History], None], expected: str) -> None:
    history = History()
    spoil(history)
    assert expected in history.findings()
