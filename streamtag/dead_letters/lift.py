"""Lets a group go on that too many dead letters have stopped."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from streamtag.control.fleet import read_fleet
from streamtag.control.partition_places import partition_of
from streamtag.control.stops import StopMark, StopStore
from streamtag.control.store import ControlStore
from streamtag.dead_letters.reader import client_options
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

    @property
    def topics(self) -> list[str]:
        """Those that dead letters may pass of, in order."""
        return sorted({partition_of(place)[0] for place in self.until})


def lift_stop(settings: Settings, store: ControlStore, author: str, reason: str) -> Lifted:
    """Lifts the stop of the settings' group, and lets pass what its input topics hold now.

    A broken producer goes on writing while the group stands still. Whoever lifts the stop has seen to that, and knows
    of what was written by then; what comes later counts.

    Raises:
        RefusedError: author or reason is blank.
        NotFoundError: the group is not stopped, or none of its topics exists.
        UnavailableError: Kafka or Redis does not answer, and nothing was lifted.
    """
    group, stops = settings.tagger.group, StopStore(settings, store=store)
    if stops.get(group) is None:
        raise NotFoundError(f"group {group} is not stopped")
    # Whoever lifts may have other settings than the workers: what these read, they say themselves.
    read = {partition_of(place)[0] for beat in read_fleet(store, group).heartbeats for place in beat.positions}
    topics = sorted(read.union(settings.topics.input))
    until = _ends(settings, topics)
    if not until:
        raise NotFoundError(
            f"none of the topics of group {group} exists: {', '.join(topics)}",
            hint="`topics.input` names those that its workers read. Nothing was lifted.",
        )
    return Lifted(stops.lift(group, author, reason, until), until)


def _ends(settings: Settings, topics: Sequence[str]) -> dict[str, int]:
    found = {}
    with TopicReader(client_options(settings, settings.tagger.group)) as reader:
        for topic in topics:
            with contextlib.suppress(NotFoundError):  # one that is missing holds nothing
                found.update({f"{topic}/{index}": end for index, (_, end) in reader.bounds(topic).items()})
    return found
