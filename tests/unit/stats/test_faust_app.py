"""What the app does when it is given the panes, when another is, and when anything goes wrong: it ends."""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import faust
import pytest
from faust.types import TP

from streamtag.errors import ConflictError, SettingsError, UnavailableError
from streamtag.stats import faust_app as room
from streamtag.telemetry.metrics import Metrics

PANES = TP("panes", 0)
SASL = {"sasl.username": "anna", "sasl.password": "secret", "sasl.mechanisms": "scram-sha-256"}
ENDS = [(ConflictError("overtaken"), 70), (ZeroDivisionError(), 70), (UnavailableError("Kafka is away"), 6)]


class Rig:
    """The app's own part, of which Faust, the state and the health are made up."""

    def __init__(self) -> None:
        self.assigned = {PANES}
        self.state = MagicMock(latest={}, end=lambda: 0, kept=lambda: 0)
        self.telemetry = MagicMock(metrics=Metrics.in_memory())
        app = MagicMock()
        app.consumer.assignment = lambda: self.assigned
        self.follower = room._Follower(app, PANES, None, self.telemetry, self.state)

    def look(self) -> None:
        asyncio.run(self.follower._look())

    def follow(self, count: int) -> None:
        """A stream of so many records."""

        async def events() -> AsyncIterator[Any]:
            for offset in range(count):
                yield SimpleNamespace(message=SimpleNamespace(offset=offset), value=b"pane")

        asyncio.run(self.follower._follow(MagicMock(events=events)))


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """How the process would have ended: what was done last, and its exit code. It raises `SystemExit` instead."""
    found: list[object] = []

    def end(code: int) -> None:
        found.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(logging, "shutdown", lambda: found.append("logs are written"))
    monkeypatch.setattr(os, "_exit", end)
    return found


def test_an_app_whose_partition_another_gets_hides_what_it_has_shown(rig: Rig) -> None:
    rig.look()
    rig.telemetry.metrics.set("streamtag.label.rate", 0.5, label="spam", window="1m")
    rig.state.stand_by.assert_not_called()
    rig.assigned.clear()
    for _ in range(2):
        rig.look()
    rig.state.stand_by.assert_called_once_with()
    assert rig.telemetry.metrics.series("streamtag.label.rate") == {}
    rig.assigned.add(PANES)
    rig.look()
    assert rig.state.restore.call_count == 2


def test_a_record_that_comes_while_the_app_stands_by_is_fed_to_a_state_that_was_restored(rig: Rig) -> None:
    rig.assigned.clear()
    rig.follow(1)
    rig.look()
    rig.follow(1)
    called = [call[0] for call in rig.state.method_calls if call[0] in {"restore", "feed", "stand_by"}]
    assert called == ["restore", "feed", "stand_by", "restore", "feed"]


@pytest.mark.parametrize(("error", "code"), ENDS)
def test_a_record_that_cannot_be_fed_ends_the_process_before_the_next(
    rig: Rig, ended: list[object], error: Exception, code: int
) -> None:
    rig.state.feed.side_effect = error
    with pytest.raises(SystemExit):
        rig.follow(3)
    rig.state.feed.assert_called_once_with(0, b"pane")
    assert ended == ["logs are written", code]


@pytest.mark.parametrize(("error", "code"), ENDS)
def test_a_look_that_cannot_go_on_ends_the_process(rig: Rig, ended: list[object], error: Exception, code: int) -> None:
    rig.state.keep_up.side_effect = error
    with pytest.raises(SystemExit):
        rig.look()
    assert ended == ["logs are written", code]


def test_a_look_that_redis_interrupts_is_told_and_made_again(rig: Rig) -> None:
    rig.state.flush.side_effect = [UnavailableError("Redis is away"), None]
    for ready, reason in ((False, "Redis is away"), (True, "")):
        rig.look()
        rig.telemetry.health.set_ready.assert_called_with("panes", ready, reason)


@pytest.mark.parametrize("protocol", ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"])
def test_fausts_client_is_as_safe_as_ours(protocol: str) -> None:
    found = room._credentials({"security.protocol": protocol, **SASL})
    assert (found is None) == (protocol == "plaintext")
    context = getattr(found, "context", None) or getattr(found, "ssl_context", None)
    assert (context is not None) == protocol.endswith("ssl")
    if context is not None:
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert isinstance(found, faust.SASLCredentials) == protocol.startswith("sasl")
    if isinstance(found, faust.SASLCredentials):
        assert (found.username, found.password, found.mechanism.value) == ("anna", "secret", "SCRAM-SHA-256")


def test_it_trusts_the_certificate_that_is_named_and_shows_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MagicMock()
    monkeypatch.setattr(ssl, "create_default_context", made)
    names = {"ca.location": "ca.pem", "certificate.location": "me.pem", "key.location": "me.key", "key.password": "k"}
    room._credentials({"security.protocol": "SSL", **{f"ssl.{name}": value for name, value in names.items()}})
    made.assert_called_once_with(cafile="ca.pem")
    made.return_value.load_cert_chain.assert_called_once_with("me.pem", "me.key", "k")


@pytest.mark.parametrize(
    "client", [{"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}, {"security.protocol": "TELEPATHY"}]
)
def test_what_fausts_client_does_not_have_is_refused(client: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="cannot do"):
        room._credentials(client)
