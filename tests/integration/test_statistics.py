"""From content events to windows and verdicts, on a real Kafka and Redis, while windowers and Faust apps are killed.

What is compared with is counted anew from the committed tag events, by code that shares nothing with the product's.
"""

import base64
import json
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import child_processes as processes
import msgspec
import numpy as np
import pytest
from commands import streamtag
from pane_numbers import PaneReader
from pipeline import Ledger, events, read_outputs, wait_covered
from services import MakeTopics, Redis, Topics, read_all, wait_until
from workers import Fleet, Worker

from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.store import ControlStore
from streamtag.devstack.kafka import KafkaServer
from streamtag.domain.assignment import unit_hashes
from streamtag.domain.verdict import State
from streamtag.settings import RedisSettings
from streamtag.stats.read_model import ReadModel

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

STATS = {"stats.web_port": "null", "stats.session_timeout_s": "6", "stats.pane_s": "2", "windows.lateness_ms": "4000"}


@pytest.fixture
def statistics(fleet: Fleet) -> Fleet:
    """A fleet whose every command and process has settings for statistics."""
    fleet.overrides |= STATS | {"stats.group": f"stats-{fleet.namespace}"}
    return fleet


def run(fleet: Fleet, *arguments: str) -> Any:
    done = streamtag(fleet.settings(), *arguments, "--output", "json")
    assert done.code == 0, done.err or done.out
    return done.json


