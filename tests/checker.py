"""Recounts a pipeline's outputs from what was read committed: pure, so that it can be tested with planted faults."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from streamtag.domain.thresholds import Segment, ThresholdSet
from streamtag.events.summary import CommitSummary

Position = tuple[int, int]
"""(partition, offset) in the input topic."""

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By the sha256 of a bundle and a text: what the bundle says of it, by label."""


@dataclass(frozen=True)
class Input:
    """What was written, and what must come of it.

    Attributes:
        kind: of outcome.
        id: of the event.
        key: of the record.
        text, lang: of the event; without a text neither they nor its scores are checked.
        timestamp_ms: of the record; None: not known.
    """

    kind: Literal["event", "bad", "tombstone"]
    id: str
    key: bytes | None
    text: str | None = None
    lang: str | None = None
    timestamp_ms: int | None = None


@dataclass(frozen=True)
class TagRecord:
    """A tag event as read, with its place in the tags topic."""

    partition: int
    offset: int
    key: bytes | None
    event: dict[str, Any]

    @property
    def source(self) -> Position:
        return self.event["source"]["partition"], self.event["source"]["offset"]


@dataclass(frozen=True)
class Tombstone:
    """A tombstone as read, with its place in the tags topic and the position it repeats."""

    partition: int
    offset: int
    key: bytes | None
    source: Position


def check(
    inputs: Mapping[Position, Input],
    tags: Sequence[TagRecord],
    dead: Sequence[Position],
    summaries: Sequence[CommitSummary],
    revisions: Mapping[str, ThresholdSet],
    tombstones: Sequence[Tombstone] = (),
    review: Mapping[int, Collection[str]] = MappingProxyType({}),
    scores: Scores | None = None,
    langs: Collection[str] = (),
) -> list[str]:
    """Everything that is wrong; empty when each input has exactly one, right outcome and every count adds up.

    Args:
        inputs: all records of the input topic.
        tags: all tag events.
        dead: source positions of all dead letters.
        summaries: all commit summaries, in order per source partition.
        revisions: sha256 of every threshold revision that was ever active, and its content.
        tombstones: all tombstones in the tags topic.
        review: number of every state of the breakers, and the labels that it had open.
        scores: of all texts that sound bundles decided; None: they are not checked.
        langs: those that are declared for segments of the statistics; none: there are no segments.
    """
    problems = _outcomes(inputs, tags, dead, tombstones)
    problems += _order([*tags, *tombstones])
    for tag in tags:
        problems += _evidence(tag, inputs.get(tag.source), scores)
        problems += _decision(tag, revisions) + _actions(tag, review)
    problems += _ranges(inputs, tags, summaries)
    problems += _recount(tags, summaries, langs)
    return problems


def _outcomes(
    inputs: Mapping[Position, Input],
    tags: Sequence[TagRecord],
    dead: Sequence[Position],
    tombstones: Sequence[Tombstone],
) -> list[str]:
    outcomes = {
        "event": Counter(tag.source for tag in tags),
        "bad": Counter(dead),
        "tombstone": Counter(passed.source for passed in tombstones),
    }
    problems = []
    for position, given in inputs.items():
        got = {kind: found[position] for kind, found in outcomes.items()}
        if got != {kind: int(kind == given.kind) for kind in outcomes}:
            total = sum(got.values())
            word = "lost" if total == 0 else "doubled" if total == got[given.kind] else "wrong outcome"
            problems.append(f"{word}: {given.kind} at {position} has the outcomes {got}")
    for position in {position for found in outcomes.values() for position in found} - inputs.keys():
        problems.append(f"invented: outcome for {position}, which was never written")
    for tag in tags:
        source = inputs.get(tag.source)
        if source is not None and (source.id, source.key) != (tag.event["id"], tag.key):
            problems.append(f"changed: id or key of {tag.source}")
    for passed in tombstones:
        source = inputs.get(passed.source)
        if source is not None and source.key != passed.key:
            problems.append(f"changed: key of {passed.source}")
    return problems


def _order(outcomes: Iterable[TagRecord | Tombstone]) -> list[str]:
    last: dict[tuple[int, bytes | None, int], int] = {}
    home: dict[bytes, int] = {}
    problems = []
    for outcome in sorted(outcomes, key=lambda o: (o.partition, o.offset)):
        partition, offset = outcome.source
        entity = (outcome.partition, outcome.key, partition)
        if outcome.key is not None and last.get(entity, -1) >= offset:
            problems.append(f"order: {outcome.source} comes after {last[entity]} of the same key")
        last[entity] = offset
        if outcome.key is not None and home.setdefault(outcome.key, outcome.partition) != outcome.partition:
            problems.append(f"partition: {outcome.source} is in {outcome.partition}, its key in {home[outcome.key]}")
    return problems


def _evidence(tag: TagRecord, given: Input | None, scores: Scores | None) -> list[str]:
    """Whether a tag event was decided by what was written: all that follows takes its word for it."""
    if given is None:
        return []
    event = tag.event
    problems = []
    if given.timestamp_ms not in (None, event["source"]["timestamp_ms"]):
        problems.append(f"timestamp: {tag.source} has not that of its record")
    if given.text is None:
        return problems
    if _place(event) != (given.lang, None, None):
        problems.append(f"segment: {tag.source} is decided as one of {_place(event)}")
    sha256 = event["release"]["bundle"]["sha256"]
    if scores is not None and event["scores"] != scores.get(sha256, {}).get(given.text):
        problems.append(f"scores: those of {tag.source} are not those that bundle {sha256[:12]} gives its text")
    return problems


def _place(event: Mapping[str, Any]) -> Segment:
    segment = event.get("segment") or {}
    return segment.get("lang"), segment.get("channel"), segment.get("tenant")


