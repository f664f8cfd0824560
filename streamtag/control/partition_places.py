"""Partitions of topics, and positions in them, as what Redis holds names them."""

from typing import Annotated

import msgspec

__all__ = ["Place", "Position", "partition_of"]

Position = Annotated[int, msgspec.Meta(ge=0)]
Place = Annotated[str, msgspec.Meta(pattern="^.+/[0-9]{1,9}$")]
"""``topic/partition``; `partition_of` reads it."""


def partition_of(place: str) -> tuple[str, int]:
    """Topic and partition of ``topic/partition``; as a key it sorts ``topic/10`` after ``topic/2``."""
    topic, _, partition = place.rpartition("/")
    return topic, int(partition) if partition.isdigit() else 0
