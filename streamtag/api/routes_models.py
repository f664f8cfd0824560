"""The bundles that can be found: their cards, and the reports that were kept of them."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from streamtag.api.access import Viewer
from streamtag.api.changing import settings_of
from streamtag.errors import NotFoundError
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.card import card
from streamtag.model.card_notes import Measured
from streamtag.model.evaluation.report import render
from streamtag.model.listing import listed
from streamtag.model.registry import find_bundle
from streamtag.model.reports import report, reports
from streamtag.settings import Settings

__all__ = ["router"]

router = APIRouter(prefix="/v1/models", tags=["models"])

ReportId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", examples=["0123456789ab"])]

_PAGE_HEADERS: Mapping[str, str] = {
    # A page of figures: it needs its own style and nothing else, and is no part of the console's origin.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}


@router.get("")
def models(request: Request, _who: Viewer) -> dict[str, Any]:
    """The bundles in the configured places and in the package, and which places do not answer."""
    found = list(listed(settings_of(request).model))
    # the path of this machine says nothing to others
    items = [
        {key: value for key, value in msgspec.structs.asdict(one).items() if key != "path"} for one in found if one.name
    ]
    return {"items": items, "problems": [problem for one in found if not one.name for problem in one.problems]}


@router.get("/{name}/{version}")
def model(request: Request, name: str, version: str, _who: Viewer) -> dict[str, Any]:
    """One bundle: its manifest, with labels, calibration, training and figures; its card, as Markdown; its reports."""
    settings = settings_of(request)
    bundle = _bundle(settings, name, version)
    found, problems = reports(bundle, settings.model.directories)
    return {
        **msgspec.to_builtins(bundle.ref),
        "manifest": msgspec.to_builtins(bundle.manifest),
        "card": card(bundle, found),
        "reports": [_about(one) for one in found],
        "problems": problems,
    }


@router.get("/{name}/{version}/reports/{report_id}")
def model_report(request: Request, name: str, version: str, report_id: ReportId, _who: Viewer) -> dict[str, Any]:
    """One report on a bundle: all figures, as `streamtag model evaluate --output json` gives them."""
    settings = settings_of(request)
    bundle = _bundle(settings, name, version)
    one, _ = report(bundle, settings.model.directories, report_id)
    return {**_about(one), "bundle": msgspec.to_builtins(bundle.ref), "figures": one.figures}


@router.get("/{name}/{version}/reports/{report_id}/page", response_class=HTMLResponse)
def model_report_page(request: Request, name: str, version: str, report_id: ReportId, _who: Viewer) -> HTMLResponse:
    """The same as a page to read, as `streamtag model evaluate --html` writes it; it loads nothing and runs nothing."""
    settings = settings_of(request)
    bundle = _bundle(settings, name, version)
    one, figures = report(bundle, settings.model.directories, report_id)
    return HTMLResponse(render(figures, bundle.ref, one.title), headers=dict(_PAGE_HEADERS))


def _bundle(settings: Settings, name: str, version: str) -> Bundle:
    if "/" in name or "/" in version:
        raise NotFoundError(f"there is no bundle {name}@{version}")
    path = find_bundle(f"{name}@{version}", settings.model.directories)
    return read_bundle(path, trusted=settings.model.trusted_keys)


def _about(one: Measured) -> dict[str, Any]:
    sizes = {name: one.figures.get(name) for name in ("rows", "groups", "draws")}
    return {"id": one.id, "title": one.title, "at": one.at and one.at.isoformat(), **sizes}
