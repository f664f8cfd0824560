"""What single pages tell."""

import re
import threading

import httpx
import pytest
from browsing import Visit
from console_stack import CRITICAL, PERSONAL, Stack
from playwright.sync_api import Route, expect
from services import wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


def test_the_fleet_names_every_worker_and_what_it_decides_by(visit: Visit, stack: Stack) -> None:
    stack.wait_live()
    person = visit("fleet")
    workers = person.page.get_by_role("region", name="Workers")
    expect(workers.get_by_role("row")).to_have_count(1 + len(stack.taggers))
    expect(workers.get_by_text("✓ ready")).to_have_count(len(stack.taggers))
    expect(person.page.locator(".tile").filter(has_text="live everywhere")).to_contain_text("yes")


def test_now_names_the_slowest_worker_and_the_fleet_says_it_of_each(visit: Visit, stack: Stack) -> None:
    with stack.client("viewer") as client:
        fleet = client.get("/v1/fleet").json()
    names = [worker["worker"].replace(f"{fleet['group']}-", "") for worker in fleet["workers"]]
    tile = visit("now").page.locator(".tile").filter(has_text="latency")
    expect(tile).to_contain_text(re.compile(r"[\d.]+\s(ms|s)"))
    expect(tile).to_contain_text(re.compile(f"slowest worker, ({'|'.join(map(re.escape, names))})"))
    workers = visit("fleet").page.get_by_role("region", name="Workers")
    expect(workers.get_by_text(re.compile(r"p99 [\d.]+\s(ms|s)")).first).to_be_visible()


def test_a_fleet_without_a_worker_says_that_nobody_tags(visit: Visit) -> None:
    person = visit("ledger")

    def nobody(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"workers": []})

    person.page.route(re.compile("/v1/fleet$"), nobody)
    tiles = person.open("fleet").page.locator(".tile")
    expect(tiles.filter(has_text="nobody tags")).to_have_count(1)
    expect(tiles.filter(has_text="events waiting")).to_contain_text("nobody says")


def test_a_group_is_let_go_on_once_whatever_the_page_hears_after_it(visit: Visit) -> None:
    person, resumed = visit("ledger"), list[str]()
    person.expect(503)
    stop = {"at": "2026-11-30T03:00:00Z", "reason": "too many dead letters", "worker": "w", "counts": {}}

    def stopped(route: Route) -> None:
        if resumed:
            route.fulfill(status=503, json={"title": "unavailable", "detail": "Kafka is away"})
        else:
            answer = route.fetch()
            route.fulfill(response=answer, json=answer.json() | {"stop": stop})

    def resume(route: Route) -> None:
        resumed.append(route.request.post_data or "")
        route.fulfill(json={})

    person.page.route(re.compile("/v1/fleet$"), stopped)
    person.page.route(re.compile("/v1/fleet/resume$"), resume)
    person.open("fleet").page.get_by_role("button", name="Let it go on …").click()
    dialog = person.answer("Go on", Why="the producer is mended")
    expect(person.page.get_by_text("Kafka is away").first).to_be_visible()
    expect(dialog).to_have_count(0)
    assert len(resumed) == 1


@pytest.mark.parametrize("path", ["now", "label/spam"])
def test_statistics_that_stand_still_say_since_when(visit: Visit, path: str) -> None:
    person = visit(path)
    expect(person.page.locator(".tiles").first).to_be_visible()
    expect(person.page.get_by_text("no newer window since")).to_have_count(0)

    def old(route: Route) -> None:
        answer = route.fetch()
        rates = answer.json()
        route.fulfill(response=answer, json=rates | {"start_ms": rates["start_ms"] - 3_600_000})

    person.page.route(re.compile(r"/v1/rates\?"), old)
    person.page.reload()
    expect(person.page.get_by_text("no newer window since")).to_be_visible()
    person.check_for_everybody()
    person.check_width()


def test_a_late_answer_does_not_overwrite_what_was_asked_after_it(visit: Visit) -> None:
    person, held = visit("ledger"), list[Route]()

    def hold(route: Route) -> None:
        held.append(route)

    person.page.route(re.compile(r"/v1/ledger\?hours=168"), hold)
    time = person.page.get_by_label("Time").and_(person.page.locator("select"))
    basis = person.page.locator("section").filter(has_text="What this rests on")
    expect(basis).to_contain_text(re.compile(r"in the last\s*24 h"))
    time.select_option(label="7 days")
    time.select_option(label="1 hour")
    expect(basis).to_contain_text(re.compile(r"in the last\s*1 h"))
    with person.page.expect_response(re.compile("hours=168")) as answered:
        held[0].continue_()
    answered.value.finished()
    expect(basis).to_contain_text(re.compile(r"in the last\s*1 h"))
    time.select_option(label="all there is")
    expect(basis).to_contain_text(re.compile(r"of\s*all there is"))


def test_the_ledger_adds_up_for_every_partition(visit: Visit, stack: Stack) -> None:
    person = visit("ledger")
    expect(person.page.locator(".tile").filter(has_text="lost or doubled")).to_contain_text("nothing")
    partitions = person.page.get_by_role("region", name="Source partitions")
    expect(partitions.get_by_text("✓ adds up")).to_have_count(stack.fleet.topics.partitions)


def test_a_text_is_scored_as_the_stream_would(visit: Visit, stack: Stack) -> None:
    text = "a green window by the river"
    with stack.client("viewer") as client:
        [told] = client.post("/v1/score", json={"events": [{"text": text}]}).json()["results"]
    person = visit("try", role="viewer")
    person.page.get_by_label("Text").fill(text)
    person.page.get_by_role("button", name="Score").click()
    rows = person.page.locator(".scores li")
    expect(rows).to_have_count(len(told["scores"]))
    expect(rows.filter(has_text="≥")).to_have_count(len(told["tags"]))
    expect(person.page.locator(".explained mark").first).to_be_visible()
    person.shoot("try-scored")
    person.check_for_everybody()


