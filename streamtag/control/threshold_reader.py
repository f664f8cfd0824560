"""Threshold sets of any age, read for the bundle that shall decide."""

from collections.abc import Callable, Sequence

from streamtag.domain.taxonomy import Taxonomy
from streamtag.domain.threshold_labels import align
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import RefusedError

__all__ = ["ReadThresholds", "as_they_are", "by_taxonomy"]

ReadThresholds = Callable[[ThresholdSet, Sequence[str]], ThresholdSet]
"""A threshold set in the words of a bundle that scores these labels."""


def as_they_are(thresholds: ThresholdSet, _labels: Sequence[str]) -> ThresholdSet:
    """Where no taxonomy is configured, an id is what it is."""
    return thresholds


def by_taxonomy(taxonomy: Taxonomy | None, tell: Callable[[str], None]) -> ReadThresholds:
    """Reads ids that were renamed or replaced as the bundle names them, and tells of each.

    The reader raises `RefusedError` for ids that could be read in more than one way.
    """
    if taxonomy is None:
        return as_they_are

    def read(thresholds: ThresholdSet, labels: Sequence[str]) -> ThresholdSet:
        aligned = align(taxonomy, thresholds, labels)
        if aligned.problems:
            raise RefusedError(
                f"the cut-offs cannot be read by taxonomy {taxonomy.name} {taxonomy.version}",
                problems=aligned.problems,
                hint="`streamtag taxonomy map` shows what each id has become.",
            )
        for warning in aligned.warnings:
            tell(warning)
        return aligned.thresholds

    return read
