"""The HTTP API under load: requests a second and latency by connections, CPU of a request, and three times too much.

The client runs on the same machine, over loopback, and takes processor time of its own.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from services import wait_until
from workers import FAST, Worker

from streamtag.control.changes import ReleaseChanges
from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore
from streamtag.devstack.server import free_port
from streamtag.events.content import ContentEvent
from streamtag.model.loading import load_scorer
from streamtag.settings import RedisSettings
from streamtag.tagger.infer import infer

from . import report
from .corpus import Corpus
from .cpu import process_s
from .memory import look
from .stack import Stack, running

CONNECTIONS = (1, 16, 64)
OVERLOAD = 3.0
_TEXTS = 200  # of one request under overload: what is too much is scoring, not HTTP
_DEADLINE_MS = 1_000
_MOST_OPEN = 400
_SCORER_RUNS = 2_000


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        bundle: that scores.
        requests: of one text, for each number of connections.
        seconds: of overload.
    """

    bundle: Path
    requests: int = 3_000
    seconds: float = 15.0


@dataclass
class Seen:
    """Answers: status and milliseconds of each."""

    status: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def of(self, status: int) -> list[float]:
        """Milliseconds of the answers with this status."""
        return [ms for ms, one in zip(self.ms, self.status, strict=True) if one == status]


