"""The path under attack, and what must hold of every batch that goes through it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jsonschema
import msgspec
from confluent_kafka import Message
from opentelemetry.sdk.trace import TracerProvider

from streamtag.control.watcher import ActiveRelease
from streamtag.domain.release import ReleaseRef
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.events import dead_letters, summary, topics
from streamtag.events.rejection import ErrorClass
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.settings import Settings, load_settings
from streamtag.stream.processor import Output, Range
from streamtag.tagger.emit import SOURCE_HEADER
from streamtag.tagger.tagger import Tagger
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer

Headers = list[tuple[str, bytes | None]]
TOPIC, PARTITIONS = "content", 4
MAX_TAG_EVENT_BYTES = 65_536  # of the value; the fields copied are limited, the rest is ours
_ERROR_CLASSES = {error_class.value for error_class in ErrorClass}
_BATCHES_A_TRANSACTION = 4
_SCHEMA_EVERY = 997  # a prime: JSON Schema takes longer than everything else together


class Attack(NamedTuple):
    """One record as an attacker may send it."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers | None = None
    timestamp: tuple[int, int] | None = None  # (kind, Unix ms); None: now


class BrokenError(AssertionError):
    """Something that must hold does not."""


class _Tag(msgspec.Struct, forbid_unknown_fields=True):
    label: str
    score: float
    threshold: float
    action: str


