"""A dead letter with every field given, for tests."""

from typing import Any

from streamtag.dead_letters.letter import DeadLetter


def make(**changes: Any) -> DeadLetter:
    facts: dict[str, Any] = {
        "topic": "dead",
        "partition": 1,
        "offset": 7,
        "at_ms": 2_000,
        "error_class": "mapping",
        "message": "m",
        "stage": "decode",
        "field": "/x",
        "source_topic": "content",
        "source_partition": 3,
        "source_offset": 42,
        "source_timestamp_ms": 1_000,
        "release": "r",
        "worker": "w",
        "truncated": False,
        "size": 1,
        "replay_count": 2,
        "replay_id": None,
        "key": None,
        "value": None,
        "headers": (),
    }
    return DeadLetter(**{**facts, **changes})