def _decision(tag: TagRecord, revisions: Mapping[str, ThresholdSet]) -> list[str]:
    event = tag.event
    scores, cutoffs = event["scores"], event["thresholds"]
    tagged = {t["label"]: (t["score"], t["threshold"]) for t in event["tags"]}
    wanted = {label: (score, cutoffs[label]) for label, score in scores.items() if score >= cutoffs[label]}
    problems = []
    if tagged != wanted:
        problems.append(f"decision: {tag.source} is tagged {sorted(tagged)}, its evidence says {sorted(wanted)}")
    revision = event["release"]["thresholds"]
    active = revisions.get(revision["sha256"])
    if active is None:
        problems.append(f"release: {tag.source} was decided by revision {revision}, which was never active")
    elif active.effective(_place(event)) != cutoffs:
        problems.append(f"threshold: {tag.source} was not decided by the cut-offs of revision {revision['revision']}")
    return problems


def _actions(tag: TagRecord, review: Mapping[int, Collection[str]]) -> list[str]:
    number = tag.event.get("breakers")
    if number is not None and number not in review:
        return [f"breakers: {tag.source} names state {number}, which never was"]
    labels = () if number is None else review[number]
    wanted = {t["label"]: "review" if t["label"] in labels else "tag" for t in tag.event["tags"]}
    found = {t["label"]: t["action"] for t in tag.event["tags"]}
    return [] if found == wanted else [f"action: {tag.source} asks {found}, its breakers say {wanted}"]


def _ranges(
    inputs: Mapping[Position, Input], tags: Sequence[TagRecord], summaries: Sequence[CommitSummary]
) -> list[str]:
    tagged = {tag.source for tag in tags if tag.event["tags"]}
    at: dict[int, int] = {}
    problems = []
    for one in summaries:
        start = at.get(one.partition)
        if start is not None and start != one.from_offset:
            word = "gap" if one.from_offset > start else "overlap"
            problems.append(f"{word}: partition {one.partition} goes from {start} to {one.from_offset}")
        at[one.partition] = one.to_offset
        if one.in_ != one.tagged + one.clean + one.dead + one.skipped:
            problems.append(f"balance: {one.partition}[{one.from_offset}, {one.to_offset}) does not add up")
        given: Counter[str] = Counter()
        for offset in range(one.from_offset, one.to_offset):
            written = inputs.get((one.partition, offset))
            if written is not None:
                given["tagged" if (one.partition, offset) in tagged else written.kind] += 1
        said = {"tagged": one.tagged, "event": one.clean, "bad": one.dead, "tombstone": one.skipped}
        if given != Counter(said):
            where = f"{one.partition}[{one.from_offset}, {one.to_offset})"
            problems.append(f"counts: {where} holds {dict(given)}, not what it says")
    for partition, offset in inputs:
        if offset >= at.get(partition, 0):
            problems.append(f"uncovered: no summary covers {(partition, offset)}")
    return problems


Cell = tuple[int, int, str]
"""(source partition, pane, release sha256)."""


def _recount(tags: Sequence[TagRecord], summaries: Sequence[CommitSummary], langs: Collection[str]) -> list[str]:
    """Adds up the summaries per partition, pane, release and label, and the tag events the same way."""
    pane_ms = summaries[0].pane_ms if summaries else 10_000
    problems = []
    said, seen = _said(summaries), _seen(tags, pane_ms, langs)
    for cell in said.keys() | seen.keys():
        if said.get(cell) != seen.get(cell):
            problems.append(f"recount: {cell}: summaries say {_short(said.get(cell))}, tags {_short(seen.get(cell))}")
    return problems


def _said(summaries: Iterable[CommitSummary]) -> dict[Cell, Counter[Any]]:
    cells: dict[Cell, Counter[Any]] = defaultdict(Counter)
    for one in summaries:
        for pane in one.panes:
            if pane.shadow is True:  # decided nothing
                continue
            cell = cells[one.partition, pane.start_ms, pane.release_sha256]
            cell["events"] += pane.events
            for label, counts in pane.labels.items():
                cell[label, "alerts"] += counts.alerts
                cell[label, "sum"] += counts.sum_micro
                for index, n in zip(counts.bins, counts.counts, strict=True):
                    cell[label, index] += n
            for first, others in ({} if pane.pairs is msgspec.UNSET else pane.pairs).items():
                for second, n in others.items():
                    cell["pair", first, second] += n
            for dimension, values in pane.segments.items():
                for value, segment in values.items():
                    cell[dimension, value] += segment.events
    return {cell: +counts for cell, counts in cells.items()}


def _seen(tags: Iterable[TagRecord], pane_ms: int, langs: Collection[str]) -> dict[Cell, Counter[Any]]:
    cells: dict[Cell, Counter[Any]] = defaultdict(Counter)
    for tag in tags:
        event = tag.event
        start = event["source"]["timestamp_ms"] // pane_ms * pane_ms
        cell = cells[tag.source[0], start, event["release"]["sha256"]]
        cell["events"] += 1
        tagged = {t["label"] for t in event["tags"]}
        for label, score in event["scores"].items():
            micro = round(score * 1_000_000)
            cell[label, "alerts"] += label in tagged
            cell[label, "sum"] += micro
            cell[label, min(micro * 1024 // 1_000_000, 1023)] += 1
        for first, second in itertools.combinations(sorted(tagged), 2):
            cell["pair", first, second] += 1
        if langs:
            lang = _place(event)[0]
            cell["lang", lang if lang in langs else "other"] += 1
    return {cell: +counts for cell, counts in cells.items()}


def _short(counts: Counter[Any] | None) -> str:
    return "nothing" if counts is None else f"{counts['events']} events, {sum(counts.values())} in all"
