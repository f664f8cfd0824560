"""``rendered-log/1``: a log event, a request or a command line as the text that a model reads.

JSON becomes lines of a path and its values, tabs between (`flatten`); any other text stays a text. What values hide
behind escapes, base64 or the tricks of command lines follows on a line of its own, so that trick and word are seen.
"""

from collections.abc import Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from streamtag.model.rendering.command_line import deobfuscate
from streamtag.model.rendering.decode import embedded_texts, unescape
from streamtag.model.rendering.flatten import bounded, pairs, parsed

ROUNDS = 3
"""Layers of one encoding around another that are taken off."""
MAX_INPUT_CHARS = 262_144
"""A longer text is not looked at as JSON."""
MAX_CHARS = 8_000
"""Of a rendered event."""
MAX_HIDDEN_CHARS = 4_000
"""Of all that one value hides."""
_SHORTEST_TOKEN = 16


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
    return "\n".join([text, *_hidden(text)])


def render_document(document: Any) -> str:
    """`render` of a JSON value that is decoded already."""
    lines: list[str] = []
    left = MAX_CHARS
    for name, same in groupby(pairs(document), key=itemgetter(0)):
        values = [value for _, value in same]
        for some in (iter(values), chain.from_iterable(map(_hidden, values))):
            line = _line(name, some, left)
            if line is not None:
                lines.append(line)
                left -= len(line) + 1
                if left <= 0:
                    return "\n".join(lines)
    return "\n".join(lines)


def _line(name: str, texts: Iterator[str], room: int) -> str | None:
    """A name and its texts, cut to the room there is; None without texts. What would be cut off is not asked for."""
    first = next(texts, None)
    if first is None:
        return None
    parts = [name, first] if name else [first]
    length = sum(map(len, parts)) + len(parts) - 1
    while length < room and (text := next(texts, None)) is not None:
        parts.append(text)
        length += 1 + len(text)
    return "\t".join(parts)[:room]


def _hidden(value: str) -> list[str]:
    """What is behind the escapes, tricks and tokens of a value, outermost first; at most `MAX_HIDDEN_CHARS`."""
    # Most values of a log are a word or a number: nothing can hide in those.
    if len(value) < _SHORTEST_TOKEN and value.isalnum():
        return []
    found: list[str] = []
    left = MAX_HIDDEN_CHARS
    waiting = [(value, ROUNDS)]
    for text, rounds in waiting:  # grows while it is read
        plain = text
        for _ in range(rounds):
            before, plain = plain, deobfuscate(unescape(plain))
            if plain == before:
                break
        if plain != text or text is not value:
            plain = plain[:left]
            found.append(plain)
            left -= len(plain)
            if left <= 0:
                break
        if rounds > 1:
            waiting += [(inner, rounds - 1) for inner in embedded_texts(plain)]
    return found
