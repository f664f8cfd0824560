"""Puts dead letters back into their topics, each exactly once per replay, whenever it is interrupted.

A replay has an id. What it writes and how far it has read are committed together, in transactions under
``transactional.id`` ``<tagger.group>-dlq-replay-<id>``, the positions in the consumer group of the same name. So a run
with the same id goes on where the last transaction ended, and its start aborts whatever a killed run left open. What
the replay is about is kept in the commits' metadata, so it can be resumed by its id alone, and an id cannot be reused
for something else. Progress lives as long as the broker keeps a group's positions (``offsets.retention.minutes``,
7 days by default after the last commit).
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.error import KafkaException

from streamtag.dead_letters.letter import DeadLetter
from streamtag.dead_letters.plan import ReplaySpec, Step, Tally, check_target, replay_headers, step_for
from streamtag.dead_letters.reader import DeadLetterReader, Record, client_options
from streamtag.dead_letters.transaction import Outgoing, TransactionWriter
from streamtag.errors import ConflictError, NotFoundError, StreamtagError, UnavailableError
from streamtag.settings import Settings, TopicsSettings
from streamtag.stream.topic_reader import CALL_S, kafka_failure

_GLANCE_S = 3.0  # for a look at the progress that may come to nothing

# While positions are in an open transaction the client asks for them again and again, until its time is over. A group
# that is new, or whose coordinator moves, has nobody to ask for a moment.
_UNSETTLED = (
    KafkaError._TIMED_OUT,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
_UNSETTLED_HINT = (
    "A killed run leaves a transaction open for up to 15 s: a replay ends it, a dry run waits for its end. "
    "`streamtag doctor` looks at the connection to Kafka; docs/howto-secure.md says which rights a replay needs."
)


@dataclass(frozen=True)
class ReplayRequest:
    """What a person asked for.

    Attributes:
        spec: what to replay; None: what the replay ``id`` was about.
        id: name of the replay; None: made of the spec.
        max_replays: letters replayed so often already are left alone; None: no limit.
        limit: stop after so many.
        rate: at most so many a second; None: as fast as it goes.
        batch: letters per transaction; readers of committed records in the target wait for its end.
        dry_run: write nothing, keep no progress.
    """

    spec: ReplaySpec | None
    id: str | None = None
    max_replays: int | None = 3
    limit: int | None = None
    rate: float | None = None
    batch: int = 200
    dry_run: bool = False


@dataclass(frozen=True)
class ReplayResult:
    """What came of it.

    Attributes:
        id: of the replay.
        spec: what it was about.
        resumed: an earlier run had made progress.
        limited: it stopped at the limit, more may be left.
        tally: counts of this run.
    """

    id: str
    spec: ReplaySpec
    resumed: bool
    limited: bool
    tally: Tally

    def facts(self, *, dry_run: bool) -> dict[str, Any]:
        """For programs."""
        tally = self.tally
        return {
            "id": self.id,
            "spec": msgspec.to_builtins(self.spec),
            "dry_run": dry_run,
            "resumed": self.resumed,
            "limited": self.limited,
            "replayed": tally.replayed,
            "not_selected": tally.counts[Step.OTHER],
            "foreign": tally.foreign,
            "left": {step.value: {"count": tally.counts[step], "positions": at} for step, at in tally.left.items()},
        }


Progress = Callable[[int, int, Tally], None]  # records read, records in all, counts so far


def replay(
    settings: Settings,
    request: ReplayRequest,
    *,
    on_progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ReplayResult:
    """Runs a replay to the end of the dead-letter topic as it stands now, or to the limit.

    Raises:
        ConflictError: the id belongs to another replay, or another run of it has taken over.
        NotFoundError: no such replay to resume, or a topic is missing.
        RefusedError: it would write into the dead-letter topic itself, or another of `check_target`.
        UnavailableError: Kafka does not answer; what was committed stays, run it again.
    """
    replay_id = request.id or (request.spec.default_id() if request.spec else "")
    name = _name(settings, replay_id)
    with DeadLetterReader(settings, group=name) as reader:
        writer = None
        # A command that is refused must leave a running replay of this id alone: making the writer takes over from it.
        # What a killed run has left open is ended by the writer only: there is no use in waiting for it here.
        with contextlib.suppress(_UnsettledError):
            _agreed(request.spec, _progress(reader, _GLANCE_S), replay_id, settings.topics)
        if not request.dry_run:
            writer = TransactionWriter(
                client_options(settings, name),
                reader.consumer.consumer_group_metadata(),
                lambda: {partition: found.offset for partition, found in _progress(reader).items()},
            )
        try:
            # Only now that an earlier run's transaction is settled are its positions final.
            progress = _progress(reader)
            spec = _agreed(request.spec, progress, replay_id, settings.topics)
            run = _Run(reader, writer, request=request, spec=spec, replay_id=replay_id, clock=clock, sleep=sleep)
            limited = run.to_the_end(progress, on_progress)
        finally:
            if writer is not None:
                writer.close()
    return ReplayResult(replay_id, spec, resumed=bool(progress), limited=limited, tally=run.tally)


def _name(settings: Settings, replay_id: str) -> str:
    """Of the group and the transactional id; teams on one Kafka have ids of their own by it."""
    return f"{settings.tagger.group}-dlq-replay-{replay_id}"


class _UnsettledError(UnavailableError):
    """Positions are in a transaction that is still open, or Kafka is slow."""


def _progress(reader: DeadLetterReader, timeout_s: float = CALL_S) -> dict[int, TopicPartition]:
    """Committed positions of this replay, per partition; empty for a new one."""
    wanted = [TopicPartition(reader.topic, partition) for partition in range(reader.topics[reader.topic])]
    try:
        found = reader.consumer.committed(wanted, timeout=timeout_s)
    except KafkaException as exception:
        raise _unread(exception.args[0]) from None
    for position in found:
        if position.error is not None:
            raise _unread(position.error)
    return {position.partition: position for position in found if position.offset >= 0}


def _unread(error: KafkaError) -> StreamtagError:
    """Progress that is not known must not be taken for none: the replay would start from the beginning."""
    failure = kafka_failure(error, "cannot read the progress of the replay")
    if error.code() in _UNSETTLED:
        return _UnsettledError(failure.message, hint=_UNSETTLED_HINT)
    return failure


def _agreed(
    spec: ReplaySpec | None, progress: Mapping[int, TopicPartition], replay_id: str, topics: TopicsSettings
) -> ReplaySpec:
    """The spec to go by: the one given and the one kept with the progress must be the same, and lead elsewhere."""
    kept = next((found for p in progress.values() if (found := ReplaySpec.decode(p.metadata or ""))), None)
    if spec is None:
        if kept is None:
            raise NotFoundError(
                f"there is no progress of a replay {replay_id}",
                hint="It never wrote anything, or so long ago that the broker has forgotten it.",
            )
        check_target(kept, topics)
        return kept
    if kept is not None and kept != spec:
        raise ConflictError(
            f"replay {replay_id} was started with other filters or another target: {kept.encode()}",
            hint=f"Go on with `streamtag dlq replay --resume {replay_id}`, or choose another --id.",
        )
    check_target(spec, topics)
    return spec


class _Run:
    """One run of a replay."""

    def __init__(
        self,
        reader: DeadLetterReader,
        writer: TransactionWriter | None,
        *,
        request: ReplayRequest,
        spec: ReplaySpec,
        replay_id: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.tally = Tally()
        self._reader = reader
        self._writer = writer
        self._request = request
        self._spec = spec
        self._metadata = spec.encode()
        self._id = replay_id
        self._clock = clock
        self._sleep = sleep
        self._topics = frozenset(reader.topics)

    def to_the_end(self, progress: Mapping[int, TopicPartition], on_progress: Progress | None) -> bool:
        """Reads and replays; true when the limit ended it."""
        ranges = self._reader.ranges(self._spec.selection)
        if not progress and self._writer is not None:
            # From here on the replay can be resumed by its id alone.
            starts = {p: low for p, (low, _) in self._reader.bounds().items()}
            self._writer.write([], self._positions({**starts, **{p: low for p, (low, _) in ranges.items()}}))
        ranges = {
            partition: (max(low, progress[partition].offset) if partition in progress else low, high)
            for partition, (low, high) in ranges.items()
        }
        total = sum(max(0, high - low) for low, high in ranges.values())
        done, started = 0, self._clock()
        for records in self._reader.batches(ranges, records=self._batch_size()):
            taken, steps = self._plan(records)
            self._carry_out(taken, steps)
            done += len(taken)
            if on_progress is not None:
                on_progress(done, total, self.tally)
            if self._request.limit is not None and self.tally.replayed >= self._request.limit:
                return True
            if self._request.rate is not None and not self._request.dry_run:
                self._sleep(max(0.0, started + self.tally.replayed / self._request.rate - self._clock()))
        return False

    def _batch_size(self) -> int:
        # With a rate, a second's worth at once.
        return min(self._request.batch, max(1, int(self._request.rate or self._request.batch)))

    def _plan(self, records: Sequence[Record]) -> tuple[list[Record], list[Step]]:
        """What to do with each record, up to the one that reaches the limit."""
        left = None if self._request.limit is None else self._request.limit - self.tally.replayed
        steps: list[Step] = []
        for record in records:
            if left is not None and left <= 0:
                break
            step = Step.OTHER
            if record.letter is not None:
                step = step_for(record.letter, self._spec, max_replays=self._request.max_replays, topics=self._topics)
            steps.append(step)
            if left is not None and step is Step.REPLAY:
                left -= 1
        return list(records[: len(steps)]), steps

    def _carry_out(self, records: Sequence[Record], steps: Sequence[Step]) -> None:
        """One transaction: the letters, and how far the replay has come with them."""
        refused: set[int] = set()
        if self._writer is not None:
            chosen = [i for i, step in enumerate(steps) if step is Step.REPLAY]
            outgoing = [self._outgoing(letter) for i in chosen if (letter := records[i].letter)]
            positions = self._positions({record.partition: record.offset + 1 for record in records})
            refused = {chosen[i] for i in self._writer.write(outgoing, positions)}
        for index, (record, step) in enumerate(zip(records, steps, strict=True)):
            if record.letter is None:
                self.tally.foreign += 1
            else:
                self.tally.add(record.letter, Step.TOO_LARGE if index in refused else step)

    def _outgoing(self, letter: DeadLetter) -> Outgoing:
        topic = self._spec.to or letter.source_topic
        # Back to where it came from: the partitioner of the first producer need not be ours, and the order per key
        # hangs on it.
        same = self._spec.to is None and letter.source_partition < self._reader.topics[topic]
        return Outgoing(
            topic=topic,
            partition=letter.source_partition if same else -1,
            key=letter.key,
            value=letter.value,
            headers=replay_headers(letter, self._id),
        )

    def _positions(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._reader.topic, p, offset, self._metadata) for p, offset in offsets.items()]
