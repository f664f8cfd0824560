"""`streamtag demo` as a person starts it, on the embedded broker and Redis."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message
from services import read_all, wait_until

from streamtag.devstack.demo.records import SeenTags
from streamtag.devstack.process import ProcessRef

LABEL = "toxic"  # the first of the shipped bundle: the one the demo invites to play with


class Demo:
    """A running demo; stdout is its JSON document, stderr its progress."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STREAMTAG_")}
        with log.open("wb") as progress:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamtag", "demo", "--output", "json", *arguments],
                stdout=subprocess.PIPE,
                stderr=progress,
                stdin=subprocess.DEVNULL,
                env=environ,
                text=True,
            )

    @property
    def progress(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_events(self, at_least: int) -> None:
        def enough() -> bool:
            assert self.process.poll() is None, self.progress
            found = re.findall(r"events ([\d,]+)", self.progress)
            return bool(found) and int(found[-1].replace(",", "")) >= at_least

        wait_until(enough, 40, f"{at_least} events")

    def has_said(self, text: str) -> bool:
        assert self.process.poll() is None, self.progress
        return text in self.progress

    def commands(self) -> list[str]:
        """What it invites to type into a second terminal."""
        text = self.progress.split("from a second terminal:\n")[1]
        return [line.strip() for line in text.splitlines()[:4]]

    def children(self) -> list[ProcessRef]:
        """Oldest first."""
        listed = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True)
        return [ref for pid in listed.stdout.split() if (ref := ProcessRef.of(int(pid)))]

    def end(self, timeout_s: float = 60) -> dict[str, Any]:
        out, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, self.progress
        document: dict[str, Any] = json.loads(out)
        assert len(out.splitlines()) == 1
        return document


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    """Demos of a test; none outlives it."""
    started: list[Demo] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.communicate()


def check(document: dict[str, Any], *, kafka: str, delivery: str) -> None:
    """What must hold of any run that ended by itself."""
    assert document["events"] > 0
    assert document["events"] == document["tagged"] + document["clean"] + document["dead_lettered"]
    assert document["missing"] == 0
    assert document["tagged"] > 0
    assert document["clean"] > 0
    assert document["threshold_change_live_ms"] >= 0
    assert document["threshold_change_seen_ms"] >= 0
    change = document["threshold_change"]
    assert change["label"] == LABEL
    assert change["after"] > change["before"]
    assert change["rate_before"] > 1.2 * change["rate_usual"] > 0
    assert change["rate_before"] > 1.2 * change["rate_after"] > 0
    assert (document["kafka"], document["delivery"]) == (kafka, delivery)
    assert document["workers"] == 2


def test_a_run_of_twelve_seconds_tags_and_changes_a_threshold_live(demos: list[Demo], tmp_path: Path) -> None:
    demo = Demo(tmp_path / "progress", "--seconds", "12")
    demos.append(demo)
    document = demo.end()
    check(document, kafka="mock", delivery="at_least_once")
    assert document["first_tag_s"] > 0
    assert document["dead_lettered"] > 0
    assert 0 < document["events_per_s"] < 1.15 * 200, "no more than was asked for: a slow machine writes less"
    assert "Broker and Redis are embedded" in demo.progress


