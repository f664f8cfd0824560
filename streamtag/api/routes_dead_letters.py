"""Dead letters: counted, looked at, put back. What they hold is for reviewers, and reading it leaves a trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from streamtag.api.access import Access, Operator, Reviewer, Viewer
from streamtag.api.changing import Limit, allow, settings_of, store_of
from streamtag.api.idempotency import IdempotentRoute
from streamtag.api.paging import Cursor, page, position_of
from streamtag.api.room import Room
from streamtag.api.strict import Flag, RequestBody, Whole
from streamtag.control.tokens import Token
from streamtag.dead_letters.grouping import DEFAULT, Counts, Dimension, group
from streamtag.dead_letters.letter import DeadLetter, latest
from streamtag.dead_letters.masked import masked as mask_content
from streamtag.dead_letters.plan import ReplaySpec, check_target
from streamtag.dead_letters.reader import DeadLetterReader
from streamtag.dead_letters.replay import ReplayRequest
from streamtag.dead_letters.replay import replay as run_replay
from streamtag.dead_letters.selection import Selection, parse_selection

__all__ = ["router"]

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"], route_class=IdempotentRoute)

Text = Annotated[str, Field(max_length=500)]
Partition = Annotated[int, Path(ge=0, lt=10**9)]
Offset = Annotated[int, Path(ge=0, lt=10**18)]
_ROOM = Room(4, "reading dead letters")
"""Each reads the whole topic."""


class Meant(BaseModel):
    """Which dead letters: all conditions must hold; values of one are alternatives."""

    model_config = ConfigDict(extra="forbid")

    error_class: list[Text] = Field(default=[], max_length=50, description="E.g. invalid_json.")
    stage: list[Text] = Field(default=[], max_length=10, description="decode or infer.")
    field: list[Text] = Field(default=[], max_length=50, description="E.g. /text.")
    topic: list[Text] = Field(default=[], max_length=50, description="Of the original.")
    since: Text | None = Field(None, description="Died at or after: RFC 3339, or so long ago (30m, 2h, 7d).")
    until: Text | None = Field(None, description="Died before, likewise.")
    position: list[Text] = Field(default=[], max_length=500, description="Of the dead letter: partition/offset.")
    min_replays: Annotated[Whole, Field(ge=0, le=10**9)] = Field(0, description="Replayed at least so often already.")

    @classmethod
    def all(cls) -> "Meant":
        """Without a condition."""
        return cls.model_validate({})

    def selection(self, *, relative: bool = True) -> Selection:
        """As the reader has it."""
        return parse_selection(
            error_classes=self.error_class,
            stages=self.stage,
            fields=self.field,
            topics=self.topic,
            since=self.since,
            until=self.until,
            positions=self.position,
            min_replays=self.min_replays,
            now=datetime.now(UTC),
            relative=relative,
            prefix="",
        )


class Replay(RequestBody):
    """A replay. The same selection and target again, or the same id, goes on where it stopped."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"selection": {"error_class": ["too_large"]}, "dry_run": True, "reason": "limit raised"}]
        },
    )

    selection: Meant = Field(default_factory=Meant.all, description="Times absolute: to mean the same again.")
    to: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")] | None = Field(
        None, description="Topic to write to; none: each letter's own."
    )
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] | None = Field(
        None, description="Name of this replay; none: made of selection and target."
    )
    limit: Whole = Field(1_000, ge=1, le=10_000, description="Stop after so many; `limited` says that more are left.")
    max_replays: Whole = Field(3, ge=1, le=1_000, description="Leave letters alone that were replayed so often.")
    dry_run: Flag = Field(False, description="Only count what would be replayed.")
    reason: str = Field(min_length=1, max_length=2_000, description="Kept in the audit for ever.")


