"""Who writes commit summaries, in a process of its own: as taggers do, in transactions, one an interval of each source.

An experiment runs: half of the events are decided by either arm, each of a unit of its own. The bodies are made once
and repeat; position range, pane, time and units are written into each.
"""

import base64
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from confluent_kafka import Producer

from streamtag.domain.scores import BINS, MICRO
from streamtag.errors import StreamtagError
from streamtag.events import summary
from streamtag.events.summary import CommitSummary, ExperimentRows, LabelCounts, PaneCounts, UnitRows

from .upstream import SPAWN

INTERVAL_MS = 100
PANE_MS = 10_000
TOPIC = "content"
"""Name of the source in the summaries."""
ARMS = ("control", "candidate")
_BODIES = 64
_FLUSH_S = 60.0
# Numbers that stand for those of each summary; none of the others has as many digits.
_FROM, _TO, _PANE, _AT = (11_111_111_111_111_111 * k for k in (1, 2, 3, 4))


@dataclass(frozen=True)
class Shape:
    """What the summaries are like.

    Attributes:
        sources: partitions of the source.
        labels: of each arm.
        events: of each arm in one summary.
        experiment: that all of them take part in.
    """

    sources: int = 100
    labels: int = 50
    events: int = 10
    experiment: str = "1-000000000000"

    @property
    def names(self) -> list[str]:
        """Of the labels."""
        return [f"label-{number:02d}" for number in range(self.labels)]

    @property
    def per_s(self) -> int:
        """Summaries a second."""
        return self.sources * 1_000 // INTERVAL_MS


def bodies(shape: Shape, seed: int = 7) -> list[bytes]:
    """Encoded summaries with placeholders."""
    choose = random.Random(seed)
    return [summary.encode(_body(shape, choose)) for _ in range(_BODIES)]


def fill(body: bytes, partition: int, number: int, shape: Shape, at_ms: int) -> tuple[bytes, bytes]:
    """Key and value of the ``number``-th summary of a source, closed then."""
    events = len(ARMS) * shape.events
    start = number * events
    marks = {_FROM: start, _TO: start + events, _PANE: at_ms // PANE_MS * PANE_MS, _AT: at_ms}
    for mark, value in marks.items():
        body = body.replace(b"%d" % mark, b"%d" % value)
    for arm in ARMS:
        body = body.replace(base64.b64encode(_units(shape, arm)), base64.b64encode(os.urandom(8 * shape.events)))
    body = body.replace(b'"partition":0', b'"partition":%d' % partition, 1)
    return summary.key(TOPIC, partition), body


def _body(shape: Shape, choose: random.Random) -> CommitSummary:
    events = len(ARMS) * shape.events
    flags = _rare(shape, choose)  # alike in both arms: no verdict comes of it
    return CommitSummary(
        version=summary.VERSION,
        topic=TOPIC,
        partition=0,
        from_offset=_FROM,
        to_offset=_TO,
        in_=events,
        tagged=events,
        clean=0,
        dead=0,
        skipped=0,
        pane_ms=PANE_MS,
        writer="bench-0",
        delivery="exactly_once",
        committed_at_ms=_AT,
        panes=[_cell(shape, arm, flags, choose) for arm in ARMS],
    )


def _cell(shape: Shape, arm: str, flags: bytes, choose: random.Random) -> PaneCounts:
    width = (shape.labels + 7) // 8 * shape.events
    units = UnitRows(_units(shape, arm), *((flags, bytes(width)) if arm == "control" else (bytes(width), flags)))
    sha = "0" * 64
    return PaneCounts(
        start_ms=_PANE,
        release=1,
        release_sha256=sha,
        bundle="bench@1",
        bundle_sha256=sha,
        revision=1,
        revision_sha256=sha,
        arm=arm,
        events=shape.events,
        by_arrival=0,
        labels={name: _label(shape.events, choose) for name in shape.names},
        experiments=[ExperimentRows(shape.experiment, 0, "split", shape.names, units)],
    )


def _units(shape: Shape, arm: str) -> bytes:
    """Stands for the units of each summary."""
    return bytes([ARMS.index(arm) + 1]) * (8 * shape.events)


def _rare(shape: Shape, choose: random.Random) -> bytes:
    """What an arm tagged: each label one event in twenty."""
    flags = np.array([[choose.random() < 0.05 for _ in range(shape.labels)] for _ in range(shape.events)])
    return np.packbits(flags, axis=1, bitorder="little").tobytes()


def _label(events: int, choose: random.Random) -> LabelCounts:
    # Scores as of a rare label: most are low, all differ.
    scores = np.array([int(MICRO * choose.betavariate(0.5, 6)) for _ in range(events)])
    bins = Counter(np.minimum(scores * BINS // MICRO, BINS - 1).tolist())
    places = sorted(bins)
    return LabelCounts(int((scores > MICRO // 2).sum()), int(scores.sum()), places, [bins[b] for b in places])


class SummaryLoad:
    """The process; `begin` has it write until `stop`."""

    def __init__(self, bootstrap: str, topic: str, shape: Shape) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(bootstrap, topic, shape, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    def backlog(self, seconds: float) -> int:
        """Writes what ``seconds`` bring, dated as if they had just passed, at once; returns how many summaries."""
        self._pipe.send(seconds)
        return self._answer()

    def begin(self) -> None:
        """Begins to write by the clock."""
        self._pipe.send(None)

    def stop(self) -> int:
        """Ends that; returns how many summaries it was."""
        self._pipe.send("stop")
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()

    def _answer(self) -> int:
        try:
            return int(self._pipe.recv())
        except EOFError:
            raise StreamtagError("who writes the summaries has died") from None


def _serve(bootstrap: str, topic: str, shape: Shape, pipe: "Connection[Any, Any]") -> None:
    """The process: until its parent has gone."""
    writer = _Writer(bootstrap, topic, shape)
    pipe.send(0)
    while True:
        try:
            order = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        pipe.send(writer.follow(lambda: pipe.poll(0)) if order is None else writer.rush(order))
        if order is None:
            pipe.recv()


class _Writer:
    def __init__(self, bootstrap: str, topic: str, shape: Shape) -> None:
        self._topic, self._shape = topic, shape
        self._bodies = bodies(shape)
        self._done = 0  # transactions
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": topic,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.kbytes": 262_144,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(_FLUSH_S)

    def rush(self, seconds: float) -> int:
        count = int(seconds * 1000 / INTERVAL_MS)
        began_ms = time.time_ns() // 1_000_000 - count * INTERVAL_MS
        for number in range(count):
            self._commit(began_ms + number * INTERVAL_MS)
        return count * self._shape.sources

    def follow(self, stopped: Callable[[], bool]) -> int:
        began, count = time.monotonic(), 0
        while not stopped():
            time.sleep(max(0.0, began + count * INTERVAL_MS / 1000 - time.monotonic()))
            self._commit(time.time_ns() // 1_000_000)
            count += 1
        return count * self._shape.sources

    def _commit(self, at_ms: int) -> None:
        self._producer.begin_transaction()
        for partition in range(self._shape.sources):
            body = self._bodies[(self._done + partition) % _BODIES]
            key, value = fill(body, partition, self._done, self._shape, at_ms)
            self._producer.produce(self._topic, value, key)
        self._producer.commit_transaction(_FLUSH_S)
        self._done += 1
