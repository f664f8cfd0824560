"""Tag events as the demo reads them, for the tests of this room."""

from collections.abc import Mapping

from streamtag.devstack.demo.records import Release, SeenTags, Source, Tag

THRESHOLDS = {"calm": 0.5, "loud": 0.02}


def seen(
    offset: int,
    scores: Mapping[str, float],
    *,
    partition: int = 0,
    at_ms: int = 0,
    release: int = 1,
    thresholds: Mapping[str, float] = THRESHOLDS,
) -> SeenTags:
    """A tag event whose tags follow from scores and thresholds; release n has threshold revision n."""
    return SeenTags(
        id=f"demo-{offset:06}",
        source=Source(partition, offset, at_ms),
        tags=[Tag(label, score) for label, score in scores.items() if score >= thresholds[label]],
        scores=dict(scores),
        thresholds=dict(thresholds),
        release=Release(release, {"revision": release, "sha256": "0" * 64}),
    )
