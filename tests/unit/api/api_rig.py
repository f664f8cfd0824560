"""The API over a Redis in memory and a tiny bundle."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import fakeredis
from control_plane import RecordedMetrics, current, new_store
from fastapi.testclient import TestClient
from tiny_bundle import build_tiny_bundle

from streamtag.api.access import Access
from streamtag.api.app import Parts, build
from streamtag.api.explaining import Explaining
from streamtag.api.scoring import Scoring
from streamtag.api.server import oidc_provider
from streamtag.control.breakers import BreakerLog
from streamtag.control.changes import ReleaseChanges
from streamtag.control.group import GroupReader
from streamtag.control.sessions import SessionStore
from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore
from streamtag.control.watcher import ActiveRelease
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.settings import Settings, load_settings

LABELS = ("spam", "greeting")


@dataclass
class Api:
    """A running app; ``as_`` gives a client with a token of that role."""

    settings: Settings
    store: ControlStore
    server: fakeredis.FakeServer
    tokens: TokenStore
    access: Access
    scorer: Scorer
    scoring: Scoring
    metrics: RecordedMetrics
    anonymous: TestClient
    now: float = 0.0

    def client(self, secret: str) -> TestClient:
        return TestClient(
            self.anonymous.app, raise_server_exceptions=False, headers={"Authorization": f"Bearer {secret}"}
        )

    def as_(self, role: Role, **token: object) -> TestClient:
        name = f"{role}-{len(self.tokens.all())}"
        return self.client(self.tokens.create(name, role, by="anna", **token))  # type: ignore[arg-type]


@contextmanager
def running(tmp_path: Path, **overrides: str) -> Iterator[Api]:
    """With release 1 of the bundle ``tiny@1``."""
    bundle = build_tiny_bundle(tmp_path / "bundles", LABELS, weights_seed=1)
    given = {"model.directories": f"[{tmp_path / 'bundles'}]", "state_dir": str(tmp_path), **overrides}
    settings = load_settings(environ={}, overrides=given).settings
    server = fakeredis.FakeServer()
    store = new_store(server)
    scorer = load_scorer(bundle, batch=64)
    ReleaseChanges(store, max_step=1).seed(scorer.bundle.ref, LABELS, scorer.bundle.default_thresholds)
    api = settings.api
    scoring = Scoring(
        lambda: _active(store, scorer),
        batch=64,
        max_events=api.max_waiting,
        deadline_s=api.deadline_ms / 1000,
        breakers=BreakerLog(store).active,
    )
    scoring.start()
    explaining = Explaining()
    metrics, tokens = RecordedMetrics(), TokenStore(store)
    rig: list[Api] = []
    access = Access(tokens, SessionStore(store, tokens), clock=lambda: rig[0].now, oidc=oidc_provider(settings.oidc))
    app = build(Parts(settings, store, access, scoring, explaining, metrics))
    client = TestClient(app, raise_server_exceptions=False)
    rig.append(Api(settings, store, server, tokens, access, scorer, scoring, metrics, client))
    with patch.object(GroupReader, "members", return_value=frozenset()):
        try:
            yield rig[0]
        finally:
            scoring.close()
            explaining.close()


def _active(store: ControlStore, scorer: Scorer) -> ActiveRelease:
    found = current(store)
    return ActiveRelease(found.ref, found.thresholds, scorer, "redis")
