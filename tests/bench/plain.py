"""The plain loop: the tagger's own steps, without Kafka. What the worker is compared with.

The steps are the functions that the worker calls, over batches of the worker's size. A record is built before the
clock starts. In ``featurise`` is all of `streamtag.tagger.infer` but the graph: sorting by length, hashing, padding,
checking and rounding of the scores.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from confluent_kafka import Message

from streamtag.control.watcher import ActiveRelease
from streamtag.domain.release import ReleaseRef
from streamtag.events.decoder import Decoder
from streamtag.model.loading import load_scorer
from streamtag.settings import load_settings
from streamtag.tagger.decide import Deciding, decide_batch
from streamtag.tagger.decode import decode
from streamtag.tagger.emit import Emitter
from streamtag.tagger.infer import infer
from streamtag.tagger.memory import keep_freed_memory

from .corpus import Corpus, Event
from .job import Job, given

T = TypeVar("T")

STEPS = ("decode", "featurise", "infer", "decide", "encode")
FROM_SHARE = 0.25


class StepClock:
    """CPU seconds of this process by step."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Counts what the block spends."""
        began = time.process_time()
        try:
            yield
        finally:
            self.spent[name] += time.process_time() - began

    def timed(self, name: str, call: Callable[..., T]) -> Callable[..., T]:
        """``call``, counted."""

        def counted(*arguments: object) -> T:
            with self.step(name):
                return call(*arguments)

        return counted


class PlainLoop:
    """Decode, featurise, infer, decide, encode."""

    def __init__(self, job: Job) -> None:
        settings = load_settings(environ={}).settings
        scorer = load_scorer(Path(job.bundle), batch=settings.model.batch)
        self.clock = StepClock()
        self.batch_size = settings.tagger.batch_size
        # Only the graph, from inside: all around it is featurise.
        setattr(scorer.session, "run", self.clock.timed("infer", scorer.session.run))  # noqa: B010 - a method
        ref = ReleaseRef(1, "0" * 64, scorer.bundle.ref, 1, "0" * 64)
        self._scorer = scorer
        self._deciding = Deciding(ActiveRelease(ref, job.threshold_set, scorer, "redis"))
        self._decoder = Decoder(settings.events)
        self._emitter = Emitter(
            tags_topic=settings.topics.tags,
            dead_letters_topic=settings.topics.dead_letters,
            only_tagged=False,
            with_scores=settings.tagger.scores,
            max_dead_letter_bytes=settings.dead_letters.max_bytes,
            worker="plain",
        )

    def tag(self, records: Sequence[Message]) -> list[bytes]:
        """The tag events of a batch."""
        step = self.clock.step
        with step("decode"):
            decoded = decode(records, self._decoder)
        with step("featurise"):
            micro, refusals = infer(decoded.events, self._scorer)
        assert not refusals, "the corpus is clean"
        with step("decide"):
            decisions = decide_batch(decoded.events, micro, self._deciding)
        n = len(decoded.events)
        with step("encode"):
            tagged = self._emitter.tag_events(
                decoded, decisions, self._deciding, contexts=[None] * n, by_arrival=[False] * n, now_ms=_now_ms()
            )
            return [output.value or b"" for output in tagged if output]


def batches(events: Iterator[Event], size: int) -> Iterator[list[Message]]:
    """Records as a consumer would give them."""
    stamp = (1, _now_ms())
    for start in itertools.count(0, size):
        batch = [
            Message(topic="content", partition=0, offset=start + i, key=event.key, value=event.value, timestamp=stamp)
            for i, event in enumerate(itertools.islice(events, size))
        ]
        if not batch:
            return
        yield batch


def run(job: Job) -> dict[str, float]:
    """Tags all events, writes them to the job's output; CPU µs per event by step, from a quarter of the events on."""
    keep_freed_memory()
    loop = PlainLoop(job)
    measured, seen, before = 0, 0, loop.clock.spent
    with Path(job.output).open("wb") as output:
        for batch in batches(Corpus(job.chars).events(job.events), loop.batch_size):
            if not measured and seen >= job.events * FROM_SHARE:
                before = dict(loop.clock.spent)
                measured = job.events - seen
            output.write(b"\n".join(loop.tag(batch)) + b"\n")
            seen += len(batch)
    # What the graph took stands in featurise, too: it ran inside.
    spent = {name: loop.clock.spent[name] - before[name] for name in STEPS}
    spent["featurise"] -= spent["infer"]
    steps = {f"{name}_us": seconds / measured * 1e6 for name, seconds in spent.items()}
    return {"plain_us": sum(steps.values()), **steps}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run(given())))
