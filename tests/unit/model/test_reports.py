"""Reports kept of a bundle: each in a file of its own, named by its id."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.card_notes import measured
from streamtag.model.evaluation.result import Curves, Evaluation, from_document
from streamtag.model.registry import find_bundle
from streamtag.model.reports import keep, report, reports


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(find_bundle("moderation@2", []))


@pytest.fixture(scope="module")
def found(bundle: Bundle) -> Evaluation:
    return from_document(measured(bundle)[0].figures)


def test_a_report_is_served_whatever_lies_beside_it(bundle: Bundle, found: Evaluation, tmp_path: Path) -> None:
    one, _ = keep(bundle.ref, "Our truth", found, [tmp_path])
    folder = tmp_path / bundle.ref.name / ".reports" / bundle.ref.version
    (folder / "000000000000.json").mkdir()  # cannot be read as a file, and comes first in the folder
    served, figures = report(bundle, [tmp_path / "nowhere", tmp_path], one.id)
    assert (served, figures) == (one, from_document(one.figures))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"known": [0] * 6}, "positives[0] must lie between 0 and known[0]"),
        ({"positives": [-1] * 6}, "positives[0] must lie between 0 and known[0]"),
        ({"known": [0] * 6, "positives": [0] * 6}, "curves[0].reliability must be empty where no row is known"),
        ({"curves": [Curves([(0.1, 0.1, 0)], [])] * 6}, "curves[0].reliability: rows must be 1 or more"),
        ({"curves": [Curves([(0.1, 1.1, 5)], [])] * 6}, "curves[0]: scores and shares must lie between 0 and 1"),
        ({"curves": [Curves([], [(-0.1, 1)])] * 6}, "curves[0]: scores and shares must lie between 0 and 1"),
    ],
)
def test_figures_that_cannot_be_drawn_are_refused(found: Evaluation, changed: dict[str, Any], problem: str) -> None:
    curves = [Curves([(0.1, 0.1, 5)], [(0.5, 1)])] * 6
    document = msgspec.to_builtins(dataclasses.replace(found, **{"curves": curves, **changed}))
    with pytest.raises(RefusedError) as caught:
        from_document(document)
    assert problem in caught.value.problems


def test_what_cannot_be_asked_for_is_not_listed(bundle: Bundle, found: Evaluation, tmp_path: Path) -> None:
    one, _ = keep(bundle.ref, "Our truth", found, [tmp_path])
    file = tmp_path / bundle.ref.name / ".reports" / bundle.ref.version / f"{one.id}.json"
    file.rename(file.with_stem("0123456789ab"))
    listed, [problem] = reports(bundle, [tmp_path])
    assert one.id not in {each.id for each in listed}
    assert f"0123456789ab.json is damaged: it holds report {one.id}" in problem
    for which in (one.id, "0123456789ab"):
        with pytest.raises(NotFoundError):
            report(bundle, [tmp_path], which)


def test_a_report_that_ships_is_served_without_a_place(bundle: Bundle) -> None:
    shipped = measured(bundle)[-1]
    assert report(bundle, [], shipped.id)[0] == shipped
