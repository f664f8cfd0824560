"""Scoring: OpenAI's moderation endpoint, and our own with everything that a tag event would hold."""

import asyncio
import re
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from streamtag.api.access import Viewer
from streamtag.api.changing import settings_of
from streamtag.api.explaining import MOST, Explaining
from streamtag.api.scoring import OverloadedError, Scored, ScoredEvent, Scoring
from streamtag.api.strict import MOST_FIELDS, MOST_PROBLEMS, Flag, RequestBody, too_many_fields
from streamtag.errors import RefusedError
from streamtag.events.content import ContentEvent
from streamtag.model.explain import Explanation

__all__ = ["CEILING", "router", "score_events"]

router = APIRouter(tags=["scoring"])

T = TypeVar("T")
_EXPLAINED_S = 10.0
"""An explanation takes up to some hundred runs of the model: nobody waits longer for it."""
_SAFE = re.compile(r"[A-Za-z0-9._:@/+=-]{1,200}")
CEILING = 100_000
"""The most that `api.max_events` may be set to: of a longer list nothing is looked at."""


class TextPart(BaseModel):
    """A part of an input; only text is scored."""

    type: Literal["text"]
    text: str


def _form(given: Any) -> str:
    """Which of the three an input is, by its first element: the others would add problems of their own."""
    if not isinstance(given, list):
        return "text"
    return "parts" if given and isinstance(given[0], dict | TextPart) else "texts"


Input = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[str], Field(max_length=CEILING, fail_fast=True), Tag("texts")]
    | Annotated[list[TextPart], Field(max_length=CEILING, fail_fast=True), Tag("parts")],
    Discriminator(_form),
]


class ModerationRequest(RequestBody):
    """As the OpenAI API has it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "a comment"}]})

    input: Input = Field(description="A text, several, or the text parts of one.")
    model: str | None = Field(None, description="Not looked at: the champion decides. The answer names it.")


class Moderation(BaseModel):
    """What one text gets."""

    flagged: bool = Field(description="Whether any label is given.")
    categories: dict[str, bool] = Field(description="Label to whether it is given.")
    category_scores: dict[str, float] = Field(description="Label to its calibrated probability.")
    category_applied_input_types: dict[str, list[str]] = Field(description="Always text.")
    category_actions: dict[str, str] = Field(
        description="Not of the OpenAI API: of each label that is given, `tag`, or `review` while its breaker is open."
    )


class ModerationAnswer(BaseModel):
    """As the OpenAI API has it."""

    id: str
    model: str = Field(description="The bundle that scored, name@version.")
    results: list[Moderation]


class Event(BaseModel):
    """A content event, as far as it matters here."""

    model_config = ConfigDict(extra="forbid")

    id: str = ""
    text: str
    lang: str | None = None
    channel: str | None = None
    tenant: str | None = None


def _few_fields(given: Any) -> Any:
    if isinstance(given, list) and any(isinstance(one, dict) and len(one) > MOST_FIELDS for one in given):
        raise too_many_fields()
    return given


class ScoreRequest(RequestBody):
    """Events to score by one release."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"events": [{"id": "42", "text": "a comment", "lang": "en"}]}]}
    )

    events: Annotated[
        list[Event], Field(min_length=1, max_length=CEILING, fail_fast=True), BeforeValidator(_few_fields)
    ]
    explain: Flag = Field(
        False,
        description=f"Say what each word adds to the logit of the labels that an event gets, or of the one with the "
        f"highest score where it gets none; at most {MOST} events.",
    )


class Span(BaseModel):
    """Code points ``start`` to ``end`` of the text as it was given."""

    start: int
    end: int
    weight: float


class ExplanationAnswer(BaseModel):
    """Why a label got its score: bias plus weights is the logit, ln(p / (1 - p))."""

    label: str
    score: float
    logit: float
    bias: float = Field(description="Of a text that says nothing; with what the length gives, where that counts.")
    spans: list[Span] = Field(description="In order: code points of the text, and what they add.")
    method: Literal["exact", "occlusion"]


class TagAnswer(BaseModel):
    """One label that an event gets, and why."""

    label: str
    score: float
    threshold: float
    action: str = Field(description="`tag`, or `review` while the breaker of the label is open.")


class EventAnswer(BaseModel):
    """What one event gets."""

    id: str
    tags: list[TagAnswer]
    scores: dict[str, float] = Field(description="Every label; empty where the event was refused.")
    thresholds: dict[str, float] = Field(
        description="Of each score: the cut-off that held for this event, that of its segment where it has one."
    )
    error: str | None = Field(None, description="Why it was refused; the others are scored all the same.")
    stage: str = Field("1", description="The stage of the model that scored it: 2 only of a bundle that has two.")
    stage2: str | None = Field(
        None, description="Why stage 2 scored it (band, sample), or failed to; null where it was not asked."
    )
    explanations: list[ExplanationAnswer] | None = Field(None, description="Where they were asked for.")


class ScoreAnswer(BaseModel):
    """One answer per event, in their order, and the release that decided."""

    release: dict[str, Any]
    breakers: int | None = Field(
        None, description="Number of the state that says which breakers are open; null: none is."
    )
    results: list[EventAnswer]


