"""What a value of a log hides behind escapes, base64 and the tricks of command lines."""

from streamtag.model.rendering.command_line import deobfuscate
from streamtag.model.rendering.decode import embedded_texts, unescape

ROUNDS = 3
"""Layers of one encoding around another that are taken off."""
MAX_HIDDEN_CHARS = 4_000
"""Of all that one value hides."""
_SHORTEST_TOKEN = 16


def hidden(value: str) -> list[str]:
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
