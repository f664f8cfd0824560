"""Changing what decides over HTTP: as the commands do it, by the name on the token."""

import asyncio
import functools
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_rig import LABELS, Api, running
from control_plane import ANNA, current, heartbeat

from streamtag.api.routes_audit import _events
from streamtag.api.server import check_exposure
from streamtag.control.audit_note import AuditNote
from streamtag.control.changes import ReleaseChanges
from streamtag.control.fleet import send
from streamtag.control.stops import StopMark, StopStore
from streamtag.control.tokens import Role
from streamtag.dead_letters import lift
from streamtag.errors import SettingsError
from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts, SegmentCounts
from streamtag.settings import load_settings
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, VERSION, WindowDocument, start_of

pytest_plugins = ("api_fixture",)


def test_a_change_is_made_in_the_name_of_the_token_and_seen_in_history_and_audit(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    before = client.get("/v1/thresholds")
    assert before.json()["thresholds"]["labels"] == dict.fromkeys(LABELS, 0.5)
    assert before.json()["bundle"] == client.get("/v1/labels").json()["bundle"]
    changed = client.patch(
        "/v1/thresholds",
        json={"labels": {"spam": 0.6}, "reason": "too many"},
        headers={"If-Match": before.headers["etag"]},
    ).json()
    assert (changed["committed"], changed["release"], changed["live"]) == (True, 2, "unknown")
    assert changed["changes"] == [
        {"segment": "", "label": "spam", "before": 0.5, "after": 0.6, "words": "spam: 0.5 -> 0.6"}
    ]
    assert client.get("/v1/thresholds").headers["etag"] != before.headers["etag"]
    newest, first = client.get("/v1/thresholds/revisions").json()["items"]
    assert (newest["author"], newest["reason"], newest["changes"][0]["label"]) == ("operator-0", "too many", "spam")
    assert first["changes"] == []
    assert client.get("/v1/thresholds/revisions/1").json()["sha256"] == first["sha256"]
    assert [one["action"] for one in client.get("/v1/audit").json()["items"]] == ["thresholds", "seed"]
    assert client.get("/v1/releases").json()["items"][0]["state"] == "champion"
    proven = client.get("/v1/audit/verify").json()
    assert (proven["ok"], proven["entries"], proven["fault"]) == (True, 2, None)


def test_of_two_who_change_the_same_state_the_second_is_told_of_the_first(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    etag = client.get("/v1/thresholds").headers["etag"]
    body = {"labels": {"spam": 0.6}, "reason": "too many"}
    assert client.patch("/v1/thresholds", json=body, headers={"If-Match": etag}).status_code == 200
    again = client.patch("/v1/thresholds", json=body, headers={"If-Match": etag})
    assert again.status_code == 412
    assert "operator-0 changed the thresholds" in again.json()["detail"]
    whole = {"thresholds": {"labels": dict.fromkeys(LABELS, 0.55)}, "reason": "x"}
    assert client.put("/v1/thresholds", json=whole, headers={"If-Match": etag}).status_code == 412
    assert client.put("/v1/thresholds", json=whole, headers={"If-Match": "*"}).json()["release"] == 3


def test_restore_and_return_go_back(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    client.patch("/v1/thresholds", json={"labels": {"spam": 0.7}, "reason": "x"})
    assert client.post("/v1/thresholds/restore", json={"revision": 1, "reason": "back"}).json()["release"] == 3
    assert current(api.store).thresholds.labels["spam"] == 0.5
    assert client.post("/v1/releases/return", json={"reason": "back, too"}).status_code == 409
    assert client.post("/v1/releases/return", json={"release": 2, "reason": "no, forth"}).json()["release"] == 4
    assert current(api.store).thresholds.labels["spam"] == 0.7
    assert client.post("/v1/thresholds/restore", json={"revision": 77, "reason": "back"}).status_code == 404
    same = client.post("/v1/releases/promote", json={"bundle": "tiny@1", "reason": "again"}).json()
    assert same["committed"] is False
    assert client.post("/v1/releases/promote", json={"bundle": "../x", "reason": "x"}).status_code == 422
    assert client.post("/v1/releases/promote", json={"bundle": "other", "reason": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"labels": {"spam": 0.99}, "reason": "x"}, "guard rail"),
        ({"labels": {"ham": 0.5}, "reason": "x"}, "does not score this label"),
        ({"labels": {"spam": 1.5}, "reason": "x"}, "outside 0"),
        ({"labels": {"spam": 0.6}}, "reason"),
        ({"labels": {}, "reason": "x"}, "labels"),
        ({"labels": {"spam": 0.6}, "when": {"mood": "x"}, "reason": "x"}, "unknown dimension"),
    ],
)
def test_a_change_that_is_not_valid_is_refused_with_every_problem(api: Api, body: dict[str, Any], problem: str) -> None:
    found = api.as_(Role.OPERATOR).patch("/v1/thresholds", json=body)
    assert found.status_code == 422
    assert problem in str(found.json())
    assert current(api.store).id.number == 1


def test_a_token_for_some_labels_moves_these_alone(api: Api) -> None:
    client = api.as_(Role.OPERATOR, labels=["spam"])
    assert client.patch("/v1/thresholds", json={"labels": {"spam": 0.6}, "reason": "x"}).status_code == 200
    for method, path, body in (
        ("patch", "/v1/thresholds", {"labels": {"greeting": 0.6}, "reason": "x"}),
        ("put", "/v1/thresholds", {"thresholds": {"labels": dict.fromkeys(LABELS, 0.6)}, "reason": "x"}),
        ("post", "/v1/releases/return", {"reason": "x"}),
        ("post", "/v1/releases/promote", {"bundle": "tiny", "reason": "x"}),
    ):
        assert client.request(method, path, json=body).status_code == 403, path
    assert client.post("/v1/thresholds/restore", json={"revision": 1, "reason": "x"}).status_code == 200


def test_preview_says_what_a_change_would_have_done(api: Api) -> None:
    start = start_of("1h", time.time_ns() // 1_000_000) - SIZES["1h"]
    found = current(api.store)
    labels = {label: LabelCounts(40, 0, [0, 512, 768], [60, 30, 10]) for label in LABELS}
    segments = {"lang": {"de": SegmentCounts(60, {"spam": 24}), "other": SegmentCounts(40, {})}}
    cell = Cell(1, "0" * 64, "tiny@1", found.ref.bundle.sha256, 1, "0" * 64, "control", 100, 0, labels, segments)
    ReadModel(api.store).put([WindowDocument(VERSION, "1h", start, 7, True, {}, [cell])])
    client = api.as_(Role.VIEWER)
    seen = client.post("/v1/thresholds/preview", json={"labels": {"spam": 0.75}}).json()
    [spam] = [one for one in seen["effects"] if one["label"] == "spam"]
    assert (spam["now"]["low"], spam["then"]["high"], spam["lost"]["low"]) == (40, 10, 30)
    assert (seen["needs"], seen["review_seconds"]) == ([], 30)
    assert client.get("/v1/labels/spam/segments").json()["items"] == [
        {"dimension": "lang", "value": "de", "events": 60, "alerts": 24},
        {"dimension": "lang", "value": "other", "events": 40, "alerts": 0},
    ]
    assert client.get("/v1/labels/nobody/segments").json()["items"] == []
    # Nothing was counted before that window: the events are those of the time since.
    assert (seen["events"], seen["recorded_ms"]) == (100, start)
    assert seen["hours"] == pytest.approx((seen["to_ms"] - start) / SIZES["1h"])
    assert client.post("/v1/thresholds/preview", json={}).status_code == 422
    assert client.post("/v1/thresholds/preview", json={"labels": {"spam": 7}}).status_code == 422
    windows = client.get("/v1/windows?size=1h&hours=3").json()["items"]
    assert windows[0]["labels"]["spam"] == {"events": 100, "alerts": 40}
    assert client.get("/v1/rates?size=1m").status_code == 404
    assert client.get("/v1/rates?size=1h").json()["labels"]["spam"]["alerts"] == 40


def test_ids_of_any_age_are_read_before_anybody_asks_who_may_change_them(tmp_path: Path) -> None:
    (tmp_path / "taxonomy.yaml").write_text(
        "taxonomy: t\nversion: 2\nlabels:\n"
        "  - {id: spam, name: Spam, owner: o, since: 1, renamed_from: [advert]}\n"
        "  - {id: greeting, name: Greeting, owner: o, since: 1}\n"
    )
    with running(tmp_path, **{"model.taxonomy": str(tmp_path / "taxonomy.yaml")}) as api:
        change = {"labels": {"advert": 0.6}, "reason": "too many"}
        for labels in (["advert"], ["greeting"]):
            assert api.as_(Role.OPERATOR, labels=labels).patch("/v1/thresholds", json=change).status_code == 403
        assert current(api.store).thresholds.labels["spam"] == 0.5
        done = api.as_(Role.OPERATOR, labels=["spam"]).patch("/v1/thresholds", json=change).json()
        assert done["warnings"] == ["labels.advert: read as spam, by taxonomy t 2"]
        assert current(api.store).thresholds.labels["spam"] == 0.6
        whole = {"thresholds": {"labels": {"advert": 0.65, "greeting": 0.5}}, "reason": "more"}
        assert api.as_(Role.OPERATOR).put("/v1/thresholds", json=whole).status_code == 200
        assert current(api.store).thresholds.labels["spam"] == 0.65


def test_what_there_is_can_be_read(api: Api) -> None:
    client = api.as_(Role.VIEWER)
    assert [one["id"] for one in client.get("/v1/labels").json()["items"]] == list(LABELS)
    assert client.get("/v1/experiments").json() == {"items": [], "next": None}
    assert client.get("/v1/experiments/1").status_code == 404
    assert client.get("/v1/fleet").json()["workers"] == []
    assert client.get("/v1/releases/current").json()["bundle"] == "tiny@1"
    names = {(one["name"], one["version"]) for one in client.get("/v1/models").json()["items"]}
    assert names >= {("tiny", "1"), ("moderation", "1")}
    assert client.get("/v1/models/tiny/1").json()["manifest"]["name"] == "tiny"
    assert client.get("/v1/models/tiny/2").status_code == 404


def test_the_reports_of_a_bundle_are_figures_and_pages(api: Api) -> None:
    client = api.as_(Role.VIEWER)
    found = client.get("/v1/models/moderation/2").json()
    assert found["problems"] == []
    shipped = {one["title"]: one for one in found["reports"]}
    one = shipped["On the rows held out of its training"]
    place = f"/v1/models/moderation/2/reports/{one['id']}"
    document = client.get(place).json()
    assert document["figures"]["rows"] == one["rows"] > 5_000
    assert document["bundle"]["sha256"] == found["sha256"]
    page = client.get(f"{place}/page")
    assert page.headers["content-type"].startswith("text/html")
    assert "sandbox" in page.headers["content-security-policy"]
    for part in ("moderation@2", one["title"], "Precision, recall and calibration", "threat"):
        assert part in page.text
    assert "<script" not in page.text
    for path in ("000000000000", "000000000000/page"):
        assert client.get(f"/v1/models/moderation/2/reports/{path}").status_code == 404
    assert client.get("/v1/models/moderation/1/reports/" + one["id"]).status_code == 404
    assert api.anonymous.get(f"{place}/page").status_code == 401


def test_changes_come_as_events_from_where_a_client_left_off(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    [first] = api.store.audit(1)
    client.patch("/v1/thresholds", json={"labels": {"spam": 0.6}, "reason": "too many"})

    class Following:
        async def is_disconnected(self) -> bool:
            return False

    async def read() -> list[str]:
        stream = _events(Following(), api.store, first.id)  # type: ignore[arg-type]
        return [await anext(stream), await anext(stream)]

    _, event = asyncio.run(read())
    assert "event: change" in event
    assert '"reason": "too many"' in event


@pytest.mark.parametrize(
    ("overrides", "fine"),
    [
        ({}, True),
        ({"api.host": "localhost"}, True),
        ({"api.host": "::1"}, True),
        ({"api.host": "0.0.0.0"}, False),
        ({"api.host": "api.example.org"}, False),
        ({"api.host": "0.0.0.0", "api.behind_tls": "true"}, True),
        ({"api.host": "0.0.0.0", "api.tls_certificate": "c.pem", "api.tls_key": "k.pem"}, True),
    ],
)
def test_tokens_never_travel_in_clear_text(overrides: dict[str, str], fine: bool) -> None:
    api = load_settings(environ={}, overrides=overrides).settings.api
    if fine:
        check_exposure(api)
    else:
        with pytest.raises(SettingsError, match="clear text"):
            check_exposure(api)


def test_a_whole_set_with_a_segment_of_no_known_dimension_is_refused(api: Api) -> None:
    segment = {"when": {"mood": "x"}, "labels": {"spam": 0.6}}
    body = {"thresholds": {"labels": dict.fromkeys(LABELS, 0.5), "segments": [segment]}, "reason": "x"}
    found = api.as_(Role.OPERATOR).put("/v1/thresholds", json=body)
    assert found.status_code == 422
    assert "unknown dimension" in found.text


def test_the_fleet_says_how_long_events_take_on_each_worker_as_its_example_does(api: Api) -> None:
    group, client = api.settings.tagger.group, api.as_(Role.VIEWER)
    send(api.store, heartbeat("w1", group=group, latency_p50_ms=74, latency_p99_ms=156), 5.0)
    send(api.store, heartbeat("w2", group=group), 5.0)
    found = client.get("/v1/fleet").json()
    assert [(one["latency_p50_ms"], one["latency_p99_ms"]) for one in found["workers"]] == [(74, 156), (None, None)]
    document = client.get("/openapi.json").json()
    answer = document["paths"]["/v1/fleet"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["example"].keys() == found.keys()
    for worker in [*found["workers"], *answer["example"]["workers"]]:
        assert worker.keys() == document["components"]["schemas"]["Heartbeat"]["properties"].keys()
    place = answer["schema"]["properties"]["workers"]["items"]["$ref"].split("/")[1:]
    assert functools.reduce(dict.__getitem__, place, document)["title"] == "Heartbeat"


def test_proving_the_audit_notes_how_far_it_was_proven_as_the_command_does(api: Api, tmp_path: Path) -> None:
    client = api.as_(Role.VIEWER)
    redis: Any = api.store.client
    changes, keys = ReleaseChanges(api.store, max_step=1), api.store.keys
    first = client.get("/v1/audit/verify").json()
    assert (first["ok"], first["noted"], first["warnings"]) == (True, None, [])
    copy, head = redis.dump(keys.audit), redis.hgetall(keys.audit_head)
    changes.set_thresholds({"spam": 0.6}, ANNA)
    second = client.get("/v1/audit/verify").json()
    assert (second["ok"], second["noted"]) == (True, first["head"])
    note = AuditNote(tmp_path, api.settings.redis.namespace)
    assert msgspec.to_builtins(note.read()) == second["head"]
    # Redis comes back from an older copy: sound in itself, and yet no longer what it was.
    redis.delete(keys.audit)
    redis.restore(keys.audit, 0, copy)
    redis.hset(keys.audit_head, mapping=head)
    third = client.get("/v1/audit/verify").json()
    assert (third["ok"], third["noted"]) == (False, second["head"])
    assert "were removed" in third["fault"]["problem"]
    assert msgspec.to_builtins(note.read()) == second["head"], "it never goes back by this way"


def test_a_proof_is_as_good_where_it_cannot_be_noted(api: Api, tmp_path: Path) -> None:
    (tmp_path / "audit").symlink_to(tmp_path / "nowhere")
    found = api.as_(Role.VIEWER).get("/v1/audit/verify").json()
    assert (found["ok"], found["noted"]) == (True, None)
    assert "cannot be written" in found["warnings"][0]


def test_a_stopped_group_is_shown_and_let_go_on_by_an_operator(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lift, "_ends", lambda _settings, _topics: {"content/0": 9})
    group, client = api.settings.tagger.group, api.as_(Role.OPERATOR)
    mark = StopMark(group=group, reason="9 of 10 dead", at=datetime.now(UTC), worker="w1", counts={"dead": 9})
    StopStore(api.settings, store=api.store).set(mark)
    assert client.get("/v1/fleet").json()["stop"]["counts"] == {"dead": 9}
    lifted = client.post("/v1/fleet/resume", json={"reason": "producer fixed"})
    assert [one["worker"] for one in lifted.json()["lifted"]] == ["w1"]
    assert lifted.json()["until"] == {"content/0": 9}
    assert client.get("/v1/fleet").json()["stop"] is None
    assert client.get("/v1/audit").json()["items"][0]["action"] == "lift-stop"
    assert client.post("/v1/fleet/resume", json={"reason": "again"}).status_code == 404