@router.post("/v1/moderations")
async def moderate(request: Request, body: ModerationRequest, _who: Viewer) -> ModerationAnswer:
    """Score texts; the request and the answer are those of the OpenAI API, so its clients work unchanged.

    One field is added, `category_actions`: a label whose breaker is open is flagged as ever, and asks for review.
    """
    texts = [body.input] if isinstance(body.input, str) else _texts(body.input)
    scored = await score_events(request, [ContentEvent(id=str(i), text=text) for i, text in enumerate(texts)])
    problems = [f"input.{i}: {one.refused}" for i, one in enumerate(scored.events) if one.refused is not None]
    if problems:
        raise RefusedError("some texts cannot be scored", problems=problems)
    results = [_moderation(one) for one in scored.events]
    return ModerationAnswer(id=f"modr-{uuid.uuid4().hex}", model=str(scored.active.ref.bundle), results=results)


@router.post("/v1/score")
async def score(request: Request, body: ScoreRequest, _who: Viewer) -> ScoreAnswer:
    """Score content events as the stream would: tags with score, cut-off and action, all scores, what decided."""
    unsafe = (i for i, one in enumerate(body.events) if one.id and not _SAFE.fullmatch(one.id))
    wrong = [f"events.{i}.id: not a plain id" for i in islice(unsafe, MOST_PROBLEMS)]
    if wrong:
        raise RefusedError("some events are not valid", problems=wrong)
    events = [
        ContentEvent(id=one.id or str(i), text=one.text, lang=one.lang, channel=one.channel, tenant=one.tenant)
        for i, one in enumerate(body.events)
    ]
    if body.explain and len(events) > MOST:
        raise RefusedError(f"{len(events)} events; at most {MOST} can be explained at once")
    scored = await score_events(request, events)
    reasons = await _explained(request, scored) if body.explain else [None] * len(events)
    results = [_event(one, why) for one, why in zip(scored.events, reasons, strict=True)]
    return ScoreAnswer(release=_release(scored), breakers=scored.breakers, results=results)


async def score_events(request: Request, events: list[ContentEvent]) -> Scored:
    """Has them scored together with those of other requests.

    Raises:
        RefusedError: more events or longer texts than one request may bring; names every problem.
        OverloadedError: there is no room, or no answer in time.
    """
    settings = settings_of(request)
    scoring: Scoring = request.app.state.scoring
    limit, longest = settings.api.max_events, settings.events.max_text_chars
    problems = [f"{len(events)} events; one request may bring {limit}"] if len(events) > limit else []
    problems += [
        f"event {i}: {len(one.text)} characters; the limit is {longest} (events.max_text_chars)"
        for i, one in enumerate(events)
        if one.text is not None and len(one.text) > longest
    ]
    if problems:
        raise RefusedError("the request is too large", problems=problems[:100])
    return await _in_time(scoring.submit(events, arrived=request.state.arrived), 2 * settings.api.deadline_ms / 1000)


async def _explained(request: Request, scored: Scored) -> Sequence[list[Explanation]]:
    explaining: Explaining = request.app.state.explaining
    return await _in_time(explaining.submit(scored), _EXPLAINED_S)


async def _in_time(answer: "Future[T]", limit_s: float) -> T:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(answer), limit_s)
    except TimeoutError:
        raise OverloadedError("there was no answer in time", hint="Come again a little later.") from None


def _texts(found: list[str] | list[TextPart]) -> list[str]:
    """Strings are inputs of their own; parts are one input."""
    if not found:
        raise RefusedError("input: empty")
    texts = [one for one in found if isinstance(one, str)]
    return texts or ["\n".join(one.text for one in found if isinstance(one, TextPart))]


def _moderation(one: ScoredEvent) -> Moderation:
    given = {tag.label: tag.action for tag in one.tags}
    return Moderation(
        flagged=bool(given),
        categories={label: label in given for label in one.scores},
        category_scores=one.scores,
        category_applied_input_types={label: ["text"] for label in one.scores},
        category_actions=given,
    )


def _event(one: ScoredEvent, reasons: list[Explanation] | None) -> EventAnswer:
    tags = [TagAnswer(label=t.label, score=t.score, threshold=t.threshold, action=t.action) for t in one.tags]
    error = str(one.refused) if one.refused else None
    return EventAnswer(
        id=one.event.id,
        tags=tags,
        scores=one.scores,
        thresholds=one.cutoffs,
        error=error,
        stage=one.stage,
        stage2=one.stage2,
        explanations=None if reasons is None else [_explanation(why) for why in reasons],
    )


def _explanation(why: Explanation) -> ExplanationAnswer:
    spans = [Span(start=span.start, end=span.end, weight=span.weight) for span in why.spans]
    return ExplanationAnswer(
        label=why.label, score=why.score, logit=why.logit, bias=why.bias, spans=spans, method=why.method
    )


def _release(scored: Scored) -> dict[str, Any]:
    ref = scored.active.ref
    return {
        "number": ref.number,
        "sha256": ref.sha256,
        "bundle": {"name": ref.bundle.name, "version": ref.bundle.version, "sha256": ref.bundle.sha256},
        "thresholds": {"revision": ref.revision, "sha256": ref.revision_sha256},
    }
