"""``rendered-log/2``: a log event, a request or a command line as the text that a model reads.

JSON becomes lines of a path and its values, tabs between (`flatten`); any other text stays a text. What values hide
behind escapes, base64 or the tricks of command lines follows on a line of its own, so that trick and word are seen.
Where an event is too long, its fields share the room: whoever writes one of them leaves the others theirs.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from streamtag.model.rendering.flatten import Pair, bounded, fields, parsed
from streamtag.model.rendering.hidden import hidden

MAX_INPUT_CHARS = 262_144
"""A longer text is not looked at as JSON."""
MAX_CHARS = 8_000
"""Of an event's values with their names; and of what they hide, once more."""


def render(text: str) -> str:
    r"""The text of an event, whatever it holds; never raises, linear in its length, and the same for the same JSON.

    >>> render('{"process": {"name": "cmd.exe", "command_line": "who^ami"}}')
    'process.commandline\twho^ami\nprocess.commandline\twhoami\nprocess.name\tcmd.exe'
    >>> render("GET /search?q=caf%C3%A9")
    'GET /search?q=caf%C3%A9\nGET /search?q=café'
    """
    document = parsed(text) if len(text) <= MAX_INPUT_CHARS else None
    if document is not None:
        return render_document(document)
    text = bounded(text, MAX_CHARS)
    return "\n".join([text, *hidden(text)])


def render_document(document: Any) -> str:
    """`render` of a JSON value that is decoded already."""
    shown = _fitting(fields(document))
    hides = _fitting([[pair._replace(text=text) for pair in pairs for text in hidden(pair.text)] for pairs in shown])
    lines = sorted([*_lines(shown, 0), *_lines(hides, 1)], key=itemgetter(0))
    return "\n".join(line for _, line in lines)


def fair_shares(wanted: Sequence[int], room: int) -> list[int]:
    """Who wants little gets it, and what is left is shared alike among the others (max-min fairness).

    >>> fair_shares([10, 70, 50], 100)
    [10, 45, 45]
    """
    shares = list(wanted)
    if sum(wanted) > room:
        by_size = sorted(range(len(wanted)), key=wanted.__getitem__)
        for left, i in zip(range(len(wanted), 0, -1), by_size, strict=True):
            shares[i] = min(wanted[i], room // left)
            room -= shares[i]
    return shares


def _fitting(given: Sequence[list[Pair]]) -> list[list[Pair]]:
    """Fields cut to `MAX_CHARS` together: they share the room, and the pairs of each what it has.

    All alike: room set aside for telling names would let one of those cut all short fields of other names.
    """
    lengths = [sum(map(_length, pairs)) for pairs in given]
    shares = fair_shares(lengths, MAX_CHARS)
    return [
        pairs if share == length else _cut(pairs, share)
        for pairs, length, share in zip(given, lengths, shares, strict=True)
    ]


def _cut(pairs: Sequence[Pair], room: int) -> list[Pair]:
    shares = fair_shares([*map(_length, pairs)], room)
    rooms = [share + len(pair.text) - _length(pair) for share, pair in zip(shares, pairs, strict=True)]
    return [pair._replace(text=bounded(pair.text, left)) for left, pair in zip(rooms, pairs, strict=True) if left > 0]


def _length(pair: Pair) -> int:
    """With a name and the signs between, of which there may be more than of text."""
    return len(pair.name) + len(pair.text) + 2


def _lines(given: Sequence[list[Pair]], kind: int) -> Iterator[tuple[tuple[int, str, int, int], str]]:
    """Each name of each field with its texts, and what orders it among all lines.

    No line has two fields: nobody stands between the name and the value of another.
    """
    for number, pairs in enumerate(given):
        for (rank, name), same in groupby(pairs, key=itemgetter(0, 1)):
            texts = [pair.text for pair in same]
            yield (rank, name, number, kind), "\t".join([name, *texts] if name else texts)
