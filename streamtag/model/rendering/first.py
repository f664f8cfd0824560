"""``rendered-log/1``, as bundles of before were trained on it: what `flatten` still reads is passed over here.

Of a named value the rest of its object, of more than `MAX_FIELDS` fields those that come later, names that are no
names, and what lies deep. Its bounds are its own: those of `log_text` may become others with the next contract.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any
from urllib.parse import unquote

import msgspec

from streamtag.model.rendering.flatten import (
    MAX_DEPTH,
    MAX_KEY_CHARS,
    NAMES,
    OPENING,
    RANK,
    VALUES,
    WRAPS,
    bounded,
    text_of,
    word,
)
from streamtag.model.rendering.hidden import hidden

MAX_INPUT_CHARS = 262_144
MAX_FIELDS = 400
MAX_ITEMS = 64
"""Of one array."""
MAX_CHARS = 8_000
MAX_WORDS = 1_500
"""Signs included; what comes later is not read."""
_EMBEDDED = 2


def render(text: str) -> str:
    """As `log_text.render`, within these bounds."""
    document = _parsed(text) if len(text) <= MAX_INPUT_CHARS else None
    if document is not None:
        return render_document(document)
    text = bounded(text, MAX_CHARS)
    return "\n".join([text, *hidden(text)])


def render_document(document: Any) -> str:
    """`render` of a JSON value that is decoded already."""
    lines: list[str] = []
    left = MAX_CHARS
    for name, same in groupby(_pairs(document), key=itemgetter(0)):
        values = [value for _, value in same]
        for some in (iter(values), chain.from_iterable(map(hidden, values))):
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


def _pairs(document: Any) -> list[tuple[str, str]]:
    """``(path, value)`` of the leaves that say something: telling names first, else by path.

    Args:
        document: a decoded JSON value.

    Returns:
        At most `MAX_FIELDS` pairs, none twice. Equal for documents that differ in the order of keys, in ``a.b`` against
        nested ``a`` and ``b``, or in upper case, underscores and dashes of names.
    """
    found: dict[tuple[tuple[int, str], str], None] = {}
    for path, value in _leaves((), document, MAX_DEPTH, _EMBEDDED):
        text = text_of(value)
        if text:
            name = _short(path)
            found[(RANK.get(name.rsplit(".", 1)[-1], len(RANK)), name), text] = None
            if len(found) == MAX_FIELDS:
                break
    # The sort is stable: items of an array keep their order.
    return [(name, text) for (_, name), text in sorted(found, key=lambda pair: pair[0])]


def _leaves(path: tuple[str, ...], value: Any, depth: int, embedded: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        if depth:
            for name, inner in _members(value):
                yield from _leaves(path + name, inner, depth - 1, embedded)
    elif isinstance(value, list):
        if depth:
            for inner in value[:MAX_ITEMS]:
                yield from _leaves(path, inner, depth - 1, embedded)
    elif isinstance(value, str) and embedded and value[:3].lower().startswith(OPENING):
        inner = _parsed(value if value[0] != "%" else unquote(value))
        yield from [(path, value)] if inner is None else _leaves(path, inner, depth, embedded - 1)
    else:
        yield path, value


def _members(value: Mapping[str, Any]) -> Sequence[tuple[tuple[str, ...], Any]]:
    """Paths and values of an object, sorted; one that is a name with a value gives that name."""
    named = _as_named(value)
    if named:
        return [named]
    split = [(tuple(word(part) for part in key[: 4 * MAX_KEY_CHARS].split(".") if part), key) for key in value]
    # Keys that are one after shortening keep a fixed order, too.
    return [(name, value[key]) for name, key in sorted(split)]


def _as_named(value: Mapping[str, Any]) -> tuple[tuple[str, ...], Any] | None:
    if not 2 <= len(value) <= 4:
        return None
    name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), None)
    inner = next((key for key in VALUES if key in value), None)
    # Cut to what `word` looks at: this name is a value, of any length, and the cache would keep it.
    return ((word(name[:MAX_KEY_CHARS]),), value[inner]) if name and inner else None


def _short(path: Sequence[str]) -> str:
    telling = [name for name in path[:-1] if name not in WRAPS]
    return ".".join([*telling[-1:], *path[-1:]])


def _parsed(text: str) -> Any:
    """The object or array that the text is, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
