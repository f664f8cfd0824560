"""Lets a group go on that too many dead letters have stopped."""

import contextlib
from dataclasses import dataclass

from streamtag.control.stops import StopMark, StopStore
from streamtag.dead_letters.reader import READER_GROUP, client_options
from streamtag.errors import NotFoundError
from streamtag.settings import Settings
from streamtag.stream.topic_reader import TopicReader

__all__ = ["Lifted", "lift_stop"]


@dataclass(frozen=True, slots=True)
class Lifted:
    """A stop that is over."""

    marks: list[StopMark]
    """What stood."""
    until: dict[str, int]
    """``topic/partition`` to the offset before which dead letters do not count."""


def lift_stop(settings: Settings, stops: StopStore, author: str, reason: str) -> Lifted:
    """Lifts the stop of the settings' group, and lets pass what its input topics hold now.

    A broken producer goes on writing while the group stands still. Whoever lifts the stop has seen to that, and knows
    of what was written by then; what comes later counts.

    Raises:
        RefusedError: author or reason is blank.
        NotFoundError: the group is not stopped.
        UnavailableError: Kafka or Redis does not answer, and nothing was lifted.
    """
    group = settings.tagger.group
    if stops.get(group) is None:
        raise NotFoundError(f"group {group} is not stopped")
    until = _ends(settings)
    return Lifted(stops.lift(group, author, reason, until), until)


def _ends(settings: Settings) -> dict[str, int]:
    found = {}
    with TopicReader(client_options(settings, READER_GROUP)) as reader:
        for topic in settings.topics.input:
            with contextlib.suppress(NotFoundError):  # one that is missing holds nothing
                found.update({f"{topic}/{index}": end for index, (_, end) in reader.bounds(topic).items()})
    return found
