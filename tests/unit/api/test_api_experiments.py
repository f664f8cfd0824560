"""Experiments over HTTP: started, seen, changed and ended as by the commands."""

import math
from pathlib import Path
from typing import Any

import pytest
from api_rig import LABELS, Api
from tiny_bundle import build_tiny_bundle

from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.tokens import Role
from streamtag.domain.looks import LabelLook, Look, Looks
from streamtag.stats.look_store import LookStore

pytest_plugins = ("api_fixture",)

PLAN = {"mode": "shadow", "share": 0.5, "labels": {"spam": "±20%"}}
START = {"thresholds": {"labels": dict.fromkeys(LABELS, 0.6)}, "plan": PLAN, "reason": "is 0.6 too much?"}


def test_an_experiment_is_started_shown_changed_and_stopped_in_the_name_of_the_token(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    started = client.post("/v1/experiments", json=START)
    assert started.status_code == 201
    assert (started.json()["experiment"], started.json()["state"]) == (1, "running")
    assert (started.json()["author"], started.json()["reason"]) == ("operator-0", "is 0.6 too much?")
    assert (
        client.post("/v1/experiments/1/share", json={"share": 0.7, "reason": "more"}).json()["phases"][-1]["share"]
        == 0.7
    )
    found = client.get("/v1/experiments/1").json()
    assert (found["final"], found["evidence"], found["labels"]) == (False, None, [])
    assert [one["words"] for one in found["changes"]] == [f"{label}: 0.5 -> 0.6" for label in LABELS]
    stopped = client.post("/v1/experiments/1/stop", json={"reason": "seen enough"}).json()
    assert (stopped["state"], stopped["stopped"]["reason"]) == ("stopped", "seen enough")
    assert client.post("/v1/experiments/1/stop", json={"reason": "again"}).status_code in (404, 409, 422)
    actions = [one["action"] for one in client.get("/v1/audit").json()["items"]]
    assert actions == ["experiment-stop", "experiment-phase", "experiment-start", "seed"]


@pytest.mark.parametrize(("hours", "told"), [(720, 0), (721, 1)])
def test_who_asks_for_longer_than_panes_are_kept_is_told_so(api: Api, hours: float, told: int) -> None:
    asked = api.as_(Role.OPERATOR).post("/v1/experiments", json={**START, "plan": {**PLAN, "max_hours": hours}})
    assert [line.startswith("max_hours: ") for line in asked.json()["warnings"]] == [True] * told


def test_cut_offs_that_differ_from_the_champions_are_all_that_must_be_said(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    plan = {"labels": {"spam": "±20%"}, "others": "muted"}
    client.post("/v1/experiments", json={"labels": {"spam": 0.6}, "plan": plan, "reason": "is 0.6 too much?"})
    assert [one["words"] for one in client.get("/v1/experiments/1").json()["changes"]] == ["spam: 0.5 -> 0.6"]
    client.post("/v1/experiments/1/stop", json={"reason": "x"})
    german = {"labels": {"spam": 0.6}, "when": {"lang": "de"}, "plan": plan, "reason": "in German alone?"}
    assert client.post("/v1/experiments", json=german).status_code == 201
    [change] = client.get("/v1/experiments/2").json()["changes"]
    assert (change["segment"], change["label"], change["after"]) == ("lang=de", "spam", 0.6)
    asked = client.post("/v1/change-requests", json={"experiment": {"labels": {"greeting": 0.7}}, "reason": "x"})
    assert (asked.status_code, asked.json()["labels"]) == (201, ["greeting"])


def test_how_the_evidence_came_about_is_told_label_by_label(api: Api) -> None:
    client = api.as_(Role.OPERATOR)
    client.post("/v1/experiments", json=START)
    viewer = api.as_(Role.VIEWER)
    found = viewer.get("/v1/experiments/1/history").json()
    assert (found["experiment"], found["items"]) == (1, [])
    assert found["labels"] == {one: {"worse_from": math.log(40), "equal_from": math.log(20)} for one in LABELS}
    experiment = ExperimentLog(api.store).find(1)
    labels = {"spam": LabelLook(0.5, -1.5, 0.1, 0.2), "greeting": LabelLook(math.inf, 0.0, None, None)}
    LookStore(api.store).write({experiment.id: Looks(2_000, (Look(1_795_000_000_500, 70, labels),))})
    found = viewer.get("/v1/experiments/1/history", params={"label": "spam"}).json()
    assert list(found["labels"]) == ["spam"]
    spam = {"log_e_worse": 0.5, "log_e_equal": -1.5, "control_rate": 0.1, "candidate_rate": 0.2}
    assert found["items"] == [{"at": "2026-11-18T11:06:40.500000Z", "units": 70, "labels": {"spam": spam}}]
    assert found["spacing_s"] == 2.0
    [item] = viewer.get("/v1/experiments/1/history").json()["items"]
    assert item["labels"]["greeting"]["log_e_worse"] is None  # without an end, as in the evidence
    refused = viewer.get("/v1/experiments/1/history", params={"label": "ham"})
    assert (refused.status_code, refused.json()["hint"]) == (404, "It judges spam, greeting.")
    assert viewer.get("/v1/experiments/7/history").status_code == 404


def test_a_bundle_is_compared_by_its_name_and_promoted_where_somebody_insists(api: Api, tmp_path: Path) -> None:
    build_tiny_bundle(tmp_path / "bundles", LABELS, version="2", weights_seed=2)
    client = api.as_(Role.OPERATOR)
    body = {"bundle": "tiny@2", "thresholds": "defaults", "plan": PLAN, "reason": "week 48"}
    assert client.post("/v1/experiments", json=body).json()["candidate"]["bundle"]["version"] == "2"
    refused = client.post("/v1/experiments/1/promote", json={"reason": "it is better", "end_experiments": True})
    assert refused.status_code == 422
    insisting = {"reason": "it is better", "force": True, "end_experiments": True}
    promoted = client.post("/v1/experiments/1/promote", json=insisting).json()
    assert (promoted["bundle"], promoted["ended_experiments"]) == ("tiny@2", [1])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"reason": "x"}, 400, "nothing to compare"),
        ({"challenger": 1, "bundle": "tiny", "reason": "x"}, 400, "give either it"),
        ({"challenger": 9, "reason": "x"}, 404, "release 9"),
        ({"bundle": "other", "reason": "x"}, 404, "no bundle other"),
        ({"bundle": "../tiny", "reason": "x"}, 422, "bundle"),
        ({"challenger": 1, "labels": {"spam": 0.6}, "reason": "x"}, 400, "give either it"),
        ({"when": {"lang": "de"}, "reason": "x"}, 400, "give labels, too"),
        ({"labels": {}, "reason": "x"}, 422, "body.labels"),
        ({"labels": {"ham": 0.6}, "reason": "x"}, 422, "labels.ham: the bundle does not score this label"),
        ({"labels": {"spam": 1.5}, "reason": "x"}, 422, "labels.spam: 1.5 is outside"),
        ({"labels": {"spam": 0.6}, "when": {"planet": "x"}, "reason": "x"}, 422, "segments[0].when.planet: unknown"),
        ({"labels": {"spam": 0.5}, "reason": "x"}, 422, "labels: these are the cut-offs that decide now"),
        ({"bundle": "tiny@1", "labels": {"spam": 0.5}, "reason": "x"}, 422, "labels: these are the cut-offs"),
        ({**START, "plan": {"mode": "magic", "speed": 7}}, 422, "speed: unknown"),
        ({**START, "plan": {"labels": {"ham": "±20%"}}}, 422, "labels.ham: neither release scores this label"),
        ({**START, "plan": {"labels": {"spam": "±0.005"}}}, 422, "needs the label's rate"),
    ],
)
def test_what_speaks_against_an_experiment_is_named(api: Api, body: dict[str, Any], status: int, said: str) -> None:
    found = api.as_(Role.OPERATOR).post("/v1/experiments", json=body)
    assert found.status_code == status
    assert said in found.text


def test_a_token_for_some_labels_starts_no_experiment(api: Api) -> None:
    assert api.as_(Role.OPERATOR, labels=["spam"]).post("/v1/experiments", json=START).status_code == 403
