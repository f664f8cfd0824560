"""What the tests of the tagger share: records, a scorer that reads its scores from the text, releases, a tagger."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamtag.control.breakers import NO_BREAKERS
from streamtag.control.stops import Pardon, StopMark, StopStore
from streamtag.control.watcher import ActiveRelease
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.model.contracts.preprocessor import Unfit
from streamtag.model.scorer import Scorer
from streamtag.settings import Settings, load_settings
from streamtag.stream.processor import Output, Partition, Range
from streamtag.tagger.stop import Stop
from streamtag.tagger.tagger import Tagger
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer

LABELS = ("spam", "insult")
NOW = 1_700_000_012_345
RAISES = "a text the model cannot bear"
Headers = list[tuple[str, str | bytes | None]]


class TextScorer:
    """Scores of a text are the numbers in it, one per label; `RAISES` raises."""

    reads_text, reads_features = True, False
    second = bands = None

    def __init__(self, labels: Sequence[str] = LABELS) -> None:
        self.labels = tuple(labels)
        self.batches: list[int] = []

    def score(self, texts: Sequence[str], features: None) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        if RAISES in texts:
            raise RuntimeError(f"cannot bear {RAISES!r}")
        rows = [[float(word) for word in text.split()] or [0.0] * len(self.labels) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), len(self.labels))

    def unfit(self, text: str | None, features: object) -> Unfit | None:
        return Unfit("/text", "no text") if text is None else None

    def take_filled(self) -> dict[tuple[str, str], int]:
        return {}


def release(
    number: int = 1,
    thresholds: ThresholdSet | None = None,
    *,
    labels: Sequence[str] = LABELS,
    scorer: object | None = None,
    sha256: str = "",
) -> ActiveRelease:
    """A release; its revision has the same number."""
    bundle = BundleRef("tiny", "1", "b" * 64)
    return ActiveRelease(
        ReleaseRef(number, sha256 or f"{number:064x}", bundle, number, f"{number + 1000:064x}"),
        thresholds or ThresholdSet(dict.fromkeys(labels, 0.5)),
        cast(Scorer, scorer or TextScorer(labels)),
        "redis",
    )


def record(
    offset: int = 0,
    *scores: float,
    text: str | None = None,
    partition: Partition = ("content", 0),
    key: bytes | None = b"entity",
    headers: Headers | None = None,
    at_ms: int = NOW,
    **fields: Any,
) -> Message:
    """A record with an event whose text holds ``scores``."""
    event = {"id": f"e{offset}", "text": text if text is not None else " ".join(map(str, scores)), **fields}
    value = json.dumps({name: content for name, content in event.items() if content is not None}).encode()
    return raw_record(offset, value, partition=partition, key=key, headers=headers, at_ms=at_ms)


def raw_record(
    offset: int,
    value: bytes | None,
    *,
    partition: Partition = ("content", 0),
    key: bytes | None = b"entity",
    headers: Headers | None = None,
    at_ms: int = NOW,
) -> Message:
    """A record with this value; a negative ``at_ms`` means that it has no timestamp."""
    return Message(
        topic=partition[0],
        partition=partition[1],
        offset=offset,
        key=key,
        value=value,
        headers=headers,
        timestamp=(1, at_ms) if at_ms >= 0 else (0, -1),
    )


class FakeStops:
    """A store of stop marks in memory; ``away`` says what Redis would."""

    def __init__(self) -> None:
        self.mark: StopMark | None = None
        self.pardoned: Pardon | None = None
        self.written: list[StopMark] = []
        self.away: Exception | None = None

    def set(self, mark: StopMark) -> None:
        if self.away is not None:
            raise self.away
        self.mark = mark
        self.written.append(mark)

    def look(self, group: str, held: StopMark | None = None) -> tuple[StopMark | None, Pardon | None]:
        return self.mark, self.pardoned

    def lift(self, **until: int) -> None:
        """As a person does; ``until`` names partitions of the topic ``content``."""
        offsets = {f"content/{name.removeprefix('p')}": offset for name, offset in until.items()}
        self.pardoned = Pardon(at=datetime.now(UTC), until=offsets)
        self.mark = None


def stop_of(store: FakeStops, metrics: Metrics) -> Stop:
    return Stop(cast(StopStore, store), group="g", worker="g-0", metrics=metrics, poll_interval_s=0.005)


def mark(reason: str = "too many", worker: str = "g-1") -> StopMark:
    return StopMark(group="g", reason=reason, at=datetime(2026, 11, 23, 3, tzinfo=UTC), worker=worker)


class Rig:
    """A tagger whose release, clock and stop the test holds."""

    def __init__(self, overrides: Mapping[str, str] | None = None, active: ActiveRelease | None = None) -> None:
        self.settings: Settings = load_settings(environ={}, overrides=overrides or {}).settings
        self.metrics = Metrics.in_memory()
        self.stops = FakeStops()
        self.stop = stop_of(self.stops, self.metrics)
        self.active: ActiveRelease | None = active or release()
        self.breakers = NO_BREAKERS
        self.now_ms = NOW
        self.tagger = Tagger(
            self.settings,
            worker="g-0",
            release=lambda: self.active,
            stop=self.stop,
            metrics=self.metrics,
            tracer=BatchTracer(),
            breakers=lambda: self.breakers,
            clock_ms=lambda: self.now_ms,
        )
        self.covered: dict[Partition, Range] = {}

    def process(self, *records: Message) -> list[Output]:
        for one in records:
            where = (one.topic() or "", one.partition() or 0)
            offset = one.offset() or 0
            start = self.covered[where].start if where in self.covered else offset
            self.covered[where] = Range(start, offset + 1)
        return list(self.tagger.process(records))

    def close(self) -> list[dict[str, Any]]:
        """Ends the transaction; returns its commit summaries."""
        outputs = list(self.tagger.close(self.covered))
        assert {output.topic for output in outputs} <= {self.settings.topics.stats}
        self.tagger.committed()
        self.covered = {}
        return values(outputs)

    def tags(self, outputs: Iterable[Output]) -> list[dict[str, Any]]:
        return values(o for o in outputs if o.topic == self.settings.topics.tags and o.value is not None)

    def dead(self, outputs: Iterable[Output]) -> list[Output]:
        return [output for output in outputs if output.topic == self.settings.topics.dead_letters]


def values(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    return [json.loads(output.value or b"") for output in outputs]
