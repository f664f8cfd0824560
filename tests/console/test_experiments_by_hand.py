"""A challenger that is started, watched and stopped in the browser."""

import re

import pytest
from browsing import Visit
from console_stack import LABELS, Stack
from playwright.sync_api import expect
from test_changes_by_two import answer

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


def test_a_challenger_is_started_watched_and_stopped(visit: Visit, stack: Stack) -> None:
    person = visit("experiments")
    person.page.get_by_role("button", name="Start one …").click()
    person.page.locator("select[name=bundle]").select_option("tiny@2")
    person.page.locator("select[name=thresholds]").select_option("keep")
    answer(person, "Start", Why="is the new one as good?")
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

    with stack.client("viewer") as client:
        ended = client.get(f"/v1/experiments/{number}").json()["state"] != "running"
    if not ended:  # the weights of the two bundles have nothing in common: a verdict may be faster than any hand
        person.page.get_by_role("button", name="Stop …").click()
        answer(person, "Stop it", Why="seen enough")
        expect(person.page.get_by_text(re.compile("seen enough|wrong by chance")).first).to_be_visible()
    person.open("experiments")
    row = person.page.get_by_role("row").filter(has_text="is the new one as good?")
    expect(row).to_contain_text(re.compile("stopped|fail"))


def test_whoever_may_only_look_is_offered_no_button(visit: Visit) -> None:
    person = visit("experiments", role="viewer")
    expect(person.page.get_by_role("button", name="Start one …")).to_have_count(0)
    person.open("changes")
    expect(person.page.get_by_role("heading", name="Threshold revisions")).to_be_visible()
    for name in ("Freeze …", "Restore …", "Return …", "Publish …", "Approve …"):
        expect(person.page.get_by_role("button", name=name)).to_have_count(0)