class Connection:
    """One kept-alive HTTP/1.1 connection; no client library, so that the client takes little of the machine."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, seen: Seen) -> None:
        """Sends one request and notes its answer."""
        started = time.perf_counter()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n", 1)[0]))
        seen.status.append(int(head.split(" ", 2)[1]))
        seen.ms.append((time.perf_counter() - started) * 1_000)

    def close(self) -> None:
        """Ends it."""
        if self._streams is not None:
            self._streams[1].close()


def run(plan: Plan) -> Mapping[str, object]:
    """The whole measurement; the section ``api`` of ``reports/bench.json``."""
    texts = list(Corpus().texts[:2_000])
    with running() as stack:
        api, port, token = _started(stack, plan.bundle)
        try:
            asyncio.run(_closed_loop(port, token, texts, 16, 300))  # warm
            steps = {n: _step(api, port, token, texts, n, plan.requests) for n in CONNECTIONS}
            capacity = _capacity(api, port, token, texts)
            overload = _overload(api, port, token, texts, capacity, plan.seconds)
        finally:
            api.stop()
        alone = _scorer_us(plan.bundle, texts)
        most = steps[max(CONNECTIONS)]
        return {
            "requests_per_s": most["requests_per_s"],
            "p99_ms": most["p99_ms"],
            "cpu_us": most["cpu_us"],
            "scorer_alone_us": alone,
            "cpu_over_scorer": round(most["cpu_us"] / alone, 2),
            "steps": {str(n): step for n, step in steps.items()},
            "texts_per_s": round(capacity * _TEXTS),
            "overload": overload,
            "plan": {"requests": plan.requests, "seconds": plan.seconds, "bundle": plan.bundle.parent.name},
            **stack.services,
        }


def _started(stack: Stack, bundle: Path) -> tuple[Worker, int, str]:
    namespace, port = "bench-api", free_port()
    with closing(ControlStore(RedisSettings.model_validate({"url": stack.redis_url, "namespace": namespace}))) as store:
        scorer = load_scorer(bundle, batch=64)
        defaults = scorer.bundle.default_thresholds
        ReleaseChanges(store, max_step=1).seed(scorer.bundle.ref, scorer.labels, defaults)
        token = TokenStore(store).create("bench", Role.VIEWER, by="bench")
    overrides = {
        **FAST,
        "kafka.bootstrap_servers": stack.bootstrap,
        "redis.url": stack.redis_url,
        "redis.namespace": namespace,
        "model.directories": f"[{bundle.parent.parent}]",
        "api.port": str(port),
        "api.deadline_ms": str(_DEADLINE_MS),
        "state_dir": str(stack.directory / "state"),
    }
    return Worker(overrides, stack.directory / "api.log", role="api").wait_ready(), port, token


async def _closed_loop(port: int, token: str, texts: list[str], connections: int, requests: int) -> tuple[Seen, float]:
    """As many requests of one text each; every connection sends its next when it has its answer."""
    seen, left = Seen(), iter(range(requests))

    async def ask() -> None:
        connection = Connection(port, token)
        for number in left:
            body = json.dumps({"input": texts[number % len(texts)]}).encode()
            await connection.post("/v1/moderations", body, seen)
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(connections)))
    return seen, time.perf_counter() - started


def _step(api: Worker, port: int, token: str, texts: list[str], connections: int, requests: int) -> dict[str, float]:
    before = process_s(api.process.pid)
    seen, took_s = asyncio.run(_closed_loop(port, token, texts, connections, requests))
    cpu_s = process_s(api.process.pid) - before
    found = {
        "requests_per_s": round(requests / took_s, 1),
        "cpu_us": round(cpu_s / requests * 1e6),
        "answered": len(seen.of(200)),
        **_percentiles(seen.of(200)),
    }
    report.say(f"{connections} connections: {found}")
    return found


def _capacity(api: Worker, port: int, token: str, texts: list[str]) -> float:
    """Requests of many texts that are answered in a second, from two connections that never wait for each other."""
    bodies = _bodies(texts)

    async def ask() -> float:
        seen, until = Seen(), time.perf_counter() + 5

        async def go() -> None:
            connection = Connection(port, token)
            while time.perf_counter() < until:
                await connection.post("/v1/moderations", bodies[len(seen.status) % len(bodies)], seen)
            connection.close()

        await asyncio.gather(go(), go(), go())
        return len(seen.of(200)) / 5

    found = asyncio.run(ask())
    wait_until(lambda: api.health()[0] == 200, 10, "the API ready")
    return found


def _overload(
    api: Worker, port: int, token: str, texts: list[str], capacity: float, seconds: float
) -> dict[str, object]:
    """Arrivals on a timetable, three times what is possible, whether the earlier are answered or not."""
    bodies, rate = _bodies(texts), OVERLOAD * capacity

    async def ask() -> Seen:
        seen, free, begun = Seen(), list[Connection](), time.perf_counter()
        waiting: set[asyncio.Task[None]] = set()

        async def one(number: int) -> None:
            connection = free.pop() if free else Connection(port, token)
            await connection.post("/v1/moderations", bodies[number % len(bodies)], seen)
            free.append(connection)

        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            if len(waiting) < _MOST_OPEN:
                task = asyncio.create_task(one(number))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)
        for connection in free:
            connection.close()
        return seen

    before = look(api.process.pid, 0)
    seen = asyncio.run(ask())
    after = look(api.process.pid, 0)
    seen2 = asyncio.run(ask())
    later = look(api.process.pid, 0)
    return {
        "offered_per_s": round(rate, 1),
        "capacity_per_s": round(capacity, 1),
        "texts_per_request": _TEXTS,
        "answered": len(seen.of(200)) + len(seen2.of(200)),
        "shed_429": len(seen.of(429)) + len(seen2.of(429)),
        "others": sum(status not in (200, 429) for status in seen.status + seen2.status),
        "answered_ms": _percentiles(seen.of(200) + seen2.of(200)),
        "shed_ms": _percentiles(seen.of(429) + seen2.of(429)),
        "deadline_ms": _DEADLINE_MS,
        "rss_mb": [before.rss_mb, after.rss_mb, later.rss_mb],
    }


def _bodies(texts: list[str]) -> list[bytes]:
    return [json.dumps({"input": texts[i : i + _TEXTS]}).encode() for i in range(0, len(texts) - _TEXTS, _TEXTS)]


def _scorer_us(bundle: Path, texts: list[str]) -> float:
    """CPU of one text scored alone, without HTTP, release or cut-offs."""
    scorer = load_scorer(bundle, batch=64)
    events = [ContentEvent(id=str(i), text=text) for i, text in enumerate(texts)]
    started = time.process_time()
    for number in range(_SCORER_RUNS):
        infer([events[number % len(events)]], scorer)
    return round((time.process_time() - started) / _SCORER_RUNS * 1e6, 1)


def _percentiles(ms: list[float]) -> dict[str, float]:
    if not ms:
        return {}
    p50, p99 = np.percentile(ms, (50, 99))
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "max_ms": round(max(ms), 2)}


def show(found: Mapping[str, object]) -> None:
    """A few lines."""
    steps: Mapping[str, Mapping[str, float]] = found["steps"]  # type: ignore[assignment]
    names = ("requests_per_s", "p50_ms", "p99_ms", "cpu_us")
    rows = [(n, *(f"{step[name]:,.2f}" for name in names)) for n, step in steps.items()]
    report.table("POST /v1/moderations, one text", ("connections", "requests/s", "p50 ms", "p99 ms", "CPU µs"), rows)
    report.say(f"the scorer alone: {found['scorer_alone_us']} µs a text")
    report.say(f"three times too much: {found['overload']}")
