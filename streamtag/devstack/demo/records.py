"""What the demo reads of the workers' outputs; the rest of each record is skipped."""

from dataclasses import dataclass

import msgspec

__all__ = ["DeadLetter", "Release", "SeenTags", "Source", "Tag"]


class Release(msgspec.Struct, frozen=True):
    """Of the release that decided."""

    number: int
    thresholds: dict[str, int | str]


class Source(msgspec.Struct, frozen=True, gc=False):
    """Position and time of the content event."""

    partition: int
    offset: int
    timestamp_ms: int


class Tag(msgspec.Struct, frozen=True, gc=False):
    """One label on it."""

    label: str
    score: float


class SeenTags(msgspec.Struct, frozen=True):
    """What is read of a tag event (`streamtag.events.tags.TagEvent`)."""

    id: str
    source: Source
    tags: list[Tag]
    scores: dict[str, float]
    thresholds: dict[str, float]
    release: Release

    @property
    def revision(self) -> int:
        """Threshold revision that decided."""
        return int(self.release.thresholds["revision"])


@dataclass(frozen=True)
class DeadLetter:
    """What is read of a dead letter."""

    partition: int
    offset: int
    error_class: str
