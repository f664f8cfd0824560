"""What cannot be saved: each part of the job alone, in one process with nothing else to do.

The plain loop and the worker are held against the sum of these. What is counted, in µs of CPU per event:

==========  =========================================================================================================
decode      `msgspec.json.decode` of every record into the struct that the tagger uses: no size, depth or key checked
text        the contract's own normalising and encoding, called for one text after the other
hash        the arithmetic that the preprocessing contract names, in numpy, on texts that are joined already: roll and
            mix the hash of 4 sizes of n-gram, look the bucket up, keep the known ones, sort them by text (n-grams are
            counted within a text; without a sort there are no runs to count)
weigh       on sorted keys: where runs of equal ones begin and how long they are, the weight of each by its length,
            the norm of each text, and the division by it
rectangles  n-grams and weights, which lie text by text, into the two rectangles that the graph takes
graph       onnxruntime on the inputs that the tagger gave it, ready in memory
decide      scores rounded to millionths and compared with cut-offs, in batches of the worker's size
objects     the structs that are encoded, made of values that lie ready
encode      `msgspec.json.encode` of the tag events as ready-made structs
consume     librdkafka's consumer with the worker's options: batches taken from it, and not looked at
produce     librdkafka's producer with the worker's options: the plain loop's own tag events, in transactions of as
            many as the worker has in its own
==========  =========================================================================================================

Not counted, though no tagger can do without: size, depth and keys of a record, the edges of texts, checking scores,
headers, statistics.
"""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from numpy.typing import NDArray

from streamtag.domain.scores import MICRO
from streamtag.domain.thresholds import Compiled
from streamtag.events.content import ContentEvent
from streamtag.events.tags import Source, Tag, TagEvent
from streamtag.model.loading import load_scorer
from streamtag.model.ngrams import IDF_UNIT, MAX_COUNT, MIX_1, MIX_2, MIX_SHIFT, ROLL, SIZES
from streamtag.model.normalise import byte_table
from streamtag.model.scorer import Scorer
from streamtag.settings import Settings, load_settings
from streamtag.tagger.decide import scores_type
from streamtag.tagger.memory import keep_freed_memory
from streamtag.tagger.worker import stream_options

from .corpus import Corpus
from .job import Job, given
from .stack import PARTITIONS

WITHOUT_KAFKA = ("decode", "text", "hash", "weigh", "rectangles", "graph", "decide", "objects", "encode")
KAFKA = ("consume", "produce")
# Enough to measure, few enough to keep what was prepared in memory.
_SAMPLE = 20_480
# What the worker's transactions hold at 25,000 events a second and a commit every 100 ms.
_PER_TRANSACTION = 2_500
# Of the square of a log-TF, which is summed in integers.
_UNIT = 1_024


class Inputs:
    """What the tagger's own code hands from step to step, recorded."""

    def __init__(self, job: Job, settings: Settings) -> None:
        self.events = list(itertools.islice(Corpus(job.chars).events(job.events), _SAMPLE))
        self.tag_events = Path(job.output).read_bytes().splitlines()
        self.scorer = load_scorer(Path(job.bundle), batch=settings.model.batch)
        self.cutoffs = Compiled(job.threshold_set, self.scorer.labels).matrix
        self.texts: list[str] = [msgspec.json.decode(event.value)["text"] for event in self.events]
        self.encoded: list[Sequence[bytes]] = []
        self.features: list[Any] = []
        self.scores: list[NDArray[np.float64]] = []
        self._record(settings.tagger.batch_size)

    def _record(self, pool: int) -> None:
        session, featuriser = self.scorer.session, self.scorer.featuriser
        run, features_of = session.run, featuriser.features_of
        setattr(session, "run", _recorded(run, self.features))  # noqa: B010 - a method
        setattr(featuriser, "features_of", _recorded(features_of, self.encoded))  # noqa: B010 - a method
        for at in range(0, len(self.texts), pool):
            self.scores.append(self.scorer.score(self.texts[at : at + pool]).astype(np.float64))
        setattr(session, "run", run)  # noqa: B010 - a method
        setattr(featuriser, "features_of", features_of)  # noqa: B010 - a method


def without_kafka(inputs: Inputs) -> dict[str, float]:
    """µs per event of every floor but Kafka's."""
    n = len(inputs.events)
    values = [event.value for event in inputs.events]
    tag_events = [_struct(line) for line in inputs.tag_events[:n]]
    hashing = Hashing(inputs.scorer)
    joined = [hashing.join(encoded) for encoded in inputs.encoded]
    keys = [hashing.sorted_keys(*one) for one in joined]
    entries = [Entries.of(features) for features in inputs.features]
    values_of, make_scores = list(map(_values, tag_events)), scores_type(inputs.scorer.labels)
    decode, encode = msgspec.json.Decoder(ContentEvent).decode, msgspec.json.Encoder().encode
    run, text_encode = inputs.scorer.session.run, inputs.scorer.featuriser.encode
    work: dict[str, Callable[[], object]] = {
        "decode": lambda: [decode(value) for value in values],
        "text": lambda: [text_encode(text) for text in inputs.texts],
        "hash": lambda: [hashing.sorted_keys(*one) for one in joined],
        "weigh": lambda: [hashing.weights(*one) for one in zip(keys, inputs.encoded, strict=True)],
        "rectangles": lambda: [one.rectangles() for one in entries],
        "graph": lambda: [run(features) for features in inputs.features],
        "decide": lambda: [np.rint(scores * MICRO) / MICRO >= inputs.cutoffs[:1] for scores in inputs.scores],
        "objects": lambda: [_made(make_scores, *values) for values in values_of],
        "encode": lambda: [encode(event) for event in tag_events],
    }
    return {name: _spent(work[name]) / n * 1e6 for name in WITHOUT_KAFKA}


