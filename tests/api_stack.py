"""The API in this process, over the real Kafka and the real Redis of a test."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from control_plane import RecordedMetrics
from fastapi import FastAPI
from fastapi.testclient import TestClient
from services import Topics

from streamtag.api.access import Access
from streamtag.api.app import Parts, build
from streamtag.api.explaining import Explaining
from streamtag.api.scoring import Scoring
from streamtag.control.changes import ReleaseChanges
from streamtag.control.sessions import SessionStore
from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore
from streamtag.control.watcher import ActiveRelease
from streamtag.model.loading import load_scorer
from streamtag.settings import Settings, load_settings

__all__ = ["ApiStack", "api_stack"]


@dataclass
class ApiStack:
    """What the app works with, and clients of it."""

    app: FastAPI
    settings: Settings
    store: ControlStore
    tokens: TokenStore
    metrics: RecordedMetrics

    def as_(self, role: Role) -> TestClient:
        """A client with a token of that role."""
        secret = self.tokens.create(f"{role}-{len(self.tokens.all())}", role, by="anna")
        headers = {"Authorization": f"Bearer {secret}"}
        return TestClient(self.app, raise_server_exceptions=False, headers=headers)


@contextmanager
def api_stack(
    topics: Topics, redis_url: str, namespace: str, bundles: Path, state: Path, **more: str
) -> Iterator[ApiStack]:
    """With release 1 of ``tiny@1``; ``more`` are settings, with ``__`` for the dot."""
    overrides = {
        **topics.overrides(),
        "redis.url": redis_url,
        "redis.namespace": namespace,
        "model.directories": f"[{bundles}]",
        "model.bundle": "tiny@1",
        "tagger.group": f"group-{namespace}",
        "windows.group": f"group-{namespace}-windows",
        "state_dir": str(state),
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    settings = load_settings(environ={}, overrides=overrides).settings
    scorer = load_scorer(bundles / "tiny" / "1", batch=64)
    with ExitStack() as stack:
        store = ControlStore(settings.redis)
        stack.callback(store.close)
        ReleaseChanges(store, max_step=1).seed(scorer.bundle.ref, scorer.labels, scorer.bundle.default_thresholds)

        def active() -> ActiveRelease | None:
            found = store.current()
            return None if found is None else ActiveRelease(found.ref, found.thresholds, scorer, "redis")

        scoring = Scoring(active, batch=64, max_events=settings.api.max_waiting, deadline_s=5)
        scoring.start()
        stack.callback(scoring.close)
        explaining = Explaining()
        stack.callback(explaining.close)
        tokens, metrics = TokenStore(store), RecordedMetrics()
        access = Access(tokens, SessionStore(store, tokens))
        app = build(Parts(settings, store, access, scoring, explaining, metrics))
        yield ApiStack(app, settings, store, tokens, metrics)
