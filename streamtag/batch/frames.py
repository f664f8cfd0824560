"""The batch scorer as a function over pandas frames, for Spark and Ray Data: more machines than one.

Spark, one scorer a Python worker::

    from functools import partial
    from streamtag.batch.frames import score_frames, spark_schema

    score = partial(score_frames, bundle="/shared/bundles/moderation/1")
    scored = documents.mapInPandas(score, schema=spark_schema("/shared/bundles/moderation/1"))

Ray Data, one scorer an actor::

    from streamtag.batch.frames import FrameScorer

    options = {"bundle": "/shared/bundles/moderation/1"}
    scored = dataset.map_batches(FrameScorer, batch_format="pandas", concurrency=8, fn_constructor_kwargs=options)

A frame has the columns ``id`` and ``text``, and may have ``lang``, ``channel``, ``tenant`` and ``features``. What
comes out has the columns of a Parquet part without the identity of what decided, which is the caller's here, and
``error``: why a row has no scores, else null. A bundle with two stages adds ``stage``: which one scored the row.

Ids are text or numbers. Floats, which pandas makes of integers with a null among them, are ids where they are whole and
below 2**53; other rows of theirs are refused, as another number may have been rounded to this one.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from streamtag.batch.rows import FIELDS
from streamtag.batch.scoring import EventScorer
from streamtag.batch.table_rows import row_event
from streamtag.domain.thresholds import ThresholdSet, problems
from streamtag.errors import RefusedError
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
from streamtag.settings import EventsSettings

__all__ = ["FrameScorer", "score_frames", "spark_schema"]


class FrameScorer:
    """Scores frames by one bundle.

    Args:
        bundle: directory of the bundle.
        thresholds: cut-offs (``{"labels": …, "segments": …}``); None: the bundle's own.
        columns: field (``text``, ``id``, …) to the column that holds it, where that has another name.
        batch: texts per run of the model.
        max_text_chars: a longer text is refused, as in the stream.

    Raises:
        BundleError: the bundle does not pass its gates.
        RefusedError: the cut-offs do not fit it.
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        thresholds: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        batch: int = 64,
        max_text_chars: int = 20_000,
    ) -> None:
        scorer = load_scorer(Path(bundle), batch=batch)
        cutoffs = scorer.bundle.default_thresholds if thresholds is None else ThresholdSet.from_dict(thresholds)
        wrong = problems(cutoffs, scorer.labels)
        if wrong:
            raise RefusedError(f"the cut-offs do not fit bundle {scorer.bundle.ref}", problems=wrong)
        self.labels = scorer.labels
        self._scorer = EventScorer(scorer, cutoffs)
        self._columns = {field: (columns or {}).get(field, field) for field in FIELDS}
        self._decoder = Decoder(EventsSettings.model_validate({"max_text_chars": max_text_chars}))

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One row out for each row in, in their order.

        Raises:
            RefusedError: the frame has none of the columns, or one of them twice.
        """
        errors: list[str | None] = [None] * len(frame)
        events: list[ContentEvent] = []
        at: list[int] = []
        index = list(map(str, frame.index))
        rows = self._rows(frame)
        for i, row in enumerate(rows):
            try:
                events.append(self._event(row, default_id=index[i]))
                at.append(i)
            except Rejected as rejected:
                errors[i] = _text(rejected)
        found = self._scorer.score(events)
        for place, refusal in found.refused.items():
            errors[at[place]] = _text(refusal)
        places = np.asarray(at, dtype=np.intp)[found.at]
        scores = np.full((len(frame), len(self.labels)), np.nan)
        scores[places] = found.scores
        tags: list[list[str]] = [[] for _ in range(len(frame))]
        for place, tagged in zip(places.tolist(), found.tagged, strict=True):
            tags[place] = [self.labels[j] for j in tagged.nonzero()[0].tolist()]
        ids = [row.get("id", name) for row, name in zip(rows, index, strict=True)]
        named = {f"score_{label}": scores[:, j] for j, label in enumerate(self.labels)}
        columns: dict[str, Any] = {"id": ids, "tags": tags, **named, "error": errors}
        if self._scorer.two_stages:
            stages: list[str | None] = [None] * len(frame)
            for i, place in enumerate(places.tolist()):
                stages[place] = found.staged(i, self.labels).stage
            columns["stage"] = stages
        return pd.DataFrame(columns, index=frame.index)

    def _rows(self, frame: pd.DataFrame) -> list[dict[str, Any]]:
        """Field to value, row by row; what pandas has for "none" is None."""
        there = [str(column) for column in frame.columns]
        known = {column: there.count(column) for column in self._columns.values() if column in there}
        if not known and len(frame):
            raise RefusedError(f"the frame has none of {', '.join(self._columns.values())}; it has {', '.join(there)}")
        if twice := [column for column, n in known.items() if n > 1]:
            raise RefusedError(f"the frame has {', '.join(twice)} more than once; its columns are {', '.join(there)}")
        values = {}
        for field, column in self._columns.items():
            if column in frame.columns:
                series = frame[column]
                missing = series.isna()
                values[field] = [None if gone else value for value, gone in zip(series, missing, strict=True)]
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]

    def _event(self, row: dict[str, Any], default_id: str) -> ContentEvent:
        """The event of one row, whose id becomes text: numbers are ids, too."""
        value = row.get("id")
        if value is not None:
            row["id"] = str(value)
        if isinstance(value, (float, np.floating)):
            if not _is_exact(value):
                column = self._columns["id"]
                message = f"column {column} is of floats, and this one is no exact whole number: make it Int64, or text"
                raise Rejected(ErrorClass.WRONG_TYPE, stage="decode", field="/id", message=message)
            row["id"] = str(int(value))
        return row_event(row, self._decoder, default_id)


def score_frames(frames: Iterable[pd.DataFrame], bundle: str | Path, **options: Any) -> Iterator[pd.DataFrame]:
    """Scores frames as they come, as Spark's ``mapInPandas`` wants it.

    Args:
        frames: with the columns named above.
        bundle: directory of the bundle, the same on every machine.
        options: those of `FrameScorer`.
    """
    scorer = FrameScorer(bundle, **options)
    yield from map(scorer, frames)


def spark_schema(bundle: str | Path) -> str:
    """The columns of what comes out, as Spark's DDL."""
    read = read_bundle(Path(bundle))
    scores = ", ".join(f"`score_{label}` double" for label in read.labels)
    stage = "" if read.stage2 is None else ", stage string"
    return f"id string, tags array<string>, {scores}, error string{stage}"


def _is_exact(value: Any) -> bool:
    """Whether a float is a whole number that no other one was rounded to: pandas makes floats of integers and nulls."""
    return bool(value.is_integer()) and abs(value) < 2**53


def _text(rejected: Rejected) -> str:
    where = f" at {rejected.field}" if rejected.field else ""
    return f"{rejected.error_class}{where}: {rejected.message}"
