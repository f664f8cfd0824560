"""What labels do: windows, rates, the ledger; and the labels themselves."""

import time
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request

from streamtag.api.access import Viewer
from streamtag.api.changing import settings_of, store_of
from streamtag.api.room import Room
from streamtag.api.scoring import Scoring
from streamtag.errors import NotFoundError
from streamtag.stats.comparison import compare, signals
from streamtag.stats.ledger_document import ledger_document
from streamtag.stats.ledger_reader import read_ledger, reader_options
from streamtag.stats.read_model import LOOK_BACK, ReadModel
from streamtag.stats.what_if import histogram, segments
from streamtag.stats.window_parts import Rates
from streamtag.stats.windows import SIZES, start_of
from streamtag.stream.topic_reader import TopicReader

__all__ = ["router"]

router = APIRouter(prefix="/v1")

Size = Literal["1m", "5m", "1h", "1d"]
_MOST_WINDOWS = 20_000
_LEDGER_ROOM = Room(2, "reading the ledger")
"""Each reads the topic of commit summaries, at worst all of it."""


@router.get("/labels", tags=["labels"])
def labels(request: Request, _who: Viewer) -> dict[str, Any]:
    """The labels of the champion, with what they mean and the cut-offs that decide."""
    scoring: Scoring = request.app.state.scoring
    active = scoring.active()
    found = [
        {**msgspec.to_builtins(one), "threshold": active.thresholds.labels[one.id]}
        for one in active.scorer.bundle.manifest.labels
    ]
    return {"bundle": str(active.ref.bundle), "items": found}


@router.get("/labels/{label}", tags=["labels"])
def label(
    request: Request, label: str, _who: Viewer, hours: Annotated[float, Query(gt=0, le=8_784)] = 24.0
) -> dict[str, Any]:
    """One label: what it means, its cut-offs, and the histogram of the scores that the champion's bundle gave it."""
    scoring: Scoring = request.app.state.scoring
    active = scoring.active()
    found = next((one for one in active.scorer.bundle.manifest.labels if one.id == label), None)
    if found is None:
        raise NotFoundError(f"{active.ref.bundle} has no label {label}", hint="`GET /v1/labels` lists them.")
    now_ms = time.time_ns() // 1_000_000
    since_ms = now_ms - round(hours * 3_600_000)
    bins = histogram(ReadModel(store_of(request)), active.ref.bundle.sha256, label, since_ms, now_ms)
    return {
        **msgspec.to_builtins(found),
        "bundle": str(active.ref.bundle),
        "threshold": active.thresholds.labels[label],
        "segments": [
            {"when": dict(one.when), "threshold": one.labels[label]}
            for one in active.thresholds.segments
            if label in one.labels
        ],
        "hours": hours,
        "events": int(bins.sum()),
        "bins": bins.tolist(),
    }


@router.get("/labels/{label}/segments", tags=["labels"])
def label_segments(
    request: Request, label: str, _who: Viewer, hours: Annotated[float, Query(gt=0, le=8_784)] = 24.0
) -> dict[str, Any]:
    """Events and alerts of one label in each segment of `stats.segments`; `other`: every other value, or none."""
    now_ms = time.time_ns() // 1_000_000
    found = segments(ReadModel(store_of(request)), label, now_ms - round(hours * 3_600_000), now_ms)
    return {
        "hours": hours,
        "items": [
            {"dimension": dimension, "value": value, "events": events, "alerts": alerts}
            for (dimension, value), (events, alerts) in found.items()
        ],
    }


@router.get("/windows", tags=["statistics"])
def windows(
    request: Request,
    _who: Viewer,
    size: Size = "1h",
    hours: Annotated[float, Query(gt=0, le=17_568, description="Up to now.")] = 24.0,
) -> dict[str, Any]:
    """Events and alerts of each label in the windows up to now, oldest first; those without events are left out."""
    now_ms = time.time_ns() // 1_000_000
    first = max(start_of(size, now_ms - round(hours * 3_600_000)), now_ms - _MOST_WINDOWS * SIZES[size])
    starts = range(start_of(size, first), now_ms, SIZES[size])
    found = ReadModel(store_of(request)).read_as(Rates, [(size, start) for start in starts])
    return {"size": size, "items": [_window(one) for one in found if one is not None]}


@router.get("/rates", tags=["statistics"])
def rates(request: Request, _who: Viewer, size: Size = "5m") -> dict[str, Any]:
    """The newest window of a size: each label against the hour before and the same hour last week; signals."""
    model = ReadModel(store_of(request))
    window = model.newest(size, time.time_ns() // 1_000_000)
    if window is None:
        raise NotFoundError(
            f"no {size} window has any event, of the last {LOOK_BACK}",
            hint="Are `streamtag windows` and `streamtag stats` running?",
        )
    hour, week = model.before(window)
    return {
        "size": size,
        "start_ms": window.start_ms,
        "exact": window.exact,
        "labels": {
            one.now.label: {**one.facts(), "bins": one.now.bins.tolist()} for one in compare(window, hour, week)
        },
        "signals": [] if hour is None else [msgspec.to_builtins(one) for one in signals(window, hour)],
    }


@router.get("/ledger", tags=["statistics"])
def ledger(
    request: Request,
    _who: Viewer,
    hours: Annotated[float, Query(ge=0, le=17_568, description="Up to now; 0: all that the topic still holds.")] = 24.0,
) -> dict[str, Any]:
    """Whether anything was lost or doubled: per source partition, in = tagged + clean + dead + skipped."""
    settings = settings_of(request)
    since_ms = time.time_ns() // 1_000_000 - round(hours * 3_600_000) if hours else None
    with _LEDGER_ROOM.place(), TopicReader(reader_options(settings)) as reader:
        found = read_ledger(settings.topics.stats, reader, since_ms)
    return ledger_document(found, settings.topics.stats, since_ms)


def _window(window: Rates) -> dict[str, Any]:
    return {
        "start_ms": window.start_ms,
        "exact": window.exact,
        "labels": {label: {"events": events, "alerts": alerts} for label, (events, alerts) in window.labels().items()},
    }
