"""Records of the tags topic as read, turned into columns: the only place that touches each of them in Python."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamtag.tagger.emit import SOURCE_HEADER

from .corpus import LANGS, Corpus, checksum
from .window import LABELS

# Between decision and append, while a broker is away. Steps of a clock are longer, or forward.
_LONGEST_WAIT_MS = 60_000


class _Tag(msgspec.Struct, gc=False):
    label: str
    score: float
    threshold: float


class _Source(msgspec.Struct, gc=False):
    partition: int
    offset: int
    timestamp_ms: int


class _Event(msgspec.Struct, gc=False):
    id: str
    source: _Source
    tags: list[_Tag]
    scores: dict[str, float]
    thresholds: msgspec.Raw
    release: msgspec.Raw
    processed_at: str
    segment: dict[str, str] | None = None
    time_flag: str | None = None
    arm: str = "control"
    experiment: str | None = None


_decode = msgspec.json.Decoder(_Event).decode


class Columns:
    """One chunk of tag events; every attribute has one row per event.

    Attributes:
        partition, offset: source position.
        into: partition of the tags topic it was found in.
        decided_ms: when it was decided, by the worker's clock; where that has been stepped, when the broker took the
            event, a little later.
        ordinal, stamp, entity, lang, processed_ms, by_arrival: as the event (or its key) says.
        micro: scores, int64 [n, labels].
        tagged: bool [n, labels].
        row: index into `Table.rows`.
        split: index into `Table.splits`: the experiment that gave the event to its arm; -1 for none.
        candidate: the arm that decided, bool [n].
        sound: False where a tag does not repeat its score and cut-off.
    """

    def __init__(self, table: "Table", messages: Sequence[Message]) -> None:
        n = len(messages)
        facts = np.empty((n, 12), dtype=np.int64)
        scores = np.empty((n, len(LABELS)))
        self.tagged = np.zeros((n, len(LABELS)), dtype=np.bool_)
        self.sound = np.ones(n, dtype=np.bool_)
        for i, message in enumerate(messages):
            event = _decode(message.value())  # type: ignore[arg-type] # tombstones are not given here
            source, said = event.source, event.scores
            row = table.row(bytes(event.release), bytes(event.thresholds))
            facts[i] = (
                source.partition,
                source.offset,
                source.timestamp_ms,
                int(event.id),
                message.partition() or 0,
                message.timestamp()[1],
                table.entity(message.key()),
                table.lang(event.segment),
                table.milliseconds(event.processed_at),
                row,
                table.split(event.experiment),
                event.arm == "candidate",
            )
            scores[i] = [said[label] for label in LABELS]
            if event.time_flag is not None:
                facts[i, 8] = -facts[i, 8]
            cutoffs = table.rows[row].cutoffs
            for tag in event.tags:
                self.tagged[i, LABELS.index(tag.label)] = True
                if tag.score != said[tag.label] or tag.threshold != cutoffs[tag.label]:
                    self.sound[i] = False
        self.partition, self.offset, self.stamp, self.ordinal, self.into = (facts[:, c] for c in range(5))
        appended_ms, self.entity, self.lang, processed, self.row = (facts[:, c] for c in range(5, 10))
        self.split, self.candidate = facts[:, 10], facts[:, 11].astype(np.bool_)
        self.by_arrival: NDArray[np.bool_] = processed < 0
        self.processed_ms = np.abs(processed)
        waited_ms = appended_ms - self.processed_ms
        stepped = (waited_ms < 0) | (waited_ms > _LONGEST_WAIT_MS)
        self.decided_ms = np.where(stepped, appended_ms, self.processed_ms)
        self.micro = np.rint(scores * 1_000_000).astype(np.int64)


class Places:
    """Where outcomes stand and where they come from, tag events and tombstones, in the order of the tags topic.

    Attributes:
        partition, offset: source position.
        into: partition of the tags topic.
        entity: code of the key.
        content: of a tombstone, see `corpus.checksum`.
        event: True for a tag event, False for a tombstone.
    """

    def __init__(self, table: "Table", messages: Sequence[Message], events: Columns) -> None:
        places = np.zeros((len(messages), 5), dtype=np.int64)
        self.event = np.array([message.value() is not None for message in messages], dtype=np.bool_)
        places[self.event, :4] = np.stack([events.partition, events.offset, events.into, events.entity], axis=1)
        passed = [message for message in messages if message.value() is None]
        for i, message in zip(np.flatnonzero(~self.event).tolist(), passed, strict=True):
            _, partition, offset = header(message, SOURCE_HEADER).split("/")
            key = message.key()
            places[i] = int(partition), int(offset), message.partition() or 0, table.entity(key), checksum(key, None)
        self.partition, self.offset, self.into, self.entity, self.content = (places[:, c] for c in range(5))


def header(message: Message, name: str) -> str:
    """A header of ours, the last of its name."""
    return next(v for k, v in reversed(message.headers() or []) if k == name).decode()  # type: ignore[union-attr]


class Row(msgspec.Struct, frozen=True):
    """A release and cut-offs that were seen together."""

    release_sha256: str
    bundle_sha256: str
    revision_sha256: str
    cutoffs: dict[str, float]


class Table:
    """Small dictionaries that turn repeated parts of events into numbers."""

    def __init__(self, corpus: Corpus) -> None:
        self.rows: list[Row] = []
        self.splits: list[str] = []
        """Ids of experiments."""
        self.cutoffs = np.empty((0, len(LABELS)))
        """Of each row, millionths; NaN where it names none."""
        self._row: dict[tuple[bytes, bytes], int] = {}
        self._entities = {key: code for code, key in enumerate(corpus.keys)}
        self._langs = {lang: code for code, lang in enumerate(LANGS)}
        self._splits: dict[str, int] = {}
        self._moments: dict[str, int] = {}

    def row(self, release: bytes, thresholds: bytes) -> int:
        """Index into `rows`."""
        found = self._row.get((release, thresholds))
        if found is None:
            said = msgspec.json.decode(release)
            cutoffs = msgspec.json.decode(thresholds)
            self.rows.append(Row(said["sha256"], said["bundle"]["sha256"], said["thresholds"]["sha256"], cutoffs))
            found = self._row[release, thresholds] = len(self.rows) - 1
            micro = np.rint([cutoffs.get(label, np.nan) * 1_000_000 for label in LABELS])
            self.cutoffs = np.vstack([self.cutoffs, micro])
        return found

    def split(self, experiment: str | None) -> int:
        """Index into `splits`, -1 for none."""
        if experiment is None:
            return -1
        found = self._splits.get(experiment)
        if found is None:
            self.splits.append(experiment)
            found = self._splits[experiment] = len(self.splits) - 1
        return found

    def entity(self, key: bytes | None) -> int:
        """Code of a key, -1 for one that was never written."""
        return self._entities.get(key, -1)

    def lang(self, segment: dict[str, str] | None) -> int:
        """Code of a segment, -1 for one that was never written."""
        if segment is None:
            return len(LANGS) - 1
        return self._langs.get(segment.get("lang"), -1) if segment.keys() == {"lang"} else -1

    def milliseconds(self, moment: str) -> int:
        """Unix milliseconds of an RFC 3339 time."""
        found = self._moments.get(moment)
        if found is None:
            if len(self._moments) > 10_000:
                self._moments.clear()
            found = self._moments[moment] = round(datetime.fromisoformat(moment).timestamp() * 1000)
        return found
