"""The stages of the hot path, each as one function from records to what becomes of them.

A new stage is one more entry of `STAGES`; it inherits every case of `test_stage_contract.py`.
"""

import json
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamtag.control.watcher import ActiveRelease
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.domain.two_stage import Bands
from streamtag.events import dead_letters
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import Rejected
from streamtag.model.scorer import Scorer
from streamtag.settings import load_settings
from streamtag.stream.processor import Output
from streamtag.tagger.decide import Deciding, decide_batch
from streamtag.tagger.decode import Decoded, decode
from streamtag.tagger.emit import Emitter
from streamtag.tagger.infer import infer
from streamtag.tagger.rerank import infer_stages
from streamtag.tagger.stop import Stop
from streamtag.tagger.tagger import Tagger
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer

NOW_MS = 1_700_000_012_345
SECRET = "zebra-crossing-4711"  # stands in every text, id and broken record; must not be found where people look
RAISES = f"{SECRET} the model raises on this"
NOT_A_NUMBER = f"{SECRET} the model scores this with a NaN"
SETTINGS = load_settings(environ={}, overrides={"stats.segments": "{lang: [de]}"}).settings

Position = tuple[str, int, int]


class Refusal(NamedTuple):
    """What a person is told of a record that is refused."""

    error_class: str
    stage: str
    field: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: rows in its order, and refusals in the order of their positions."""

    rows: list[tuple[Position, Any]]
    refused: list[tuple[Position, Refusal]]


@dataclass(frozen=True)
class Stage:
    """Decides on records, together with the stages before it."""

    name: str
    run: Callable[[ActiveRelease, Sequence[Message]], Outcome]
    refuses: tuple[str, ...]
    """Names of the `BAD` records that are refused here or before."""


class FragileScorer:
    """A real model, but for two texts that it cannot bear."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.labels = scorer.labels
        self.reads_text, self.reads_features = scorer.reads_text, scorer.reads_features
        self.unfit, self.take_filled = scorer.unfit, scorer.take_filled
        self.second, self.bands = scorer.second, scorer.bands

    def score(self, texts: Sequence[str], features: None) -> NDArray[np.float32]:
        if RAISES in texts:
            raise RuntimeError(f"cannot bear {RAISES!r}")
        scores = self._scorer.score(texts)
        scores[[text == NOT_A_NUMBER for text in texts], 0] = np.nan
        return scores


def release(scorer: Scorer) -> ActiveRelease:
    """A release whose cut-offs differ by language."""
    cutoffs = dict.fromkeys(scorer.labels, 0.5)
    thresholds = ThresholdSet(cutoffs, (Override({"lang": "de"}, dict.fromkeys(scorer.labels, 0.2)),))
    ref = ReleaseRef(1, "1" * 64, BundleRef("tiny", "1", "b" * 64), 1, "2" * 64)
    return ActiveRelease(ref, thresholds, cast(Scorer, FragileScorer(scorer)), "redis")


# -- records -----------------------------------------------------------------------------------------------------------


def record(offset: int, value: bytes | None) -> Message:
    return Message(
        topic="content", partition=0, offset=offset, key=b"entity", value=value, headers=None, timestamp=(1, NOW_MS)
    )


def good(offset: int) -> bytes:
    """An event like none of its neighbours: in length, language and text."""
    event = {"id": f"{SECRET}-{offset}", "text": f"{SECRET} " + f"word{offset * 7} " * (offset * 5 % 23)}
    return json.dumps(event | ({"lang": "de"} if offset % 3 else {})).encode()


def _event(**fields: object) -> bytes:
    return json.dumps({"id": SECRET, **fields}).encode()


DECODE = {
    "not JSON": SECRET.encode(),
    "not UTF-8": b'{"id": "' + SECRET.encode() + b'", "text": "\xff"}',
    "wrong type": _event(text=[SECRET]),
    "no id": json.dumps({"text": SECRET}).encode(),
    "too deep": _event(text=SECRET, extra=json.loads("[" * 100 + "]" * 100)),
    "text too long": _event(text=SECRET * SETTINGS.events.max_text_chars),
}
INFER = {"no text": _event(), "model raises": _event(text=RAISES), "score is no number": _event(text=NOT_A_NUMBER)}
BAD = DECODE | INFER


# -- stages ------------------------------------------------------------------------------------------------------------


def _at(one: Message) -> Position:
    return one.topic() or "", one.partition() or 0, one.offset() or 0


def _refusals(decoded: Decoded) -> list[tuple[Position, Refusal]]:
    return [(_at(one), _named(rejected)) for one, rejected in decoded.dead]


def _named(rejected: Rejected) -> Refusal:
    return Refusal(rejected.error_class.value, rejected.stage, rejected.field, rejected.message)


def _decoded(records: Sequence[Message]) -> Decoded:
    return decode(records, Decoder(SETTINGS.events))


def _scored(active: ActiveRelease, records: Sequence[Message]) -> tuple[Decoded, NDArray[np.int64]]:
    decoded = _decoded(records)
    micro, refusals = infer(decoded.events, active.scorer)
    return decoded, micro[decoded.refuse(refusals)]


