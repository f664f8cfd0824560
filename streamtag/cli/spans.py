"""Spans and moments as people write them: 30m, 2h, 7d, or an RFC 3339 time."""

import re
from datetime import UTC, datetime, timedelta

from streamtag.errors import SettingsError

__all__ = ["moment_ahead", "span"]

_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str, option: str) -> timedelta:
    """``30m``, ``2h``, ``7d``.

    Raises:
        SettingsError: it is none.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise SettingsError(f"{option} {text!r} must be seconds, minutes, hours or days, e.g. 30m, 2h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def moment_ahead(text: str, option: str, now: datetime) -> datetime:
    """A moment to come: so long from now (``2h``), or an RFC 3339 time with its zone.

    Raises:
        SettingsError: it is neither.
    """
    if _SPAN.fullmatch(text):
        return now + span(text, option)
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: in UTC it is in the year 10000, or 0
        pass
    raise SettingsError(
        f"{option} {text!r} must be so long from now (30m, 2h) or a time with its zone, e.g. 2026-11-28T22:00:00Z"
    )
