"""Too many scoring requests at once: turned away before they are read, and only these."""

import asyncio
import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from streamtag.api.app import _BodyLimit, _Crowd

ANSWERED = 204


class Rig:
    """A crowd of at most two before an app that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.read = 0
        self.crowd = _Crowd(self._app, most=2, most_bytes=1_000)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await self.go.wait()
        await send({"type": "http.response.start", "status": ANSWERED, "headers": []})

    async def ask(self, path: str = "/v1/moderations", method: str = "POST", length: int = 2) -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            self.read += 1
            return {"type": "http.request", "body": b"{}"}

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

    crowd = _Crowd(_BodyLimit(app, most=1_000, most_s=0.05), most=1, most_bytes=1_000)
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

    await _BodyLimit(app, most=1_000, most_s=0.05)({"type": "http"}, receive, receive)  # type: ignore[arg-type]
    assert heard == ["http.request", "http.disconnect"]


def test_whoever_follows_what_happens_may_stay_as_long_as_they_like() -> None:
    asyncio.run(followed())
