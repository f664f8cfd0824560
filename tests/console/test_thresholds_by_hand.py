"""What an operator does at 3 a.m.: drag, look, publish, see it live, collide with somebody else, go back."""

import re
from typing import Any

import pytest
from browsing import Visit, Visitor
from console_stack import Stack
from playwright.sync_api import Locator, Route, expect
from services import wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


def drag_to(person: Visitor, share: float) -> float:
    """Drags the line of the threshold to a share of the histogram's width; returns what the page then says."""
    page = person.page
    box, grip = page.locator("svg.histogram").bounding_box(), page.locator("#grip").bounding_box()
    assert box is not None
    assert grip is not None
    middle = grip["y"] + grip["height"] / 2
    page.mouse.move(grip["x"] + grip["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * (share + 0.03), middle, steps=4)
    page.mouse.move(box["x"] + box["width"] * share, middle, steps=2)
    page.mouse.up()
    return draft(person)


def field(person: Visitor) -> Locator:
    """Where a threshold is typed."""
    return person.page.get_by_label("Threshold", exact=True).and_(person.page.locator("input"))


def draft(person: Visitor) -> float:
    return float(field(person).input_value())


def publish(person: Visitor, reason: str) -> None:
    person.page.get_by_role("button", name="Publish …").click()
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_label("Why").fill(reason)
    dialog.get_by_role("button", name="Publish", exact=True).click()


def threshold(stack: Stack, label: str) -> float:
    with stack.client("viewer") as client:
        return float(client.get("/v1/thresholds").json()["thresholds"]["labels"][label])


def test_a_dragged_threshold_is_previewed_published_and_live_on_every_worker(visit: Visit, stack: Stack) -> None:
    person = visit("label/question")
    wanted = drag_to(person, 0.8)
    assert wanted == pytest.approx(0.8, abs=0.01)
    expect(person.page.get_by_text("newly tagged, per hour")).to_be_visible()
    person.shoot("label-preview")
    publish(person, "incident 4711")
    note = person.page.get_by_text(re.compile(r"Revision \d+ is published"))
    expect(note).to_be_visible()
    assert threshold(stack, "question") == pytest.approx(wanted)
    with stack.client("viewer") as client:
        release = client.get("/v1/releases/current").json()["release"]
        state = person.page.locator("#top .state")
        expect(state).to_contain_text(f"release {release}")
        expect(state).to_contain_text("✓ live everywhere")
        workers = client.get("/v1/fleet").json()["workers"]
    assert len(workers) == len(stack.taggers)
    assert {one["release"] for one in workers} == {release}
    history = person.page.get_by_role("region", name="Revisions that moved question")
    expect(history.get_by_role("row").nth(1)).to_contain_text("incident 4711")


def test_a_threshold_moves_by_keyboard_and_the_guard_rail_asks(visit: Visit) -> None:
    person = visit("label/greeting")
    grip = person.page.get_by_role("slider", name="threshold")
    before = draft(person)
    grip.press("ArrowLeft")
    assert draft(person) == pytest.approx(before - 1 / 1024, abs=1 / 1024)
    for _ in range(30):
        grip.press("PageDown")
    expect(person.page.get_by_text("a large step")).to_be_visible()
    person.page.get_by_role("button", name="Publish …").click()
    expect(person.page.get_by_label("This is a large step. Pass the guard rail.")).to_be_visible()
    person.page.keyboard.press("Escape")
    expect(person.page.get_by_role("dialog")).to_have_count(0)


def test_a_dialog_shows_what_was_typed_last(visit: Visit) -> None:
    person = visit("label/greeting")
    field(person).fill(str(draft(person) - 0.03))
    field(person).press("Tab")
    expect(person.page.get_by_text("newly tagged, per hour")).to_be_visible()
    expect(person.page.get_by_text("a large step")).to_have_count(0)
    field(person).fill("0.1")
    person.page.get_by_role("button", name="Publish …").click()  # from within the field, before any preview of it
    dialog = person.page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2)).to_contain_text("→ 0.10")
    expect(dialog.get_by_text("newly tagged, per hour")).to_be_visible()
    expect(dialog.get_by_label("This is a large step. Pass the guard rail.")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)


def test_a_typed_threshold_stays_as_it_was_typed(visit: Visit) -> None:
    person = visit("label/greeting")
    before = draft(person)
    for typed, kept in (
        ("0.4711", 0.4711),
        ("0.0004", 0.0004),
        ("7", 1.0),
        ("8", 1.0),
        ("", 1.0),
        (str(before), before),
    ):
        field(person).fill(typed)
        field(person).press("Tab")
        assert draft(person) == kept
    expect(person.page.get_by_role("button", name="Publish …")).to_have_count(0)


def test_a_change_that_is_under_way_cannot_be_looked_away_from(visit: Visit, stack: Stack) -> None:
    person, held = visit("label/greeting"), list[Route]()
    before = threshold(stack, "greeting")

    def hold(route: Route) -> None:
        if route.request.method == "PATCH":
            held.append(route)
        else:
            route.fallback()

    person.page.route(re.compile("/v1/thresholds$"), hold)
    drag_to(person, before - 0.05)
    publish(person, "does it go through?")
    dialog = person.page.get_by_role("dialog")
    cancel = dialog.get_by_role("button", name="Cancel")
    expect(cancel).to_be_disabled()
    for _ in range(2):
        person.page.keyboard.press("Escape")
        expect(dialog).to_be_visible()
    [route] = held
    route.abort()
    expect(dialog.get_by_role("alert")).to_contain_text("The API does not answer.")
    cancel.click()
    expect(dialog).to_have_count(0)
    assert threshold(stack, "greeting") == before


