"""What an operator does at 3 a.m.: drag, look, publish, see it live, collide with somebody else, go back."""

import re

import pytest
from browsing import Visit, Visitor
from console_stack import Stack
from playwright.sync_api import expect
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


def draft(person: Visitor) -> float:
    return float(person.page.get_by_label("Threshold", exact=True).and_(person.page.locator("input")).input_value())


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


def test_the_second_of_two_operators_learns_who_was_first_and_what_differs(visit: Visit, stack: Stack) -> None:
    first, second = visit("label/praise", name="anna"), visit("label/praise", name="boris")
    second.expect(412)
    drag_to(second, 0.85)
    second.page.get_by_role("button", name="Publish …").click()
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
    person = visit("label/advert")
    with stack.client(name="boris") as client:
        client.patch("/v1/thresholds", json={"labels": {"advert": 0.87}, "reason": "a quiet night"})
    expect(person.page.get_by_text("a quiet night").first).to_be_visible()
    wait_until(lambda: draft(person) == 0.87, 20, "the line follows")
