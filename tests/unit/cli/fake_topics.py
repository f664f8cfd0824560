"""Topics in memory, read as `TopicReader` reads them, and a pipeline that has written to them."""

from collections.abc import Iterator, Mapping, Sequence

from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from summary_factory import make, record

from streamtag.errors import NotFoundError
from streamtag.events import dead_letters
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.events.summary import CommitSummary
from streamtag.events.tags import Source, Tag, TagEvent
from streamtag.stream.processor import Partition
from streamtag.tagger.emit import SOURCE_HEADER, _encode

BEGUN_MS = 1_700_000_000_000
Headers = Sequence[tuple[str, bytes | None]]


class FakeTopics:
    """Stands for `TopicReader`, and for the Kafka behind it."""

    def __init__(self) -> None:
        self.logs: dict[Partition, list[Message]] = {}
        self.lows: dict[Partition, int] = {}
        self.commits: dict[Partition, int] = {}
        self.unsettled: dict[Partition, int] = {}

    def write(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        at_ms: int = BEGUN_MS,
    ) -> int:
        log = self.logs.setdefault((topic, partition), [])
        offset = log[-1].offset() + 1 if log else 0  # type: ignore[operator]
        self.logs[topic, partition].append(
            Message(
                topic=topic,
                partition=partition,
                offset=offset,
                key=key,
                value=value,
                headers=list(headers),
                timestamp=(TIMESTAMP_CREATE_TIME, at_ms),
            )
        )
        return offset

    # -- as the reader -----------------------------------------------------------------------------------------------

    def __enter__(self) -> "FakeTopics":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        found = {
            p: (self.lows.get((name, p), 0), (log[-1].offset() or 0) + 1 if log else 0)
            for (name, p), log in self.logs.items()
            if name == topic
        }
        if not found:
            raise NotFoundError(f"topic {topic} does not exist")
        return found

    def from_time(self, topic: str, at_ms: int) -> dict[int, tuple[int, int]]:
        found = {}
        for partition, (low, high) in self.bounds(topic).items():
            later = [m.offset() or 0 for m in self.logs[topic, partition] if m.timestamp()[1] >= at_ms]
            found[partition] = (max(low, min(later, default=high)), high)
        return found

    def committed(self, partitions: list[Partition]) -> dict[Partition, int]:
        return {p: at for p, at in self.commits.items() if p in partitions}

    def batches(self, topic: str, ranges: Mapping[int, tuple[int, int]]) -> Iterator[list[Message]]:
        for partition, (low, high) in ranges.items():
            found = [m for m in self.logs[topic, partition] if low <= (m.offset() or 0) < high]
            yield from (found[i : i + 7] for i in range(0, len(found), 7))


def pipeline(records: int = 40, *, commit_every: int = 10) -> FakeTopics:
    """One source partition, ``content/0``; of ten records, one is a tombstone, one is dead, three are tagged."""
    topics = FakeTopics()
    for topic in ("tags", "dead-letters"):
        topics.logs[topic, 0] = []
    for offset in range(records):
        at_ms = BEGUN_MS + offset * 1_000
        topics.write("content", 0, None if offset % 10 == 9 else b"{}", at_ms=at_ms)
        decide(topics, offset, at_ms=at_ms)
    for start in range(0, records, commit_every):
        n = commit_every // 10
        end = start + commit_every
        summarise(topics, make(start, end, tagged=3 * n, clean=5 * n, dead=n, skipped=n), at_ms=BEGUN_MS + end * 1_000)
    topics.commits["content", 0] = records
    return topics


def decide(topics: FakeTopics, offset: int, *, at_ms: int = BEGUN_MS) -> None:
    """Writes the outcome of one position."""
    if offset % 10 == 9:
        topics.write("tags", 0, None, headers=[(SOURCE_HEADER, f"content/0/{offset}".encode())], at_ms=at_ms)
    elif offset % 10 == 8:
        rejected = Rejected(ErrorClass.INVALID_JSON, stage="decode")
        key, value, headers = dead_letters.build(
            topic="content",
            partition=0,
            offset=offset,
            timestamp_ms=at_ms,
            key=None,
            value=b"{",
            headers=None,
            rejected=rejected,
            release="1",
            worker="w",
            now_ms=at_ms,
            max_bytes=4_096,
        )
        topics.write("dead-letters", 0, value, key=key, headers=headers, at_ms=at_ms)
    else:
        tags = [Tag("spam", 0.9, 0.5)] if offset % 10 < 3 else []
        event = TagEvent(str(offset), Source("content", 0, offset, at_ms), tags, {}, {}, {}, "2026-11-23T00:00:00.000Z")
        topics.write("tags", 0, _encode(event), at_ms=at_ms)


def summarise(topics: FakeTopics, one: CommitSummary, *, at_ms: int = BEGUN_MS) -> int:
    """Writes a summary; returns its offset."""
    key, value = record(one)
    return topics.write("stats", 0, value, key=key, at_ms=at_ms)
