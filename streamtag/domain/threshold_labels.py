"""Cut-offs by other ids than a bundle has: read by the taxonomy, and named as the bundle names its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from streamtag.domain.taxonomy import Taxonomy
from streamtag.domain.thresholds import Override, ThresholdSet

Said = TypeVar("Said")


@dataclass(frozen=True)
class Aligned:
    """A threshold set in the words of a bundle.

    Attributes:
        thresholds: the set; labels that mean nothing the bundle scores keep their id, and are refused later.
        warnings: each id that was read as another.
        problems: ids that could be read in more than one way.
    """

    thresholds: ThresholdSet
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def align(taxonomy: Taxonomy, given: ThresholdSet, scored: Sequence[str]) -> Aligned:
    """Reads ``given`` for a bundle that scores ``scored``, by what the ids mean today.

    The bundle says which labels there are, the taxonomy which ids mean the same, and ``given`` the numbers: a label
    that the bundle scores is taken as it stands; any other id goes to the label of the bundle that means the same.
    """
    warnings: list[str] = []
    problems: list[str] = []
    labels = in_words_of("labels", given.labels, taxonomy, scored, warnings, problems)
    segments = tuple(
        Override(
            override.when, in_words_of(f"segments[{i}].labels", override.labels, taxonomy, scored, warnings, problems)
        )
        for i, override in enumerate(given.segments)
    )
    return Aligned(ThresholdSet(labels, segments), tuple(warnings), tuple(problems))


def in_words_of(
    where: str,
    values: Mapping[str, Said],
    taxonomy: Taxonomy,
    scored: Sequence[str],
    warnings: list[str],
    problems: list[str],
) -> dict[str, Said]:
    """What is said of ids of any age, by the ids that are scored.

    Args:
        where: the ids stand, for messages.
        values: id to what is said of it.
        taxonomy: says what ids mean.
        scored: labels of a bundle.
        warnings: each id that was read as another is added here.
        problems: ids that could be read in more than one way are added here.
    """
    found = {name: value for name, value in values.items() if name in scored}
    for name, value in values.items():
        if name in scored:
            continue
        meant = _scored_as(taxonomy, name, scored)
        if len(meant) > 1:
            problems.append(f"{where}.{name}: means each of {', '.join(meant)}; name the one that is meant")
        elif not meant:
            found[name] = value
        elif meant[0] in found and found[meant[0]] != value:
            other = f" ({found[meant[0]]})" if isinstance(value, float) else ""
            problems.append(f"{where}.{name}: means {meant[0]}, which has another value here{other}")
        else:
            warnings.append(f"{where}.{name}: read as {meant[0]}, by taxonomy {taxonomy.name} {taxonomy.version}")
            found[meant[0]] = value
    return found


def _scored_as(taxonomy: Taxonomy, name: str, scored: Sequence[str]) -> list[str]:
    """The labels of the bundle that ``name`` can mean."""
    now = taxonomy.current(name) if name in taxonomy.known else None
    if now is None:
        return []
    return [now] if now in scored else [label for label in scored if taxonomy.translate([label])[label] == now]