def _decode(_active: ActiveRelease, records: Sequence[Message]) -> Outcome:
    decoded = _decoded(records)
    rows = zip(map(_at, decoded.records), decoded.events, strict=True)
    return Outcome(list(rows), _refusals(decoded))


def _infer(active: ActiveRelease, records: Sequence[Message]) -> Outcome:
    decoded, micro = _scored(active, records)
    return Outcome(list(zip(map(_at, decoded.records), micro.tolist(), strict=True)), _refusals(decoded))


class _Doubtful:
    """Another opinion on every score: the second stage of a release made for it."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.labels = scorer.labels
        self.reads_text, self.reads_features, self.unfit = scorer.reads_text, scorer.reads_features, scorer.unfit
        self.second = self.bands = None

    def score(self, texts: Sequence[str], features: None) -> NDArray[np.float32]:
        return 1 - self._scorer.score(texts, features)


def _two_stages(active: ActiveRelease, records: Sequence[Message]) -> Outcome:
    scorer = copy(active.scorer)
    scorer.second = cast(Scorer, _Doubtful(active.scorer))
    scorer.bands = Bands.of(scorer.labels, dict.fromkeys(scorer.labels, (0.3, 0.7)), 0.3)
    decoded = _decoded(records)
    found = infer_stages(decoded.events, scorer)
    assert found.stages is not None
    stay = decoded.refuse(found.refused)
    stages = found.stages.take(stay)
    columns = zip(found.micro[stay].tolist(), stages.first.tolist(), stages.route.tolist(), strict=True)
    return Outcome(list(zip(map(_at, decoded.records), columns, strict=True)), _refusals(decoded))


def _decide(active: ActiveRelease, records: Sequence[Message]) -> Outcome:
    decoded, micro = _scored(active, records)
    deciding = Deciding(active)
    found = decide_batch(decoded.events, micro, deciding)
    cutoffs = deciding.compiled.matrix[found.rows].tolist()
    decisions = zip(found.scores.tolist(), found.tagged.tolist(), cutoffs, found.segments, strict=True)
    return Outcome(list(zip(map(_at, decoded.records), decisions, strict=True)), _refusals(decoded))


def _emit(active: ActiveRelease, records: Sequence[Message]) -> Outcome:
    decoded, micro = _scored(active, records)
    deciding = Deciding(active)
    emitter = Emitter(
        tags_topic="tags",
        dead_letters_topic="dead-letters",
        only_tagged=False,
        with_scores=True,
        max_dead_letter_bytes=1_000_000,
        worker="host-0",
    )
    none = [None] * len(decoded.records)
    flags = [False] * len(decoded.records)
    decisions = decide_batch(decoded.events, micro, deciding)
    tags = emitter.tag_events(decoded, decisions, deciding, contexts=none, by_arrival=flags, now_ms=NOW_MS)
    letters = [emitter.dead_letter(one, why, release="1", now_ms=NOW_MS) for one, why in decoded.dead]
    return Outcome(list(zip(map(_at, decoded.records), tags, strict=True)), [_letter(one) for one in letters])


class NeverStopped:
    def lifted(self) -> bool:
        return False

    def reason(self) -> None:
        return None


def _tagger(active: ActiveRelease, records: Sequence[Message]) -> Outcome:
    tagger = Tagger(
        SETTINGS,
        worker="host-0",
        release=lambda: active,
        stop=cast(Stop, NeverStopped()),
        metrics=Metrics.in_memory(),
        tracer=BatchTracer(),
        clock_ms=lambda: NOW_MS,
    )
    outputs = list(tagger.process(records)) if records else []  # the runner hands no empty batch over
    tags = [one for one in outputs if one.topic == SETTINGS.topics.tags and one.value is not None]
    letters = [one for one in outputs if one.topic == SETTINGS.topics.dead_letters]
    return Outcome([(_source(one), one) for one in tags], [_letter(one) for one in letters])


def _source(tag: Output) -> Position:
    source = json.loads(tag.value or b"")["source"]
    return source["topic"], source["partition"], source["offset"]


def _letter(letter: Output) -> tuple[Position, Refusal]:
    facts = {name: (value or b"").decode() for name, value in letter.headers or ()}
    topic, partition, offset = (
        facts[name] for name in (dead_letters.TOPIC, dead_letters.PARTITION, dead_letters.OFFSET)
    )
    names = (dead_letters.ERROR_CLASS, dead_letters.STAGE, dead_letters.FIELD, dead_letters.ERROR_MESSAGE)
    return (topic, int(partition), int(offset)), Refusal(*(facts[name] for name in names))


STAGES = (
    Stage("decode", _decode, tuple(DECODE)),
    Stage("infer", _infer, tuple(BAD)),
    Stage("two stages", _two_stages, tuple(BAD)),
    Stage("decide", _decide, tuple(BAD)),
    Stage("emit", _emit, tuple(BAD)),
    Stage("tagger", _tagger, tuple(BAD)),
)
