"""Guarded rollouts with a real tagger, windower and Faust app: who decides, before and after, is read from the tags."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from checker import Input, TagRecord, check
from child_processes import child_of
from pipeline import WORDS, Ledger, declared_langs, read_outputs, revisions, wait_covered
from services import wait_until
from stalling_bundle import HANGS, build_stalling_bundle
from tiny_bundle import build_tiny_bundle
from workers import Fleet, Worker

from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.fleet import read_fleet
from streamtag.control.release_documents import ReleaseId
from streamtag.control.rollout import AUTHOR
from streamtag.control.store import ControlStore, Current
from streamtag.domain.verdict import State
from streamtag.settings import RedisSettings

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

A_WRITE = 60
STATS = {
    "stats.web_port": "null",
    "stats.session_timeout_s": "6",
    "stats.pane_s": "1",
    "windows.idle_ms": "500",
    "windows.commit_interval_ms": "100",
    # A candidate's process steps back for all others: on a busy machine 20 ms are not enough for one that is well.
    "experiments.budget_ms": "1000",
}


@dataclass
class Pipeline:
    """A tagger, a windower and an app, what is written meanwhile, and what operators do."""

    fleet: Fleet
    ledger: Ledger
    store: ControlStore
    tagger: Worker
    written: int = 0
    choose: random.Random = field(default_factory=lambda: random.Random(20_261_128))

    def write(self, among: str = "") -> set[str]:
        """Events of ordinary words; every tenth has the words ``among`` them. Returns their ids."""
        made, first = [], self.written
        for i in range(A_WRITE):
            words = self.choose.choices(WORDS, k=self.choose.randint(1, 12))
            words[1:1] = [among] if among and i % 10 == 0 else []
            name, key = str(self.written + i), f"entity-{i % 7}".encode()
            event = json.dumps({"id": name, "text": " ".join(words)}).encode()
            made.append((Input("event", name, key), (key, event)))
        self.ledger.write(made)
        self.written += A_WRITE
        return set(map(str, range(first, self.written)))

    def write_until(self, condition: Callable[[], bool], what: str, among: str = "") -> None:
        """Writes on and on until something has happened."""

        def happened() -> bool:
            self.write(among)
            return condition()

        wait_until(happened, 180, f"{what}: {self.tagger}", every_s=0.3)

    def tags(self) -> list[TagRecord]:
        """All that was committed, when everything that was written is."""
        wait_covered(self.ledger, 60)
        return read_outputs(self.ledger.topics).tags

    def tags_from_now_on(self) -> list[dict[str, Any]]:
        """Tag events of some that are written now."""
        names = self.write()
        found = [tag.event for tag in self.tags() if tag.event["id"] in names]
        assert len(found) == A_WRITE
        return found

    def command(self, *arguments: str) -> Any:
        """What `streamtag` prints as JSON."""
        sets = [f"--set={name}={value}" for name, value in self.fleet.settings().items()]
        program = [sys.executable, "-m", "streamtag", *sets, *arguments, "--output", "json"]
        done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr or done.stdout
        return json.loads(done.stdout)

    def start(self, *options: str) -> int:
        """An experiment whose candidate would be promoted if it passed; returns its number."""
        started = self.command("experiment", "start", *options, "--on-pass", "promote", "-m", "a test")
        number: int = started["experiment"]
        return number

    def experiment(self, number: int) -> Experiment:
        return ExperimentLog(self.store).find(number)

    def scored(self, number: int) -> int:
        """Events that the candidate of an experiment has scored."""
        beats = read_fleet(self.store, self.fleet.settings()["tagger.group"]).heartbeats
        id_ = str(self.experiment(number).id)
        return sum(beat.experiments[id_].scored for beat in beats if id_ in beat.experiments)

    def audit(self, action: str) -> dict[str, str]:
        """The newest entry of this action."""
        found = next((one.fields for one in self.store.audit() if one.fields["action"] == action), None)
        assert found is not None, [one.fields["action"] for one in self.store.audit()]
        return dict(found)

    def check(self) -> None:
        """Every event has one outcome, by the cut-offs of the champion or of a candidate; summaries count them."""
        wait_covered(self.ledger, 60)
        outputs, known = read_outputs(self.ledger.topics), revisions(self.fleet.redis_url, self.fleet.namespace)
        for experiment in ExperimentLog(self.store).experiments():
            candidate = experiment.document.candidate
            release = self.store.load(ReleaseId(candidate.number, candidate.sha256))
            known[candidate.revision_sha256] = release.thresholds
        problems = check(
            self.ledger.inputs,
            outputs.tags,
            outputs.dead,
            outputs.summaries,
            known,
            outputs.tombstones,
            langs=declared_langs(self.fleet),
        )
        assert not problems, (len(problems), problems[:5])

    def champion(self) -> Current:
        champion = self.store.current()
        assert champion is not None
        return champion


@pytest.fixture
def pipeline(fleet: Fleet, ledger: Ledger, tmp_path: Path) -> Iterator[Pipeline]:
    """It has tagged something already; there are challengers: a bundle of the same scores, and one that hangs."""
    challengers = tmp_path / "challengers"
    build_tiny_bundle(challengers, version="5", weights_seed=1)
    build_stalling_bundle(challengers, tmp_path / "scratch", [f"{a} {b}" for a in WORDS for b in WORDS])
    fleet.overrides |= STATS | {
        "stats.group": f"stats-{fleet.namespace}",
        "model.directories": f"[{fleet.bundles}, {challengers}]",
    }
    store = ControlStore(RedisSettings.model_validate({"url": fleet.redis_url, "namespace": fleet.namespace}))
    tagger = fleet.start()
    for role in ("windows", "stats"):
        fleet.start(role=role)
    tagger.wait_ready(60)
    found = Pipeline(fleet, ledger, store, tagger)
    assert {tag["release"]["number"] for tag in found.tags_from_now_on()} == {1}
    yield found
    store.close()


def split_of(tags: list[TagRecord], experiment: Experiment) -> dict[str, set[int]]:
    """Releases that decided what belongs to an experiment, by arm."""
    found: dict[str, set[int]] = {}
    for tag in tags:
        if tag.event.get("experiment") == str(experiment.id):
            found.setdefault(tag.event.get("arm", "control"), set()).add(tag.event["release"]["number"])
    return found


def test_a_good_challenger_is_ramped_promoted_and_decides(pipeline: Pipeline) -> None:
    number = pipeline.start(
        *("--bundle", "tiny@5", "--mode", "shadow", "--share", "0.5", "--ramp", "100% after 50 units"),
        # Of 560 units or so: more than are written before it waits. Where others leave it no core, it fails at times.
        *("--alpha", "1e-18", "--limit", "failures=50%"),
    )
    candidate = pipeline.experiment(number).document.candidate

    def enough() -> bool:
        """Whether its process, which may take its time to load, has scored what the ramp asks for."""
        assert {tag["release"]["number"] for tag in pipeline.tags_from_now_on()} == {1}, "a shadow decides nothing"
        return pipeline.scored(number) > 60

    wait_until(enough, 120, f"the candidate scores: {pipeline.tagger}", every_s=1)
    wait_until(lambda: pipeline.experiment(number).share == 1, 60, f"the share grows: {pipeline.tagger}")
    pipeline.write_until(lambda: pipeline.champion().ref.bundle == candidate.bundle, "the candidate decides")
    champion = pipeline.champion().ref
    assert champion.revision_sha256 == candidate.revision_sha256

    ended = pipeline.experiment(number)
    assert [phase.share for phase in ended.phases] == [0.5, 1.0]
    assert ended.verdict is not None
    assert ended.verdict.state is State.PASS
    steps = pipeline.command("experiment", "history", str(number))
    assert [(step["action"], step["author"] == AUTHOR) for step in steps][1:] == [("phase", True), ("start", False)]
    assert pipeline.command("experiment", "verify", str(number))["equal"]
    flip = pipeline.audit("promote")
    assert (flip["author"], flip["before"], flip["release_sha256"]) == (AUTHOR, "1", champion.sha256)
    assert flip["reason"].startswith("PASS")
    releases = pipeline.command("release", "history")
    assert [one["release"] for one in releases] == [champion.number, 1]

    pipeline.write_until(lambda: pipeline.command("release", "show")["live"] == "yes", "it is live everywhere")
    for tag in pipeline.tags_from_now_on():
        said = tag["release"]
        assert (said["number"], said["sha256"]) == (champion.number, champion.sha256)
        assert (said["bundle"]["version"], said["bundle"]["sha256"]) == ("5", candidate.bundle.sha256)
        assert tag.keys().isdisjoint({"arm", "experiment"})
    assert {tag.event["release"]["number"] for tag in pipeline.tags()} == {1, champion.number}
    pipeline.check()


def test_a_challenger_that_fails_or_is_past_a_limit_is_taken_back(pipeline: Pipeline, tmp_path: Path) -> None:
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps({"labels": {"spam": 0.99, "greeting": 0.5}}))
    number = pipeline.start("--thresholds", str(worse), "--mode", "split", "--share", "0.5")
    pipeline.write_until(lambda: pipeline.experiment(number).ended is not None, "the worse one has ended")
    ended = pipeline.experiment(number)
    assert ended.verdict is not None
    assert ended.verdict.state is State.FAIL
    assert pipeline.audit("experiment-verdict")["state"] == "FAIL"
    check_taken_back(pipeline, ended)

    number = pipeline.start(
        *("--bundle", "tiny@4", "--alpha", "1e-300", "--mode", "split", "--share", "0.5"),  # never sure of anything
        *("--limit", "shed=5%", "--limit", "failures=5%", "--limit", "min_events=50"),
    )
    running = pipeline.experiment(number)
    pipeline.write_until(lambda: "candidate" in split_of(pipeline.tags(), running), "the candidate decides")
    pipeline.write_until(lambda: pipeline.experiment(number).ended is not None, "the one that hangs has ended", HANGS)
    ended = pipeline.experiment(number)
    assert ended.ended is not None
    assert (ended.ended.action, ended.ended.author) == ("return", AUTHOR)
    back = pipeline.audit("experiment-return")
    assert back["author"] == AUTHOR
    assert any(limit in back["reason"] for limit in ("shed: ", "failures: "))
    check_taken_back(pipeline, ended)
    wait_until(lambda: child_of(pipeline.tagger.process.pid) is None, 30, "its process has ended")
    pipeline.check()


def check_taken_back(pipeline: Pipeline, ended: Experiment) -> None:
    """Both arms have decided, each by its release; now the champion, which is still the same, decides everything."""
    document = ended.document
    expected = {"control": {document.control.number}, "candidate": {document.candidate.number}}
    assert split_of(pipeline.tags(), ended) == expected
    assert pipeline.champion().ref == document.control

    def alone() -> bool:
        found = pipeline.tags_from_now_on()
        assert {tag["release"]["number"] for tag in found} <= {document.control.number, document.candidate.number}
        return all(tag["release"]["number"] == 1 and "experiment" not in tag for tag in found)

    wait_until(alone, 30, "the champion decides all of it", every_s=0.1)
    assert alone()
