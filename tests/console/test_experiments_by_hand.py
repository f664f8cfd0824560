"""A challenger that is started, watched and stopped in the browser."""

import re
from functools import partial
from typing import Any

import pytest
from browsing import Visit, Visitor
from console_stack import LABELS, Stack
from playwright.sync_api import Route, expect
from services import wait_until
from test_thresholds_by_hand import drag_to, threshold

from streamtag.control.experiment_log import ExperimentLog

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


def ended(stack: Stack, number: int) -> None:
    """No later test finds its labels judged."""
    with stack.client() as client:
        stopped = client.post(f"/v1/experiments/{number}/stop", json={"reason": "the test is over"})
        assert stopped.status_code in {200, 409}, stopped.text  # or it has come to a verdict


def judged(stack: Stack, body: dict[str, Any]) -> int:
    """The number of an experiment that is started and looked at."""
    with stack.client() as client:
        number: int = client.post("/v1/experiments", json=body).json()["experiment"]
        path = f"/v1/experiments/{number}"
        wait_until(lambda: (client.get(path).json()["evidence"] or {}).get("units"), 60, "it has been looked at")
    return number


def number_of(person: Visitor) -> int:
    """Of the experiment whose page has come up."""
    heading = person.page.get_by_role("heading", level=1, name=re.compile(r"Experiment \d+"))
    expect(heading).to_be_visible()
    return int(heading.inner_text().split()[1])


def much_drawn(person: Visitor, colour: str) -> bool:
    """Whether more than a few points of the chart have a colour of the page, by its name."""
    return int(person.page.evaluate(_COUNT, colour)) > 100


_COUNT = """name => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const wanted = getComputedStyle(probe).color.match(/[0-9]+/g).map(Number);
  probe.remove();
  const canvas = document.querySelector("#evidence canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const its = (i) => data[i + 3] > 128 && wanted.every((one, j) => Math.abs(one - data[i + j]) < 24);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) found += its(i);
  return found;
}"""


def check_evidence(person: Visitor) -> None:
    """It is drawn against its bounds, and told to those who see no chart; of any label that is judged."""
    section = person.page.locator("section").filter(has_text="Evidence over time")
    section.get_by_role("combobox").select_option("spam")
    # Of eight labels each has its part of five percent; PASS needs all of them.
    told = section.get_by_text(
        re.compile(r"evidence that spam is worse stands at .+ \(FAIL from 160\).+ \(PASS from 20\)")
    )
    expect(told).to_be_visible()
    expect(section.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("worse at .+, FAIL from 160; equal at")
    )
    expect(section.locator(".u-legend")).to_contain_text(re.compile("worse.+equal", re.DOTALL))
    for colour in ("--bad", "--good"):
        wait_until(partial(much_drawn, person, colour), 20, f"a line and a bound in {colour}")
    section.get_by_text("The same as a table").click()
    looks = section.get_by_role("region", name="Evidence on spam, the newest look first").get_by_role("row")
    wait_until(lambda: looks.count() > 2, 30, "there is more than one look")


def test_a_challenger_is_started_watched_and_stopped(visit: Visit, stack: Stack) -> None:
    person = visit("experiments")
    person.page.get_by_role("button", name="Start one …").click()
    # The champion's own bundle and thresholds: nothing to find, so no verdict comes before the hand that stops it.
    person.page.locator("select[name=bundle]").select_option("tiny@1")
    person.page.locator("select[name=thresholds]").select_option("keep")
    person.page.get_by_label("Each label's rate may move by").fill("±2%")
    person.answer("Start", Why="is the new one as good?")
    number = number_of(person)
    expect(person.page.get_by_text("collecting")).to_be_visible()
    # Evidence comes by itself, of each label that is judged.
    rows = person.page.get_by_role("region", name="Labels, control beside candidate").get_by_role("row")
    expect(rows).to_have_count(1 + len(LABELS), timeout=90_000)
    expect(person.page.get_by_text(re.compile(r"[\d,]+ units in")).first).to_be_visible()
    check_evidence(person)
    person.shoot("experiment-collecting")
    person.check_for_everybody()
    person.check_width()
    for name, other in (
        ("dark", visit(f"experiments/{number}", scheme="dark")),
        ("phone", visit(f"experiments/{number}", phone=True)),
    ):
        expect(other.page.locator("#evidence canvas")).to_be_visible()
        other.check_for_everybody()
        other.check_width()
        other.shoot(f"experiment-collecting-{name}")

    person.page.get_by_role("button", name="Stop …").click()
    person.answer("Stop it", Why="seen enough")
    expect(person.page.get_by_text("seen enough").first).to_be_visible()
    with stack.client("viewer") as client:
        assert client.get(f"/v1/experiments/{number}").json()["state"] == "stopped"
    person.open("experiments")
    row = person.page.get_by_role("row").filter(has_text="is the new one as good?")
    expect(row).to_contain_text("stopped")


