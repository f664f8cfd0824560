"""Membership of the consumer group: joining, partitions that come and go, and from where each is read.

One mechanism serves assignment, revocation and rewinding: a partition that must be (re-)read is taken out of the
consumer, its position is asked of the broker, and it is put back there. The broker's committed position is the only
truth about what is done: after a commit whose answer was lost, memory may be wrong, the broker is not.

An *epoch* separates what was read before such a break from what comes after it: batches of an older epoch are dropped.
"""

import contextlib
import logging
import random
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamtag.stream import faultpoints
from streamtag.stream.calls import Calls
from streamtag.stream.client_log import ClientLog
from streamtag.stream.options import StreamOptions, refused_options
from streamtag.stream.overdue import OverdueError, call_within
from streamtag.stream.processor import Partition
from streamtag.stream.start import Start, StartResolver, pack
from streamtag.stream.trouble import Trouble
from streamtag.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
client_log = ClientLog(log)

_BROKER_CALL_S = 2.0
# At least between two attempts to learn a position. And so long those that are read wait for one: while a predecessor's
# transaction is open, librdkafka asks until its time is up. Asking for all together takes twice as long each time, as
# the group's coordinator may be slow.
_RETRY_S = 0.25
_MOST_REST_S = 1.0
_REJOIN_S = 1.0
# Until then a predecessor's session has ended: a broker grants 45 s by default, and by default no member more than 60.
_RELEASED_S = 90.0
# A broker that wakes after a freeze may name no broker at all, as it is fenced itself. The client then forgets every
# broker that it knew and, with bad luck, never finds one again (librdkafka 2.10 and later). A member that has had
# no partition for so long, whatever came before, and cannot ask anything begins anew; each time it waits twice as long.
_STRANDED_S, _MOST_STRANDED_S = 10.0, 300.0
# With KIP-848 the client does not notice by itself that its session is over (librdkafka 5301): a member that holds
# partitions begins anew, too, once it is out of the group by any session that a broker grants.
_OUT_S = 60.0
_CLOSE_S = 3.0
_METADATA = b"CGMDv2:"  # of librdkafka; the generation, or the member's epoch, follows


class Owner(Protocol):
    """What a member tells the runner; called on the polling thread."""

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """These partitions are read from here on."""
        ...

    def finish(self, budget_s: float) -> bool:
        """End the open transaction now, within the budget; False where it was doomed instead."""
        ...

    def lost(self) -> None:
        """The open transaction, if any, must never commit."""
        ...

    def released(self, partitions: Collection[Partition]) -> None:
        """These partitions are no longer read (they may come back through `assigned`)."""
        ...

    def in_doubt(self) -> bool:
        """Whether a transaction of before the last break is still open: nobody knows yet what is committed."""
        ...