@dataclass(frozen=True)
class Entries:
    """N-grams of a run, text by text: how many each text has, their ids and weights, and the id of padding."""

    per_text: NDArray[np.int32]
    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    width: int
    padding: int

    @classmethod
    def of(cls, inputs: Mapping[str, NDArray[Any]]) -> Self:
        """What the graph's inputs were made of."""
        ids, weights = inputs["ids"], inputs["weights"][:, 0]
        used = weights != 0
        per_text = used.sum(axis=1).astype(np.int32)
        return cls(per_text, ids[used], weights[used], ids.shape[1], int(ids.max(initial=0)))

    def rectangles(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The inputs again."""
        used = np.arange(self.width, dtype=np.int32) < self.per_text[:, None]
        ids = np.full(used.shape, self.padding, dtype=np.int32)
        ids[used] = self.ids
        weights = np.zeros(used.shape, dtype=np.float32)
        weights[used] = self.weights
        return ids, weights


class Hashing:
    """The arithmetic of ``hashed-ngrams/1`` and nothing else: no care for the edges of texts, none for what is rare."""

    def __init__(self, scorer: Scorer) -> None:
        contract, buckets = scorer.featuriser.contract, scorer.featuriser.buckets
        self._shift = np.uint32(32 - contract.bits)
        self._id_bits = max(1, (len(buckets) - 1).bit_length())
        self._id_of = np.full(1 << contract.bits, -1, dtype=np.int16 if len(buckets) < 1 << 15 else np.int32)
        self._id_of[buckets] = np.arange(len(buckets))
        self._bytes = byte_table(contract.normalisation)
        self._id_mask = np.int32((1 << self._id_bits) - 1)
        # Keys of so many texts fit into 16 bits, which numpy sorts by radix.
        self._key = np.dtype(np.uint16 if self._id_bits <= 16 else np.int32)
        self._neighbours = 1 << (16 - self._id_bits) if self._id_bits <= 16 else 1 << (31 - self._id_bits)
        self._idf_squared = np.square(scorer.featuriser.idf.astype(np.int64))
        log_tf = np.concatenate([[0.0], 1 + np.log(np.arange(1, MAX_COUNT + 1))])
        self._log_tf = log_tf.astype(np.float32)
        self._log_tf_squared = np.rint(np.square(log_tf) * _UNIT).astype(np.int64)

    def join(self, encoded: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[Any], list[int]]:
        """The bytes of some texts, what each adds to a key for its text, and where each group of texts begins."""
        text = b" " + b" ".join(encoded) + b" "
        lengths = [len(one) + 1 for one in encoded]
        numbers = np.repeat((np.arange(len(encoded)) % self._neighbours) << self._id_bits, lengths).astype(self._key)
        padded = (text + bytes(max(SIZES) - 1)).translate(self._bytes)
        starts = [0, *itertools.accumulate(lengths)]
        return np.frombuffer(padded, dtype=np.uint8), numbers, [*starts[: -1 : self._neighbours], starts[-1]]

    def sorted_keys(self, joined: NDArray[np.uint8], numbers: NDArray[Any], groups: list[int]) -> NDArray[np.int32]:
        """A key of text and bucket for each n-gram that the model knows, ascending."""
        data = joined.astype(np.uint32)
        n = len(numbers)
        rolled = np.empty((len(SIZES), n), dtype=np.uint32)
        previous = data[:n]
        for row, size in zip(rolled, SIZES, strict=True):
            np.multiply(previous, np.uint32(ROLL), out=row)
            np.add(row, data[size - 1 : size - 1 + n], out=row)
            previous = row
        rolled *= np.uint32(MIX_1)
        rolled ^= rolled >> np.uint32(MIX_SHIFT)
        rolled *= np.uint32(MIX_2)
        rolled >>= self._shift
        ids: NDArray[Any] = self._id_of.take(rolled.view(np.int32), mode="clip")
        sorted_groups = []
        for start, end in itertools.pairwise(groups):
            these = ids[:, start:end]
            known = (these.reshape(-1) >= 0).nonzero()[0]
            keys = np.bitwise_or(these.astype(self._key, copy=False), numbers[start:end]).reshape(-1).take(known)
            keys.sort(kind="stable" if self._key.itemsize == 2 else None)
            sorted_groups.append(keys)
        found = np.concatenate(sorted_groups).astype(np.int32, copy=False)
        found |= np.repeat(
            np.arange(len(sorted_groups), dtype=np.int32) * np.int32(self._neighbours << self._id_bits),
            [len(keys) for keys in sorted_groups],
        )
        return found

    def weights(self, keys: NDArray[np.int32], encoded: Sequence[bytes]) -> NDArray[np.float32]:
        """Of each distinct n-gram of each text."""
        is_first = np.ones(len(keys) + 1, dtype=np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:-1])
        first_at = is_first.nonzero()[0]
        times, ids = first_at[1:] - first_at[:-1], keys.take(first_at[:-1])
        ends = ids.searchsorted(np.arange(1, len(encoded) + 1, dtype=np.int32) << self._id_bits)
        ids &= self._id_mask
        terms = self._log_tf_squared.take(times, mode="clip")
        terms *= self._idf_squared.take(ids)
        begins = np.concatenate([[0], ends[:-1]])
        norms = np.sqrt(np.maximum(np.add.reduceat(terms, begins), 1)).astype(np.float32)
        norms *= np.float32(1 / math.sqrt(_UNIT * IDF_UNIT**2))
        weights: NDArray[np.float32] = self._log_tf.take(times, mode="clip")
        weights /= norms.repeat(ends - begins)
        return weights


def consume(job: Job, settings: Settings) -> float:
    """µs per event of taking all records of the job's input."""
    options = {**stream_options(settings, "floor").consumer_config(), "auto.offset.reset": "earliest"}
    consumer = Consumer(options)
    batch_size = settings.tagger.batch_size
    with _cpu() as spent:
        consumer.assign([TopicPartition(job.input, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        left = job.events
        while left > 0:
            left -= len(consumer.consume(batch_size, 0.1))
    consumer.close()
    return spent[0] / job.events * 1e6


def produce(job: Job, settings: Settings, values: Sequence[bytes]) -> float:
    """µs per event of writing the tag events, with the keys of their sources, to the job's group's topic."""
    producer = Producer(stream_options(settings, f"floor-{job.group}").producer_config())
    producer.init_transactions(30)
    keys = (event.key for event in Corpus(job.chars).events(job.events))
    records = list(zip(keys, values, strict=True))
    with _cpu() as spent:
        for at in range(0, len(records), _PER_TRANSACTION):
            producer.begin_transaction()
            for key, value in records[at : at + _PER_TRANSACTION]:
                producer.produce(job.group, value, key)
            producer.commit_transaction(30)
    return spent[0] / len(records) * 1e6


def run(job: Job) -> dict[str, float]:
    """All floors, µs per event. The job's output is a file of the plain loop's tag events."""
    keep_freed_memory()
    overrides = {"kafka.bootstrap_servers": job.bootstrap, "tagger.group": job.group}
    settings = load_settings(environ={}, overrides=overrides).settings
    kafka = {
        "consume": consume(job, settings),
        "produce": produce(job, settings, Path(job.output).read_bytes().splitlines()),
    }
    return {**without_kafka(Inputs(job, settings)), **kafka}


def _struct(line: bytes) -> TagEvent:
    """A tag event as the tagger has it just before it is encoded."""
    found = msgspec.json.decode(line)
    ready = {name: msgspec.Raw(msgspec.json.encode(found[name])) for name in ("thresholds", "release")}
    parts = {"source": Source(**found["source"]), "tags": [Tag(**tag) for tag in found["tags"]]}
    return TagEvent(**{**found, **ready, **parts})


_Values = tuple[str, tuple[Any, ...], list[tuple[Any, ...]], list[float], msgspec.Raw, msgspec.Raw, str]


def _values(event: TagEvent) -> _Values:
    """What the tagger makes a tag event of."""
    assert isinstance(event.thresholds, msgspec.Raw)
    assert isinstance(event.release, msgspec.Raw)
    assert isinstance(event.scores, dict)
    tags = [msgspec.structs.astuple(tag) for tag in event.tags]
    scores = list(event.scores.values())
    source = msgspec.structs.astuple(event.source)
    return event.id, source, tags, scores, event.thresholds, event.release, event.processed_at


def _made(
    make_scores: Callable[..., Any],
    name: str,
    source: tuple[Any, ...],
    tags: Sequence[tuple[Any, ...]],
    scores: Sequence[float],
    thresholds: msgspec.Raw,
    release: msgspec.Raw,
    processed_at: str,
) -> TagEvent:
    made = [Tag(*tag) for tag in tags]
    return TagEvent(name, Source(*source), made, make_scores(*scores), thresholds, release, processed_at)


def _recorded(call: Callable[[Any], Any], arguments: list[Any]) -> Callable[[Any], Any]:
    def recording(argument: Any) -> Any:
        arguments.append(argument)
        return call(argument)

    return recording


def _spent(work: Callable[[], object]) -> float:
    """CPU seconds of one turn, after one that warms up."""
    work()
    with _cpu() as spent:
        work()
    return spent[0]


@contextmanager
def _cpu() -> Iterator[list[float]]:
    """CPU seconds of this process, all its threads, in the block; known after it."""
    spent = [0.0]
    began = time.process_time()
    yield spent
    spent[0] = time.process_time() - began


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run(given())))
