"""Dead letters counted by what they have in common."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from streamtag.dead_letters.letter import DeadLetter


class Dimension(StrEnum):
    """What dead letters can be grouped by."""

    CLASS = "class"
    STAGE = "stage"
    FIELD = "field"
    TOPIC = "topic"
    MESSAGE = "message"
    RELEASE = "release"
    REPLAYS = "replays"

    def of(self, letter: DeadLetter) -> str:
        """The value of one dead letter."""
        match self:
            case Dimension.CLASS:
                return letter.error_class
            case Dimension.TOPIC:
                return letter.source_topic
            case Dimension.REPLAYS:
                return str(letter.replay_count)
            case _:
                return str(getattr(letter, self.value))


DEFAULT = (Dimension.CLASS, Dimension.STAGE, Dimension.FIELD, Dimension.TOPIC)


class Counts:
    """Counts letters while they pass."""

    def __init__(self) -> None:
        self.letters = 0
        self.foreign = 0

    def over(self, found: Iterable[DeadLetter | None]) -> Iterator[DeadLetter]:
        """Passes letters on; None stands for a record that is no dead letter."""
        for letter in found:
            if letter is None:
                self.foreign += 1
            else:
                self.letters += 1
                yield letter


@dataclass
class Group:
    """Dead letters with equal values.

    Attributes:
        values: per dimension.
        count: how many.
        truncated: of these, how many are not whole.
        bytes: sum of their original values.
        first_ms, last_ms: their earliest and latest time.
        example: position of the latest one.
    """

    values: dict[str, str]
    count: int = 0
    truncated: int = 0
    bytes: int = 0
    first_ms: int = 0
    last_ms: int = 0
    example: str = field(default="")

    def add(self, letter: DeadLetter) -> None:
        """Counts one more."""
        self.first_ms = min(self.first_ms, letter.at_ms) if self.count else letter.at_ms
        if not self.count or letter.at_ms >= self.last_ms:
            self.last_ms, self.example = letter.at_ms, letter.position
        self.count += 1
        self.truncated += letter.truncated
        self.bytes += letter.size


def group(letters: Iterable[DeadLetter], by: Sequence[Dimension] = DEFAULT) -> list[Group]:
    """Groups in one pass, largest first, then by values."""
    groups: dict[tuple[str, ...], Group] = {}
    for letter in letters:
        values = tuple(dimension.of(letter) for dimension in by)
        found = groups.get(values)
        if found is None:
            found = groups[values] = Group(dict(zip((d.value for d in by), values, strict=True)))
        found.add(letter)
    return [entry for _, entry in sorted(groups.items(), key=lambda item: (-item[1].count, item[0]))]
