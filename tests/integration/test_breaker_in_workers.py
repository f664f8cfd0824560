"""A breaker on real Kafka and Redis: workers follow it, and what each event was asked can be computed again."""

import pytest
from pipeline import Ledger, check_all, events, read_outputs, wait_covered
from services import wait_until
from workers import Fleet

from streamtag.control.breakers import BreakerLog
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.settings import RedisSettings

pytestmark = pytest.mark.services


def test_workers_follow_a_breaker_between_batches_and_every_action_can_be_computed_again(
    fleet: Fleet, ledger: Ledger
) -> None:
    settings = RedisSettings(url=fleet.redis_url, namespace=fleet.namespace)  # type: ignore[call-arg]
    store = ControlStore(settings)
    log = BreakerLog(store)
    worker = fleet.start().wait_ready()
    label = sorted((store.current() or pytest.fail("no release")).thresholds.labels)[0]
    seeds = iter(range(100, 1_000))

    def asked(number: int | None) -> bool:
        """Whether the newest events were decided under this state of the breakers."""
        ledger.write(list(events(200, seed=next(seeds))))
        wait_covered(ledger, 30)
        newest = max(read_outputs(ledger.topics).tags, key=lambda tag: tag.event["processed_at"])
        return newest.event.get("breakers") == number

    assert asked(None)
    log.open(label, Who("streamtag (breaker)", "a test"), events=1, alerts=1)
    wait_until(lambda: asked(1), 30, "the worker follows the breaker")
    log.close(label, Who("anna", "a test"))
    wait_until(lambda: asked(None), 30, "the worker follows its end")
    assert worker.stop() == 0
    outputs, problems = check_all(ledger, fleet)
    assert not problems, problems[:10]
    actions = {(tag["label"], tag["action"]) for one in outputs.tags for tag in one.event["tags"]}
    assert (label, "review") in actions
    assert {name for name, action in actions if action == "review"} == {label}
    store.close()
