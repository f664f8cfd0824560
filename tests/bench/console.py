"""The console in a real browser: first paint, a week of windows, and from a click on Publish to live on every worker.

A change counts from the click, by the browser's clock, and ends when the last worker has taken it up between two
batches (``applied_at_ms`` of its heartbeat): browser, API and workers run on one host, so by one clock.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import json
from services import wait_until

from streamtag.control.fleet import read_fleet
from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, VERSION, WindowDocument, start_of

from . import report
from .propagation import percentile
from .stack import running

# The tests of the console bring its stack and its browser.
sys.path.insert(0, str(Path(__file__).parents[1] / "console"))

import console_stack
from browsing import WIDE, Visitor, chromium, visitor

LABELS, DAYS = 50, 7
_APPLIED_S = 30.0
_QUERIES = 30
_LABEL = "question"
_CLICKED = """() => {
  document.addEventListener("click", (event) => {
    if (event.target.matches("dialog button.main")) window.clickedAt = Date.now();
  }, true);
}"""
_PAINTED = """() => new Promise((resolve) => {
  const drawn = () => document.querySelector("main table")
    ? resolve([performance.getEntriesByName("first-contentful-paint")[0].startTime, performance.now()])
    : requestAnimationFrame(drawn);
  drawn();
})"""


def run(*, changes: int, visits: int, workers: int = 3) -> dict[str, object]:
    """The whole measurement; the section ``console`` of ``reports/bench.json``."""
    with running() as services, tempfile.TemporaryDirectory(prefix="streamtag-console-") as directory:
        with console_stack.running(services.bootstrap, services.redis_url, Path(directory), workers=workers) as stack:
            queries = _queries(stack)
            with chromium() as browser:
                paints = []
                for _ in range(visits):
                    person = visitor(browser, stack.url, stack.token(), "light", WIDE)
                    person.page.goto(f"{stack.url}/console/#/now")
                    paints.append(person.page.evaluate(_PAINTED))
                    person.context.close()
                person = visitor(browser, stack.url, stack.token(), "light", WIDE)
                everywhere, shown = _publish(stack, person.open(f"label/{_LABEL}"), changes, workers)
        return {
            "published_p50_ms": round(percentile(everywhere, 0.5), 1),
            "published_p99_ms": round(percentile(everywhere, 0.99), 1),
            "published_max_ms": round(max(everywhere), 1),
            "shown_p50_ms": round(percentile(shown, 0.5), 1),
            "shown_p99_ms": round(percentile(shown, 0.99), 1),
            "changes": changes,
            "workers": workers,
            "first_paint_p50_ms": round(statistics.median(first for first, _ in paints), 1),
            "first_paint_max_ms": round(max(first for first, _ in paints), 1),
            "drawn_p50_ms": round(statistics.median(drawn for _, drawn in paints), 1),
            "drawn_max_ms": round(max(drawn for _, drawn in paints), 1),
            "visits": visits,
            **queries,
            "everywhere_ms": [round(value, 1) for value in everywhere],
            **services.services,
        }


def show(found: dict[str, object]) -> None:
    """For people."""
    report.table(
        "The console in a browser, milliseconds",
        ("what", "median", "p99", "largest"),
        [
            (
                "from the click on Publish to live on every worker",
                *(str(found[f"published_{one}_ms"]) for one in ("p50", "p99", "max")),
            ),
            ("… and shown as live everywhere", str(found["shown_p50_ms"]), str(found["shown_p99_ms"]), ""),
            ("first paint, nothing cached", str(found["first_paint_p50_ms"]), "", str(found["first_paint_max_ms"])),
            ("the page Now drawn with its labels", str(found["drawn_p50_ms"]), "", str(found["drawn_max_ms"])),
            (
                f"{LABELS} labels, {DAYS} days of windows",
                str(found["week_p50_ms"]),
                "",
                str(found["week_max_ms"]),
            ),
        ],
    )


def _publish(
    stack: console_stack.Stack, person: Visitor, changes: int, workers: int
) -> tuple[list[float], list[float]]:
    """By keyboard and mouse, as a person does; per change from the click to the last worker, and to the page's word."""
    page, random_ = person.page, random.Random(1)
    page.evaluate(_CLICKED)
    everywhere, shown = [], []
    with stack.client("viewer") as client:
        for number in range(changes):
            page.get_by_role("slider", name="threshold").press("ArrowLeft" if number % 2 else "ArrowRight")
            page.get_by_role("button", name="Publish …").click()
            page.get_by_role("dialog").get_by_label("Why").fill(f"change {number}")
            page.get_by_role("dialog").get_by_role("button", name="Publish", exact=True).click()
            page.get_by_role("dialog").wait_for(state="detached")
            release = int(client.get("/v1/releases/current").json()["release"])
            clicked = float(page.evaluate("window.clickedAt"))
            applied = wait_until(
                _applied(stack, release, workers), _APPLIED_S, f"release {release} on {workers} workers"
            )
            everywhere.append(max(applied) + 1.0 - clicked)
            page.wait_for_function(
                "release => { const said = document.querySelector('#top .state').textContent;"
                " return said.includes(`release ${release} `) && said.includes('✓'); }",
                arg=release,
            )
            shown.append(time.time() * 1000 - clicked)
            if (number + 1) % 20 == 0:
                report.say(f"{number + 1} of {changes} changes")
            time.sleep(random_.uniform(0.1, 0.4))
    return everywhere, shown


def _applied(stack: console_stack.Stack, release: int, workers: int) -> Callable[[], list[int]]:
    def applied() -> list[int]:
        beats = read_fleet(stack.store).heartbeats
        found = [beat.applied_at_ms for beat in beats if beat.release == release and beat.applied_at_ms]
        return found if len(found) == workers else []

    return applied


def _queries(stack: console_stack.Stack) -> dict[str, object]:
    """A week of hours with 50 labels, asked for again and again."""
    now = start_of("1h", time.time_ns() // 1_000_000)
    hours = DAYS * 24
    # Hours before those that the stack itself counts.
    ReadModel(stack.store).put(
        WindowDocument(VERSION, "1h", now - hour * SIZES["1h"], 0, True, {}, [_cell(hour)]) for hour in range(8, hours)
    )
    taken = []
    with stack.client("viewer") as client:
        for _ in range(_QUERIES):
            started = time.perf_counter()
            answer = client.get("/v1/windows", params={"size": "1h", "hours": hours})
            taken.append(1000 * (time.perf_counter() - started))
            assert len(json.decode(answer.content)["items"]) >= hours - 10
    return {"week_p50_ms": round(statistics.median(taken), 1), "week_max_ms": round(max(taken), 1), "queries": _QUERIES}


def _cell(seed: int) -> Cell:
    choose = random.Random(seed)
    labels = {}
    for number in range(LABELS):
        bins = sorted(choose.sample(range(1024), 200))
        counts = [choose.randint(1, 50) for _ in bins]
        labels[f"label-{number}"] = LabelCounts(sum(counts[-20:]), 500_000 * sum(counts), bins, counts)
    return Cell(1, "0" * 64, "made-up@1", "0" * 64, 1, "0" * 64, "control", 6_000, 0, labels, {})
