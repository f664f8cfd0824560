"""One worker on real Kafka and Redis: every input has one right outcome."""

import pytest
from pipeline import Ledger, check_all, events, wait_covered
from workers import Fleet

pytestmark = pytest.mark.services


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_every_record_has_exactly_one_right_outcome(fleet: Fleet, ledger: Ledger, delivery: str) -> None:
    ledger.write(list(events(5_000, seed=1)))
    worker = fleet.start(tagger__delivery=delivery).wait_ready()
    ledger.write(list(events(5_000, seed=2)))
    wait_covered(ledger, 30)
    assert worker.stop() == 0
    outputs, problems = check_all(ledger, fleet)
    assert not problems, problems[:10]
    assert len(outputs.tags) + len(outputs.dead) + 14 == 10_000
