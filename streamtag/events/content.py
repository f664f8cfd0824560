"""Content events: what comes in."""

import msgspec

# Checked by the decoder: a nested value is refused, and JSON has no NaN.
FeatureValue = str | int | float | bool | None


class ContentEvent(msgspec.Struct, frozen=True, gc=False):
    """One thing to tag. ``text`` and/or ``features`` must be present.

    Attributes:
        id: identity given by the producer, non-empty.
        text: what is scored, Unicode; never copied to tags, logs or metrics.
        features: named numbers or words for models that read them.
        time: when it happened, RFC 3339; informative, panes use the record timestamp.
        lang: language (BCP 47), a segment dimension.
        author: who wrote it, a unit of correlation.
        channel: where it was written, a segment dimension.
        tenant: for whom it is moderated, a segment dimension.
        key: entity whose order matters; informative, order follows the Kafka key.
    """

    id: str
    text: str | None = None
    features: dict[str, FeatureValue] | None = None
    time: str | None = None
    lang: str | None = None
    author: str | None = None
    channel: str | None = None
    tenant: str | None = None
    key: str | None = None
