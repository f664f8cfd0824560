"""Writing made-up input and reading a pipeline's outputs back, for tests that check all of it."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from checker import Input, Position, TagRecord, Tombstone, check
from services import Topics, produce, read_all, wait_until

from streamtag.control.breakers import BreakerLog
from streamtag.control.store import ControlStore
from streamtag.domain.thresholds import ThresholdSet
from streamtag.events import dead_letters, summary
from streamtag.events.summary import CommitSummary
from streamtag.settings import RedisSettings
from streamtag.tagger.emit import SOURCE_HEADER

WORDS = [
    "river",
    "stone",
    "lamp",
    "green",
    "seven",
    "quick",
    "bread",
    "window",
    "orange",
    "paper",
    "cloud",
    "silver",
    "garden",
    "music",
    "winter",
]

Record = tuple[bytes | None, bytes | None]


def events(
    count: int, seed: int, *, bad_every: int = 500, tombstone_every: int = 700
) -> Iterator[tuple[Input, Record]]:
    """Made-up events in two languages over 300 entities; now and then a broken record or a tombstone."""
    choose = random.Random(seed)
    for i in range(count):
        key = f"entity-{choose.randrange(300)}".encode()
        name = f"{seed}-{i}"
        if i % tombstone_every == tombstone_every - 1:
            yield Input("tombstone", name, key), (key, None)
        elif i % bad_every == bad_every - 1:
            yield Input("bad", name, key), (key, b'{"id": "' + name.encode() + b'", "text": 7}')
        else:
            text = " ".join(choose.choices(WORDS, k=choose.randint(1, 30)))
            event = {"id": name, "text": text, "lang": choose.choice(["de", "en", "fr", None])}
            value = json.dumps({k: v for k, v in event.items() if v is not None}).encode()
            yield Input("event", name, key), (key, value)


@dataclass
class Ledger:
    """What was written to the input topic."""

    topics: Topics
    inputs: dict[Position, Input] = field(default_factory=dict)

    def write(self, made: Sequence[tuple[Input, Record]], timestamp_ms: int | Sequence[int] = 0) -> list[Position]:
        places = produce(self.topics.bootstrap, self.topics.input, [r for _, r in made], timestamp_ms=timestamp_ms)
        for place, (given, _) in zip(places, made, strict=True):
            self.inputs[place] = given
        return places

    def ends(self) -> dict[int, int]:
        ends: dict[int, int] = {}
        for partition, offset in self.inputs:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        return ends


@dataclass
class Outputs:
    """Everything a pipeline has committed."""

    tags: list[TagRecord]
    dead: list[Position]
    summaries: list[CommitSummary]
    tombstones: list[Tombstone]


def read_summaries(topics: Topics, deadline_s: float = 30) -> list[CommitSummary]:
    records = read_all(topics.bootstrap, topics.stats, deadline_s=deadline_s)
    return [summary.decode(record.value() or b"") for record in records]


def wait_covered(ledger: Ledger, deadline_s: float) -> None:
    """Waits until commit summaries cover every input."""
    ends = ledger.ends()

    def covered() -> bool:
        reached: dict[int, int] = {}
        for one in read_summaries(ledger.topics):
            reached[one.partition] = max(reached.get(one.partition, 0), one.to_offset)
        return all(reached.get(partition, 0) >= end for partition, end in ends.items())

    wait_until(covered, deadline_s, "every input is covered by a commit", every_s=0.3)


def read_outputs(topics: Topics) -> Outputs:
    tags, tombstones = [], []
    for record in read_all(topics.bootstrap, topics.tags, deadline_s=60):
        value, place = record.value(), (record.partition() or 0, record.offset() or 0, record.key())
        if value is None:
            marks: dict[str, bytes] = dict(record.headers() or [])  # type: ignore[arg-type]
            _, partition, offset = marks[SOURCE_HEADER].decode().split("/")
            tombstones.append(Tombstone(*place, (int(partition), int(offset))))
        else:
            tags.append(TagRecord(*place, json.loads(value)))
    dead = []
    for record in read_all(topics.bootstrap, topics.dead_letters):
        facts: dict[str, bytes] = dict(record.headers() or [])  # type: ignore[arg-type]
        dead.append((int(facts[dead_letters.PARTITION]), int(facts[dead_letters.OFFSET])))
    return Outputs(tags, dead, read_summaries(topics), tombstones)


def revisions(redis_url: str, namespace: str) -> dict[str, ThresholdSet]:
    """All threshold revisions that Redis holds, by hash."""
    store = ControlStore(RedisSettings(url=redis_url, namespace=namespace))  # type: ignore[call-arg]
    try:
        return {found.sha256: found.document.thresholds.to_set() for found in store.revisions()}
    finally:
        store.close()


def open_breakers(redis_url: str, namespace: str) -> dict[int, set[str]]:
    """Labels with an open breaker, by the number of each state that there was."""
    store = ControlStore(RedisSettings(url=redis_url, namespace=namespace))  # type: ignore[call-arg]
    try:
        log = BreakerLog(store)
        states = (log.at(number) for number in range(1, log.present().number + 1))
        return {found.number: {name for name, one in found.labels.items() if one.open} for found in states}
    finally:
        store.close()


def check_all(ledger: Ledger, redis_url: str, namespace: str) -> tuple[Outputs, list[str]]:
    """Reads everything back, committed only, and checks it."""
    outputs = read_outputs(ledger.topics)
    active, review = revisions(redis_url, namespace), open_breakers(redis_url, namespace)
    return outputs, check(
        ledger.inputs, outputs.tags, outputs.dead, outputs.summaries, active, outputs.tombstones, review
    )