def test_a_change_from_a_second_terminal_moves_the_labels_tag_rate_and_nothing_survives(
    demos: list[Demo], tmp_path: Path
) -> None:
    demo = Demo(tmp_path / "progress", "--rate", "400")
    demos.append(demo)
    demo.wait_events(2_000)
    children = demo.children()
    assert len(children) >= 7  # broker, Redis, two workers, windower, what follows the panes, API
    export, change, *_ = demo.commands()
    done = subprocess.run(
        ["bash", "-c", f"{export}; {change} --output json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    revision = json.loads(done.stdout)["revision"]

    def live(found: list[Message]) -> bool:
        return len(found) > 600 and all(decoded(message).revision == revision for message in found[-600:])

    found = map(decoded, read_all(export.split("STREAMTAG_KAFKA=")[1], "tags", until=live, deadline_s=60))
    events = sorted(found, key=lambda event: (event.source.partition, event.source.offset))
    for _, of_one in itertools.groupby(events, key=lambda event: event.source.partition):
        revisions = [event.revision for event in of_one]
        assert revisions == sorted(revisions), "a worker has decided by the old revision again"
    events.sort(key=lambda event: event.source.timestamp_ms)
    before = [event for event in events if event.revision < revision][-1_200:]
    after = [event for event in events if event.revision == revision]
    assert {event.thresholds[LABEL] for event in before} != {event.thresholds[LABEL] for event in after}
    assert 0 < alert_rate(after) < 0.8 * alert_rate(before)

    demo.process.send_signal(signal.SIGTERM)
    document = demo.end()
    assert document["missing"] == 0
    assert document["threshold_change_live_ms"] >= 0
    assert document["threshold_change"] is None  # it made none of its own
    assert not [child for child in children if child.alive()]


def decoded(message: Message) -> SeenTags:
    return msgspec.json.decode(message.value() or b"", type=SeenTags)


def alert_rate(events: list[SeenTags]) -> float:
    return sum(any(tag.label == LABEL for tag in event.tags) for event in events) / len(events)


def test_the_bad_challenger_fails_with_its_reason_the_good_one_passes_and_the_windows_hold_every_event(
    demos: list[Demo], tmp_path: Path
) -> None:
    demo = Demo(tmp_path / "progress")
    demos.append(demo)
    wait_until(lambda: demo.has_said("experiment 1: FAIL") and demo.has_said("experiment 2: PASS"), 90, "both verdicts")
    export, _, show, _ = demo.commands()
    for command, answer in (
        (show, "worse by more than its tolerance"),
        (show.replace("show 1", "verify 1"), "equal: FAIL"),
        (show.replace("show 1", "verify 2"), "equal: PASS"),
        (show.replace("experiment show 1", "stats show --window 1d"), "exact"),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{export}; {command}"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert answer in done.stdout
    demo.process.send_signal(signal.SIGTERM)
    document = demo.end()
    bad, good = document["experiments"]
    assert [(one["expected"], one["state"]) for one in (bad, good)] == [("bad", "FAIL"), ("good", "PASS")]
    (reason,) = bad["reasons"]
    (label,) = bad["labels"]
    assert reason == f"{label}: worse by more than its tolerance"
    assert bad["labels"][label]["candidate_rate"] > 1.2 * bad["labels"][label]["control_rate"]
    assert document["windows"] == {"events": document["tagged"] + document["clean"], "exact": True}


def test_a_worker_that_dies_ends_the_demo_with_a_message_and_nothing_survives(
    demos: list[Demo], tmp_path: Path
) -> None:
    demo = Demo(tmp_path / "progress")
    demos.append(demo)
    demo.wait_events(200)
    children = demo.children()
    os.kill(children[-4].pid, signal.SIGKILL)  # windower, what follows the panes, and API come after the workers
    out, _ = demo.process.communicate(timeout=60)
    assert (demo.process.returncode, out) == (6, "")
    assert "worker 2 ended with exit code -9" in demo.progress
    assert not [child for child in children if child.alive()]


def test_a_bundle_that_is_not_there_is_named_before_anything_starts() -> None:
    command = [sys.executable, "-m", "streamtag", "--set", "model.bundle=nonesuch", "demo", "--seconds", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "nonesuch" in done.stderr
    assert "Starting" not in done.stdout


@pytest.mark.services
def test_on_a_real_kafka_every_event_has_exactly_one_outcome(demos: list[Demo], tmp_path: Path) -> None:
    demo = Demo(tmp_path / "progress", "--kafka", "real", "--seconds", "10")
    demos.append(demo)
    document = demo.end(timeout_s=150)
    check(document, kafka="real", delivery="exactly_once")
    assert document["read_again"] == 0
    assert "exactly once" in demo.progress
