"""The audit stream as a chain: each entry holds the hash of the one before it, so nothing in between changes unseen.

The canonical form of an entry is all its fields but ``sha256``, in their order, ``number`` and ``previous`` among them:
of each its name, then its value, both as netstrings (``5:value,``; the length is in bytes). Its SHA-256 is what the
entry carries, and the next one names.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Fault", "Fields", "Head", "Verified", "digest", "link", "verify"]

Fields = Sequence[tuple[bytes, bytes]]
"""Of one entry, in their order."""

NUMBER, PREVIOUS, SHA256 = "number", "previous", "sha256"


@dataclass(frozen=True)
class Head:
    """The newest link: how many there have ever been, and its hash; none before the first."""

    number: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Fault:
    """The first entry that does not stand as it was written.

    Attributes:
        entry: its id in the stream; empty where entries are missing at the end.
        problem: in words.
    """

    entry: str
    problem: str


@dataclass(frozen=True)
class Verified:
    """What a look at the whole stream has found.

    Attributes:
        entries: links that were proven, up to the fault.
        before: entries from before there was a chain; nothing proves them.
        trimmed: links before the oldest that is still there.
        head: the last link that was proven.
        fault: None where everything stands.
    """

    entries: int
    before: int
    trimmed: int
    head: Head
    fault: Fault | None = None


def digest(fields: Iterable[tuple[bytes, bytes]]) -> str:
    """Hexadecimal SHA-256 of the canonical form of an entry."""
    found = hashlib.sha256()
    for pair in fields:
        for part in pair:
            found.update(b"%d:%b," % (len(part), part))
    return found.hexdigest()


def link(head: Head, fields: Mapping[str, str]) -> tuple[Head, Fields]:
    """The next entry: ``fields`` with its number, the hash of the one before and its own; and the head it makes.

    >>> head, entry = link(Head(), {"action": "seed"})
    >>> [name.decode() for name, _ in entry], head.number
    (['number', 'previous', 'action', 'sha256'], 1)
    """
    named = {NUMBER: str(head.number + 1), PREVIOUS: head.sha256, **fields}
    own = [(name.encode(), value.encode()) for name, value in named.items()]
    sha256 = digest(own)
    return Head(head.number + 1, sha256), [*own, (SHA256.encode(), sha256.encode())]


def verify(entries: Iterable[tuple[str, Fields]], head: Head, noted: Head | None = None) -> Verified:
    """Proves every link, from the oldest on, up to the first that does not stand.

    Args:
        entries: id and fields, the oldest first; may end later than ``head``, which was read before.
        head: as it is kept beside the stream.
        noted: a head that somebody noted elsewhere; it must still be in the chain, unless it was trimmed.
    """
    walk = _Walk(head, noted)
    for entry, fields in entries:
        problem = walk.step(fields)
        if problem:
            return walk.verified(Fault(entry, problem))
    problem = walk.end()
    return walk.verified(Fault("", problem) if problem else None)


class _Walk:
    def __init__(self, head: Head, noted: Head | None) -> None:
        self._expected = {one.number: (one.sha256, what) for one, what in _known(head, noted)}
        self._last: Head | None = None
        self._first = 0
        self._before = self._entries = 0

    def step(self, fields: Fields) -> str:
        """What is wrong with the next entry; empty where it stands."""
        found = dict(fields)
        sha256 = found.get(SHA256.encode())
        if sha256 is None:
            if self._last is None:
                self._before += 1
                return ""
            return "it is no link of the chain: inserted, or written by a version of streamtag that knows of none"
        number = found.get(NUMBER.encode(), b"")
        own = [(name, value) for name, value in fields if name != SHA256.encode()]
        if digest(own).encode() != sha256 or not number.isdigit():
            return "it was changed: its fields have another hash than it carries"
        here = Head(int(number), sha256.decode())
        problem = self._follows(here, found.get(PREVIOUS.encode(), b"").decode()) or self._as_known(here)
        if not problem:
            self._first = self._first or here.number
            self._last = here
            self._entries += 1
        return problem

    def end(self) -> str:
        """What is missing behind the last entry; empty where nothing is."""
        last = self._last.number if self._last else 0
        number = max(self._expected, default=0)
        if number <= last:
            return ""
        _, what = self._expected[number]
        return f"the chain ends with entry {last}, but {what} is {number}: the entries behind it were removed"

    def verified(self, fault: Fault | None) -> Verified:
        trimmed = max(0, self._first - 1)
        return Verified(self._entries, self._before, trimmed, self._last or Head(), fault)

    def _follows(self, here: Head, previous: str) -> str:
        last = self._last
        if last is None:
            if here.number > 1 and self._before:
                return f"it is number {here.number}, the first of the chain here: those before it were removed"
            return "it is number 1, and yet names one before it" if here.number == 1 and previous else ""
        if here.number > last.number + 1:
            gone = f"{last.number + 1}" if here.number == last.number + 2 else f"{last.number + 1} to {here.number - 1}"
            return f"it is number {here.number} and comes after {last.number}: {gone} removed before it"
        if here.number <= last.number:
            return f"it is number {here.number} and comes after {last.number}: inserted, or counted from an older state"
        return "" if previous == last.sha256 else f"it does not name the hash of entry {last.number} before it"

    def _as_known(self, here: Head) -> str:
        sha256, what = self._expected.get(here.number, (here.sha256, ""))
        return "" if sha256 == here.sha256 else f"{what} has the same number ({here.number}) and another hash"


def _known(head: Head, noted: Head | None) -> list[tuple[Head, str]]:
    # The note comes last: of the same number, it is the one that nobody who wrote to Redis could have changed.
    found = [(head, "the head that is kept beside the stream")] if head.number else []
    return found + ([(noted, "the newest entry that was noted here before")] if noted and noted.number else [])
