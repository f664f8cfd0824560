"""What a replay does with one dead letter, and what it is called; decided without Kafka."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import msgspec

from streamtag.dead_letters.letter import DeadLetter
from streamtag.dead_letters.selection import Selection
from streamtag.errors import RefusedError
from streamtag.events import dead_letters as wire
from streamtag.settings import TopicsSettings

_MARKS = (wire.REPLAY_OF, wire.REPLAY_ID, wire.REPLAY_COUNT)
# Kafka's default limit of a commit's metadata (offset.metadata.max.bytes) is 4,096.
_MAX_METADATA_BYTES = 4_000


class ReplaySpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a replay is about: the same spec is the same replay, and goes on where it stopped.

    Attributes:
        dead_letters: topic that is read.
        selection: which letters.
        to: topic that is written; None: each letter's own.
    """

    dead_letters: str
    selection: Selection = Selection()
    to: str | None = None

    def default_id(self) -> str:
        """A name made of the spec itself, so the same command finds its own progress."""
        return "r" + hashlib.sha256(self.encode().encode()).hexdigest()[:12]

    def encode(self) -> str:
        """The spec as it is kept with the replay's committed positions.

        Raises:
            RefusedError: it does not fit there.
        """
        text = msgspec.json.encode(self, order="deterministic").decode()
        if len(text.encode()) > _MAX_METADATA_BYTES:
            raise RefusedError(
                f"the selection takes {len(text)} bytes, at most {_MAX_METADATA_BYTES} can be kept with a replay",
                hint="Name fewer positions, fields or topics at once.",
            )
        return text

    @classmethod
    def decode(cls, text: str) -> Self | None:
        """The reverse; None for what is no spec."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None


class Step(StrEnum):
    """What happens to a dead letter in a replay."""

    REPLAY = "replayed"
    OTHER = "not_selected"
    TRUNCATED = "truncated"
    EXHAUSTED = "replayed_too_often"
    NO_TOPIC = "topic_missing"
    TOO_LARGE = "too_large"


def check_target(spec: ReplaySpec, topics: TopicsSettings) -> None:
    """Whether a replay may write where it is told to; what was no event is no tag, summary or pane either.

    A letter goes back to its own topic whichever that is: the windower has dead letters of the summaries' topic.

    Raises:
        RefusedError: only we write there, or only Kafka does.
    """
    if spec.to is None:
        return
    ours = {topics.tags: "topics.tags", topics.stats: "topics.stats", topics.panes: "topics.panes"}
    said = f"is {ours[spec.to]}" if spec.to in ours else ""
    said = "is the dead-letter topic itself" if spec.to == spec.dead_letters else said
    said = "is a topic of Kafka's own" if spec.to.startswith("__") else said
    if said:
        raise RefusedError(
            f"the target (--to) {spec.to} {said}", hint="Leave it away: each letter goes back to its own topic."
        )


def step_for(letter: DeadLetter, spec: ReplaySpec, *, max_replays: int | None, topics: frozenset[str]) -> Step:
    """Decides on one letter.

    Args:
        letter: the dead letter.
        spec: of the replay.
        max_replays: letters replayed so often already are left alone, or a bad one would go round for ever; None: all.
        topics: those that exist.
    """
    if not spec.selection.matches(letter):
        return Step.OTHER
    if letter.truncated:
        return Step.TRUNCATED
    if max_replays is not None and letter.replay_count >= max_replays:
        return Step.EXHAUSTED
    if (spec.to or letter.source_topic) not in topics:
        return Step.NO_TOPIC
    return Step.REPLAY


def replay_headers(letter: DeadLetter, replay_id: str) -> wire.Headers:
    """The original headers, and the marks of this replay instead of those of an earlier one."""
    kept = [header for header in letter.headers if header[0] not in _MARKS]
    return [
        *kept,
        (wire.REPLAY_OF, f"{letter.topic}/{letter.position}".encode()),
        (wire.REPLAY_ID, replay_id.encode()),
        (wire.REPLAY_COUNT, str(letter.replay_count + 1).encode()),
    ]


@dataclass
class Tally:
    """What a replay did; positions of letters left behind, so a person can look at them.

    Attributes:
        counts: letters per step.
        left: positions per step of those selected and not replayed, the first ``keep`` of each.
        foreign: records that are no dead letters of streamtag.
    """

    counts: dict[Step, int] = field(default_factory=lambda: dict.fromkeys(Step, 0))
    left: dict[Step, list[str]] = field(default_factory=dict)
    foreign: int = 0
    keep: int = 100

    def add(self, letter: DeadLetter, step: Step) -> None:
        """Counts one letter."""
        self.counts[step] += 1
        if step not in (Step.REPLAY, Step.OTHER):
            positions = self.left.setdefault(step, [])
            if len(positions) < self.keep:
                positions.append(letter.position)

    @property
    def replayed(self) -> int:
        """Letters written to their topic."""
        return self.counts[Step.REPLAY]
