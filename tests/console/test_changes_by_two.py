"""Changes that two people make, that end by themselves, that a freeze holds up; and the record of all of it."""

import re
from collections.abc import Iterator

import pytest
from browsing import Visit
from console_stack import CRITICAL, Stack
from playwright.sync_api import Route, expect
from services import wait_until
from test_thresholds_by_hand import draft, drag_to, threshold

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


def wait_for(stack: Stack, label: str, value: float) -> None:
    """Until the threshold of a label is this one."""
    with stack.client("viewer") as client:

        def there() -> bool:
            return bool(client.get("/v1/thresholds").json()["thresholds"]["labels"][label] == pytest.approx(value))

        wait_until(there, 20, f"the threshold of {label} is {value}")


@pytest.fixture
def thawed(stack: Stack) -> Iterator[None]:
    """Whatever the test does: what is frozen in it is lifted after it."""
    yield
    with stack.client() as client:
        if client.get("/v1/freeze").json()["frozen"]:
            assert client.post("/v1/freeze/lift", json={"reason": "the test is over"}).is_success


def test_a_critical_label_moves_when_one_asks_and_another_approves(visit: Visit, stack: Stack) -> None:
    before = threshold(stack, CRITICAL)
    anna = visit(f"label/{CRITICAL}", name="anna")
    wanted = drag_to(anna, before - 0.1)
    assert wanted == pytest.approx(before - 0.1, abs=0.01)
    expect(anna.page.get_by_text(f"Needs a second person: {CRITICAL} is critical")).to_be_visible()
    expect(anna.page.get_by_role("button", name="Publish …")).to_have_count(0)
    anna.page.get_by_role("button", name="Ask for it …").click()
    anna.answer("Ask", Why="raid on the forum", Ticket_or_link="https://tickets.example/4711")
    heading = anna.page.get_by_role("heading", level=1, name="Change")
    expect(heading).to_be_visible()
    number = heading.inner_text().split()[1]
    expect(anna.page.get_by_text("waits for a second person")).to_be_visible()
    expect(anna.page.get_by_text("Had it been live for the last day")).to_be_visible()
    expect(anna.page.get_by_role("button", name="Approve …")).to_have_count(0)
    anna.shoot("change-waits")
    anna.check_for_everybody()

    boris = visit("changes", name="boris")
    row = boris.page.get_by_role("listitem").filter(has_text=f"Change {number}").filter(has_text="raid on the forum")
    row.get_by_role("button", name="Approve …").click()
    boris.answer("Approve", Comment="seen the preview")
    row.get_by_role("button", name="Publish …").click()
    boris.answer("Publish")
    wait_for(stack, CRITICAL, wanted)
    # The page of whoever asked has heard of it.
    expect(anna.page.get_by_text(re.compile(r"boris-\w+ approved"))).to_be_visible()
    expect(anna.page.get_by_text(re.compile(r"boris-\w+ published"))).to_be_visible()
    expect(anna.page.get_by_role("button", name="Take back …")).to_be_visible()
    anna.check_width()

    anna.page.get_by_role("button", name="Take back …").click()
    anna.answer("Take back", Why="the raid is over")
    wait_for(stack, CRITICAL, before)
    stack.wait_live()


def test_a_threshold_for_a_time_says_when_it_goes_back_and_does(visit: Visit, stack: Stack) -> None:
    before = threshold(stack, "self_promotion")
    person = visit("label/self_promotion")
    wanted = drag_to(person, 0.8)
    person.page.get_by_role("button", name="Publish …").click()
    person.page.get_by_label("For how long").select_option(label="1 hour, then back")
    person.answer("Publish", Why="a busy night")
    expect(person.page.get_by_text(re.compile(r"Change \d+ is live, and goes back at"))).to_be_visible()
    wait_until(lambda: draft(person) == pytest.approx(wanted), 20, "the page shows what is live")
    person.open("changes")
    entry = person.page.get_by_role("listitem").filter(has_text="a busy night")
    expect(entry).to_contain_text("goes back in 60 min")
    entry.get_by_role("button", name="Take back …").click()
    person.answer("Take back", Why="quiet again")
    wait_for(stack, "self_promotion", before)

    with stack.client() as client:
        asked = {"labels": {"self_promotion": 0.85}, "reason": "for a moment", "lasts_s": 2}
        number = client.post("/v1/change-requests", json=asked).json()["number"]
        assert client.post(f"/v1/change-requests/{number}/publish").is_success
    person.open(f"changes/{number}")
    expect(person.page.locator("section").first.get_by_text("went back by itself")).to_be_visible()
    assert threshold(stack, "self_promotion") == before


