"""What holds for every page: it opens, stays at home, can be used by everybody, and fits a phone."""

import pytest
from browsing import PAGES, Visit

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
pytest_plugins = ("console_fixtures",)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_is_for_everybody_and_fits_a_phone(visit: Visit, path: str) -> None:
    name = path.replace("/", "-")
    for scheme in ("light", "dark"):
        person = visit(path, role="admin", scheme=scheme)
        person.shoot(f"{name}-{scheme}")
        person.check_for_everybody()
    on_the_way = visit(path, role="admin", phone=True)
    on_the_way.shoot(f"{name}-phone")
    on_the_way.check_width()


def test_a_stranger_sees_the_sign_in_and_nothing_else(visit: Visit) -> None:
    stranger = visit("fleet", role=None)
    assert stranger.page.locator("main h1").inner_text() == "Sign in"
    stranger.check_for_everybody()
    stranger.shoot("sign-in")
