"""Dead letters: the original record, unchanged, with headers that say what happened and where.

Key and value are the original bytes, and the original headers come first, unchanged. A record that would not fit
keeps its first bytes as value, with ``streamtag.dlq.truncated`` and the hash of the whole; the source position
says where the whole still is.
"""

import hashlib
from collections.abc import Iterable, Sequence

from streamtag.events.rejection import Rejected

Headers = list[tuple[str, bytes]]

PREFIX = "streamtag.dlq."
ERROR_CLASS = PREFIX + "error.class"
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
_HEAD_BYTES = 65_536  # what is kept of a value that does not fit


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
) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    """Key, value and headers of the dead letter of one record, at most ``max_bytes`` in all."""
    facts: list[tuple[str, bytes | None]] = [
        (ERROR_CLASS, rejected.error_class.value.encode()),
        (ERROR_MESSAGE, rejected.message.encode("utf-8", "replace")[:500]),
        (STAGE, rejected.stage.encode()),
        (FIELD, rejected.field.encode("utf-8", "replace")[:200]),
        (TOPIC, topic.encode()),
        (PARTITION, str(partition).encode()),
        (OFFSET, str(offset).encode()),
        (TIMESTAMP, str(timestamp_ms).encode()),
        (RELEASE, release.encode()),
        (WORKER, worker.encode()),
        (DEAD_AT, str(now_ms).encode()),
    ]
    original = list(headers or ())
    room = max_bytes - _size(None, None, facts) - _OVERHEAD
    if _size(key, value, original) <= room:
        return key, value, original + facts
    whole = value or b""
    facts += [
        (TRUNCATED, b"true"),
        (SIZE, str(len(whole)).encode()),
        (SHA256, hashlib.sha256(whole).hexdigest().encode()),
    ]
    room -= 512  # the facts just added
    if key is not None and len(key) > room // 2:
        key = key[: room // 4]
        facts.append((KEY_TRUNCATED, b"true"))
    room -= len(key or b"")
    kept: list[tuple[str, bytes | None]] = []
    for name, content in original:
        cost = _size(None, None, [(name, content)])
        if cost > room // 2:
            break
        kept.append((name, content))
        room -= cost
    if len(kept) < len(original):
        facts.append((HEADERS_TRUNCATED, str(len(original) - len(kept)).encode()))
    head = None if value is None else whole[: max(0, min(room, _HEAD_BYTES, len(whole)))]
    return key, head, kept + facts


def _size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    # 16: two length fields of up to 5 bytes each, and the UTF-8 of a name may be longer than its characters
    return len(key or b"") + len(value or b"") + sum(len(n.encode()) + len(c or b"") + 16 for n, c in headers)
