"""A change for a moment, on real processes: asked over one API, approved over another, live in a tagger, and back."""

import httpx
import pytest
from pipeline import Ledger, events
from services import wait_until
from workers import Fleet

from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore
from streamtag.domain.audit_chain import verify

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


def test_a_change_for_a_moment_goes_live_on_every_worker_and_back_once(
    fleet: Fleet, ledger: Ledger, fleet_store: ControlStore
) -> None:
    ledger.write(list(events(200, seed=3)))
    fleet.start().wait_ready()
    (one, url), (other, other_url) = (fleet.start_api(changes__approval="all") for _ in range(2))
    tokens = TokenStore(fleet_store)
    clients = [
        httpx.Client(
            base_url=f"{base}/v1",
            timeout=20,
            headers={"Authorization": f"Bearer {tokens.create(name, Role.OPERATOR, by='root')}"},
        )
        for name, base in (("anna", url), ("boris", other_url))
    ]
    anna, boris = clients

    def live() -> int | None:
        """Number of the release that every worker decides by."""
        found = anna.get("/releases/current").json()
        return int(found["release"]) if found["live"] == "yes" else None

    refused = anna.patch("/thresholds", json={"labels": {"spam": 0.6}, "reason": "raid"})
    assert (refused.status_code, refused.json()["title"]) == (403, "needs a second person")
    body = {"labels": {"spam": 0.6}, "reason": "raid", "lasts_s": 2}
    number = anna.post("/change-requests", json=body).json()["number"]
    assert anna.post(f"/change-requests/{number}/approve", json={}).status_code == 422
    boris.post(f"/change-requests/{number}/approve", json={"comment": "seen"}).raise_for_status()
    published = anna.post(f"/change-requests/{number}/publish").raise_for_status().json()
    assert published["result"]["release"] == 2
    wait_until(lambda: live() in (2, 3), 10, "the change is live, or over already")
    wait_until(lambda: live() == 3, 20, "it goes back by itself, everywhere")
    found = boris.get(f"/change-requests/{number}").json()
    assert (found["state"], found["kept"]) == ("expired", [])
    assert anna.get("/thresholds").json()["thresholds"]["labels"]["spam"] == 0.5
    actions = [entry.fields["action"] for entry in fleet_store.audit()]
    assert actions == ["expire", "thresholds", "change-approve", "change-open", "seed"], "one of the two has acted"
    assert verify(fleet_store.audit_log.entries(), fleet_store.audit_log.head()).fault is None
    for client in clients:
        client.close()
    assert (one.stop(), other.stop()) == (0, 0)
