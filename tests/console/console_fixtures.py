"""One pipeline and one browser for all tests of the console; a window for each test that asks."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import console_stack
import pytest
from browsing import PHONE, WIDE, Scheme, Visit, Visitor, chromium, visitor
from console_stack import Stack
from playwright.sync_api import Browser
from services import Kafka, Redis, delete_topics

_HERE = Path(__file__).parent
_until_left: pytest.StashKey[ExitStack] = pytest.StashKey()


@pytest.fixture(scope="session")
def stack(
    kafka: Kafka, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Stack]:
    """Everything runs, and events keep coming, until the last test of the console has ended."""
    directory: Path = tmp_path_factory.mktemp("console")
    with ExitStack() as until_left:
        pytestconfig.stash[_until_left] = until_left
        found = until_left.enter_context(console_stack.running(kafka.bootstrap, redis_server.url, directory))
        yield found
    delete_topics(kafka.bootstrap, found.fleet.topics.names)


@pytest.hookimpl(trylast=True)  # the test's own windows have been closed by then
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A pipeline that ran on beside all other tests of this process would take a tenth of the machine from them."""
    if nextitem is None or _HERE not in nextitem.path.parents:
        item.config.stash.get(_until_left, ExitStack()).close()


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