def test_the_segment_that_is_shown_is_the_one_that_moves(visit: Visit, stack: Stack) -> None:
    """Also where its value reads like two conditions, and when somebody takes its threshold away meanwhile."""
    with stack.client(name="boris") as client:
        revision = client.get("/v1/thresholds/revisions?limit=1").json()["items"][0]["revision"]
        body = {"labels": {"advert": 0.8}, "when": {"tenant": "a,lang=de"}, "reason": "a tenant of its own"}
        moved = client.patch("/v1/thresholds", json=body)
        assert moved.is_success, moved.text
        person, name = visit("label/advert"), 'tenant="a,lang=de"'
        where = person.page.get_by_label("Where").and_(person.page.locator("select"))
        where.select_option(label=name)
        wait_until(lambda: draft(person) == 0.8, 20, "the page shows the threshold of the tenant")
        drag_to(person, 0.75)
        person.page.get_by_role("button", name="Publish …").click()
        dialog = person.page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", level=2)).to_contain_text(f"({name}): 0.80 →")
        dialog.get_by_role("button", name="Cancel").click()
        back = client.post("/v1/thresholds/restore", json={"revision": revision, "reason": "the tenant has left"})
        assert back.is_success, back.text
    expect(person.page.get_by_text("the tenant has left").first).to_be_visible()
    expect(where.locator("option:checked")).to_have_text(name)


def test_the_second_of_two_operators_learns_who_was_first_and_what_differs(visit: Visit, stack: Stack) -> None:
    first, second = visit("label/praise", name="anna"), visit("label/praise", name="boris")
    second.expect(412)
    drag_to(second, 0.85)
    second.page.get_by_role("button", name="Publish …").click()
    expect(second.page.get_by_role("dialog")).to_be_visible()
    drag_to(first, 0.95)
    publish(first, "too many were tagged")
    expect(first.page.get_by_text(re.compile(r"Revision \d+ is published"))).to_be_visible()
    settled = threshold(stack, "praise")
    dialog = second.page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("too few were tagged")
    dialog.get_by_role("button", name="Publish", exact=True).click()
    refusal = dialog.get_by_role("alert")
    expect(refusal).to_contain_text("anna")
    expect(refusal).to_contain_text("too many were tagged")
    expect(refusal).to_contain_text("praise: 0.90 → 0.9")
    second.shoot("label-collision")
    assert threshold(stack, "praise") == settled
    dialog.get_by_role("button", name="Cancel").click()
    wait_until(lambda: draft(second) == settled, 20, "the page shows what was published")


def test_a_change_for_a_time_and_a_restore_rest_on_what_was_seen(visit: Visit, stack: Stack) -> None:
    person = visit("label/praise", name="boris")
    person.expect(412)
    dialog = person.page.get_by_role("dialog")

    def refused(button: str, meanwhile: float) -> None:
        """What somebody else does while the dialog is open is not undone by it."""
        with stack.client(name="anna") as client:
            moved = client.patch("/v1/thresholds", json={"labels": {"praise": meanwhile}, "reason": "a wave of thanks"})
            assert moved.status_code == 200, moved.text
        dialog.get_by_label("Why").fill("too few were tagged")
        dialog.get_by_role("button", name=button, exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("a wave of thanks")
        assert threshold(stack, "praise") == meanwhile
        dialog.get_by_role("button", name="Cancel").click()

    drag_to(person, 0.8)
    person.page.get_by_role("button", name="Publish …").click()
    dialog.get_by_label("For how long").select_option(label="2 hours, then back")
    refused("Publish", 0.83)
    person.page.get_by_role("button", name="Restore …").first.click()
    refused("Restore", 0.84)


def test_an_earlier_revision_is_restored_from_the_history(visit: Visit, stack: Stack) -> None:
    with stack.client(name="boris") as client:
        for value in (0.88, 0.7):
            moved = client.patch("/v1/thresholds", json={"labels": {"complaint": value}, "reason": f"to {value}"})
            assert moved.status_code == 200, moved.text
    person = visit("label/complaint")
    row = person.page.get_by_role("row").filter(has_text="to 0.88")
    row.get_by_role("button", name="Restore …").click()
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("that was better")
    dialog.get_by_role("button", name="Restore", exact=True).click()
    expect(person.page.get_by_text(re.compile(r"Revision \d+ is published"))).to_be_visible()
    assert threshold(stack, "complaint") == 0.88
    stack.wait_live()


def test_what_somebody_else_changes_appears_without_a_reload(visit: Visit, stack: Stack) -> None:
    """Also where the API has not adopted it yet: what is shown is what a change of it rests on."""
    person = visit("label/advert")
    old: dict[str, Any] = {"threshold": draft(person), "segments": []}

    def late(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | old)

    person.page.route(re.compile(r"/v1/labels/advert\?"), late)
    with stack.client(name="boris") as client:
        client.patch("/v1/thresholds", json={"labels": {"advert": 0.87}, "reason": "a quiet night"})
    expect(person.page.get_by_text("a quiet night").first).to_be_visible()
    wait_until(lambda: draft(person) == 0.87, 20, "the line follows")
    expect(person.page.get_by_text("Live is 0.87")).to_be_visible()
    drag_to(person, 0.8)
    expect(person.page.get_by_role("button", name="Publish …")).to_be_visible()
    old["bundle"] = "tiny@0"
    person.page.reload()
    expect(person.page.get_by_text("these scores are of tiny@0")).to_be_visible()
    drag_to(person, 0.8)
    expect(person.page.get_by_role("button", name="Undo")).to_be_visible()
    expect(person.page.get_by_role("button", name="Publish …")).to_have_count(0)
