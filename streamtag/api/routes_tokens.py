"""Tokens: who may do what. For admins."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, ConfigDict, Field

from streamtag.api.access import Access, Admin
from streamtag.api.paging import Cursor, StreamId, page, position_of
from streamtag.api.strict import RequestBody
from streamtag.control.tokens import Role

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["tokens"])


class NewToken(RequestBody):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._@ -]{1,100}$")
    role: Role
    expires_at: AwareDatetime | None = Field(None, description="With a zone; none: never.")
    labels: Annotated[list[str], Field(max_length=10_000, fail_fast=True)] | None = Field(
        None, description="The only labels whose cut-offs it may change; none: all."
    )


@router.get("/tokens")
def tokens(request: Request, _who: Admin) -> dict[str, Any]:
    """All tokens, without their secrets."""
    access: Access = request.app.state.access
    return {"items": [msgspec.to_builtins(one) for one in access.tokens.all()]}


@router.post("/tokens", status_code=201)
def create(request: Request, body: NewToken, who: Admin) -> dict[str, Any]:
    """Make a token. It is shown this once."""
    access: Access = request.app.state.access
    secret = access.tokens.create(body.name, body.role, by=who.name, expires_at=body.expires_at, labels=body.labels)
    return {"name": body.name, "role": body.role, "token": secret}


@router.delete("/tokens/{name}")
def revoke(request: Request, name: str, who: Admin) -> dict[str, Any]:
    """End a token; it is refused everywhere within seconds."""
    access: Access = request.app.state.access
    return {"revoked": access.tokens.revoke(name, by=who.name).name}


@router.get("/access-log")
def access_log(
    request: Request, _who: Admin, limit: Annotated[int, Query(ge=1, le=1_000)] = 100, cursor: Cursor = None
) -> dict[str, Any]:
    """Who was refused what, who read content, and changes of tokens, newest first."""
    access: Access = request.app.state.access
    found = access.tokens.access_log(limit + 1, before=position_of(cursor, StreamId))
    return page(found, limit, dict, lambda one: one["id"])