class Member:
    """A consumer in its group. On the polling thread only, but for the attributes.

    Args:
        options: of the loop.
        metrics: counts rebalances.
        owner: told about partitions that come and go.
        trouble: takes note of errors.
        calls: served while waiting to join.
        drop: called as an epoch ends: drops what was read before, and resumes what was paused (librdkafka would put
            a partition back paused).
        stopping: true when waiting shall end.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        options: StreamOptions,
        metrics: Metrics,
        owner: Owner,
        trouble: Trouble,
        calls: Calls,
        *,
        drop: Callable[[], None],
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._owner = owner
        self._trouble = trouble
        self._calls = calls
        self._drop = drop
        self._stopping = stopping
        self._clock = clock
        self._unresolved: set[Partition] = set()
        self._reading: dict[Partition, int] = {}  # partition to the partition count of its topic at the first start
        self._retry_at = 0.0
        self._ask_s = _RETRY_S  # how long the next question for all together waits where others are read
        self._alone: list[Partition] = []  # to be asked for one by one, as together they could not be told
        self._join_by = 0.0  # a name that another member holds later than that is held by a twin
        self._well_at = self._look_at = 0.0  # it heard of a broker, or was made anew; when to look whether it would
        self._patience_s = _STRANDED_S
        self.epoch = 0
        self.metadata: object = None
        """Membership, as of the last poll."""
        self.id = ""
        """Within the group; empty before that has answered."""
        self.consumer = self._connect()

    # -- coming and going --------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Asks to become a member."""
        self._join_by = self._clock() + _RELEASED_S
        self._subscribe()

    def leave(self) -> None:
        """Leaves (a static member keeps its place); revocation is reported once more."""
        self.consumer.close()

    def keep(self) -> None:
        """To be called after every poll: takes up partitions whose position is known by now.

        Raises:
            StreamtagError: the client has failed for good.
        """
        if self._trouble.passing() or (self._trouble.unreleased() and self._clock() < self._join_by):
            self._replace_consumer()
        elif self._stranded():
            self._begin_anew()
        self._trouble.check()
        self._resolve()
        self.metadata = self.consumer.consumer_group_metadata()
        self.id = (self.consumer.memberid() or "") if _joined(self.metadata) else ""

    def heard(self) -> None:
        """A broker has answered, or is given time to: nobody has to look before long."""
        self._well_at = self._clock()
        self._look_at = self._well_at + _STRANDED_S

    def counts(self) -> tuple[int, int]:
        """How many partitions are read, and how many are assigned but wait for their position."""
        return len(self._reading), len(self._unresolved)

    def commit_metadata(self, partition: Partition, metadata: str) -> str:
        """Metadata of a commit, as `streamtag.stream.start` wants it."""
        return pack(self._reading.get(partition, 0), metadata)

    def commit(self, positions: list[TopicPartition]) -> None:
        """Commits and waits for the answer; raises KafkaException."""
        for result in self.consumer.commit(offsets=positions, asynchronous=False) or ():
            if result.error is not None:
                raise KafkaException(result.error)

    def _connect(self) -> Consumer:
        config = {**self._options.consumer_config(), "error_cb": lambda error: self._trouble.note(error, "client")}
        with refused_options("kafka.client, kafka.consumer"):
            return Consumer(config, logger=client_log)

    def _subscribe(self) -> None:
        self._well_at = self._clock()
        self._look_at = self._well_at + self._patience_s
        self.consumer.subscribe(
            list(self._options.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _replace_consumer(self) -> None:
        """Tries again to become a member, where what the group's coordinator said was fatal to the client (KIP-848).

        It refuses a static member while another of its name has not left. A predecessor that was killed leaves with
        the end of its session; a twin never does.
        """
        log.info("the client has failed, making a new one", extra={"reason": self._trouble.reason})
        if self._trouble.passing():
            self._join_by = self._clock() + _RELEASED_S
        self._go_on_with_another()
        self._calls.serve_while(lambda: not self._stopping(), _REJOIN_S)
        self._trouble.survived()
        self._subscribe()

    def _stranded(self) -> bool:
        """Whether it has heard nothing for a while, and no broker can be asked for anything."""
        holds = bool(self._reading or self._unresolved)
        if holds and self._options.group_protocol == "classic":
            self._well_at = self._clock()  # by this protocol the client itself says when it has lost them
            return False
        if self._clock() < self._look_at:
            return False
        if self._broker_answers():
            self._patience_s = _STRANDED_S
            self.heard()
            return False
        self._look_at = self._clock() + _STRANDED_S
        return self._clock() - self._well_at >= (max(_OUT_S, self._patience_s) if holds else self._patience_s)

    def _broker_answers(self) -> bool:
        try:
            found = self.consumer.list_topics(self._options.topics[0], timeout=_BROKER_CALL_S)
        except KafkaException:
            return False
        return bool(found.brokers)

    def _begin_anew(self) -> None:
        log.warning("the client finds no broker, making a new one", extra={"after_s": self._patience_s})
        self._metrics.add("streamtag.kafka.errors", code="stranded")
        self._go_on_with_another()
        self._patience_s = min(_MOST_STRANDED_S, 2 * self._patience_s)
        self._join_by = self._clock() + _RELEASED_S
        self._subscribe()

    def _go_on_with_another(self) -> None:
        """A client in place of one that is of no use any more: what that held is lost, as it will hardly say itself.

        It cannot leave the group: its session holds a static name.
        """
        # First the new one: what the old one tells as it closes, on another thread and maybe late, is no longer ours.
        old, self.consumer = self.consumer, self._connect()
        if held := self._unresolved.union(self._reading):
            self._reading.clear()  # the new one reads none of them
            self._on_lost(self.consumer, [TopicPartition(t, p) for t, p in held])
        with contextlib.suppress(OverdueError, KafkaException):
            call_within(_CLOSE_S, old.close)

    # -- partitions --------------------------------------------------------------------------------------------------

    def break_off(self) -> None:
        """Begins a new epoch: drops what is queued and reads all assigned partitions from their commits.

        Whatever transaction is still open covers positions that are about to be read again: it must not commit.
        """
        self.epoch += 1
        self._owner.lost()
        self._drop()
        self._alone = []
        if self._reading:
            self.consumer.incremental_unassign([TopicPartition(t, p) for t, p in self._reading])
            self._unresolved |= set(self._reading)
            self._owner.released(list(self._reading))
            self._reading.clear()

    def _resolve(self) -> None:
        """Puts partitions whose position is known by now into the consumer. Never waits long: others are read on."""
        if not self._unresolved or self._clock() < self._retry_at:
            return
        if self._owner.in_doubt():
            # It may have been about to commit as it was doomed, and within one membership the broker accepts that. A
            # position that is asked for before would be one from before the commit, and all since be read again.
            return
        starts = self._ask_alone() if self._alone else self._ask_together()
        if not starts:
            return
        self._unresolved -= starts.keys()
        faultpoints.reached("resolve.after")
        for (topic, index), start in starts.items():
            self._report(topic, index, start)
            self._reading[topic, index] = start.partitions
        self._owner.assigned(starts)
        self.consumer.incremental_assign([TopicPartition(t, p, s.position) for (t, p), s in starts.items()])
        if not self._unresolved:
            self._ask_s = _RETRY_S
            self._trouble.over()
        self._metrics.set("streamtag.partitions.assigned", len(self._reading))

    def _ask_together(self) -> Mapping[Partition, Start]:
        """Starts of all; of none where one cannot be told now, so that the next turns ask for each alone."""
        wanted = list(self._unresolved)
        starts = self._ask(wanted, self._ask_s if self._reading else _BROKER_CALL_S)
        if not starts:
            self._ask_s = min(_BROKER_CALL_S, 2 * self._ask_s)
            self._alone = random.sample(wanted, len(wanted)) if len(wanted) > 1 else []
        return starts

    def _ask_alone(self) -> Mapping[Partition, Start]:
        """Starts of some, up to the first that cannot be told now: it keeps no other."""
        found: dict[Partition, Start] = {}
        until = self._clock() + _RETRY_S
        while self._alone and self._clock() < until:
            start = self._ask([self._alone.pop()], _RETRY_S)
            if not start:
                break
            found |= start
        return found

    def _ask(self, wanted: Sequence[Partition], patience_s: float) -> Mapping[Partition, Start]:
        """Starts of all of them; of none where one cannot be told now."""
        began = self._clock()
        try:
            options = self._options
            starts = StartResolver(
                self.consumer,
                options.start,
                timeout_s=_BROKER_CALL_S,
                patience_s=patience_s,
                read_to=options.read_to,
            ).resolve(wanted)
            # An idle partition keeps its first start, and later ones know that the group has started; what expired
            # unread is told once. Not where a commit stands for what a processor still needs: that the log no longer
            # holds it is what `Start.cut` says, to every start until the processor itself has moved on.
            kept = [
                TopicPartition(t, p, s.position, pack(s.partitions, s.metadata))
                for (t, p), s in starts.items()
                if s.first or (s.expired and options.read_to is None)
            ]
            if kept:
                self.commit(kept)
        except KafkaException as exception:
            # E.g. the predecessor's transaction is still open, or the broker is away.
            self._trouble.note(exception.args[0], "asking for positions")
            ended = self._clock()
            # Others are read for as long as they had to wait, up to where a killed worker's partitions would wait more.
            rest_s = min(ended - began, _MOST_REST_S) if self._reading else 0.0
            self._retry_at = ended + max(_RETRY_S, rest_s)
            return {}
        return starts

    def _report(self, topic: str, index: int, start: Start) -> None:
        where = {"topic": topic, "partition": index, "position": start.position}
        if start.expired:
            self._metrics.add("streamtag.input.expired", start.expired, topic=topic)
            log.error("records expired before they were read", extra={**where, "records": start.expired})
        if start.rewound:
            log.error("the committed position lies beyond the log: topic created anew? reading it whole", extra=where)
        log.info("reading partition", extra=where)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self.consumer:
            return
        consumer.incremental_assign([])  # acknowledged; read once the position is known
        self._trouble.over()
        self._unresolved |= {(p.topic, p.partition) for p in partitions}
        self._retry_at = self._join_by = 0.0
        self._ask_s, self._alone = _RETRY_S, []
        self._metrics.add("streamtag.rebalances", kind="assigned")

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self.consumer:
            return
        started = self._clock()
        faultpoints.reached("revoke.before")
        self.epoch += 1  # first: nothing more of the old epoch is begun
        if not self._owner.finish(self._options.revoke_budget_ms / 1000):
            self._metrics.add("streamtag.revoke.overruns")
            log.warning("revoke overran its budget, the open transaction will be undone")
        self._give_up(consumer, partitions, "revoked")
        faultpoints.reached("revoke.after")
        self._metrics.record("streamtag.revoke.duration", self._clock() - started)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self.consumer:
            return
        log.warning("lost membership of the group", extra={"partitions": len(partitions)})
        self.epoch += 1  # first: nothing more of the old epoch is begun, and nothing of it commits
        self._owner.lost()
        self._give_up(consumer, partitions, "lost")

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], kind: str) -> None:
        self.heard()  # after a freeze long since it was last seen to have any
        gone = {(p.topic, p.partition) for p in partitions}
        self._drop()
        consumer.incremental_unassign([p for p in partitions if (p.topic, p.partition) in self._reading])
        self._unresolved -= gone
        self._owner.released(gone)
        for partition in gone:
            self._reading.pop(partition, None)
        self._metrics.add("streamtag.rebalances", kind=kind)
        self._metrics.set("streamtag.partitions.assigned", len(self._reading))
        # What stays was in the dropped queue, too: read it again from its commits.
        self.break_off()


def _joined(metadata: object) -> bool:
    """Whether the group has answered. With KIP-848 a client names itself before, so a name says nothing."""
    if not (isinstance(metadata, bytes) and metadata.startswith(_METADATA)):
        return True
    at = len(_METADATA)
    return int.from_bytes(metadata[at : at + 4], sys.byteorder, signed=True) > 0
