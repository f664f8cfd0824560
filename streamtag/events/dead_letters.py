"""Dead letters: the original record, unchanged, with headers that say what happened and where.

Key and value are the original bytes, and the original headers come first, unchanged; the facts follow as one block
that begins with ``streamtag.dlq.error.class``, so a dead letter of a dead letter can be taken apart again. A record
that would not fit keeps its first bytes as value, with ``streamtag.dlq.truncated`` and the hash of the whole; the
source position says where the whole still is.
"""

import hashlib
from collections.abc import Iterable, Sequence

from streamtag.events.rejection import Rejected

Headers = list[tuple[str, bytes | None]]

PREFIX = "streamtag.dlq."
ERROR_CLASS = PREFIX + "error.class"  # first of the facts
ERROR_MESSAGE = PREFIX + "error.message"
STAGE = PREFIX + "stage"
FIELD = PREFIX + "field"
TOPIC = PREFIX + "topic"
PARTITION = PREFIX + "partition"
OFFSET = PREFIX + "offset"
TIMESTAMP = PREFIX + "timestamp_ms"
RELEASE = PREFIX + "release"
WORKER = PREFIX + "worker"
DEAD_AT = PREFIX + "at_ms"
TRUNCATED = PREFIX + "truncated"  # the value is a head of the original; SIZE and SHA256 describe the whole
HEADERS_TRUNCATED = PREFIX + "headers_truncated"  # count of original headers that were left out
KEY_TRUNCATED = PREFIX + "key_truncated"  # the key is a head of the original
SIZE = PREFIX + "size"
SHA256 = PREFIX + "sha256"
# On a replayed record, in the source topic:
REPLAY_OF = "streamtag.replay.of"  # "<dlq topic>/<partition>/<offset>"
REPLAY_ID = "streamtag.replay.id"  # the replay run
REPLAY_COUNT = "streamtag.replay.count"  # how often this record has been replayed

_OVERHEAD = 1_024  # batch and record framing, and the few length fields, generously
_HEADER_OVERHEAD = 16  # two length fields of up to five bytes each, generously
_TRUNCATION_FACTS = 512  # those that only a truncated letter has
_HEAD_BYTES = 65_536  # what is kept of a value that does not fit
_MESSAGE_BYTES = 500
_NAME_BYTES = 250  # as long as a topic's name can be


def build(
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] | None,
    rejected: Rejected,
    release: str,
    worker: str,
    now_ms: int,
    max_bytes: int,
) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers of the dead letter of one record.

    All of them with their framing take at most ``max_bytes`` (4,096 or more), whatever the record holds. Where the
    record does not fit, its headers that fit are kept before its value, because traces hang on them.
    """
    facts: Headers = [
        (ERROR_CLASS, rejected.error_class.value.encode()),
        (ERROR_MESSAGE, _cut(rejected.message, _MESSAGE_BYTES)),
        (STAGE, _cut(rejected.stage, _NAME_BYTES)),
        (FIELD, _cut(rejected.field, _NAME_BYTES)),
        (TOPIC, topic.encode()),
        (PARTITION, str(partition).encode()),
        (OFFSET, str(offset).encode()),
        (TIMESTAMP, str(timestamp_ms).encode()),
        (RELEASE, _cut(release, _NAME_BYTES)),
        (WORKER, _cut(worker, _NAME_BYTES)),
        (DEAD_AT, str(now_ms).encode()),
    ]
    original = list(headers or ())
    room = max_bytes - _OVERHEAD - _size(facts)
    if len(key or b"") + len(value or b"") + _size(original) <= room:
        return key, value, original + facts
    whole = value or b""
    facts += [
        (TRUNCATED, b"true"),
        (SIZE, str(len(whole)).encode()),
        (SHA256, hashlib.sha256(whole).hexdigest().encode()),
    ]
    room -= _TRUNCATION_FACTS
    if key is not None and len(key) > room // 2:
        key = key[: room // 4]
        facts.append((KEY_TRUNCATED, b"true"))
    room -= len(key or b"")
    kept, room = _fitting(original, room)
    if len(kept) < len(original):
        facts.append((HEADERS_TRUNCATED, str(len(original) - len(kept)).encode()))
    return key, None if value is None else whole[: min(room, _HEAD_BYTES)], kept + facts


def split(headers: Sequence[tuple[str, bytes | None]] | None) -> tuple[Headers, dict[str, bytes]]:
    """The original headers of a dead letter, and its facts (empty where there are none: not one of ours)."""
    given = list(headers or ())
    for index in range(len(given) - 1, -1, -1):
        if given[index][0] == ERROR_CLASS:
            return given[:index], {name: content or b"" for name, content in given[index:] if name.startswith(PREFIX)}
    return given, {}


def _fitting(headers: Headers, room: int) -> tuple[Headers, int]:
    """Headers kept, in order, none of which takes more than half of what is left; and the room left after them."""
    kept: Headers = []
    for header in headers:
        cost = _size([header])
        if cost <= room // 2:
            kept.append(header)
            room -= cost
    return kept, room


def _cut(text: str, limit: int) -> bytes:
    """UTF-8 of at most ``limit`` bytes, cut between characters."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore").encode()


def _size(headers: Iterable[tuple[str, bytes | None]]) -> int:
    return sum(len(name.encode()) + len(content or b"") + _HEADER_OVERHEAD for name, content in headers)
