"""Computing a verdict again: from the panes, or with what stands in them taken from the summaries they were made of."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from confluent_kafka import Message
from msgspec import UNSET

from streamtag.control.experiment_log import Experiment
from streamtag.errors import RefusedError
from streamtag.events.panes import Pane, PlacedRows
from streamtag.events.summary import PaneCounts
from streamtag.stats.cells import InvalidCellError, all_columns
from streamtag.stats.experiment_fold import ExperimentFold
from streamtag.stats.ledger import UnreadableSummaryError
from streamtag.stats.pane_log import PaneLog, UnreadablePaneError
from streamtag.stats.revisions import Revisions, Step
from streamtag.stats.summaries import read_counted
from streamtag.stream.topic_reader import TopicReader

__all__ = ["CLOCKS_MS", "recompute", "recompute_from_source"]

CLOCKS_MS = 60_000
"""What is written after something happened may say that it was written so much before: clocks of hosts differ."""

Rows = dict[tuple[int, int], list[tuple[str, PlacedRows]]]
"""(shard, start of the pane) to rows of an experiment with the arm of their cell, by offset of their summary."""


def recompute(
    log: PaneLog,
    experiment: Experiment,
    start: int,
    end: int,
    *,
    keep: int,
    expired: bool = False,
    contents: Callable[[Step], Step] = lambda step: step,
) -> ExperimentFold:
    """The fold of the positions ``[start, end)`` of the log.

    Args:
        log: to read.
        experiment: with all of its phases.
        start: first position.
        end: position behind the last one.
        keep: see `Revisions`.
        expired: what stood before ``start`` has expired, so the fold ends at ``end``, whatever it has come to.
        contents: what to take for the step that the log has.

    Raises:
        StreamtagError: the log cannot be read, or part of it has expired.
    """
    fold, revisions = ExperimentFold(experiment, start, expired=expired), Revisions(keep)
    for position, pane in log.read(start, end):
        if isinstance(pane, UnreadablePaneError):
            fold.doubt()
            continue
        step = revisions.apply(position, pane)
        if step is not None:
            fold.take_known(position, contents(step))
    if expired:
        fold.give_up()
    return fold


def recompute_from_source(
    log: PaneLog,
    reader: TopicReader,
    stats_topic: str,
    experiment: Experiment,
    start: int,
    end: int,
    *,
    keep: int,
    expired: bool = False,
) -> ExperimentFold:
    """As `recompute`; the panes say only in which order, and how far, the rows of the summaries were looked at.

    Raises:
        StreamtagError: as `recompute`, of either topic.
    """
    spans = _spans(reader, stats_topic, experiment, _named(log, start, end, str(experiment.id)))
    found = _source_rows(reader, stats_topic, experiment, spans)
    return recompute(
        log, experiment, start, end, keep=keep, expired=expired, contents=lambda step: _with_rows(step, found)
    )


def _named(log: PaneLog, start: int, end: int, wanted: str) -> dict[int, tuple[int, int]]:
    """Per shard, the first offset of which these panes hold rows, and the one behind the last that they know of."""
    firsts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for _, pane in log.read(start, end):
        if isinstance(pane, Pane):
            ends[pane.shard] = max(pane.n, ends.get(pane.shard, 0))
            for cell in pane.cells:
                for rows in () if cell.experiments is UNSET else cell.experiments:
                    if rows.id == wanted:
                        firsts[pane.shard] = min(rows.offset, firsts.get(pane.shard, rows.offset))
    return {shard: (firsts.get(shard, behind), behind) for shard, behind in ends.items()}


def _spans(
    reader: TopicReader, topic: str, experiment: Experiment, named: dict[int, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """Per shard, the range of offsets whose summaries may have rows, also where the panes hold none of them.

    Raises:
        RefusedError: the summaries of some rows have expired.
    """
    began_ms = round(experiment.document.at.timestamp() * 1000)
    bounds, began = reader.bounds(topic), reader.from_time(topic, began_ms - CLOCKS_MS)
    spans = {}
    for shard, (first, end) in named.items():
        if shard not in bounds or first < bounds[shard][0]:
            raise RefusedError(
                f"{topic}/{shard}: summaries from offset {first} on, whose rows were judged, have expired",
                hint="Without --from-source the verdict is computed again from the panes.",
            )
        spans[shard] = min(first, began[shard][0]), end
    return spans


def _source_rows(reader: TopicReader, topic: str, experiment: Experiment, spans: dict[int, tuple[int, int]]) -> Rows:
    found: Rows = {}
    for batch in reader.batches(topic, spans):
        for record in batch:
            shard = record.partition() or 0
            for start_ms, arm, rows in _rows_of(record, str(experiment.id)):
                found.setdefault((shard, start_ms), []).append((arm, rows))
    return found


def _rows_of(record: Message, wanted: str) -> Iterator[tuple[int, str, PlacedRows]]:
    try:
        cells = all_columns(read_counted(record).panes)
    except (UnreadableSummaryError, InvalidCellError):
        return  # the windower has set it aside, too
    offset = record.offset() or 0
    for cell in (one.cell for one in sorted(cells, key=lambda one: one.identity)):  # as they stand in a pane
        if not isinstance(cell, PaneCounts):
            continue
        for rows in () if cell.experiments is UNSET else cell.experiments:
            if rows.id == wanted:
                placed = PlacedRows(rows.id, rows.phase, rows.mode, rows.labels, rows.units, rows.shed, offset=offset)
                yield cell.start_ms, cell.arm, placed


def _with_rows(step: Step, source: Rows) -> Step:
    pane = step.pane
    first = pane.n - 1 if pane.addendum else 0 if step.before is None else step.before.n
    there = source.get((pane.shard, pane.start_ms), ())
    return replace(step, rows=tuple((arm, rows) for arm, rows in there if first <= rows.offset < pane.n))
