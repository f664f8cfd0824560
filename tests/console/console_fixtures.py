"""One pipeline and one browser for all tests of the console; a window for each test that asks."""

from collections.abc import Iterator
from pathlib import Path

import console_stack
import pytest
from browsing import PHONE, WIDE, Scheme, Visit, Visitor, chromium, visitor
from console_stack import Stack
from playwright.sync_api import Browser
from services import Kafka, Redis, delete_topics


@pytest.fixture(scope="session")
def stack(kafka: Kafka, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything runs, and events keep coming."""
    directory: Path = tmp_path_factory.mktemp("console")
    with console_stack.running(kafka.bootstrap, redis_server.url, directory) as found:
        yield found
    delete_topics(kafka.bootstrap, found.fleet.topics.names)


# Not for the session: while it runs, no other test of this process could run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture
def visit(stack: Stack, browser: Browser) -> Iterator[Visit]:
    """Opens a window for somebody of a role (None: nobody), who goes to a page; nothing may go wrong in it."""
    opened: list[Visitor] = []

    def open_(
        path: str = "now",
        role: str | None = "operator",
        name: str = "olga",
        *,
        scheme: Scheme = "light",
        phone: bool = False,
    ) -> Visitor:
        token = None if role is None else stack.token(role, name)
        found = visitor(browser, stack.url, token, scheme, PHONE if phone else WIDE)
        if token is None:
            found.expect(401)  # it asks who is signed in
        opened.append(found)
        return found.open(path)

    yield open_
    problems = [problem for one in opened for problem in one.problems]
    for one in opened:
        one.context.close()
    assert not problems, "\n".join(problems)
