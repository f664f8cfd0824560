"""Files of lines (JSON lines, CSV): where their records begin and end, so that several processes share one file.

A record ends at a line feed; in CSV, at one that no quotes enclose. Quotes enclose by parity, as RFC 4180 has it: an
odd number of them before means inside. Who plans and who reads call the same function, so that they never disagree.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "BOM", "Record", "Stretch", "blocks", "records", "stretches"]

BLOCK = 1 << 20
_LINE_FEED, _QUOTE = ord("\n"), ord('"')
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Record:
    """One record without its end; ``content`` is None where it was longer than allowed.

    ``line`` is the line of the file that it begins on, from 1.
    """

    line: int
    content: bytes | None


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
    content: Iterable[bytes], max_bytes: int, *, quoted: bool, line: int = 1, begins_file: bool = True
) -> Iterator[list[Record]]:
    """The records of a stretch, in lists of what one block completed; memory is bounded whatever a record's length.

    Args:
        content: the stretch, in blocks.
        max_bytes: a longer record comes without content.
        quoted: whether quotes enclose line feeds.
        line: of the first record.
        begins_file: a byte order mark in front is no content.
    """
    rest, too_long, inside, first = b"", False, False, line
    for number, block in enumerate(content):
        if number == 0 and begins_file:
            block = block.removeprefix(BOM)  # noqa: PLW2901
        done, found = 0, []
        for end in _record_ends(block, quoted, inside).tolist():
            whole = None if too_long else rest + block[done:end]
            found.append(_record(first, whole, max_bytes))
            line += block.count(b"\n", done, end + 1) if quoted else 1
            first, done, rest, too_long = line, end + 1, b"", False
        if quoted:
            line += block.count(b"\n", done)
            inside ^= bool(block.count(b'"') & 1)
        rest += b"" if too_long else block[done:]
        if len(rest) > max_bytes + 1:  # + 1: a carriage return may follow
            rest, too_long = b"", True
        if found:
            yield found
    if rest or too_long:
        yield [_record(first, None if too_long else rest, max_bytes)]


def _record(line: int, content: bytes | None, max_bytes: int) -> Record:
    if content is not None:
        content = content.removesuffix(b"\r")
    return Record(line, None if content is None or len(content) > max_bytes else content)


def _record_ends(block: bytes, quoted: bool, inside: bool) -> NDArray[np.intp]:
    """Where in ``block`` records end: at line feeds, and in CSV at those with an even number of quotes before."""
    data = np.frombuffer(block, dtype=np.uint8)
    feeds = np.flatnonzero(data == _LINE_FEED)
    if not quoted:
        return feeds
    before = np.flatnonzero(data == _QUOTE).searchsorted(feeds)
    outside = ((before + inside) & 1) == 0
    return np.compress(outside, feeds)
