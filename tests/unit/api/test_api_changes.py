"""Change requests and the freeze over HTTP: who may what, what they answer, and that they bind every other route."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from api_rig import LABELS, Api, running
from fastapi.testclient import TestClient
from tiny_bundle import build_tiny_bundle

from streamtag.api import changing, routes_thresholds
from streamtag.control.breakers import BreakerLog
from streamtag.control.proposal import Who
from streamtag.control.tokens import Role
from streamtag.model import taxonomy_file
from streamtag.model.taxonomy_file import read_taxonomy

pytest_plugins = ("api_fixture",)


@pytest.fixture
def anna(api: Api) -> TestClient:
    return api.client(api.tokens.create("anna", Role.OPERATOR, by="root"))


@pytest.fixture
def boris(api: Api) -> TestClient:
    return api.client(api.tokens.create("boris", Role.OPERATOR, by="root"))


ASK: dict[str, Any] = {"labels": {"spam": 0.9}, "reason": "a raid", "ticket": "INC-1", "lasts_s": 7200}


def test_one_asks_another_approves_and_it_goes_live_and_back(api: Api, anna: TestClient, boris: TestClient) -> None:
    opened = anna.post("/v1/change-requests", json=ASK)
    assert opened.status_code == 201
    found = opened.json()
    assert (found["number"], found["state"], found["kind"], found["author"]) == (1, "draft", "thresholds", "anna")
    assert found["changes"] == [
        {"segment": "", "label": "spam", "before": 0.5, "after": 0.9, "words": "spam: 0.5 -> 0.9"}
    ]
    assert "guard rail" in found["needs"][0]
    assert found["obstacles"][0].startswith("approval: needs a second person")
    assert (found["owners"], found["ticket"], found["allowed"]) == ({"spam": None}, "INC-1", ["withdraw", "comment"])
    early = anna.post("/v1/change-requests/1/publish")
    assert (early.status_code, early.json()["title"]) == (403, "needs a second person")
    assert anna.post("/v1/change-requests/1/approve", json={}).status_code == 422
    seen = boris.get("/v1/change-requests/1").json()
    assert "approve" in seen["allowed"]
    approved = boris.post("/v1/change-requests/1/approve", json={"comment": "seen it"}).json()
    assert (approved["state"], approved["approved_by"], approved["obstacles"]) == ("approved", "boris", [])
    live = anna.post("/v1/change-requests/1/publish").json()
    assert (live["request"]["state"], live["result"]["committed"], live["result"]["release"]) == ("live", True, 2)
    assert live["request"]["expires_at"] is not None
    assert anna.get("/v1/thresholds").json()["thresholds"]["labels"]["spam"] == 0.9
    back = boris.post("/v1/change-requests/1/restore", json={"reason": "over"}).json()
    assert (back["request"]["state"], back["request"]["kept"]) == ("restored", [])
    assert anna.get("/v1/thresholds").json()["thresholds"]["labels"]["spam"] == 0.5
    steps = [(step["action"], step["by"], step["made"]) for step in back["request"]["steps"]]
    assert steps == [("approve", "boris", ""), ("publish", "anna", "release 2"), ("restore", "boris", "release 3")]
    entries = anna.get("/v1/audit").json()["items"]
    assert [one["action"] for one in entries] == ["restore", "thresholds", "change-approve", "change-open", "seed"]


def test_who_sets_again_what_goes_back_is_told(anna: TestClient) -> None:
    anna.post("/v1/change-requests", json={**ASK, "labels": {"spam": 0.6}})
    until = anna.post("/v1/change-requests/1/publish").json()["request"]["expires_at"]
    again = anna.patch("/v1/thresholds", json={"labels": {"spam": 0.6}, "reason": "for good"}).json()
    assert [(one["change"], one["label"], one["at"]) for one in again["reverts"]] == [(1, "spam", until)]
    assert again["warnings"][0].startswith("spam=0.6 does not stay: change 1 of anna holds it for a time")


def test_lists_come_in_pages(anna: TestClient) -> None:
    for cutoff in (0.51, 0.52, 0.53):
        anna.post("/v1/change-requests", json={"labels": {"spam": cutoff}, "reason": "x"})
    page = anna.get("/v1/change-requests?limit=2").json()
    assert [one["number"] for one in page["items"]] == [3, 2]
    anna.post("/v1/change-requests", json={"labels": {"spam": 0.54}, "reason": "x"})  # moves no page
    page = anna.get("/v1/change-requests", params={"limit": 2, "cursor": page["next"]}).json()
    assert ([one["number"] for one in page["items"]], page["next"]) == ([1], None)
    anna.post("/v1/change-requests/2/withdraw", json={})
    page = anna.get("/v1/change-requests?state=withdrawn&limit=1").json()
    assert ([one["number"] for one in page["items"]], page["next"]) == ([2], None)
    assert [one["number"] for one in anna.get("/v1/change-requests/3").json()["overlaps"]] == [4, 1]


@pytest.mark.parametrize("for_a_time", [False, True])
def test_a_list_reads_the_taxonomy_once_however_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, for_a_time: bool
) -> None:
    path, read = tmp_path / "taxonomy.yaml", Mock(wraps=read_taxonomy)
    labels = "".join(f"  - {{id: {label}, name: {label}, owner: ts, since: 1}}\n" for label in LABELS)
    path.write_text(f"taxonomy: t\nversion: 1\nlabels:\n{labels}")
    with running(tmp_path, **{"model.taxonomy": str(path)}) as api:
        client = api.as_(Role.OPERATOR)
        for number, cutoff in enumerate((0.51, 0.52, 0.53), 1):
            client.post("/v1/change-requests", json={**ASK, "labels": {"spam": cutoff}})
            assert client.post(f"/v1/change-requests/{number}/publish").status_code == 200
        monkeypatch.setattr(taxonomy_file, "read_taxonomy", read)
        found = client.get("/v1/change-requests", params={"for_a_time": for_a_time}).json()["items"]
    assert [one["owners"] for one in found] == [{"spam": "ts"}] * 3
    read.assert_called_once_with(path)


def test_those_for_a_time_come_in_pages_of_their_own(anna: TestClient) -> None:
    for number, cutoff in enumerate((0.51, 0.52, 0.53), 1):
        lasts = {"lasts_s": 7_200} if number != 2 else {}
        anna.post("/v1/change-requests", json={"labels": {"spam": cutoff}, "reason": "x", **lasts})
        assert anna.post(f"/v1/change-requests/{number}/publish").status_code == 200
    first = anna.get("/v1/change-requests?for_a_time=true&limit=1").json()
    rest = anna.get("/v1/change-requests", params={"for_a_time": True, "limit": 1, "cursor": first["next"]}).json()
    assert [one["number"] for one in first["items"] + rest["items"]] == [3, 1]
    assert rest["next"] is None
    both = anna.get("/v1/change-requests?for_a_time=true&state=live")
    assert (both.status_code, "Leave `state` out" in both.text) == (422, True)


def test_of_two_who_collide_the_second_is_told(anna: TestClient, boris: TestClient) -> None:
    for client, cutoff in ((anna, 0.55), (boris, 0.45)):
        client.post("/v1/change-requests", json={"labels": {"spam": cutoff}, "reason": "mine"})
    anna.post("/v1/change-requests/1/publish")
    late = boris.post("/v1/change-requests/2/publish")
    assert (late.status_code, "anna was first: spam is 0.55" in late.json()["detail"]) == (409, True)


def test_a_token_for_some_labels_asks_approves_and_publishes_for_these_alone(api: Api, anna: TestClient) -> None:
    only = api.client(api.tokens.create("carla", Role.OPERATOR, by="root", labels=["greeting"]))
    assert only.post("/v1/change-requests", json=ASK).status_code == 403
    assert only.post("/v1/change-requests", json={"labels": {"greeting": 0.6}, "reason": "x"}).status_code == 201
    anna.post("/v1/change-requests", json=ASK)
    assert only.post("/v1/change-requests/2/approve", json={}).status_code == 403
    assert only.post("/v1/freeze", json={"reason": "x"}).status_code == 403
    assert only.post("/v1/change-requests", json={"promote": {"bundle": "tiny"}, "reason": "x"}).status_code == 403


def test_a_token_for_some_labels_rejects_what_touches_one_of_them(api: Api, anna: TestClient) -> None:
    only = api.client(api.tokens.create("carla", Role.OPERATOR, by="root", labels=["greeting"]))
    for labels in ({"spam": 0.55}, {"spam": 0.55, "greeting": 0.6}):
        anna.post("/v1/change-requests", json={"labels": labels, "reason": "x"})
    assert only.get("/v1/change-requests/1").json()["allowed"] == ["comment"]
    refused = only.post("/v1/change-requests/1/reject", json={"comment": "not mine to say"})
    assert (refused.status_code, "greeting only, not spam" in refused.json()["detail"]) == (403, True)
    assert only.get("/v1/change-requests/2").json()["allowed"] == ["reject", "comment"]
    assert only.post("/v1/change-requests/2/publish").status_code == 403
    assert only.post("/v1/change-requests/2/reject", json={"comment": "hurts us"}).json()["state"] == "rejected"


NO_SUCH_SEGMENT = {
    "labels": {"spam": 0.6, "greeting": 0.5},
    "segments": [{"when": {"mood": "x"}, "labels": {"spam": 0.7}}],
}


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "nothing asked"},
        {"labels": {"spam": 0.6}, "candidate_of": 1, "reason": "two things"},
        {"labels": {"spam": 0.5}, "reason": "no change"},
        {"labels": {"spam": 0.6}, "reason": "x", "not_before": "2026-11-28T22:00:00"},
        {"labels": {"spam": 0.6}, "reason": "x", "not_before": "2020-01-01T00:00:00Z"},
        {"experiment": {"thresholds": NO_SUCH_SEGMENT}, "reason": "x"},
    ],
)
def test_what_cannot_be_asked_is_refused(anna: TestClient, body: dict[str, Any]) -> None:
    assert anna.post("/v1/change-requests", json=body).status_code == 422


def test_a_freeze_holds_up_every_change_but_the_way_back(api: Api, anna: TestClient, boris: TestClient) -> None:
    move = {"labels": {"spam": 0.6}, "reason": "x"}
    anna.patch("/v1/thresholds", json=move)
    assert anna.get("/v1/freeze").json() == {"frozen": False, "freeze": None}
    begun = boris.post("/v1/freeze", json={"reason": "election day", "lasts_s": 3600})
    assert (begun.status_code, begun.json()["freeze"]["author"]) == (201, "boris")
    assert boris.post("/v1/freeze", json={"reason": "again"}).status_code == 409
    held = anna.patch("/v1/thresholds", json={**move, "labels": {"spam": 0.7}})
    assert (held.status_code, held.json()["title"]) == (423, "frozen")
    assert "election day" in held.json()["detail"]
    assert anna.post("/v1/thresholds/restore", json={"revision": 1, "reason": "back"}).status_code == 200
    assert anna.post("/v1/freeze/lift", json={"reason": "over"}).json() == {"frozen": False, "freeze": None}
    assert anna.post("/v1/freeze/lift", json={"reason": "over"}).status_code == 404
    assert anna.patch("/v1/thresholds", json={**move, "labels": {"spam": 0.7}}).status_code == 200


def test_only_an_admin_breaks_the_glass(tmp_path: Path) -> None:
    with running(tmp_path, **{"changes.approval": "all"}) as api:
        body = {"labels": {"spam": 0.6}, "reason": "nobody answers", "break_glass": True}
        operator, admin = api.as_(Role.OPERATOR), api.as_(Role.ADMIN)
        alone = operator.patch("/v1/thresholds", json={**body, "break_glass": False})
        assert (alone.status_code, alone.json()["problems"]) == (403, ["every change does (changes.approval is all)"])
        assert operator.patch("/v1/thresholds", json=body).status_code == 403
        assert admin.patch("/v1/thresholds", json=body).status_code == 200
        assert "every change" in admin.get("/v1/audit").json()["items"][0]["break_glass"]


def test_a_breaker_is_shown_and_closed(api: Api, anna: TestClient) -> None:
    assert anna.get("/v1/breakers").json() == {"number": 0, "items": []}
    assert anna.post("/v1/breakers/spam/close", json={"reason": "x"}).status_code == 404
    BreakerLog(api.store).open("spam", Who("streamtag (breaker)", "50 of 100"), events=100, alerts=50)
    (item,) = anna.get("/v1/breakers").json()["items"]
    assert (item["label"], item["open"], item["alerts"]) == ("spam", True, 50)
    only = api.client(api.tokens.create("carla", Role.OPERATOR, by="root", labels=["greeting"]))
    assert only.post("/v1/breakers/spam/close", json={"reason": "x"}).status_code == 403
    closed = anna.post("/v1/breakers/spam/close", json={"reason": "a test of ours"}).json()
    assert (closed["closed"], closed["by"], closed["open"]) == (True, "anna", False)


def test_a_bundle_is_asked_for_approved_and_published(tmp_path: Path) -> None:
    with running(tmp_path, **{"changes.approval": "all"}) as api:
        build_tiny_bundle(tmp_path / "bundles", LABELS, version="2", weights_seed=2)
        anna, boris = (api.client(api.tokens.create(name, Role.OPERATOR, by="root")) for name in ("anna", "boris"))
        assert anna.post("/v1/releases/promote", json={"bundle": "tiny@2", "reason": "x"}).status_code == 403
        asked = anna.post("/v1/change-requests", json={"promote": {"bundle": "tiny@2"}, "reason": "retrained"}).json()
        assert (asked["kind"], asked["changes"], asked["labels"]) == ("release", [], ["greeting", "spam"])
        assert asked["what"] == ["bundle tiny@2 decides, with the present thresholds"]
        assert boris.post("/v1/change-requests/1/approve", json={}).json()["state"] == "approved"
        live = boris.post("/v1/change-requests/1/publish").json()
        assert (live["result"]["bundle"], live["request"]["approved_by"]) == ("tiny@2", "boris")
        assert anna.post("/v1/change-requests", json={"candidate_of": 7, "reason": "x"}).status_code == 404


def test_an_experiment_that_decides_is_asked_for_where_it_needs_a_second_person(tmp_path: Path) -> None:
    with running(tmp_path, **{"changes.approval": "all"}) as api:
        anna, boris = (api.client(api.tokens.create(name, Role.OPERATOR, by="root")) for name in ("anna", "boris"))
        plan = {"mode": "split", "share": 0.1, "others": "muted", "labels": {"spam": "±20%"}}
        challenge = {"thresholds": {"labels": {"spam": 0.6, "greeting": 0.5}}, "plan": plan}
        alone = anna.post("/v1/experiments", json={**challenge, "reason": "try"})
        assert (alone.status_code, alone.json()["title"]) == (403, "needs a second person")
        asked = anna.post("/v1/change-requests", json={"experiment": challenge, "reason": "try"})
        assert (asked.status_code, asked.json()["kind"], asked.json()["labels"]) == (201, "experiment", ["spam"])
        boris.post("/v1/change-requests/1/approve", json={})
        live = anna.post("/v1/change-requests/1/publish").json()
        assert (live["experiment"], live["result"], live["request"]["state"]) == (1, None, "live")
        assert anna.get("/v1/experiments/1").json()["phases"][-1]["share"] == 0.1


def test_a_request_that_rests_on_other_cut_offs_than_decide_is_refused(anna: TestClient, boris: TestClient) -> None:
    seen = anna.get("/v1/thresholds")
    rests = {"If-Match": seen.headers["etag"]}
    assert anna.post("/v1/change-requests", json=ASK, headers=rests).status_code == 201
    assert boris.patch("/v1/thresholds", json={"labels": {"spam": 0.55}, "reason": "x"}).status_code == 200
    late = anna.post("/v1/change-requests", json=ASK, headers=rests)
    assert (late.status_code, late.json()["detail"][:5]) == (412, "boris")
    back = {"revision": 1, "reason": "x"}
    assert anna.post("/v1/thresholds/restore", json=back, headers=rests).status_code == 412
    now = {"If-Match": anna.get("/v1/thresholds").headers["etag"]}
    assert anna.post("/v1/thresholds/restore", json=back, headers=now).json()["committed"] is True


def test_what_a_token_was_allowed_is_what_it_does(api: Api, boris: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at what would change and the change, somebody moves another label."""
    limited = api.as_(Role.OPERATOR, labels=["spam"])
    looked = changing.unless_changed

    def meanwhile(*given: Any) -> None:
        looked(*given)
        monkeypatch.undo()
        boris.patch("/v1/thresholds", json={"labels": {"greeting": 0.55}, "reason": "x"})

    whole = {"thresholds": {"labels": {"spam": 0.6, "greeting": 0.5}}, "reason": "x"}
    monkeypatch.setattr(routes_thresholds, "unless_changed", meanwhile)
    assert limited.put("/v1/thresholds", json=whole).status_code == 409
    assert limited.patch("/v1/thresholds", json={"labels": {"spam": 0.6}, "reason": "x"}).status_code == 200
    boris.patch("/v1/thresholds", json={"labels": {"greeting": 0.5}, "reason": "x"})
    monkeypatch.setattr(routes_thresholds, "unless_changed", meanwhile)
    assert limited.post("/v1/thresholds/restore", json={"revision": 1, "reason": "x"}).status_code == 409
    assert boris.get("/v1/thresholds").json()["thresholds"]["labels"] == {"spam": 0.6, "greeting": 0.55}


@pytest.mark.parametrize(
    "body", [r'{"labels": {"\ud800": 0.5}, "reason": "x"}', r'{"labels": {"spam": 0.6}, "reason": "\udfff"}']
)
def test_what_is_no_text_is_refused(anna: TestClient, body: str) -> None:
    for method, path in (("PATCH", "/v1/thresholds"), ("POST", "/v1/change-requests")):
        found = anna.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert found.status_code == 422, found.text
