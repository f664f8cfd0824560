"""Writing made-up input and reading a pipeline's outputs back, for tests that check all of it."""

import json
import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import yaml
from checker import Input, Position, Scores, TagRecord, Tombstone, check
from services import Topics, produce, read_all, wait_until
from workers import Fleet

from streamtag.control.breakers import BreakerLog
from streamtag.control.store import ControlStore
from streamtag.domain.scores import from_micro, to_micro
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import BundleError
from streamtag.events import dead_letters, summary
from streamtag.events.summary import CommitSummary
from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
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
            lang = choose.choice(["de", "en", "fr", None])
            event = {"id": name, "text": text} | ({"lang": lang} if lang else {})
            yield Input("event", name, key, text, lang), (key, json.dumps(event).encode())


@dataclass
class Ledger:
    """What was written to the input topic."""

    topics: Topics
    inputs: dict[Position, Input] = field(default_factory=dict)

    def write(self, made: Sequence[tuple[Input, Record]], timestamp_ms: int | Sequence[int] = 0) -> list[Position]:
        """All of ``made``, timestamps likewise; 0: now."""
        stamps = timestamp_ms or time.time_ns() // 1_000_000
        each = [stamps] * len(made) if isinstance(stamps, int) else stamps
        places = produce(self.topics.bootstrap, self.topics.input, [r for _, r in made], timestamp_ms=each)
        for place, (given, _), stamp in zip(places, made, each, strict=True):
            self.inputs[place] = replace(given, timestamp_ms=stamp)
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


def declared_langs(fleet: Fleet) -> Collection[str]:
    """Languages that are segments of the statistics of these workers."""
    segments: dict[str, list[str]] = yaml.safe_load(fleet.settings().get("stats.segments", "{}"))
    return segments.get("lang", ())


def right_scores(fleet: Fleet, ledger: Ledger, tags: Sequence[TagRecord]) -> Scores:
    """What each sound bundle of the fleet must say of the texts that it has decided, each of which is scored once."""
    texts: dict[str, set[str]] = defaultdict(set)
    for tag in tags:
        given = ledger.inputs.get(tag.source)
        if given is not None and given.text is not None:
            texts[tag.event["release"]["bundle"]["sha256"]].add(given.text)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for manifest in fleet.bundles.glob("*/*/manifest.json"):
        with suppress(BundleError):  # some tests break one
            bundle = read_bundle(manifest.parent)
            if decided := list(texts[bundle.ref.sha256]):
                micro = to_micro(load_scorer(bundle.path, batch=64).score(decided))
                rows = [dict(zip(bundle.labels, row, strict=True)) for row in from_micro(micro).tolist()]
                found[bundle.ref.sha256] = dict(zip(decided, rows, strict=True))
    return found


def check_all(ledger: Ledger, fleet: Fleet, *, scored: bool = True) -> tuple[Outputs, list[str]]:
    """Reads everything back, committed only, and checks it; with ``scored`` against scores of one stage, too."""
    outputs = read_outputs(ledger.topics)
    return outputs, check(
        ledger.inputs,
        outputs.tags,
        outputs.dead,
        outputs.summaries,
        revisions(fleet.redis_url, fleet.namespace),
        outputs.tombstones,
        open_breakers(fleet.redis_url, fleet.namespace),
        right_scores(fleet, ledger, outputs.tags) if scored else None,
        declared_langs(fleet),
    )
