"""Signing in and out, and what somebody without the role cannot do."""

import re

import pytest
from browsing import Visit
from console_stack import Stack
from playwright.sync_api import Route, expect

from streamtag.control.tokens import TokenStore

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)

PATCH = """async () => {
  const { csrf } = await (await fetch("/v1/session")).json();
  const answer = await fetch("/v1/thresholds", {
    method: "PATCH", headers: { "content-type": "application/json", "x-csrf-token": csrf },
    body: JSON.stringify({ labels: { spam: 0.8 }, reason: "because" }),
  });
  return answer.status;
}"""


def test_a_token_signs_in_and_a_wrong_one_does_not(visit: Visit, stack: Stack) -> None:
    person = visit("now", role=None)
    token = person.page.get_by_label("Token")
    token.fill("st_wrong")
    person.page.get_by_role("button", name="Sign in").click()
    expect(person.page.get_by_role("alert")).to_contain_text("the token is not valid")
    token.fill(stack.token("operator", "olga"))
    person.page.get_by_role("button", name="Sign in").click()
    expect(person.page.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    expect(person.page.locator("#top .who")).to_contain_text("olga")


def test_signing_out_ends_the_session_for_good(visit: Visit) -> None:
    person = visit("now")
    person.expect(401)
    person.page.get_by_role("button", name="Sign out").click()
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()
    person.page.reload()
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_who_is_still_signed_in_is_told(visit: Visit, stack: Stack) -> None:
    person = visit("now")
    person.expect(401, 403, 503)
    out, session = person.page.get_by_role("button", name="Sign out"), re.compile("/v1/session$")

    def refuse(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=503, json={"title": "unavailable", "detail": "Redis is away."})
        else:
            route.fallback()

    person.page.route(session, refuse)
    out.click()
    expect(person.page.get_by_text("You are still signed in: Redis is away.")).to_be_visible()
    expect(person.page.locator("#top .who")).to_contain_text("olga")
    person.page.unroute(session)
    # In another tab somebody has signed in anew since: the session is not the one that this page knows.
    assert person.context.request.post("/v1/session", data={"token": stack.token("operator", "olga")}).ok
    out.click()
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()
    person.page.reload()
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_viewer_looks_and_cannot_change(visit: Visit) -> None:
    viewer = visit("label/spam", role="viewer")
    viewer.page.get_by_role("slider", name="threshold").press("ArrowLeft")
    expect(viewer.page.get_by_text("Your role may look, not change.")).to_be_visible()
    expect(viewer.page.get_by_role("button", name="Publish …")).to_have_count(0)
    expect(viewer.page.get_by_role("link", name="Dead letters")).to_have_count(0)
    viewer.expect(403)
    assert viewer.page.evaluate(PATCH) == 403


def test_a_revoked_token_ends_the_session_that_it_opened(visit: Visit, stack: Stack) -> None:
    person = visit("now", name="gone")
    person.expect(401)
    tokens = TokenStore(stack.store)
    [name] = [one.name for one in tokens.all() if one.name.startswith("gone-")]
    tokens.revoke(name, by="anna")
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()
