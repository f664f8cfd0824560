"""A person's browser: signed in, watched for errors, and able to say whether a page can be used by everybody."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from chromium import find_chromium
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

import streamtag.console

AXE = Path(__file__).parent / "axe" / "axe.min.js"
SHOTS = Path("reports/console")
WIDE, PHONE = (1280, 860), (390, 844)
_PATIENCE_MS = 30_000
_FILES = Path(streamtag.console.__file__).parent / "static" / "pages"
_OF_ONE = {"label": "label/spam"}
PAGES = sorted(_OF_ONE.get(one.stem, one.stem) for one in _FILES.glob("*.js") if one.stem != "sign-in")
"""Every page there is, found by its file; of one thing where a page is about one."""

expect.set_options(timeout=_PATIENCE_MS)
Scheme = Literal["light", "dark"]


class Visitor:
    """One person in one browser window.

    Whatever a page must never do is kept in ``problems``, and fails the test at its end: errors of scripts, what the
    Content-Security-Policy refused, requests beyond the console's own address, answers that say failed.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.problems: list[str] = []
        self.expected: set[int] = set()
        self._url = url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)

    def expect(self, *statuses: int) -> None:
        """Answers of this kind are what the test wants to see."""
        self.expected |= set(statuses)

    def open(self, path: str) -> "Visitor":
        """Goes to a page and waits until it shows what it is about."""
        self.page.goto(f"{self._url}/console/#/{path}")
        self.page.wait_for_function("path => location.hash === `#/${path}` && document.title !== 'streamtag'", arg=path)
        self.page.locator("main h1").wait_for()
        return self

    def answer(self, button: str, **fields: str) -> Locator:
        """Fills the dialog that is open, by its labels (``_`` for a blank), and sends it; returns it."""
        dialog = self.page.get_by_role("dialog")
        for name, value in fields.items():
            dialog.get_by_label(name.replace("_", " ")).fill(value)
        dialog.get_by_role("button", name=button, exact=True).click()
        return dialog

    def shoot(self, name: str) -> None:
        """Keeps a picture of the whole page."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True, animations="disabled")

    def check_for_everybody(self) -> None:
        """Nothing that axe knows stands between the page and people with a screen reader, or weak eyes, or no mouse."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = self.page.evaluate("async () => (await axe.run(document)).violations")
        told = [f"{one['impact']} {one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]
        assert not told, "\n".join(told)

    def check_width(self) -> None:
        """The page itself does not scroll sideways; wide things scroll inside themselves."""
        wide, seen = self.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= seen, f"{wide} px wide in a window of {seen} px"

    def _said(self, message: ConsoleMessage) -> None:
        # A refusal is looked at in `_answered`; the browser tells of it once more.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.problems.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self._url}/", "data:")):
            self.problems.append(f"asked elsewhere: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.problems.append(f"{response.status} for {response.request.method} {response.url}")


Visit = Callable[..., Visitor]
"""See the fixture `visit`."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield browser
        browser.close()


def visitor(browser: Browser, url: str, token: str | None, scheme: Scheme, size: tuple[int, int]) -> Visitor:
    """A window; signed in where there is a token."""
    context = browser.new_context(
        base_url=url,
        color_scheme=scheme,
        reduced_motion="reduce",
        viewport={"width": size[0], "height": size[1]},
        has_touch=size == PHONE,
        locale="en-GB",
    )
    if token is not None:
        answer = context.request.post("/v1/session", data={"token": token})
        assert answer.ok, answer.text()
    return Visitor(context, url)
