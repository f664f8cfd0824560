"""Fault points: nothing happens there in production, and nothing but a campaign's worker can change that."""

import re
from pathlib import Path

from streamtag.stream import faultpoints

PACKAGE = Path(faultpoints.__file__).parents[1]
CALL = re.compile(r'faultpoints\.reached\("([a-z.]+)"\)')


def test_every_declared_point_is_passed_somewhere_and_no_other_is() -> None:
    passed = {point for file in PACKAGE.rglob("*.py") for point in CALL.findall(file.read_text(encoding="utf-8"))}
    assert passed == set(faultpoints.POINTS)


def test_no_production_code_replaces_the_hook() -> None:
    replacing = [file for file in PACKAGE.rglob("*.py") if "faultpoints.reached =" in file.read_text(encoding="utf-8")]
    assert replacing == []
    faultpoints.reached("commit.before")  # nothing
