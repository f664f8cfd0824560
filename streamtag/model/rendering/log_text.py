"""``rendered-log/1``: a log event, a request or a command line as the text that a model reads.

JSON becomes lines of path, tab, value (`flatten`); any other text stays a text. What a value hides behind escapes,
base64 or the tricks of command lines follows it on a line of its own, so that both the trick and the word are seen.
"""

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
    return "\n".join(_revealed("", bounded(text, MAX_CHARS))) if document is None else render_document(document)


def render_document(document: Any) -> str:
    """`render` of a JSON value that is decoded already."""
    lines: list[str] = []
    left = MAX_CHARS
    for name, value in pairs(document):
        for line in _revealed(f"{name}\t" if name else "", value):
            lines.append(line[:left])
            left -= len(line) + 1
            if left <= 0:
                return "\n".join(lines)
    return "\n".join(lines)


def _revealed(prefix: str, value: str) -> list[str]:
    # Most values of a log are a word or a number: nothing can hide in those.
    hidden = [] if len(value) < _SHORTEST_TOKEN and value.isalnum() else _hidden(value)
    return [prefix + text for text in (value, *hidden)]


def _hidden(value: str) -> list[str]:
    """What is behind the escapes, tricks and tokens of a value, outermost first; at most `MAX_HIDDEN_CHARS`."""
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
