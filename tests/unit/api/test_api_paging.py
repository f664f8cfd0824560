"""Long lists come in pages whose cursors lose and double nothing."""

from typing import Any

import pytest
from api_rig import LABELS, Api
from fastapi.testclient import TestClient

from streamtag.control.tokens import Role

pytest_plugins = ("api_fixture",)


def all_pages(client: TestClient, path: str, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        query = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        page = client.get(path, params=query).json()
        assert len(page["items"]) <= limit
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


LISTS = ("/v1/thresholds/revisions", "/v1/releases", "/v1/experiments", "/v1/change-requests", "/v1/audit")


@pytest.mark.parametrize("path", [*LISTS, "/v1/access-log"])
def test_pages_of_any_size_hold_what_one_page_holds(api: Api, path: str) -> None:
    client = api.as_(Role.ADMIN)
    for i in range(4):
        body = {"labels": {"spam": 0.51 + i / 100}, "reason": f"step {i}"}
        assert client.patch("/v1/thresholds", json=body).status_code == 200
    for i in range(3):
        cutoffs = {"labels": dict.fromkeys(LABELS, 0.6 + i / 100)}
        body = {"thresholds": cutoffs, "plan": {"mode": "shadow"}, "reason": f"question {i}"}
        assert client.post("/v1/experiments", json=body).status_code == 201
        assert client.post(f"/v1/experiments/{i + 1}/stop", json={"reason": "seen"}).status_code == 200
        asked = client.post("/v1/change-requests", json={"labels": {"spam": 0.6 + i / 100}, "reason": f"wish {i}"})
        assert asked.status_code == 201
    for _ in range(4):
        api.as_(Role.VIEWER).patch("/v1/thresholds", json={})
    whole = client.get(path, params={"limit": 100}).json()
    assert whole["next"] is None
    assert len(whole["items"]) >= 3
    for limit in (1, 2, len(whole["items"])):
        assert all_pages(client, path, limit) == whole["items"]


def test_pages_of_experiments_stay_as_they_were_when_somebody_changes_one_in_between(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    for i in range(3):
        cutoffs = {"labels": dict.fromkeys(LABELS, 0.6 + i / 100)}
        client.post("/v1/experiments", json={"thresholds": cutoffs, "plan": {"mode": "shadow"}, "reason": "x"})
        client.post(f"/v1/experiments/{i + 1}/stop", json={"reason": "x"})
    first = client.get("/v1/experiments?limit=1").json()
    client.post("/v1/experiments", json={"thresholds": "keep", "bundle": "tiny@1", "reason": "x"})
    rest = client.get("/v1/experiments", params={"limit": 9, "cursor": first["next"]}).json()["items"]
    assert [one["experiment"] for one in [*first["items"], *rest]] == [3, 2, 1]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("cursor", ["x", "ä", "e30", "bnVsbCI"])
def test_a_cursor_of_somebodys_own_making_is_refused(api: Api, path: str, cursor: str) -> None:
    refused = api.as_(Role.VIEWER).get(path, params={"cursor": cursor})
    assert refused.status_code == 422
    assert "cursor" in refused.json()["detail"]
