"""Exactly once while workers are killed, frozen, joined and drained, thresholds move and the bundle is swapped."""

import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from pipeline import Ledger, check_all, events, wait_covered
from services import wait_until
from workers import Fleet, Worker

from streamtag.control.changes import ReleaseChanges, Who
from streamtag.control.store import ControlStore
from streamtag.model.bundle import read_bundle
from streamtag.settings import RedisSettings

pytestmark = [pytest.mark.services, pytest.mark.timeout(420)]

SEED = 20_261_123
EVENTS = 60_000
WHO = Who("test", "campaign")


class Operator:
    """Moves thresholds at random, and swaps the bundle once, while the workers run."""

    def __init__(self, fleet: Fleet, bundles: Path, choose: random.Random) -> None:
        self._store = ControlStore(RedisSettings(url=fleet.redis_url, namespace=fleet.namespace))  # type: ignore[call-arg]
        self._changes = ReleaseChanges(self._store, max_step=1.0)
        self._bundle = read_bundle(bundles / "tiny" / "2")
        self._choose = choose
        self.made = 0

    def move(self) -> None:
        label = self._choose.choice(["spam", "greeting"])
        when = self._choose.choice([{}, {"lang": "de"}])
        cutoff = round(self._choose.uniform(0.1, 0.9), 6)
        self.made += self._changes.set_thresholds({label: cutoff}, WHO, when=when).committed

    def swap(self) -> None:
        self.made += self._changes.promote(self._bundle.ref, self._bundle.labels, WHO).committed

    def close(self) -> None:
        self._store.close()


def test_kills_and_rebalances_lose_double_and_mistag_nothing(fleet: Fleet, ledger: Ledger, bundles: Path) -> None:
    choose = random.Random(SEED)
    made = list(events(EVENTS, SEED))
    ledger.write(made[:5_000])
    workers = [fleet.start() for _ in range(3)]
    for worker in workers:
        worker.wait_ready(60)
    operator = Operator(fleet, bundles, choose)
    writer = threading.Thread(target=_write_slowly, args=(ledger, made[5_000:]))
    writer.start()
    faults: Counter[str] = Counter()
    for round_ in range(14):
        victim = choose.randrange(3)
        fault = "kill" if round_ % 7 < 5 else choose.choice(["drain", "freeze"])
        faults[fault] += 1
        workers[victim] = _hurt(fleet, workers[victim], fault)
        operator.move()
        if round_ == 6:
            operator.swap()
        time.sleep(choose.uniform(0.3, 2.0))  # the moment of the next fault is random, nothing waits for it
    writer.join()
    wait_covered(ledger, 90)
    for worker in workers:
        assert worker.stop() == 0
    outputs, problems = check_all(ledger, fleet)
    operator.close()
    assert not problems, (len(problems), problems[:10])
    assert faults["kill"] >= 10
    releases = {tag.event["release"]["number"] for tag in outputs.tags}
    versions = {tag.event["release"]["bundle"]["version"] for tag in outputs.tags}
    assert versions == {"1", "2"}
    assert operator.made >= 10
    assert len(releases) >= 5
    print(f"\n{len(ledger.inputs)} records, faults {dict(faults)}, {operator.made} changes, "
          f"{len(releases)} releases decided, {len(outputs.summaries)} summaries: 0 problems")  # fmt: skip


def _write_slowly(ledger: Ledger, made: list) -> None:  # type: ignore[type-arg]
    for start in range(0, len(made), 1_000):
        ledger.write(made[start : start + 1_000])
        time.sleep(0.4)


def _hurt(fleet: Fleet, worker: Worker, fault: str) -> Worker:
    """Kills, drains or freezes one worker; returns the one that takes its place."""
    if fault == "kill":
        worker.kill()
        return fleet.start()
    if fault == "drain":
        # Before it listens, a SIGTERM simply ends Python.
        wait_until(lambda: worker.health()[0] != 0, 60, f"{worker} listens")
        assert worker.stop() == 0
        return fleet.start()
    worker.signal(signal.SIGSTOP)
    time.sleep(5)  # longer than its session and its transaction: a zombie when it wakes
    worker.signal(signal.SIGCONT)
    wait_until(lambda: worker.health()[0] == 200, 60, f"{worker} ready after being frozen")
    return worker
