"""Tag events: what goes out, one per content event. A contract: `topics/tags.yaml` has its JSON Schema."""

import msgspec


class Tag(msgspec.Struct, frozen=True, gc=False):
    """One label on one event, with the evidence for it.

    ``action`` is ``review`` while the label's breaker is open: it is tagged too often to be acted on unseen.
    """

    label: str
    score: float
    threshold: float
    action: str = "tag"


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where the content event stands in Kafka; with the cluster it identifies the event for ever."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class SegmentValues(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a segment is made of, as far as the event has it; see `streamtag.domain.thresholds.DIMENSIONS`."""

    lang: str | None = None
    channel: str | None = None
    tenant: str | None = None


class TagEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The decision on one event, explainable from itself.

    ``scores`` and ``thresholds`` hold every label, so ``score >= threshold`` can be recomputed for those not
    tagged, too. What the same for many events is `msgspec.Raw` on the way out, encoded once; ``scores`` is a struct
    made for the labels (`streamtag.tagger.decide.scores_type`).

    Attributes:
        id: id of the content event.
        source: its position.
        tags: labels whose score reached the threshold, in label order.
        scores: label to score in millionths; empty where the setting ``tagger.scores`` is off.
        thresholds: label to the cut-off that decided this event.
        release: {number, sha256, bundle {name, version, sha256}, thresholds {revision, sha256}}.
        segment: the event's lang, channel, tenant where it has them.
        stage: the stage of the model that decided, ``1`` or ``2``: ``scores`` are its.
        processed_at: RFC 3339 UTC, milliseconds.
        arm: control or candidate, in an experiment.
        experiment: id of the experiment, if any.
        traceparent: W3C trace context of the input record, if any; also in the headers.
        breakers: number of the document that says which breakers are open; only while any is.
        time_flag: ``arrival`` when the record timestamp was not believed and statistics placed it by arrival.
        stage2: of a bundle with two stages, why stage 2 decided (``band``, ``sample``), or why not though it was asked
            for (``shed``, ``failed``); absent: it was not asked for.
        stage1_scores: where stage 2 decided, what stage 1 had said; absent where the setting ``tagger.scores`` is off.
    """

    id: str
    source: Source
    tags: list[Tag]
    scores: msgspec.Raw | dict[str, float]
    thresholds: msgspec.Raw | dict[str, float]
    release: msgspec.Raw | dict[str, object]
    processed_at: str
    stage: str = "1"
    segment: SegmentValues | None = None
    arm: str = "control"
    experiment: str | None = None
    traceparent: str | None = None
    breakers: int | None = None
    time_flag: str | None = None
    stage2: str | None = None
    stage1_scores: msgspec.Raw | dict[str, float] | None = None
