"""Files of lines (JSON lines, CSV): where their records begin and end, so that several processes share one file.

A record ends at a line feed; in CSV, at one that no quotes enclose. Quotes enclose by parity, as RFC 4180 has it: an
odd number of them before means inside. Who plans and who reads call the same function, so that they never disagree.

One quote too many turns parity around: all up to the next such quote is one record. So where a record of several lines
is no CSV, each line of it is read by itself. That is all there is to mend: its first line has an odd number of quotes,
and those between it and the last an even one each, so that each of them is a record of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "BOM", "Record", "Stretch", "blocks", "records", "stretches"]

BLOCK = 1 << 20
_LINE_FEED, _QUOTE = ord("\n"), ord('"')
BOM = b"\xef\xbb\xbf"
_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Record:
    """One record without its end.

    Attributes:
        line: of the file that it begins on, from 1.
        content: None where it was longer than allowed.
        note: more to say of one without content.
    """

    line: int
    content: bytes | None
    note: str = ""


@dataclass(frozen=True)
class Stretch:
    """Bytes ``start`` to ``end`` of a file: whole records, the first of which begins on ``line``."""

    start: int
    end: int
    line: int


def blocks(stream: BinaryIO, length: int | None = None) -> Iterator[bytes]:
    """What follows in ``stream``, at most ``length`` bytes of it."""
    left = length
    while left is None or left > 0:
        block = stream.read(BLOCK if left is None else min(BLOCK, left))
        if not block:
            return
        yield block
        left = None if left is None else left - len(block)


def stretches(content: Iterable[bytes], size: int, *, quoted: bool, start: int = 0, line: int = 1) -> Iterator[Stretch]:
    """Cuts a file into stretches of ``size`` bytes or a record more; none where nothing is left.

    Args:
        content: the file from ``start`` on, in blocks.
        size: in bytes.
        quoted: whether quotes enclose line feeds (CSV).
        start: byte of the file where a record begins.
        line: its line.
    """
    first, at, inside = line, start, False
    for block in content:
        done = 0
        if at + len(block) - start >= size:
            for end in _record_ends(block, quoted, inside).tolist():
                if at + end + 1 - start >= size:
                    line += block.count(b"\n", done, end + 1)
                    done = end + 1
                    yield Stretch(start, at + done, first)
                    start, first = at + done, line
        line += block.count(b"\n", done)
        inside ^= quoted and bool(block.count(b'"') & 1)
        at += len(block)
    if at > start:
        yield Stretch(start, at, first)


def records(
    content: Iterable[bytes],
    max_bytes: int,
    *,
    quoted: bool,
    line: int = 1,
    begins_file: bool = True,
    sound: Callable[[bytes, bool], bool] = lambda content, whole: True,
) -> Iterator[list[Record]]:
    """The records of a stretch, in lists of what one block completed; memory is bounded whatever a record's length.

    Args:
        content: the stretch, in blocks.
        max_bytes: a longer record comes without content.
        quoted: whether quotes enclose line feeds.
        line: of the first record.
        begins_file: a byte order mark in front is no content.
        sound: whether a record of several lines, or what one longer than allowed begins with (``whole`` False), is
            CSV; of one that is not, each line is a record.
    """
    rest, too_long, inside, torn, first = b"", False, False, False, line
    feed = True  # whether the last line has ended
    for number, block in enumerate(content):
        if number == 0 and begins_file:
            block = block.removeprefix(BOM)  # noqa: PLW2901
        done, found = 0, []
        ends = _record_ends(block, quoted, inside)
        if torn:
            ends, torn = _line_ends_until(block, ends), not len(ends)
        for end in ends.tolist():
            whole = None if too_long else rest + block[done:end]
            line += block.count(b"\n", done, end + 1) if quoted else 1
            found += _records(first, line - 1, whole, max_bytes, sound)
            first, done, rest, too_long = line, end + 1, b"", False
        if quoted:
            line += block.count(b"\n", done)
            inside ^= bool(block.count(b'"') & 1)
        feed = block.endswith(b"\n")
        rest += b"" if too_long else block[done:]
        if len(rest) > max_bytes + 1 and _is_torn(rest, max_bytes, sound):
            *lines, rest = rest.split(b"\n")
            found += _each(first, lines, max_bytes)
            first, torn = first + len(lines), True
        if len(rest) > max_bytes + 1:  # + 1: a carriage return may follow
            rest, too_long = b"", True
        if found:
            yield found
    if too_long:
        yield from _never_closed(first, line - (quoted and feed))
    elif rest:
        rest = rest.removesuffix(b"\n")
        yield _records(first, first + rest.count(b"\n"), rest, max_bytes, sound)


def _records(
    first: int, last: int, content: bytes | None, max_bytes: int, sound: Callable[[bytes, bool], bool]
) -> list[Record]:
    """What lies between two ends, on lines ``first`` to ``last``: one record, or one for each line."""
    content = None if content is None else content.removesuffix(b"\r")
    if content is not None and _is_torn(content, max_bytes, sound):
        return _each(first, content.split(b"\n"), max_bytes)
    if content is None or len(content) > max_bytes:
        return [Record(first, None, f"lines {first} to {last} are one record" if last > first else "")]
    return [Record(first, content)]


def _is_torn(content: bytes, max_bytes: int, sound: Callable[[bytes, bool], bool]) -> bool:
    """Whether these are several lines that make no record."""
    begins = content[:max_bytes]
    return b"\n" in begins and not sound(begins, len(content) <= max_bytes)


def _each(first: int, lines: Iterable[bytes], max_bytes: int) -> list[Record]:
    """A record for each line."""
    contents = (line.removesuffix(b"\r") for line in lines)
    return [Record(first + i, None if len(line) > max_bytes else line) for i, line in enumerate(contents)]


def _never_closed(first: int, last: int) -> Iterator[list[Record]]:
    """Lines that nobody kept, as the file ended within one record that was too long: each counts."""
    note = f"lines {first} to {last} were read as one record: a quote is never closed" if last > first else ""
    for at in range(first, last + 1, _AT_ONCE):
        yield [Record(line, None, note) for line in range(at, min(at + _AT_ONCE, last + 1))]


def _line_ends_until(block: bytes, ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """The ends of all lines up to where the first record ends, then those of records."""
    lines = _record_ends(block, False, False)
    return np.append(lines[lines < ends[0]], ends) if len(ends) else lines


def _record_ends(block: bytes, quoted: bool, inside: bool) -> NDArray[np.intp]:
    """Where in ``block`` records end: at line feeds, and in CSV at those with an even number of quotes before."""
    data = np.frombuffer(block, dtype=np.uint8)
    feeds = np.flatnonzero(data == _LINE_FEED)
    if not quoted:
        return feeds
    before = np.flatnonzero(data == _QUOTE).searchsorted(feeds)
    outside = ((before + inside) & 1) == 0
    return np.compress(outside, feeds)
