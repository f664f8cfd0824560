import gc
from collections.abc import Iterator

import pytest
from hostile import cost

SMALL, LARGE = 1 << 14, 1 << 17


@pytest.fixture(autouse=True)
def small_heap() -> Iterator[None]:
    """Collecting garbage walks through everything alive: through what the test runner keeps, too."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("case", cost.cases(), ids=lambda case: f"{case.step}: {case.name}")
def test_no_input_costs_more_than_its_size(case: cost.Case) -> None:
    # 8 times the size: 8 times the time if linear, 64 times if quadratic. Caches and a busy machine may triple it.
    assert cost.seconds(case, LARGE) < 24 * cost.seconds(case, SMALL) + 0.05
