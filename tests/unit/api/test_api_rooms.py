"""What holds a thread for long has its own room, and keeps nobody else from being answered."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from api_rig import Api
from fastapi.testclient import TestClient
from services import wait_until
from starlette.types import Message

from streamtag.api import routes_audit, routes_dead_letters
from streamtag.api.paging import cursor_of
from streamtag.api.room import Room
from streamtag.control.group import GroupReader
from streamtag.control.tokens import Role
from streamtag.dead_letters.plan import ReplaySpec, Tally
from streamtag.dead_letters.replay import ReplayResult
from streamtag.errors import UnavailableError

pytest_plugins = ("api_fixture",)

REPLAY = {"reason": "mended"}


def put_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> tuple[TestClient, list[object]]:
    """An operator, and what was asked of Kafka in vain."""
    asked: list[object] = []

    def replayed(_settings: object, wanted: object) -> ReplayResult:
        asked.append(wanted)
        return ReplayResult("x", ReplaySpec("dead-letters"), resumed=False, limited=False, tally=Tally())

    monkeypatch.setattr(routes_dead_letters, "run_replay", replayed)
    return api.as_(Role.OPERATOR), asked


def test_a_replay_needs_a_place_among_those_who_read_the_whole_topic(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client, asked = put_back(api, monkeypatch)
    with ExitStack() as others:
        for _ in range(4):
            others.enter_context(routes_dead_letters._ROOM.place())
        found = client.post("/v1/dead-letters/replays", json=REPLAY)
        assert (found.status_code, found.headers["retry-after"]) == (429, "1")
        assert api.store.audit(1)[0].fields["action"] == "seed", "what was turned away is in no audit"
    assert client.post("/v1/dead-letters/replays", json=REPLAY).status_code == 200
    assert len(asked) == 1


@pytest.mark.parametrize("to", ["tags", "stats", "panes", "dead-letters", "__consumer_offsets"])
def test_a_replay_into_topics_that_only_we_or_kafka_write_is_refused_and_not_noted(
    api: Api, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    client, asked = put_back(api, monkeypatch)
    found = client.post("/v1/dead-letters/replays", json={**REPLAY, "to": to})
    assert (found.status_code, asked) == (422, [])
    assert to in found.json()["detail"]
    assert api.store.audit(1)[0].fields["action"] == "seed"


def test_so_many_follow_changes_and_others_are_turned_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_audit, "_STREAM_ROOM", Room(1, "following changes"))
    following = asyncio.Event()

    async def endless(*_: object) -> AsyncIterator[str]:
        following.set()
        yield ": follows"
        await asyncio.Event().wait()

    monkeypatch.setattr(routes_audit, "_events", endless)
    headers = [(name.lower().encode(), value.encode()) for name, value in api.as_(Role.VIEWER).headers.items()]

    async def follow() -> list[Message]:
        heard: list[Message] = []

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            heard.append(message)

        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/v1/changes", "raw_path": b"/v1/changes"}
        scope |= {"query_string": b"", "headers": headers, "scheme": "http", "server": ("127.0.0.1", 1)}
        await api.anonymous.app(scope, receive, send)
        return heard

    async def both() -> None:
        first = asyncio.create_task(follow())
        await asyncio.wait_for(following.wait(), 20)
        second = await asyncio.wait_for(follow(), 20)
        assert second[0]["status"] == 429
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        following.clear()
        third = asyncio.create_task(follow())  # its place is free again
        await asyncio.wait_for(following.wait(), 20)
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)

    asyncio.run(both())


def test_streams_wait_on_threads_of_their_own(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def follow(*_: object) -> list[object]:
        names.append(threading.current_thread().name)
        return []

    def may_go_on(_request: object) -> bool:
        names.append(threading.current_thread().name)
        return True

    monkeypatch.setattr(api.store, "follow_audit", follow)
    monkeypatch.setattr(routes_audit, "_ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(routes_audit, "_may_go_on", may_go_on)

    class Following:
        async def is_disconnected(self) -> bool:
            return False

    async def read() -> None:
        stream = routes_audit._events(Following(), api.store, "0-0")  # type: ignore[arg-type]
        for _ in range(2):
            await anext(stream)

    asyncio.run(read())
    assert len(names) == 2
    assert all(name.startswith("changes") for name in names)


def test_however_many_look_while_kafka_is_away_scoring_goes_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, scored = list[float](), threading.Event()

    def hang(_reader: GroupReader, timeout_s: float) -> frozenset[str]:
        asked.append(timeout_s)
        scored.wait(60)
        raise UnavailableError("Kafka is away")

    monkeypatch.setattr(GroupReader, "members", hang)
    client = api.as_(Role.VIEWER)
    app, at, headers = httpx.ASGITransport(app=client.app), "http://127.0.0.1", dict(client.headers)

    async def look_and_score() -> list[str]:
        async with httpx.AsyncClient(transport=app, base_url=at, headers=headers, timeout=60) as caller:
            paths = ["/v1/releases/current", "/v1/fleet"] * 50
            looks = [asyncio.create_task(caller.get(path)) for path in paths]
            try:
                await asyncio.to_thread(wait_until, lambda: asked, 20, "a question")
                await asyncio.wait(looks, timeout=10, return_when=asyncio.FIRST_COMPLETED)
                found = await asyncio.wait_for(caller.post("/v1/score", json={"events": [{"text": "hello"}]}), 30)
                assert found.status_code == 200
                assert len(asked) == 1
            finally:
                scored.set()
            return [found.json()["live"] for found in await asyncio.gather(*looks)]

    assert set(asyncio.run(look_and_score())) == {"unknown"}


@pytest.mark.parametrize("given", ["99999999999999999999-0", "0-99999999999999999999", "1-1\n", "1", "x-y"])
def test_an_id_of_more_than_64_bits_is_none_of_a_stream(api: Api, given: str) -> None:
    client = api.as_(Role.ADMIN)
    for path in ("/v1/audit", "/v1/access-log"):
        assert client.get(path, params={"cursor": cursor_of(given)}).status_code == 422, path
    if given.isprintable():
        assert client.get("/v1/changes", headers={"Last-Event-ID": given}).status_code == 422
