"""Who and what is let in: no stranger is read, scoring requests while there is room."""

import asyncio
import json
from typing import Any

import pytest
from api_rig import Api
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from streamtag.api.admitting import BodyLimit, Crowd, Known
from streamtag.api.problems import UnauthorizedError
from streamtag.control.tokens import Role, Token

pytest_plugins = ("api_fixture",)

ANSWERED = 204


class Rig:
    """A crowd of at most two before an app that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.read = 0
        self.crowd = Crowd(self._app, most=2, most_bytes=1_000, most_coming=8_000)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await self.go.wait()
        await send({"type": "http.response.start", "status": ANSWERED, "headers": []})

    async def ask(self, path: str = "/v1/moderations", method: str = "POST", length: int = 2) -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            self.read += 1
            return {"type": "http.request", "body": b"x" * length}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "query_string": b""}
        scope["headers"] = [(b"content-length", str(length).encode())]
        await self.crowd({**scope, "server": ("127.0.0.1", 1), "scheme": "http"}, receive, send)
        return sent


async def crowded() -> None:
    rig = Rig()
    waiting = [asyncio.create_task(rig.ask(path)) for path in ("/v1/score", "/v2/models/tiny/infer")]
    await asyncio.sleep(0)
    assert rig.read == 2
    start, body = await rig.ask()
    assert start["status"] == 429
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert "2 requests are being answered" in json.loads(body["body"])["detail"]
    assert rig.read == 2
    # what is no scoring goes through: somebody may want to change a threshold just now
    changing = asyncio.create_task(rig.ask("/v1/thresholds", "PATCH"))
    await asyncio.sleep(0)
    assert rig.read == 3
    rig.go.set()
    assert [found[0]["status"] for found in await asyncio.gather(*waiting, changing)] == [ANSWERED] * 3
    assert (await rig.ask())[0]["status"] == ANSWERED


async def long_ones() -> None:
    rig = Rig()
    alone = asyncio.create_task(rig.ask(length=5_000))
    await asyncio.sleep(0)
    assert rig.read == 1, "longer than the bound, but alone"
    assert (await rig.ask())[0]["status"] == 429
    rig.go.set()
    assert (await alone)[0]["status"] == ANSWERED
    assert (await rig.ask(length=1_000))[0]["status"] == ANSWERED


def test_long_requests_count_by_their_length() -> None:
    asyncio.run(long_ones())


def test_beyond_the_limit_scoring_is_refused_unread_and_everything_else_is_answered() -> None:
    asyncio.run(crowded())


async def stalled() -> None:
    whole, pieces = asyncio.Event(), [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        if pieces:
            return pieces.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        whole.set()

    crowd = Crowd(BodyLimit(app, most=1_000, most_s=0.05), most=1, most_bytes=1_000, most_coming=1_000)
    scope = {"type": "http", "method": "POST", "path": "/v1/score", "query_string": b"", "headers": []}
    with pytest.raises(HTTPException) as caught:
        await crowd(scope, receive, receive)  # type: ignore[arg-type]  # nothing is sent
    assert caught.value.status_code == 408
    # its place is free again
    pieces[:] = [{"type": "http.request", "body": b"}"}]
    await crowd(dict(scope), receive, receive)  # type: ignore[arg-type]  # as above
    assert whole.is_set()


def test_a_request_that_is_never_sent_to_its_end_gives_its_place_back() -> None:
    asyncio.run(stalled())


async def followed() -> None:
    messages = [{"type": "http.request", "body": b""}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.sleep(0.1)  # longer than a body may take
        return {"type": "http.disconnect"}

    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([(await receive())["type"] for _ in range(2)])

    scope = {"type": "http", "method": "GET", "path": "/v1/changes"}
    await BodyLimit(app, most=1_000, most_s=0.05)(scope, receive, receive)  # type: ignore[arg-type]
    assert heard == ["http.request", "http.disconnect"]


def test_whoever_follows_what_happens_may_stay_as_long_as_they_like() -> None:
    asyncio.run(followed())


class Sender:
    """Sends a request in pieces, when it is told to; hears what it is answered."""

    def __init__(self, told: int | None, path: str = "/v1/score") -> None:
        headers = [] if told is None else [(b"content-length", str(told).encode())]
        self.scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "query_string": b""}
        self.scope |= {"headers": headers, "server": ("127.0.0.1", 1), "scheme": "http"}
        self.pieces: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self.asked = 0
        self.heard: list[Message] = []

    async def receive(self) -> Message:
        self.asked += 1
        body, more = await self.pieces.get()
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(self, message: Message) -> None:
        self.heard.append(message)


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers what has come to its end."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": ANSWERED, "headers": []})


async def told_and_not_sent() -> None:
    crowd = Crowd(reading, most=2, most_bytes=1_000, most_coming=2_000)
    silent = [Sender(8_000_000), *(Sender(1) for _ in range(128)), Sender(None)]
    waiting = [asyncio.create_task(crowd(one.scope, one.receive, one.send)) for one in silent]
    await asyncio.sleep(0)
    # all that is known of these is what they say
    honest = Sender(900)
    honest.pieces.put_nowait((b"x" * 900, False))
    await crowd(honest.scope, honest.receive, honest.send)
    assert honest.heard[0]["status"] == ANSWERED
    # what is half here takes memory, and no more than there is for it
    silent[0].pieces.put_nowait((b"x" * 1_500, True))
    await asyncio.sleep(0)
    pieces = silent[-1]
    pieces.pieces.put_nowait((b"x" * 600, True))
    with pytest.raises(HTTPException) as caught:
        await waiting[-1]
    assert (caught.value.status_code, caught.value.headers) == (429, {"Retry-After": "1"})
    # whoever comes whole passes those that are half here
    whole = Sender(None)
    whole.pieces.put_nowait((b"x" * 900, False))
    await crowd(whole.scope, whole.receive, whole.send)
    assert whole.heard[0]["status"] == ANSWERED
    for task in waiting[:-1]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    # and all of it is given back
    whole = Sender(None)
    whole.pieces.put_nowait((b"x" * 2_000, False))
    await crowd(whole.scope, whole.receive, whole.send)
    assert whole.heard[0]["status"] == ANSWERED


def test_a_request_takes_room_by_what_has_come_of_it_and_not_by_what_it_says() -> None:
    asyncio.run(told_and_not_sent())


async def late() -> None:
    rig = Rig()
    first = Sender(None)
    waiting = asyncio.create_task(rig.crowd(first.scope, first.receive, first.send))
    await asyncio.sleep(0)
    others = [asyncio.create_task(rig.ask()) for _ in range(2)]
    await asyncio.sleep(0)
    first.pieces.put_nowait((b"{}", False))
    with pytest.raises(HTTPException) as caught:
        await waiting
    assert caught.value.status_code == 429
    rig.go.set()
    assert [found[0]["status"] for found in await asyncio.gather(*others)] == [ANSWERED] * 2


def test_a_request_that_comes_to_its_end_when_there_is_no_room_any_more_is_turned_away() -> None:
    asyncio.run(late())


async def strangers() -> None:
    def nobody(_request: Request) -> None:
        raise UnauthorizedError("nobody known")

    known = Known(reading, nobody)
    for path in ("/v1/score", "/v2/models/tiny/infer", "/v1/change-requests"):
        stranger = Sender(8_000_000, path)
        await known(stranger.scope, stranger.receive, stranger.send)
        assert (stranger.heard[0]["status"], stranger.asked) == (401, 0), path
    signing_in = Sender(2, "/v1/session")
    signing_in.pieces.put_nowait((b"{}", False))
    await known(signing_in.scope, signing_in.receive, signing_in.send)
    assert signing_in.heard[0]["status"] == ANSWERED


def test_nothing_is_read_of_a_request_of_nobody_known_but_signing_in() -> None:
    asyncio.run(strangers())


def test_strangers_are_noted_once_and_who_is_known_is_asked_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.anonymous.post("/v1/score", content=b"{").status_code == 401
    assert [one["what"] for one in api.tokens.access_log()] == ["POST /v1/score"]
    client, asked = api.as_(Role.VIEWER), list[str]()
    token = api.access.token

    def counted(secret: str) -> Token | None:
        asked.append(secret)
        return token(secret)

    monkeypatch.setattr(api.access, "token", counted)
    assert client.post("/v1/score", json={"events": [{"text": "x"}]}).status_code == 200
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("path", "longest"), [("/v1/session", 4_000), ("/v1/thresholds/preview", 4_000_000), ("/v1/score", 8_000_000)]
)
def test_a_body_is_no_longer_than_what_it_is_for(api: Api, path: str, longest: int) -> None:
    client, sent = api.as_(Role.ADMIN), {"Content-Type": "application/json"}
    assert client.post(path, content=b" " * longest, headers=sent).status_code == 422
    refused = client.post(path, content=b" " * (longest + 1), headers=sent)
    assert refused.status_code == 413
    assert f"longer than {longest} bytes" in refused.json()["detail"]
