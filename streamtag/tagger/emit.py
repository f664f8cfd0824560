"""Stage 4: decisions to tag events, refusals to dead letters."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from confluent_kafka import Message

from streamtag.domain.thresholds import DIMENSIONS, Segment
from streamtag.events import dead_letters
from streamtag.events.rejection import Rejected
from streamtag.events.tags import Source, Tag, TagEvent
from streamtag.stream.processor import Output
from streamtag.tagger.decide import Deciding, Decisions
from streamtag.tagger.decode import Decoded
from streamtag.telemetry.tracing import TraceContext

SOURCE_HEADER = "streamtag.source"
"""Of a tombstone in the tags topic: ``topic/partition/offset`` of the one it repeats."""
_NO_SCORES = msgspec.Raw(b"{}")
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
    ) -> Iterator[Output | None]:
        """One record per event, in order, None where none is published; the key is that of the input."""
        labels, topic = deciding.labels, self._tags_topic
        processed_at = _rfc3339(now_ms)
        scores = decisions.scores.tolist()
        matrix = deciding.compiled.matrix.tolist()
        tagged_any: list[bool] = decisions.tagged.any(axis=1).tolist()  # type: ignore[assignment]
        columns = zip(
            decoded.records,
            decoded.events,
            scores,
            tagged_any,
            decisions.rows.tolist(),
            decisions.segments,
            contexts,
            by_arrival,
            strict=True,
        )
        for record, event, row_scores, any_tag, row, segment, context, flagged in columns:
            tags: list[Tag] = []
            if any_tag:
                cutoffs = matrix[row]
                tags = [Tag(labels[i], s, cutoffs[i]) for i, s in enumerate(row_scores) if s >= cutoffs[i]]
            elif self._only_tagged:
                yield None
                continue
            value = _encode(
                TagEvent(
                    id=event.id,
                    source=Source(record.topic(), record.partition(), record.offset(), record.timestamp()[1]),
                    tags=tags,
                    scores=dict(zip(labels, row_scores, strict=True)) if self._with_scores else _NO_SCORES,
                    thresholds=deciding.cutoffs_json(row),
                    release=deciding.release_json,
                    processed_at=processed_at,
                    segment=_segment(segment),
                    traceparent=context.parent.decode("ascii") if context else None,
                    time_flag="arrival" if flagged else None,
                )
            )
            yield Output(topic, record.key(), value, context.headers() if context else None)

    def tombstone(self, record: Message) -> Output:
        """A null payload passes through as such: what deletes an event from a compacted topic deletes its tags."""
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
            headers=record.headers(),  # type: ignore[arg-type]
            rejected=rejected,
            release=release,
            worker=self._worker,
            now_ms=now_ms,
            max_bytes=self._max_dead_letter_bytes,
        )
        return Output(self._dead_letters_topic, key, value, headers)


def _segment(segment: Segment) -> dict[str, str] | None:
    if segment == (None, None, None):
        return None
    return {name: value for name, value in zip(DIMENSIONS, segment, strict=True) if value is not None}


def _rfc3339(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"
