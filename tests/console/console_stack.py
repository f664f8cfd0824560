"""What all tests of the console share: a pipeline that runs, people who may use it, and events that keep coming."""

import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pipeline import WORDS, Ledger, events
from services import make_pipeline_topics, produce, wait_until
from tiny_bundle import build_tiny_bundle
from workers import Fleet, Worker

from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore
from streamtag.devstack.server import free_port
from streamtag.settings import RedisSettings

LABELS = ("advert", "complaint", "greeting", "praise", "question", "self_promotion", "spam", "threat")
CRITICAL = "threat"
SETTINGS = {
    "stats.web_port": "null",
    "stats.session_timeout_s": "6",
    "stats.pane_s": "1",
    "stats.segments": "{lang: [de, en]}",
    "windows.idle_ms": "500",
    "windows.lateness_ms": "2000",
    "windows.commit_interval_ms": "100",
    "api.deadline_ms": "10000",
}
_PAST_H = 6
_PAST_EVENTS = 4_000
PERSONAL = "write to anna.muster@example.org or call +49 170 1234567"
"""In a dead letter: what nobody should see who did not ask for it."""


@dataclass
class Stack:
    """Taggers, a windower, the statistics and the API, all as processes; bundles ``tiny@1`` and ``@2``."""

    fleet: Fleet
    store: ControlStore
    url: str
    taggers: list[Worker] = field(default_factory=list)

    def token(self, role: str = "operator", name: str = "olga", **more: Any) -> str:
        """A new token of that role; its name is the author of what is done with it."""
        return TokenStore(self.store).create(f"{name}-{uuid.uuid4().hex[:12]}", Role(role), by="anna", **more)

    def client(self, role: str = "operator", name: str = "boris") -> httpx.Client:
        """The same API without a browser: what somebody else does meanwhile."""
        headers = {"Authorization": f"Bearer {self.token(role, name)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def wait_live(self) -> None:
        """Until every worker decides by the newest release, the API among those who answer."""
        with self.client("viewer") as client:
            wait_until(lambda: client.get("/v1/releases/current").json().get("live") == "yes", 60, "live everywhere")

    def write(self, count: int, seed: int) -> None:
        """Some more events."""
        Ledger(self.fleet.topics).write(list(events(count, seed, bad_every=10**9, tombstone_every=10**9)))


@contextmanager
def running(bootstrap: str, redis_url: str, directory: Path, *, workers: int = 2) -> Iterator[Stack]:
    """Starts it; events of the last hours have been tagged and counted, and more come twice a second."""
    bundles = directory / "bundles"
    for version in (1, 2):
        build_tiny_bundle(
            bundles, LABELS, version=str(version), weights_seed=version, threshold=0.9, critical=(CRITICAL,)
        )
    topics, namespace = make_pipeline_topics(bootstrap), f"test-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(topics, redis_url, namespace, directory / "state", bundles))
        fleet.overrides |= SETTINGS | {"stats.group": f"stats-{namespace}"}
        settings = RedisSettings.model_validate({"url": redis_url, "namespace": namespace, "timeout_s": 5})
        store = stack.enter_context(closing(ControlStore(settings)))
        port = free_port()
        found = Stack(fleet, store, f"http://127.0.0.1:{port}")
        write_past(fleet)
        found.taggers += [fleet.start() for _ in range(workers)]
        roles = [fleet.start(role="windows"), fleet.start(role="stats")]
        roles += [fleet.start(role="api", api__port=str(port))]
        for worker in [*found.taggers, *roles]:
            worker.wait_ready(90)
        stack.enter_context(coming(found))
        found.wait_live()
        with found.client("viewer") as client:
            wait_until(lambda: counted(client), 90, "the windows hold the events")
        yield found
        for key in store.client.scan_iter(match=f"*{namespace}*", count=1_000):
            store.client.delete(key)


def counted(client: httpx.Client) -> bool:
    """Whether the past and the present are in the windows, and there is an hour to compare the present with."""
    rates = client.get("/v1/rates", params={"size": "1m"})
    if rates.status_code != 200:
        return False
    [first, *_] = rates.json()["labels"].values()
    histogram = client.get(f"/v1/labels/{LABELS[0]}").json()
    return first["rate_last_hour"] is not None and histogram["events"] >= _PAST_EVENTS * 0.9


def write_past(fleet: Fleet) -> None:
    """Events of the last hours, oldest first; a few cannot be read, and have somebody's data in them."""
    made = list(events(_PAST_EVENTS, 1, bad_every=400, tombstone_every=500))
    now = time.time_ns() // 1_000_000
    step = _PAST_H * 3_600_000 / len(made)
    times = [round(now - (len(made) - i) * step) for i in range(len(made))]
    Ledger(fleet.topics).write(made, timestamp_ms=times)
    broken = json.dumps({"id": "b", "text": 7, "note": PERSONAL}).encode()
    produce(fleet.topics.bootstrap, fleet.topics.input, [(b"k", broken), (b"k", b"this is no JSON")])


@contextmanager
def coming(stack: Stack) -> Iterator[None]:
    """Writes a few events twice a second."""
    stop, choose = threading.Event(), random.Random(7)

    def write() -> None:
        number = 0
        while not stop.wait(0.5):
            batch = []
            for _ in range(10):
                number += 1
                event = {"id": f"live-{number}", "text": " ".join(choose.choices(WORDS, k=9)), "lang": "en"}
                batch.append((f"entity-{number % 50}".encode(), json.dumps(event).encode()))
            produce(stack.fleet.topics.bootstrap, stack.fleet.topics.input, batch)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
