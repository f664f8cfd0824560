"""A challenger that is started, watched and stopped in the browser."""

import re

import pytest
from browsing import Visit
from console_stack import LABELS, Stack
from playwright.sync_api import expect

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


def test_a_challenger_is_started_watched_and_stopped(visit: Visit, stack: Stack) -> None:
    person = visit("experiments")
    person.page.get_by_role("button", name="Start one …").click()
    # The champion's own bundle and thresholds: nothing to find, so no verdict comes before the hand that stops it.
    person.page.locator("select[name=bundle]").select_option("tiny@1")
    person.page.locator("select[name=thresholds]").select_option("keep")
    person.page.get_by_label("Each label's rate may move by").fill("±2%")
    person.answer("Start", Why="is the new one as good?")
    heading = person.page.get_by_role("heading", level=1, name=re.compile(r"Experiment \d+"))
    expect(heading).to_be_visible()
    number = int(heading.inner_text().split()[1])
    expect(person.page.get_by_text("collecting")).to_be_visible()
    # Evidence comes by itself, of each label that is judged.
    rows = person.page.get_by_role("region", name="Labels, control beside candidate").get_by_role("row")
    expect(rows).to_have_count(1 + len(LABELS), timeout=90_000)
    expect(person.page.get_by_text(re.compile(r"[\d,]+ units in")).first).to_be_visible()
    person.shoot("experiment-collecting")
    person.check_for_everybody()
    person.check_width()

    person.page.get_by_role("button", name="Stop …").click()
    person.answer("Stop it", Why="seen enough")
    expect(person.page.get_by_text("seen enough").first).to_be_visible()
    with stack.client("viewer") as client:
        assert client.get(f"/v1/experiments/{number}").json()["state"] == "stopped"
    person.open("experiments")
    row = person.page.get_by_role("row").filter(has_text="is the new one as good?")
    expect(row).to_contain_text("stopped")


def test_whoever_may_only_look_is_offered_no_button(visit: Visit) -> None:
    person = visit("experiments", role="viewer")
    expect(person.page.get_by_role("button", name="Start one …")).to_have_count(0)
    person.open("changes")
    expect(person.page.get_by_role("heading", name="Threshold revisions")).to_be_visible()
    for name in ("Freeze …", "Restore …", "Return …", "Publish …", "Approve …"):
        expect(person.page.get_by_role("button", name=name)).to_have_count(0)