class Writing:
    """Writes events until told to stop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Writing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        seed = 0
        while not self._stop.wait(0.2):
            seed += 1
            self._ledger.write(list(events(200, seed, bad_every=150, tombstone_every=170)))


def thresholds(path: Path, **labels: float) -> str:
    path.write_text(json.dumps({"labels": labels}), encoding="utf-8")
    return str(path)


def app_of(supervisor: Worker) -> int:
    """Process id of the Faust app under a supervisor."""
    found = wait_until(lambda: processes.child_of(supervisor.process.pid), 60, "the supervisor has started an app")
    assert found is not None
    return found


def gave_up(supervisor: Worker, app: int) -> bool:
    """Whether the app has noticed that another is at work: it has ended, or shows no position any more."""
    if processes.child_of(supervisor.process.pid) != app:
        return True
    try:
        return "streamtag_panes_position" not in supervisor.metrics()
    except OSError:  # it is ending
        return False


def windows_of(fleet: Fleet) -> Counter[tuple[str, str]]:
    """(label, what) over all windows of a minute."""
    store = ControlStore(RedisSettings(url=fleet.redis_url, namespace=fleet.namespace))  # type: ignore[call-arg]
    model = ReadModel(store)
    prefix = model.prefix + "1m:"
    keys = [key.decode() for key in store.client.scan_iter(count=10_000)]
    starts = [int(key[len(prefix) :]) for key in keys if key.startswith(prefix)]
    found: Counter[tuple[str, str]] = Counter()
    for document in model.read([("1m", start) for start in starts]):
        assert document is not None
        for cell in document.cells:
            if cell.shadow is not True:
                for label, counts in cell.labels.items():
                    found[label, "events"] += cell.events
                    found[label, "alerts"] += counts.alerts
                    found[label, "sum"] += counts.sum_micro
                    assert sum(counts.counts) == cell.events
    store.close()
    return found


def tags_of(topics: Topics) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for tag in read_outputs(topics).tags:
        tagged = {one["label"] for one in tag.event["tags"]}
        for label, score in tag.event["scores"].items():
            found[label, "events"] += 1
            found[label, "alerts"] += label in tagged
            found[label, "sum"] += round(score * 1_000_000)
    return found


def test_windows_and_verdicts_equal_a_recount_whatever_is_killed(
    statistics: Fleet, fleet_store: ControlStore, ledger: Ledger, tmp_path: Path
) -> None:
    fleet, topics = statistics, statistics.topics
    tagger = fleet.start()
    windowers = [fleet.start(role="windows", windows__slot=f"w{i}-{fleet.namespace}") for i in range(2)]
    apps = [fleet.start(role="stats") for _ in range(2)]
    tagger.wait_ready(60)
    good = thresholds(tmp_path / "good.json", spam=0.5, greeting=0.5001)
    with Writing(ledger):
        why = ("-m", "test", "--others", "muted")
        one = run(fleet, "experiment", "start", "spam=1.0", *why, "--label", "spam=±20%")
        two = run(fleet, "experiment", "start", *why, "--thresholds", good, "--label", "greeting=±20%")
        for windower in windowers:
            windower.kill()
        windowers += [fleet.start(role="windows", windows__slot=f"w{i}-{fleet.namespace}") for i in (2, 3)]
        for app in apps:
            processes.kill(app_of(app))
        log = ExperimentLog(fleet_store)

        def verdicts() -> list[State | None]:
            found = (log.find(number).verdict for number in (1, 2))
            return [None if verdict is None else verdict.state for verdict in found]

        wait_until(lambda: verdicts() == [State.FAIL, State.PASS], 120, "both verdicts", every_s=0.2)
    wait_covered(ledger, 60)
    expected = tags_of(topics)
    wait_until(lambda: windows_of(fleet) == expected, 60, "windows equal a recount of the tag events", every_s=1)

    for number, document in ((1, one), (2, two)):
        shown = run(fleet, "experiment", "show", str(number))
        assert run(fleet, "experiment", "verify", str(number))["equal"]
        assert run(fleet, "experiment", "verify", str(number), "--from-source")["equal"]
        assert units_equal(topics, shown, document["salt"], {"spam": 0.5, "greeting": 0.5})
    shards = {record.partition() or 0 for record in read_all(topics.bootstrap, topics.stats)}
    offsets = [word for shard in sorted(shards) for word in ("--from", f"{shard}/0")]
    for since in (("--from", "1d"), offsets):
        rebuilt = run(fleet, "stats", "rebuild", *since)
        assert rebuilt["windows"] > 0
        assert (rebuilt["differing"], rebuilt["swapped"]) == ([], True)
        assert windows_of(fleet) == expected
    assert [app.stop(60) for app in apps] == [0, 0]


def units_equal(topics: Topics, shown: Any, salt: str, control: dict[str, float]) -> bool:
    """The counts of a verdict against the tag events whose units it counted."""
    verdict = shown["verdict"]
    [phase] = verdict["phases"]
    cutoffs = dict(control)
    reader, hashes = PaneReader(), set()
    for record in read_all(topics.bootstrap, topics.panes):
        if not verdict["panes_from"] <= (record.offset() or 0) < verdict["panes_to"]:
            continue
        reader.read(record)
        pane = msgspec.json.decode(record.value() or b"")
        for cell in pane["cells"]:
            for rows in cell.get("experiments", ()):
                if rows["id"] == shown["id"]:
                    hashes |= set(np.frombuffer(base64.b64decode(rows["units"]["hash"]), "<u8").tolist())
    assert reader.problems == []
    assert len(hashes) == verdict["units"] == phase["candidate_units"]
    candidate = {1: {"spam": 1.0}, 2: {"greeting": 0.5001}}[shown["experiment"]]
    counts = {label: np.zeros(3, np.int64) for label in cutoffs}
    for tag in read_outputs(topics).tags:
        if int(unit_hashes([tag.event["id"].encode()], salt)[0]) in hashes:
            for label, score in tag.event["scores"].items():
                a, b = score >= cutoffs[label], score >= (cutoffs | candidate)[label]
                counts[label] += [b and not a, a and not b, a and b]
    assert {label: tuple(row.tolist()) for label, row in counts.items()} == {
        label: tuple(row) for label, row in phase["labels"].items()
    }
    return True


def test_a_frozen_app_that_wakes_writes_nothing_old(statistics: Fleet, ledger: Ledger) -> None:
    fleet = statistics
    fleet.start().wait_ready(60)
    fleet.start(role="windows")
    first = fleet.start(role="stats")
    with Writing(ledger):
        wait_until(lambda: windows_of(fleet), 90, "windows", every_s=0.5)
        frozen = app_of(first)
        processes.signal_to(frozen, signal.SIGSTOP)
        second = fleet.start(role="stats")
        before = windows_of(fleet)
        wait_until(lambda: windows_of(fleet) != before, 90, "the other app has taken over", every_s=0.5)
        heir = app_of(second)
        processes.signal_to(frozen, signal.SIGCONT)
        wait_until(lambda: gave_up(first, frozen), 60, "the app that woke has ended, or stands by", every_s=0.2)
    wait_covered(ledger, 60)
    expected = tags_of(fleet.topics)
    wait_until(lambda: windows_of(fleet) == expected, 60, "windows equal a recount of the tag events", every_s=1)
    assert app_of(second) == heir, "nobody has written behind its back"
    assert second.alive
    assert first.alive


def test_an_app_waits_for_a_broker_that_is_away(
    own_kafka: KafkaServer, make_topics: MakeTopics, redis_server: Redis, namespace: str, tmp_path: Path
) -> None:
    topics = make_topics(partitions=1, bootstrap=own_kafka.bootstrap)
    own_kafka.kill()
    overrides = STATS | {"stats.group": f"stats-{namespace}"}
    with Fleet(topics, redis_server.url, namespace, tmp_path / "state", tmp_path, overrides) as fleet:
        app = fleet.start(role="stats")
        app.wait_unready("panes: cannot read where", 60)
        own_kafka.restart()
        app.wait_ready(90)
        assert app.metrics().get("streamtag_stats_restarts_total", 0) == 0, "it waited, and was not started again"
        assert app.stop(60) == 0
        assert "still not stopped" not in app.log.read_text(), "it has left its group"
        app = fleet.start(role="stats").wait_ready(90)
        own_kafka.kill()
        app.wait_unready("panes: ", 60)
        assert app.stop(60) == 0
        assert "it is killed" not in app.log.read_text(), "it ends by itself, without Kafka, too"
