"""One unit of a job, from its rows to its part: what a process does over and over."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa

from streamtag.batch.parts import Identity, open_part
from streamtag.batch.places import FileFormat, Output, Source
from streamtag.batch.plan import Unit
from streamtag.batch.reading import Reader
from streamtag.batch.rows import Batch
from streamtag.batch.scoring import EventScorer
from streamtag.control.breakers import NO_BREAKERS, ActiveBreakers
from streamtag.domain.thresholds import ThresholdSet
from streamtag.model.loading import load_scorer
from streamtag.settings import EventsSettings

__all__ = ["DONE", "REJECTS", "Job", "UnitDone", "UnitScorer", "part_name", "rejects_name"]

DONE, REJECTS = "_done", "_rejects"
"""Directories of the output: a file for each unit that is done, and one for each that has rejects."""


@dataclass(frozen=True)
class Job:
    """What every process needs to know. Goes to other processes: plain values only.

    Attributes:
        bundle: directory of the bundle.
        batch: texts per run of the model.
        thresholds: cut-offs.
        identity: what decides, as stamped on every row.
        limits: what one record may be.
        columns: field to the name of its column.
        sources: input files.
        output: URL or path of the output.
        output_format: of the parts.
        breakers: labels whose tags ask for review only; None: the job knows of none, and rows say nothing of them.
    """

    bundle: Path
    batch: int
    thresholds: ThresholdSet
    identity: Identity
    limits: EventsSettings
    columns: Mapping[str, str]
    sources: tuple[Source, ...]
    output: str
    output_format: FileFormat
    breakers: ActiveBreakers | None = None


class UnitDone(msgspec.Struct, frozen=True):
    """What became of a unit; ``cpu_s`` are seconds of processor time, ``second`` documents that stage 2 scored."""

    number: int
    scored: int
    rejected: int
    cpu_s: float
    second: int = 0


class UnitScorer:
    """Scores units, one at a time."""

    def __init__(self, job: Job) -> None:
        pa.set_cpu_count(1)  # the job runs as many processes as it shall have cores
        self._job = job
        self._output = Output(job.output)
        self._reader = Reader(job.limits, job.columns)
        scorer = load_scorer(job.bundle, batch=job.batch, sha256=job.identity.bundle_sha256)
        self._scorer = EventScorer(scorer, job.thresholds, job.breakers or NO_BREAKERS)

    def run(self, unit: Unit, progress: Callable[[int], None] = lambda rows: None) -> UnitDone:
        """Writes the part of ``unit`` and its rejects, then that it is done.

        In this order: a unit that is not said to be done is scored again, and its files are replaced.

        Args:
            unit: what to score.
            progress: told after every batch how many rows it had.
        """
        started = time.process_time()
        scored = rejected = second = 0
        encode = msgspec.json.Encoder().encode_lines
        with ExitStack() as files:
            rejects: BinaryIO | None = None
            stream = files.enter_context(self._output.writing(part_name(unit.number, self._job.output_format)))
            part = open_part(
                self._job.output_format,
                stream,
                self._scorer.labels,
                self._job.identity,
                two_stages=self._scorer.two_stages,
                breakers=self._job.breakers is not None,
            )
            files.enter_context(closing(part))
            for batch in self._batches(unit):
                found = self._scorer.score(batch.events)
                for at, refusal in found.refused.items():
                    batch.refuse(batch.numbers[at], refusal)
                if found.events:
                    part.write(found)
                if batch.rejects:
                    rejects = rejects or files.enter_context(self._output.writing(rejects_name(unit.number)))
                    rejects.write(encode(sorted(batch.rejects, key=attrgetter("number"))))
                scored += len(found.events)
                second += found.second
                rejected += len(batch.rejects)
                progress(len(found.events) + len(batch.rejects))
        done = UnitDone(unit.number, scored, rejected, time.process_time() - started, second)
        self._output.write(f"{DONE}/{unit.number:06}.json", msgspec.json.encode(done))
        return done

    def _batches(self, unit: Unit) -> Iterator[Batch]:
        for piece in unit.slices:
            yield from self._reader.read(self._job.sources[piece.source], piece)


def part_name(number: int, file_format: FileFormat) -> str:
    """Name of the part of a unit."""
    return f"part-{number:06}.{file_format}"


def rejects_name(number: int) -> str:
    """Name of the file with the rejects of a unit, which is there when it has any."""
    return f"{REJECTS}/{number:06}.jsonl"