def test_a_text_stands_beside_its_own_answer_and_the_cut_offs_that_held_for_it(visit: Visit) -> None:
    person, held = visit("try", role="viewer"), list[Route]()
    explained = person.page.locator(".explained")

    def ask(text: str) -> None:
        person.page.get_by_label("Text").fill(text)
        with person.page.expect_request(re.compile("/v1/score$")):
            person.page.get_by_role("button", name="Score").click()

    def hold(route: Route) -> None:
        held.append(route)

    ask("a green window")
    expect(explained).to_have_text("a green window")
    person.page.route(re.compile("/v1/score$"), hold)
    ask("quite another one")
    expect(person.page.get_by_role("button", name="…", exact=True)).to_be_disabled()
    expect(explained).to_have_text("a green window")
    answer = held[0].fetch()
    [one] = answer.json()["results"]
    clean = next(label for label in one["scores"] if label not in {tag["label"] for tag in one["tags"]})
    other = one | {"thresholds": one["thresholds"] | {clean: 0.9876}}
    held[0].fulfill(response=answer, json=answer.json() | {"results": [other]})
    expect(explained).to_have_text("quite another one")
    expect(person.page.locator(".scores li").filter(has_text="< 0.9876")).to_have_count(1)


def test_a_bundle_says_what_it_is(visit: Visit) -> None:
    person = visit("models")
    person.page.get_by_role("link", name="tiny@2").click()
    expect(person.page.get_by_role("heading", name="tiny@2")).to_be_visible()
    row = person.page.get_by_role("row").filter(has_text=f"made-up label {CRITICAL}")
    expect(row).to_contain_text("yes")
    expect(person.page.get_by_text(re.compile("^[0-9a-f]{64}$")).first).to_be_visible()
    person.open("models/moderation/2")
    expect(person.page.get_by_role("heading", name="What it is for")).to_be_visible()
    with person.page.context.expect_page() as opened:
        person.page.get_by_role("link", name="On the rows held out of its training").click()
    report = opened.value
    expect(report.get_by_role("heading", name="moderation@2")).to_be_visible()
    expect(report.get_by_role("heading", name="Precision, recall and calibration")).to_be_visible()
    report.close()
    person.shoot("models-card")
    person.check_for_everybody()
    on_the_way = visit("models/moderation/2", phone=True)
    on_the_way.shoot("models-card-phone")
    on_the_way.check_width()


def test_what_a_dead_letter_holds_is_masked_and_blurred_until_somebody_asks(visit: Visit) -> None:
    person = visit("dead-letters", role="reviewer")
    page = person.page
    expect(page.get_by_role("button", name="Put back", exact=False)).to_have_count(0)
    person.shoot("dead-letters-kinds")
    page.get_by_role("row").filter(has_text="/text").get_by_role("button", name="Look").click()
    letter = page.get_by_role("article").first
    expect(letter).to_be_visible()
    assert PERSONAL.split()[-1] not in page.content()
    held = page.locator(".blurred .content").filter(has_text="[e-mail]")
    for one in page.get_by_role("article").all():
        one.get_by_role("button", name="Show content").click()
        expect(one.locator(".blurred .content")).to_be_visible()
        if held.count():
            break
    expect(held).to_contain_text("write to [e-mail] or call [phone]")
    person.shoot("dead-letters-blurred")
    letter = page.get_by_role("article").filter(has_text="[e-mail]")
    letter.get_by_role("button", name="Unblur").click()
    expect(letter.locator(".blurred")).to_have_count(0)
    letter.get_by_role("button", name="Without masks").click()
    expect(page.get_by_text(PERSONAL)).to_be_visible()
    person.check_for_everybody()


def test_dead_letters_are_put_back_with_a_reason_and_the_audit_knows(visit: Visit, stack: Stack) -> None:
    person, asked = visit("ledger", role="operator"), threading.Event()
    person.expect(503)

    def later(route: Route) -> None:
        """Some more in the time shown; and once the dialog is open, no answer any more."""
        answer = route.fetch()
        if asked.is_set():
            route.fulfill(status=503, json={"title": "unavailable", "detail": "Kafka is away"})
        else:
            items = [one | {"count": one["count"] + 6} for one in answer.json()["items"]]
            route.fulfill(response=answer, json=answer.json() | {"items": items})

    groups = re.compile(r"/v1/dead-letters/groups")
    person.page.route(groups, later)
    person.open("dead-letters")
    row = person.page.get_by_role("row").filter(has_text="json")
    row.get_by_role("button", name="Put back").click()
    dialog = person.page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Put 1 back")
    expect(dialog).to_contain_text("In the time shown (1 day) there are 7.")
    dialog.get_by_label("Why").fill("producer fixed")
    person.shoot("dead-letters-replay")
    asked.set()
    dialog.get_by_role("button", name="Put back").click()
    expect(person.page.get_by_text("1 put back.")).to_be_visible()
    expect(dialog).to_have_count(0)  # what is done is done, whatever the page hears after it
    expect(person.page.get_by_text("Kafka is away").first).to_be_visible()
    person.page.unroute(groups)
    with stack.client("viewer") as client:
        [entry] = [one for one in client.get("/v1/audit").json()["items"] if one["action"] == "replay-dead-letters"]
        assert entry["reason"] == "producer fixed"
        # It is still no JSON, and dies again.
        wait_until(lambda: died_twice(client), 30, "the letter has died again")


def died_twice(client: httpx.Client) -> bool:
    return any(one["replay_count"] == 1 for one in client.get("/v1/dead-letters").json()["items"])
