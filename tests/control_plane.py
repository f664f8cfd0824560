"""What the tests of the control plane share: a Redis in memory (with Lua), and short names."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import typer

from streamtag.cli import audit, breaker, change, experiment, fleet, freeze, release, thresholds, token
from streamtag.control.changes import ReleaseChanges
from streamtag.control.fleet import Heartbeat
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore, Current
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.settings import RedisSettings

BUNDLE = BundleRef("demo", "1", "a" * 64)
LABELS = ("spam", "insult")
DEFAULTS = ThresholdSet({"spam": 0.5, "insult": 0.6})
Run = Callable[..., Any]
"""See the fixture `run` of `command_line`."""
ANNA = Who("anna", "first try")
BORIS = Who("boris", "second try")


class RecordedMetrics:
    """Keeps what was measured, by name and attributes."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}
        self.values: dict[str, float] = {}
        self.records: dict[str, list[float]] = {}

    def add(self, name: str, n: float = 1, **attributes: str | int) -> None:
        key = "/".join([name, *(str(value) for value in attributes.values())])
        self.counts[key] = self.counts.get(key, 0) + n

    def record(self, name: str, value: float, **_attributes: str | int) -> None:
        self.records.setdefault(name, []).append(value)

    def set(self, name: str, value: float, **_attributes: str | int) -> None:
        self.values[name] = value

    def forget(self, name: str, **_attributes: str | int) -> None:
        self.values.pop(name, None)


class FakeScorer:
    """Has labels; scores nothing."""

    def __init__(self, labels: tuple[str, ...] = LABELS) -> None:
        self.labels = labels


class FakeBundle:
    """What seeds an empty Redis."""

    ref = BUNDLE
    labels = LABELS
    default_thresholds = DEFAULTS
    critical: tuple[str, ...] = ()


def new_store(server: fakeredis.FakeServer | None = None, **settings: object) -> ControlStore:
    """A control plane on a Redis in memory: its own, or that of ``server``."""
    client = fakeredis.FakeRedis(server=server or fakeredis.FakeServer(), protocol=2)
    return ControlStore(RedisSettings.model_validate(settings), client=client)


def new_changes(store: ControlStore) -> ReleaseChanges:
    """Changes dated one second apart, from 3 a.m. on."""
    ticks = itertools.count()
    start = datetime(2026, 11, 23, 3, tzinfo=UTC)
    return ReleaseChanges(store, max_step=0.25, now=lambda: start + timedelta(seconds=next(ticks)))


def current(store: ControlStore) -> Current:
    """The champion, which must exist."""
    found = store.current()
    assert found is not None
    return found


def heartbeat(worker: str = "w1", **fields: object) -> Heartbeat:
    """A heartbeat; what is not given does not matter."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    known = {"host": "h", "pid": 1, "group": "g", "member_id": f"m-{worker}", "slot": "0", "started_at": at}
    return Heartbeat(**{"worker": worker, "beat_at": at, **known, **fields})  # type: ignore[arg-type]


def command() -> Any:
    """The commands of the control plane."""
    app = typer.Typer()
    app.add_typer(thresholds.app, name="thresholds")
    app.add_typer(release.app, name="release")
    app.add_typer(experiment.app, name="experiment")
    app.add_typer(token.app, name="token")
    app.add_typer(change.app, name="change")
    app.add_typer(freeze.app, name="freeze")
    app.add_typer(breaker.app, name="breaker")
    app.add_typer(audit.app, name="audit")
    app.command("fleet")(fleet.fleet)
    return app
