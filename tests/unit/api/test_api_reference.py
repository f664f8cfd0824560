"""The page that lists every route."""

from pathlib import Path

from api_rig import Api

from streamtag.api import reference

pytest_plugins = ("api_fixture",)

REPOSITORY = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    committed = (REPOSITORY / "docs" / reference.NAME).read_text(encoding="utf-8")
    assert committed == reference.page(), "run: make docs"


def test_it_names_every_route_and_who_may_use_it(api: Api) -> None:
    page = reference.page()
    for path, methods in api.anonymous.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"### `{method.upper()} {path}` — " in page
    assert "### `GET /v2/health/live` — anybody" in page
    assert "### `PATCH /v1/thresholds` — operator" in page
    assert "| `if-match` | header, optional | string |" in page
