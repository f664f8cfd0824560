"""Which dead letters are meant: by class, stage, field, source topic, time, position."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from streamtag.dead_letters.letter import DeadLetter
from streamtag.errors import SettingsError

_RELATIVE = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_POSITION = re.compile(r"([0-9]{1,9})/([0-9]{1,18})")


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Conditions that must all hold; an empty one does not restrict. Values within one are alternatives.

    Attributes:
        error_classes, stages, fields, topics: exact values (``topics``: of the original).
        since_ms, until_ms: half-open range of the dead letter's own time, Unix milliseconds.
        positions: ``partition/offset`` in the dead-letter topic.
        min_replays: replayed at least so often already.
    """

    error_classes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    positions: tuple[str, ...] = ()
    min_replays: int = 0

    def matches(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is meant."""
        return (
            _among(letter.error_class, self.error_classes)
            and _among(letter.stage, self.stages)
            and _among(letter.field, self.fields)
            and _among(letter.source_topic, self.topics)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
            and _among(letter.position, self.positions)
            and letter.replay_count >= self.min_replays
        )


def _among(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted


def parse_position(text: str) -> tuple[int, int]:
    """``partition/offset``.

    Raises:
        SettingsError: it is not one.
    """
    match = _POSITION.fullmatch(text)
    if not match:
        raise SettingsError(
            f"position {text!r} must have the form partition/offset, e.g. 0/42",
            hint="`streamtag dlq list` shows the position of each dead letter.",
        )
    return int(match[1]), int(match[2])


def parse_time(text: str, option: str, *, now: datetime, relative: bool = True) -> int:
    """A time as Unix milliseconds: RFC 3339 with a zone, or so long ago (``30m``, ``2h``, ``7d``).

    Args:
        text: what was given.
        option: its name, for messages.
        now: the present, with a zone.
        relative: false where the same words must mean the same later.

    Raises:
        SettingsError: neither; or a relative one where that is refused.
    """
    ago = _RELATIVE.fullmatch(text)
    if ago:
        moment = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if not relative:
            absolute = moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            raise SettingsError(
                f"{option} {text}: a replay needs a time that means the same when it is run again",
                hint=f"Use {option} {absolute}",
            )
        return round(moment.timestamp() * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is no time: give RFC 3339 (2026-11-23T03:00:00Z) or e.g. 2h") from None
    if moment.tzinfo is None:
        raise SettingsError(f"{option} {text!r} needs a time zone, e.g. {moment.isoformat()}Z")
    return round(moment.timestamp() * 1000)


def parse_selection(
    *,
    error_classes: Sequence[str] | None = None,
    stages: Sequence[str] | None = None,
    fields: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    positions: Sequence[str] | None = None,
    min_replays: int = 0,
    now: datetime,
    relative: bool = True,
    prefix: str = "--",
) -> Selection:
    """A selection from what was given, in any order and with repetitions; messages put ``prefix`` before a name.

    Raises:
        SettingsError: a time or a position cannot be read.
    """
    return Selection(
        error_classes=_sorted(error_classes),
        stages=_sorted(stages),
        fields=_sorted(fields),
        topics=_sorted(topics),
        since_ms=None if since is None else parse_time(since, f"{prefix}since", now=now, relative=relative),
        until_ms=None if until is None else parse_time(until, f"{prefix}until", now=now, relative=relative),
        positions=tuple(f"{p}/{offset}" for p, offset in sorted(set(map(parse_position, positions or ())))),
        min_replays=min_replays,
    )


def _sorted(values: Sequence[str] | None) -> tuple[str, ...]:
    # The order on the command line must not make another selection, and so another replay, of it.
    return tuple(sorted(set(values or ())))
