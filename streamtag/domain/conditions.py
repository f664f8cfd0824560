"""Finding the conditions of overrides that matter at a segment, where there are thousands of them."""

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Compatible", "Condition", "Matching", "key_of"]

Condition = tuple[tuple[str, str], ...]
"""Dimensions and their values, in order of dimension."""


def key_of(when: Mapping[str, str]) -> Condition:
    """Equal where conditions are, in whatever order they name their dimensions."""
    return tuple(sorted(when.items()))


class Matching:
    """Which of many conditions a segment matches, without a look at each of them.

    Conditions name some of a few dimensions, so for each choice of these there is one that matches at most.
    """

    def __init__(self, conditions: Iterable[Mapping[str, str]]) -> None:
        self._known = dict.fromkeys(key_of(when) for when in conditions)
        self._choices = dict.fromkeys(tuple(dimension for dimension, _ in condition) for condition in self._known)

    def at(self, place: Mapping[str, str]) -> list[Condition]:
        """The conditions that every event of this segment matches."""
        within = [chosen for chosen in self._choices if all(dimension in place for dimension in chosen)]
        conditions = (tuple((dimension, place[dimension]) for dimension in chosen) for chosen in within)
        return [condition for condition in conditions if condition in self._known]


class Compatible:
    """Which of many conditions an event can match along with another one, without a look at each of them."""

    def __init__(self, conditions: Sequence[Mapping[str, str]]) -> None:
        self._conditions = conditions
        self._by_choice: dict[tuple[str, ...], list[int]] = {}
        for i, when in enumerate(conditions):
            self._by_choice.setdefault(tuple(sorted(when)), []).append(i)
        self._by_value: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[tuple[str, ...], list[int]]] = {}

    def to(self, other: Mapping[str, str]) -> list[Mapping[str, str]]:
        """Those that name no other value of a dimension that ``other`` names, in their order."""
        found: list[int] = []
        for chosen in self._by_choice:
            shared = tuple(dimension for dimension in chosen if dimension in other)
            found += self._alike(chosen, shared).get(tuple(other[dimension] for dimension in shared), ())
        return [self._conditions[i] for i in sorted(found)]

    def _alike(self, chosen: tuple[str, ...], shared: tuple[str, ...]) -> Mapping[tuple[str, ...], list[int]]:
        """The conditions of one choice of dimensions, by what they say of the ``shared`` ones."""
        if (chosen, shared) not in self._by_value:
            found = self._by_value[chosen, shared] = {}
            for i in self._by_choice[chosen]:
                found.setdefault(tuple(self._conditions[i][dimension] for dimension in shared), []).append(i)
        return self._by_value[chosen, shared]