def test_a_freeze_stops_everybody_and_leaves_the_way_back(visit: Visit, stack: Stack, thawed: None) -> None:
    with stack.client(name="boris") as client:
        for value in (0.91, 0.9):
            moved = client.patch(
                "/v1/thresholds", json={"labels": {"greeting": value}, "reason": f"to {value}, before"}
            )
            assert moved.is_success, moved.text
    person = visit("changes")
    person.expect(423)
    person.page.get_by_role("button", name="Freeze …").click()
    person.answer("Freeze", Why="election day")
    expect(person.page.locator("#top").get_by_text("frozen")).to_be_visible()
    person.shoot("changes-frozen")
    person.check_for_everybody()

    person.open("label/greeting")
    drag_to(person, 0.8)
    person.page.get_by_role("button", name="Publish …").click()
    refused = person.answer("Publish", Why="all the same")
    expect(refused.get_by_role("alert")).to_contain_text("election day")
    refused.get_by_role("button", name="Cancel").click()
    assert threshold(stack, "greeting") == 0.9
    person.page.get_by_role("row").filter(has_text="to 0.91, before").get_by_role("button", name="Restore …").click()
    person.answer("Restore", Why="that one was right")
    wait_for(stack, "greeting", 0.91)

    person.open("changes")
    person.page.get_by_role("button", name="Lift …").click()
    person.answer("Lift it", Why="all quiet")
    expect(person.page.locator("#top").get_by_text("frozen")).to_have_count(0)


def test_what_was_asked_for_long_ago_is_found_page_by_page(visit: Visit, stack: Stack) -> None:
    """So is what waits, and what is live for good, which can be taken back: of pages as short as they are here."""
    before = threshold(stack, "advert")
    with stack.client(name="boris") as client:

        def ask(value: float, reason: str) -> str:
            asked = client.post("/v1/change-requests", json={"labels": {"advert": value}, "reason": reason})
            return f"/v1/change-requests/{asked.json()['number']}"

        for n in (1, 2):
            assert client.post(f"{ask(before - n / 100, f'granted {n}')}/publish").is_success
        waiting = [ask(0.5, f"patient {n}") for n in (1, 2)]
        for n in range(22):
            assert client.post(f"{ask(0.5, f'wish {n:02}')}/withdraw", json={}).is_success
    person = visit("ledger")

    def short(route: Route) -> None:
        route.continue_(url=re.sub("limit=100&state=(draft|live)", r"limit=1&state=\1", route.request.url))

    person.page.route(re.compile(r"/v1/change-requests\?"), short)
    person.open("changes")
    asked_for = person.page.locator("section").filter(has_text="Waiting").get_by_role("listitem")
    for n in (1, 2):
        expect(asked_for.filter(has_text=f"patient {n}")).to_have_count(1)
    past = person.page.locator("section").filter(has_text="Asked for before").get_by_role("listitem")
    expect(past.filter(has_text="wish 21")).to_have_count(1)
    expect(past.filter(has_text="wish 00")).to_have_count(0)
    person.page.get_by_role("button", name="Older ones").click()
    expect(past.filter(has_text="wish 00")).to_have_count(1)
    for n in (1, 2):
        expect(past.filter(has_text=f"granted {n}").get_by_role("button", name="Take back …")).to_have_count(1)
    named = past.locator("strong a").all_inner_texts()
    assert len(named) == len(set(named)) >= 24
    with stack.client(name="anna") as client:
        for one in waiting:
            assert client.post(f"{one}/reject", json={"comment": "waited in vain"}).is_success


def test_the_audit_tells_who_did_what_and_proves_that_it_stands(visit: Visit, stack: Stack) -> None:
    with stack.client(name="mila") as client:
        moved = client.patch("/v1/thresholds", json={"labels": {"advert": 0.89}, "reason": "for the record"})
        assert moved.is_success, moved.text
        author = client.get("/v1/session").json()["name"]
    person = visit("audit", role="viewer")
    person.page.get_by_label("Who").select_option(author)
    rows = person.page.get_by_role("region", name="Entries, newest first").get_by_role("row")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("for the record")
    person.page.get_by_role("button", name="Prove it").click()
    expect(person.page.get_by_text("everything stands as it was written")).to_be_visible()
    person.shoot("audit-proven")
    person.check_for_everybody()


def test_an_answer_from_before_a_freeze_does_not_hide_it(visit: Visit, stack: Stack, thawed: None) -> None:
    person, held, frozen = visit("changes"), list[Route](), list[str]()

    def hold(route: Route) -> None:
        if frozen:
            route.continue_()
        else:
            held.append(route)

    def asked() -> bool:
        person.page.wait_for_timeout(50)
        return len(held) >= 2

    person.page.route(re.compile("/v1/freeze$"), hold)
    wait_until(asked, 30, "page and head have asked")
    frozen.append("from here on")
    with stack.client() as client:
        assert client.post("/v1/freeze", json={"reason": "election day"}).is_success
    page = person.page
    places = page.locator("#top").get_by_text("frozen"), page.get_by_text("Nothing changes but by restore")
    for place in places:
        expect(place).to_be_visible()
    for route in held:
        with person.page.expect_response(re.compile("/v1/freeze$")) as answered:
            route.fulfill(json={"frozen": False, "freeze": None})
        answered.value.finished()
    person.page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert [place.is_visible() for place in places] == [True, True]