def _meant(
    *,
    error_class: Annotated[
        list[Text], Query(default_factory=list, max_length=50, description="E.g. invalid_json; several.")
    ],
    stage: Annotated[list[Text], Query(default_factory=list, max_length=10, description="decode or infer.")],
    field: Annotated[list[Text], Query(default_factory=list, max_length=50, description="E.g. /text; several.")],
    topic: Annotated[list[Text], Query(default_factory=list, max_length=50, description="Of the original; several.")],
    since: Annotated[
        Text | SkipJsonSchema[None], Query(description="Died at or after: RFC 3339, or so long ago (30m, 2h, 7d).")
    ] = None,
    until: Annotated[Text | SkipJsonSchema[None], Query(description="Died before, likewise.")] = None,
    min_replays: Annotated[int, Query(ge=0, le=10**9, description="Replayed at least so often already.")] = 0,
) -> Selection:
    return Meant(
        error_class=error_class,
        stage=stage,
        field=field,
        topic=topic,
        since=since,
        until=until,
        min_replays=min_replays,
    ).selection()


Chosen = Annotated[Selection, Depends(_meant)]


@router.get("")
def dead_letters(
    request: Request, _who: Viewer, chosen: Chosen, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    """Dead letters, the latest first: what, why and where, never what they hold."""
    before = position_of(cursor, tuple[int, int, int])
    counts = Counts()
    with _reader(request) as reader:
        found = counts.over(reader.letters(chosen))
        newest = latest(found, limit + 1, before=before)
    items = page(newest, limit, DeadLetter.facts, lambda letter: letter.place)
    return {**items, "matching": counts.letters, "foreign": counts.foreign}


@router.get("/groups")
def groups(
    request: Request,
    _who: Viewer,
    chosen: Chosen,
    by: Annotated[list[Dimension], Query(default_factory=lambda: list(DEFAULT), min_length=1, max_length=7)],
) -> dict[str, Any]:
    """Dead letters counted by what they have in common, most first."""
    counts = Counts()
    with _reader(request) as reader:
        found = group(counts.over(reader.letters(chosen)), tuple(dict.fromkeys(by)))
    return {
        "items": [msgspec.to_builtins(one) for one in found],
        "matching": counts.letters,
        "foreign": counts.foreign,
    }


@router.get("/{partition}/{offset}")
def dead_letter(request: Request, partition: Partition, offset: Offset, _who: Viewer) -> dict[str, Any]:
    """One dead letter: what, why and where."""
    return _letter(request, partition, offset).facts()


@router.get("/{partition}/{offset}/content")
def content(
    request: Request,
    partition: Partition,
    offset: Offset,
    who: Reviewer,
    masked: Annotated[
        bool, Query(description="Mask e-mail and IP addresses, telephone and card numbers; leave out what is no text.")
    ] = False,
) -> dict[str, Any]:
    """Key, value and headers of the original: personal data, maybe. That it was read is noted in the access log."""
    found = _letter(request, partition, offset)
    access: Access = request.app.state.access
    access.tokens.note("read content", who.name, f"dead letter {found.topic}/{found.position}")
    held = mask_content(found.content()) if masked else found.content()
    return {"position": found.position, "truncated": found.truncated, **held}


@router.post("/replays")
def replay(request: Request, body: Replay, who: Operator) -> dict[str, Any]:
    """Put dead letters back where they came from: original key, headers and bytes, each once per replay."""
    allow(who, None)
    settings = settings_of(request)
    spec = ReplaySpec(settings.topics.dead_letters, body.selection.selection(relative=False), body.to)
    wanted = ReplayRequest(spec, id=body.id, max_replays=body.max_replays, limit=body.limit, dry_run=body.dry_run)
    check_target(spec, settings.topics)
    with _ROOM.place():
        _note(request, body, spec, who)
        return run_replay(settings, wanted).facts(dry_run=body.dry_run)


def _note(request: Request, body: Replay, spec: ReplaySpec, who: Token) -> None:
    if not body.dry_run:
        # Before it: nothing is put back that nobody can be asked about.
        store_of(request).note(
            {
                "action": "replay-dead-letters",
                "author": who.name,
                "reason": body.reason,
                "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
                "replay": body.id or spec.default_id(),
                "selection": msgspec.json.encode(spec.selection).decode(),
                "to": body.to or "",
                "limit": str(body.limit),
            }
        )


def _letter(request: Request, partition: int, offset: int) -> DeadLetter:
    with _reader(request) as reader:
        return reader.letter(partition, offset)


@contextmanager
def _reader(request: Request) -> Iterator[DeadLetterReader]:
    with _ROOM.place(), DeadLetterReader(settings_of(request)) as reader:
        yield reader
