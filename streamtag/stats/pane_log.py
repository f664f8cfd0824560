"""Reads the panes topic as the log it is: one partition, without gaps, outside of any group."""

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

import msgspec

from streamtag.errors import RefusedError, without_frames
from streamtag.events import panes as wire
from streamtag.events.panes import Pane
from streamtag.settings import Settings
from streamtag.stats.ledger_reader import reader_options
from streamtag.stream.topic_reader import TopicReader

__all__ = ["PaneLog", "UnreadablePaneError", "read_pane"]

_PARTITION = 0


class UnreadablePaneError(ValueError):
    """A record of the panes topic that is no pane this version can read; the message quotes no content."""


class _Version(msgspec.Struct):
    version: int


_decode_version = msgspec.json.Decoder(_Version).decode


def read_pane(value: bytes | None) -> Pane:
    """A record of the panes topic.

    Raises:
        UnreadablePaneError: it is no pane, or of another version.
    """
    if value is None:
        raise UnreadablePaneError("it has no value")
    try:
        version = _decode_version(value).version
        if version != wire.VERSION:
            raise UnreadablePaneError(f"its version is {version}; this streamtag reads {wire.VERSION}")
        return wire.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadablePaneError(f"it is no pane: {error}") from None


class PaneLog:
    """The panes topic; a context manager. Positions are offsets of its only partition.

    Every method raises `NotFoundError` for a topic that does not exist, `UnavailableError` when Kafka does not answer
    in time, and `RefusedError` where the topic has several partitions: their order would be anybody's guess.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topics.panes
        # The app's own group, which is never joined here: it needs no right to that of the tagger.
        self._reader = TopicReader(replace(reader_options(settings), group=settings.stats.group))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the client."""
        self._reader.__exit__(None, None, None)

    def bounds(self) -> tuple[int, int]:
        """First position that is still there, and the next one to be written."""
        return self._only(self._reader.bounds(self._topic))

    def position_at(self, at_ms: int) -> int:
        """Of the first record that was written at or after a time, Unix milliseconds."""
        return self._only(self._reader.from_time(self._topic, at_ms))[0]

    def read(self, start: int, end: int) -> Iterator[tuple[int, Pane | UnreadablePaneError]]:
        """Positions in ``[start, end)`` with what stands there, in order.

        Raises:
            RefusedError: a position is missing, as it has expired.
        """
        due = start
        for batch in self._reader.batches(self._topic, {_PARTITION: (start, end)}):
            for record in batch:
                position = record.offset()
                if position != due:
                    raise self._missing(due, position)
                due += 1
                try:
                    yield position, read_pane(record.value())
                except UnreadablePaneError as error:
                    yield position, without_frames(error)
        if due < end:
            raise self._missing(due, end)

    def _only(self, bounds: dict[int, tuple[int, int]]) -> tuple[int, int]:
        if len(bounds) != 1:
            raise RefusedError(
                f"topic {self._topic} has {len(bounds)} partitions; it must have one, as its order counts",
                hint="Name a new one in topics.panes; `streamtag topics apply` creates it.",
            )
        return bounds[_PARTITION]

    def _missing(self, due: int, position: int | None) -> RefusedError:
        return RefusedError(
            f"{self._topic}: positions {due} to {position} are missing",
            hint="They have expired by the topic's retention.ms; what needs them cannot be computed again: raise it to "
            "more than the longest time that anybody looks back, or stands still.",
        )
