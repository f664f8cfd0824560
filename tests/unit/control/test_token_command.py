"""`streamtag token`, against an embedded Redis over TCP."""

from datetime import UTC, datetime, timedelta

import pytest
from control_plane import Run

from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore
from streamtag.errors import NotFoundError, SettingsError

pytest_plugins = ("command_line",)


def test_a_token_is_made_listed_and_revoked(store: ControlStore, run: Run) -> None:
    made = run(
        "token", "create", "ci", "--role", "operator", "--expires", "30d", "--labels", "spam, insult", "-o", "json"
    )
    found = TokenStore(store).find(made["token"])
    assert found is not None
    assert (found.role, found.labels) == (Role.OPERATOR, ("spam", "insult"))
    assert found.expires_at is not None
    assert timedelta(days=29) < found.expires_at - datetime.now(UTC) <= timedelta(days=30)
    assert run("token", "create", "other").strip().startswith("st_")
    listed = run("token", "list")
    assert "spam, insult" in listed
    assert made["token"] not in listed
    assert [one["name"] for one in run("token", "list", "-o", "json")["tokens"]] == ["ci", "other"]
    assert "revoked ci (operator)" in run("token", "revoke", "ci")
    assert run("token", "revoke", "other", "-o", "json") == {"revoked": "other", "role": "viewer"}
    assert TokenStore(store).all() == []
    with pytest.raises(NotFoundError):
        run("token", "revoke", "ci")


def test_a_time_that_is_none_is_refused(store: ControlStore, run: Run) -> None:
    with pytest.raises(SettingsError, match="12h or 30d"):
        run("token", "create", "ci", "--expires", "soon")