def test_other_thresholds_are_compared_once_they_can_be_read(visit: Visit, stack: Stack) -> None:
    before = threshold(stack, "advert")
    person = visit("experiments")
    person.expect(422)
    person.page.get_by_role("button", name="Start one …").click()
    dialog, cutoffs = person.page.get_by_role("dialog"), person.page.get_by_label("But for these")
    dialog.get_by_label("Why").fill("is a stricter one as good?")
    for lines, said in (
        ("advert 0.7", "labels: “advert 0.7” is not label=value"),
        ("advert=often", "labels.advert: often is no number"),
        ("ham=0.7", "labels.ham: the bundle does not score this label"),
        ("advert=1.5", "labels.advert: 1.5 is outside 0 … 1"),
        (f"advert={before}", "labels: these are the cut-offs that decide now"),
    ):
        cutoffs.fill(lines)
        dialog.get_by_role("button", name="Start").click()
        expect(dialog.locator("#wrong-labels")).to_contain_text(said)
        expect(cutoffs).to_be_focused()
        expect(cutoffs).to_have_attribute("aria-invalid", "true")
        expect(dialog.get_by_role("alert")).not_to_contain_text(said)
    person.shoot("experiment-refused")
    person.check_for_everybody()
    cutoffs.fill("advert=0.8\n")
    dialog.get_by_label("Each label's rate may move by").fill("a bit")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.locator("#wrong-tolerance")).to_contain_text("'a bit' is not understood")
    dialog.get_by_label("Each label's rate may move by").fill("±20%")
    dialog.get_by_role("button", name="Start").click()
    number = number_of(person)
    try:
        differs = person.page.get_by_role("region", name="What differs").get_by_role("row")
        expect(differs).to_have_count(2)
        expect(differs.nth(1)).to_contain_text("advert")
        expect(differs.nth(1)).to_contain_text("0.80")
        with stack.client("viewer") as client:
            plan = client.get(f"/v1/experiments/{number}").json()["plan"]
        assert [name for name, policy in plan["labels"].items() if not policy["muted"]] == ["advert"]
    finally:
        ended(stack, number)


def test_a_threshold_is_tried_beside_the_champion_before_it_is_moved(visit: Visit, stack: Stack) -> None:
    before = threshold(stack, "spam")
    person = visit("label/spam")
    wanted = drag_to(person, 0.7)
    expect(person.page.get_by_text("newly tagged, per hour")).to_be_visible()
    person.page.get_by_role("button", name="Try it first …").click()
    expect(person.page.get_by_role("dialog")).to_contain_text(re.compile(r"it would tag [\d.]+ times as many"))
    person.check_for_everybody()
    person.answer("Start", Why="before it is moved")
    number = number_of(person)
    try:
        differs = person.page.get_by_role("region", name="What differs").get_by_role("row")
        expect(differs.nth(1)).to_contain_text("spam")
        with stack.client("viewer") as client:
            [change] = client.get(f"/v1/experiments/{number}").json()["changes"]
        assert (change["before"], change["after"]) == (before, pytest.approx(wanted))
        assert threshold(stack, "spam") == before
    finally:
        ended(stack, number)


def test_a_share_is_entered_and_shown_as_it_is(visit: Visit, stack: Stack) -> None:
    body = {"bundle": "tiny@1", "thresholds": "keep", "plan": {"share": 0.125, "others": "±2%"}, "reason": "an eighth"}
    with stack.client() as client:
        started = client.post("/v1/experiments", json=body)
        assert started.is_success, started.text
    number = started.json()["experiment"]
    try:
        person = visit(f"experiments/{number}")
        rows = person.page.get_by_role("region", name="Phases").get_by_role("row")
        expect(rows.nth(1)).to_contain_text(re.compile(r"12\.5\s%"))
        person.page.get_by_role("button", name="Share …").click()
        expect(person.page.get_by_label("Share of events, in percent")).to_have_value("12.5")
        person.answer("Change it", **{"Share_of_events,_in_percent": "0.5"}, Why="half a percent will do")
        expect(rows.nth(2)).to_contain_text(re.compile(r"0\.5\s%"))
    finally:
        ended(stack, number)


def test_counts_stand_beside_the_phase_that_they_are_of(visit: Visit, stack: Stack) -> None:
    body = {"bundle": "tiny@1", "thresholds": "keep", "plan": {"others": "±2%"}, "reason": "in three phases"}
    number = judged(stack, body)

    def phased(route: Route) -> None:
        """No event came in the second of its phases."""
        answer = route.fetch()
        found = answer.json()
        found["phases"] = [{**found["phases"][0], "share": share} for share in (0.1, 0.2, 0.5)]
        found["evidence"]["phases"] = [
            {"share": share, "control_units": units, "candidate_units": units, "labels": {}}
            for share, units in ((0.1, 111), (0.5, 555))
        ]
        route.fulfill(response=answer, json=found)

    try:
        person = visit("experiments")
        person.page.route(re.compile(f"/v1/experiments/{number}$"), phased)
        rows = person.open(f"experiments/{number}").page.get_by_role("region", name="Phases").get_by_role("row")
        for n, units in ((1, "111"), (2, "–"), (3, "555")):
            expect(rows.nth(n).get_by_role("cell").last).to_have_text(units)
    finally:
        ended(stack, number)


def test_an_experiment_whose_looks_nobody_kept_says_so(visit: Visit, stack: Stack) -> None:
    body = {"bundle": "tiny@1", "thresholds": "keep", "plan": {"others": "±2%"}, "reason": "from before"}
    number = judged(stack, body)
    ended(stack, number)
    redis: Any = stack.store.client
    key = f"{stack.store.keys.prefix}evidence:{ExperimentLog(stack.store).find(number).id}"
    life_s = redis.ttl(key)
    wait_until(lambda: redis.ttl(key) < life_s - 3, 30, "whoever judges has heard of its end", every_s=0.2)
    assert redis.delete(f"{key}:looks") == 1
    person = visit(f"experiments/{number}")
    expect(person.page.get_by_text("No look at it is kept.")).to_be_visible()
    person.check_for_everybody()


def test_whoever_may_only_look_is_offered_no_button(visit: Visit) -> None:
    person = visit("experiments", role="viewer")
    expect(person.page.get_by_role("button", name="Start one …")).to_have_count(0)
    person.open("changes")
    expect(person.page.get_by_role("heading", name="Threshold revisions")).to_be_visible()
    for name in ("Freeze …", "Restore …", "Return …", "Publish …", "Approve …"):
        expect(person.page.get_by_role("button", name=name)).to_have_count(0)
