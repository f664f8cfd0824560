"""What single pages tell."""

import re

import pytest
from browsing import Visit
from console_stack import CRITICAL, Stack
from playwright.sync_api import expect

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


def test_the_fleet_names_every_worker_and_what_it_decides_by(visit: Visit, stack: Stack) -> None:
    stack.wait_live()
    person = visit("fleet")
    workers = person.page.get_by_role("region", name="Workers")
    expect(workers.get_by_role("row")).to_have_count(1 + len(stack.taggers))
    expect(workers.get_by_text("✓ ready")).to_have_count(len(stack.taggers))
    expect(person.page.locator(".tile").filter(has_text="live everywhere")).to_contain_text("yes")


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
    person.shoot("try-scored")
    person.check_for_everybody()


def test_a_bundle_says_what_it_is(visit: Visit) -> None:
    person = visit("models")
    person.page.get_by_role("link", name="tiny@2").click()
    expect(person.page.get_by_role("heading", name="tiny@2")).to_be_visible()
    row = person.page.get_by_role("row").filter(has_text=f"made-up label {CRITICAL}")
    expect(row).to_contain_text("yes")
    expect(person.page.get_by_text(re.compile("^[0-9a-f]{64}$")).first).to_be_visible()
    person.shoot("models-tiny-2")
    person.check_for_everybody()
    person.check_width()
