"""Stage 4: decisions to tag events, refusals to dead letters."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import msgspec
from confluent_kafka import Message

from streamtag.control.breakers import NO_BREAKERS, ActiveBreakers
from streamtag.domain.scores import from_micro
from streamtag.events import dead_letters
from streamtag.events.headers import readable_headers
from streamtag.events.rejection import Rejected
from streamtag.events.tags import SegmentValues, Source, Tag, TagEvent
from streamtag.stream.processor import Output
from streamtag.tagger.decide import Deciding, Decisions
from streamtag.tagger.decode import Decoded
from streamtag.tagger.rerank import WHY
from streamtag.telemetry.tracing import TraceContext

SOURCE_HEADER = "streamtag.source"
"""Of a tombstone in the tags topic: ``topic/partition/offset`` of the one it repeats."""
_NO_SCORES = msgspec.Raw(b"{}")
_NO_SEGMENT = (None, None, None)
_ONE_STAGE = ("1", None, None)
_encode = msgspec.json.Encoder().encode


class Emitter:
    """Builds output records; keeps no state between batches.

    Args:
        tags_topic: topic of tag events.
        dead_letters_topic: topic of dead letters.
        only_tagged: publish nothing for events without a tag.
        with_scores: tag events carry all scores.
        max_dead_letter_bytes: larger ones keep head, hash and position.
        worker: transactional.id, named in dead letters.
    """

    def __init__(
        self,
        *,
        tags_topic: str,
        dead_letters_topic: str,
        only_tagged: bool,
        with_scores: bool,
        max_dead_letter_bytes: int,
        worker: str,
    ) -> None:
        self._tags_topic = tags_topic
        self._dead_letters_topic = dead_letters_topic
        self._only_tagged = only_tagged
        self._with_scores = with_scores
        self._max_dead_letter_bytes = max_dead_letter_bytes
        self._worker = worker

    def tag_events(
        self,
        decoded: Decoded,
        decisions: Decisions,
        deciding: Deciding,
        *,
        contexts: Sequence[TraceContext | None],
        by_arrival: Sequence[bool],
        now_ms: int,
        arm: str = "control",
        experiment: str | None = None,
        breakers: ActiveBreakers = NO_BREAKERS,
    ) -> Iterator[Output | None]:
        """One record per event, in order, None where none is published; the key is that of the input.

        Args:
            decoded: the events.
            decisions: on them.
            deciding: the release that decided.
            contexts: trace context of each.
            by_arrival: whether statistics placed it by arrival.
            now_ms: Unix milliseconds.
            arm: that decided.
            experiment: id of the split that gave them to this arm.
            breakers: labels whose tags ask for review only.
        """
        topic, scores_of = self._tags_topic, deciding.scores_of
        processed_at, open_breakers = _rfc3339(now_ms), breakers.told
        columns = zip(
            decoded.positions,
            decoded.records,
            decoded.keys,
            decoded.events,
            decisions.scores.tolist(),
            _tags(decisions, deciding, breakers),
            decisions.rows.tolist(),
            decisions.segments,
            contexts,
            by_arrival,
            _stages(decisions, scores_of if self._with_scores else None),
            strict=True,
        )
        for position, record, key, event, scores, tags, row, segment, context, flagged, staged in columns:
            if self._only_tagged and not tags:
                yield None
                continue
            source, partition, offset = position
            stage, stage2, stage1_scores = staged
            value = _encode(
                TagEvent(
                    id=event.id,
                    source=Source(source, partition, offset, record.timestamp()[1]),
                    tags=tags,
                    scores=scores_of(*scores) if self._with_scores else _NO_SCORES,
                    thresholds=deciding.cutoffs_json(row),
                    release=deciding.release_json,
                    processed_at=processed_at,
                    segment=SegmentValues(*segment) if segment != _NO_SEGMENT else None,
                    traceparent=context.parent.decode("ascii") if context else None,
                    time_flag="arrival" if flagged else None,
                    arm=arm,
                    experiment=experiment,
                    breakers=open_breakers,
                    stage=stage,
                    stage2=stage2,
                    stage1_scores=stage1_scores,
                )
            )
            yield Output(topic, key, value, context.headers() if context else None)

    def tombstone(self, record: Message) -> Output:
        """A null payload passes through as such, for readers that keep the newest record of a key."""
        source = f"{record.topic()}/{record.partition()}/{record.offset()}"
        return Output(self._tags_topic, record.key(), None, [(SOURCE_HEADER, source.encode())])

    def dead_letter(self, record: Message, rejected: Rejected, *, release: str, now_ms: int) -> Output:
        """The original record with the facts in headers."""
        key, value, headers = dead_letters.build(
            topic=record.topic() or "",
            partition=record.partition() or 0,
            offset=record.offset() or 0,
            timestamp_ms=record.timestamp()[1],
            key=record.key(),
            value=record.value(),
            headers=readable_headers(record),
            rejected=rejected,
            release=release,
            worker=self._worker,
            now_ms=now_ms,
            max_bytes=self._max_dead_letter_bytes,
        )
        return Output(self._dead_letters_topic, key, value, headers)


def _tags(decisions: Decisions, deciding: Deciding, breakers: ActiveBreakers) -> Iterator[list[Tag]]:
    """The tags of each event; made for the whole batch at once, as most pairs of event and label are none."""
    events, labels = decisions.tagged.nonzero()
    cutoffs = deciding.compiled.matrix[decisions.rows[events], labels]
    found = zip(labels.tolist(), decisions.scores[events, labels].tolist(), cutoffs.tolist(), strict=True)
    if breakers.labels:
        actions = list(map(breakers.action, deciding.labels))
        tags = [Tag(deciding.labels[label], score, cutoff, actions[label]) for label, score, cutoff in found]
    else:
        tags = [Tag(deciding.labels[label], score, cutoff) for label, score, cutoff in found]
    ends: list[int] = decisions.tagged.sum(axis=1).cumsum().tolist()
    return (tags[start:end] for start, end in zip([0, *ends], ends, strict=False))


def _stages(
    decisions: Decisions, scores_of: Callable[..., Any] | None
) -> Iterator[tuple[str, str | None, msgspec.Raw | None]]:
    """Of each event: the stage that decided, why or why not stage 2, and what stage 1 said where that decided."""
    stages = decisions.stages
    if stages is None:
        return repeat(_ONE_STAGE, len(decisions.scores))
    second, first = stages.second, from_micro(stages.first)
    return (
        (
            "2" if by_second else "1",
            WHY[route],
            scores_of(*first[row].tolist()) if by_second and scores_of is not None else None,
        )
        for row, (route, by_second) in enumerate(zip(stages.route.tolist(), second.tolist(), strict=True))
    )


def _rfc3339(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"