class _Source(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class _TagEvent(msgspec.Struct, forbid_unknown_fields=True):
    """What a reader expects, typed anew: not the class that the tagger encodes."""

    id: str
    source: _Source
    tags: list[_Tag]
    scores: dict[str, float]
    thresholds: dict[str, float]
    release: dict[str, Any]
    processed_at: str
    segment: dict[str, str] | None = None
    traceparent: str | None = None
    time_flag: str | None = None


@dataclass(frozen=True)
class Setup:
    """One way the tagger can be set up: settings that differ from the defaults, and the bundle that decides."""

    name: str
    overrides: Mapping[str, str]
    bundle: Literal["given", "wide"] = "given"


class _NoStop:
    """A group that nobody stops: dead letters are what is asked for here."""

    def lifted(self) -> bool:
        return False

    def reason(self) -> str | None:
        return None

    def set(self, reason: str, **counts: int) -> None:
        raise BrokenError(f"stopped: {reason}")


def active_release(bundle: Path) -> ActiveRelease:
    """A release of the bundle whose thresholds have overrides in every dimension."""
    scorer: Scorer = load_scorer(bundle, batch=64)
    cutoffs = dict.fromkeys(scorer.labels, 0.5)
    overrides = [
        Override({"lang": "de"}, dict.fromkeys(scorer.labels, 0.25)),
        Override({"channel": "c", "tenant": "t"}, {scorer.labels[0]: 0.75}),
    ]
    ref = ReleaseRef(1, "0" * 64, scorer.bundle.ref, 1, "0" * 64)
    return ActiveRelease(ref, ThresholdSet(cutoffs, tuple(overrides)), scorer, "redis")


@cache
def _schema(role: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(topics.read_declarations()[role].value_schema or {})


def settings_of(setup: Setup) -> Settings:
    """Its settings; no limit on dead letters, a segment declared per dimension."""
    limits = {
        "dead_letters.max_ratio": "1",
        "dead_letters.max_consecutive": str(10**12),
        "stats.segments": '{"lang": ["de"], "tenant": ["t"]}',
    }
    return load_settings(environ={}, overrides={**limits, **setup.overrides}).settings


class Subject:
    """A tagger, fed with attacks; raises `BrokenError` where its outputs are not what they must be.

    Args:
        setup: its settings.
        release: what decides.
    """

    def __init__(self, setup: Setup, release: ActiveRelease) -> None:
        self.settings = settings_of(setup)
        self.tagger = Tagger(
            self.settings,
            worker="hostile",
            release=lambda: release,
            stop=_NoStop(),  # type: ignore[arg-type]
            metrics=Metrics.in_memory(),
            tracer=BatchTracer(TracerProvider().get_tracer("hostile")),
        )
        self._read = msgspec.json.Decoder(_TagEvent).decode
        self._next = [0] * PARTITIONS
        self._open_from = [0] * PARTITIONS
        self._open = dict.fromkeys(("tagged", "clean", "dead", "skipped"), 0)
        self._batches = 0
        self._outputs = 0
        self.outcomes: dict[str, int] = {}
        """Outcomes of all that was sent: tagged, clean, skipped, and dead letters by error class."""

    def records(self, attacks: Sequence[Attack]) -> list[Message]:
        """Records as a consumer would give them, at the next positions of a partition."""
        now = (1, time.time_ns() // 1_000_000)
        partition = self._batches % PARTITIONS
        start = self._next[partition]
        return [
            Message(
                topic=TOPIC,
                partition=partition,
                offset=start + i,
                key=attack.key,
                value=attack.value,
                headers=attack.headers,  # type: ignore[arg-type] # a list of other pairs is one of these
                timestamp=now if attack.timestamp is None else attack.timestamp,
            )
            for i, attack in enumerate(attacks)
        ]

    def process(self, attacks: Sequence[Attack]) -> float:
        """Sends a batch, checks its outcomes; CPU seconds that the tagger took: others use this machine, too."""
        records = self.records(attacks)
        began = time.thread_time()
        outputs = list(self.tagger.process(records))
        took = time.thread_time() - began
        self._check(records, outputs)
        self._next[self._batches % PARTITIONS] += len(records)
        self._batches += 1
        if self._batches % _BATCHES_A_TRANSACTION == 0 or self.tagger.full():
            took += self.commit()
        return took

    def commit(self) -> float:
        """Ends the transaction, checks its summaries; CPU seconds that the tagger took."""
        covered = {
            (TOPIC, p): Range(self._open_from[p], self._next[p])
            for p in range(PARTITIONS)
            if self._next[p] > self._open_from[p]
        }
        began = time.thread_time()
        outputs = list(self.tagger.close(covered))
        took = time.thread_time() - began
        self._check_summaries(covered, outputs)
        self.tagger.committed()
        self._open_from = list(self._next)
        self._open = dict.fromkeys(self._open, 0)
        return took

    def undo(self) -> None:
        """After a batch that broke something: forget the transaction, go on behind it."""
        self.tagger.undo()
        self._next = [position + 1_000_000 for position in self._next]
        self._open_from = list(self._next)
        self._open = dict.fromkeys(self._open, 0)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def _check(self, records: Sequence[Message], outputs: Sequence[Output]) -> None:
        due = {record.offset(): record for record in records}
        for output in outputs:
            if output.topic == self.settings.topics.dead_letters:
                offset, outcome = self._dead_letter(output, due)
            elif output.value is None:
                _, _, offset_text = dict(output.headers or ())[SOURCE_HEADER].decode().rpartition("/")  # type: ignore[union-attr]
                offset, outcome = int(offset_text), "skipped"
                _must(due[offset].value() is None, "a tombstone repeats one")
            else:
                offset, outcome = self._tag_event(output, due)
            record = due.pop(offset, None)
            if record is None:
                raise BrokenError(f"offset {offset} has two outcomes")
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            kind = outcome if outcome in self._open else "dead"
            self._open[kind] += 1
        _must(not due, f"{len(due)} records have no outcome")

    def _tag_event(self, output: Output, due: Mapping[int | None, Message]) -> tuple[int, str]:
        value = output.value or b""
        event = self._read(value)
        _must(len(value) <= MAX_TAG_EVENT_BYTES, "a tag event is of limited size")
        _must(bool(event.id), "an id is not empty")
        record = due.get(event.source.offset)
        _must(record is not None and record.key() == output.key, "the key is that of the record")
        tagged = [tag.label for tag in event.tags]
        expected = [label for label, score in event.scores.items() if score >= event.thresholds[label]]
        _must(tagged == expected, "tags follow from scores and thresholds")
        _must(all(0 <= score <= 1 for score in event.scores.values()), "scores are probabilities")
        self._outputs += 1
        if self._outputs % _SCHEMA_EVERY == 1:
            _schema("tags").validate(msgspec.json.decode(value))
        return event.source.offset, "tagged" if tagged else "clean"

    def _dead_letter(self, output: Output, due: Mapping[int | None, Message]) -> tuple[int, str]:
        original, facts = dead_letters.split(output.headers)
        offset = int(facts[dead_letters.OFFSET])
        record = due.get(offset)
        _must(record is not None, "a dead letter is of a record in the batch")
        assert record is not None
        size = len(output.key or b"") + len(output.value or b"")
        size += sum(len(name.encode()) + len(content or b"") for name, content in output.headers or ())
        _must(size <= self.settings.dead_letters.max_bytes, "a dead letter fits")
        whole = record.value()
        if dead_letters.TRUNCATED in facts:
            _must((whole or b"").startswith(output.value or b""), "a truncated dead letter holds the head")
        else:
            _must(output.value == whole and output.key == record.key(), "a dead letter holds the original")
            _must(original == (record.headers() or []), "a dead letter holds the original headers")
        error_class = facts[dead_letters.ERROR_CLASS].decode()
        _must(error_class in _ERROR_CLASSES, "an error class is known")
        return offset, error_class

    def _check_summaries(self, covered: Mapping[tuple[str, int], Range], outputs: Sequence[Output]) -> None:
        found = [summary.decode(output.value or b"") for output in outputs]
        _must({(one.topic, one.partition) for one in found} == set(covered), "a summary per partition")
        for output, one in zip(outputs, found, strict=True):
            span = covered[one.topic, one.partition]
            _must(one.in_ == span.end - span.start, "a summary counts every record")
            _must(one.in_ == one.tagged + one.clean + one.dead + one.skipped, "outcomes add up")
            _must(sum(pane.events for pane in one.panes) == one.tagged + one.clean, "panes add up")
            _must(len(output.value or b"") <= self.settings.dead_letters.max_bytes, "a producer takes the summary")
        for kind, n in self._open.items():
            _must(sum(getattr(one, kind) for one in found) == n, f"{kind} is what came out")
        if found and self._batches % _SCHEMA_EVERY < _BATCHES_A_TRANSACTION:
            _schema("stats").validate(msgspec.json.decode(outputs[0].value or b""))


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise BrokenError(f"does not hold: {what}")
