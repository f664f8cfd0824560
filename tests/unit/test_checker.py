"""The checker finds what it is there to find: each planted fault, and nothing in a sound log."""

import copy
from collections.abc import Callable

import pytest
from checker import Input, TagRecord, Tombstone, check

from streamtag.domain.thresholds import ThresholdSet
from streamtag.events.summary import CommitSummary, LabelCounts, PaneCounts

SET = ThresholdSet({"spam": 0.5})
RELEASE = {"number": 1, "sha256": "r1", "bundle": {"sha256": "b1"}, "thresholds": {"revision": 1, "sha256": "t1"}}
SCORES = {"b1": {f"text {i}": {"spam": score} for i, score in enumerate((0.25, 0.75, 0.5))}}


def tag(offset: int, score: float) -> TagRecord:
    tags = [{"label": "spam", "score": score, "threshold": 0.5, "action": "tag"}] if score >= 0.5 else []
    event = {
        "id": str(offset),
        "source": {"topic": "content", "partition": 0, "offset": offset, "timestamp_ms": 1_000},
        "tags": tags,
        "scores": {"spam": score},
        "thresholds": {"spam": 0.5},
        "release": RELEASE,
    }
    return TagRecord(0, offset, b"k", event)


def summary(
    start: int, end: int, tagged: int, clean: int, dead: int, label: LabelCounts, skipped: int = 0
) -> CommitSummary:
    pane = PaneCounts(
        start_ms=0,
        release=1,
        release_sha256="r1",
        bundle="tiny@1",
        bundle_sha256="b1",
        revision=1,
        revision_sha256="t1",
        arm="control",
        events=tagged + clean,
        by_arrival=0,
        labels={"spam": label},
        segments={},
    )
    return CommitSummary(
        version=1,
        topic="content",
        partition=0,
        from_offset=start,
        to_offset=end,
        in_=tagged + clean + dead + skipped,
        tagged=tagged,
        clean=clean,
        dead=dead,
        skipped=skipped,
        pane_ms=10_000,
        writer="w",
        delivery="exactly_once",
        committed_at_ms=2_000,
        panes=[pane],
    )


class Log:
    """Three events, one bad record and one tombstone, in two transactions."""

    def __init__(self) -> None:
        self.inputs = {(0, i): Input("event", str(i), b"k", f"text {i}", timestamp_ms=1_000) for i in range(3)}
        self.inputs[0, 3] = Input("bad", "3", b"k")
        self.inputs[0, 4] = Input("tombstone", "4", b"k")
        self.tags = [tag(0, 0.25), tag(1, 0.75), tag(2, 0.5)]
        self.dead = [(0, 3)]
        self.tombstones = [Tombstone(0, 4, b"k", (0, 4))]
        self.summaries = [
            summary(0, 2, 1, 1, 0, LabelCounts(1, 1_000_000, [256, 768], [1, 1])),
            summary(2, 5, 1, 0, 1, LabelCounts(1, 500_000, [512], [1]), skipped=1),
        ]
        self.langs: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        return check(
            self.inputs,
            self.tags,
            self.dead,
            self.summaries,
            {"t1": SET},
            self.tombstones,
            {2: {"spam"}},
            SCORES,
            self.langs,
        )


def test_a_sound_log_has_no_problems() -> None:
    assert Log().problems() == []


def other_cutoff(log: Log) -> None:
    event = log.tags[1].event
    event["thresholds"]["spam"] = event["tags"][0]["threshold"] = 0.7


def unknown_revision(log: Log) -> None:
    log.tags[1].event["release"] = {**RELEASE, "thresholds": {"revision": 1, "sha256": "t0"}}


def swapped(log: Log) -> None:
    log.tags = [TagRecord(0, i, t.key, t.event) for i, t in enumerate(reversed(log.tags))]


def overtaking_tombstone(log: Log) -> None:
    log.tombstones = [Tombstone(0, -1, b"k", (0, 4))]


def tombstone_of_another_key(log: Log) -> None:
    log.tombstones = [Tombstone(0, 4, b"other", (0, 4))]


def scores_of_the_next(log: Log) -> None:
    one, other = (log.tags[i].event for i in range(2))
    for part in ("scores", "tags"):
        one[part], other[part] = other[part], one[part]


def another_bundle(log: Log) -> None:
    log.tags[1].event["release"] = {**RELEASE, "bundle": {"sha256": "b2"}}


def another_partition(log: Log) -> None:
    log.tags[2] = TagRecord(1, 2, b"k", log.tags[2].event)


def tagged_and_clean_swapped(log: Log) -> None:
    log.summaries[1].tagged, log.summaries[1].clean = 0, 1


PLANTED: list[tuple[Callable[[Log], object], str]] = [
    (lambda log: log.tags.pop(), "lost"),
    (lambda log: log.dead.pop(), "lost"),
    (lambda log: log.tags.append(TagRecord(0, 9, b"k", log.tags[0].event)), "doubled"),
    (lambda log: log.dead.append((0, 3)), "doubled"),
    (lambda log: log.dead.append((0, 1)), "wrong outcome"),
    (lambda log: log.tags.append(tag(77, 0.25)), "invented"),
    (lambda log: log.tags[0].event["thresholds"].update(spam=0.2), "decision"),
    (lambda log: log.tags[1].event["tags"].clear(), "decision"),
    (other_cutoff, "threshold"),
    (unknown_revision, "release"),
    (lambda log: log.tags[1].event["tags"][0].update(action="review"), "action"),
    (lambda log: log.tags[1].event.update(breakers=3), "breakers"),
    (lambda log: log.tags[1].event.update(breakers=2), "action"),
    (scores_of_the_next, "scores"),
    (another_bundle, "scores"),
    (lambda log: log.tags[1].event.update(segment={"lang": "de"}), "segment"),
    (lambda log: log.tags[1].event["source"].update(timestamp_ms=999), "timestamp"),
    (another_partition, "partition"),
    (tagged_and_clean_swapped, "counts"),
    (lambda log: setattr(log, "langs", ("de", "en")), "recount"),
    (swapped, "order"),
    (overtaking_tombstone, "order"),
    (tombstone_of_another_key, "changed"),
    (lambda log: log.tombstones.clear(), "lost"),
    (lambda log: log.tombstones.append(log.tombstones[0]), "doubled"),
    (lambda log: log.summaries.pop(), "uncovered"),
    (lambda log: setattr(log.summaries[1], "from_offset", 3), "gap"),
    (lambda log: setattr(log.summaries[1], "from_offset", 1), "overlap"),
    (lambda log: log.summaries.append(copy.deepcopy(log.summaries[1])), "overlap"),
    (lambda log: setattr(log.summaries[1], "tagged", 2), "balance"),
    (lambda log: log.inputs.update({(0, 3): Input("event", "3", b"k")}), "counts"),
    (lambda log: setattr(log.summaries[0].panes[0].labels["spam"], "alerts", 2), "recount"),
    (lambda log: setattr(log.summaries[0].panes[0].labels["spam"], "sum_micro", 1), "recount"),
]


@pytest.mark.parametrize(("plant", "finds"), PLANTED)
def test_a_planted_fault_is_found(plant: Callable[[Log], object], finds: str) -> None:
    log = Log()
    log.tags = copy.deepcopy(log.tags)
    plant(log)
    assert any(problem.startswith(finds) for problem in log.problems()), log.problems()
