"""One API for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_rig import Api, running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """With release 1 of a tiny bundle."""
    with running(tmp_path) as found:
        yield found
