"""Challengers that hang, die or are slow, under a real tagger on a real Kafka and Redis: the champion does not notice.

What a challenger has scored is compared, event by event, with what its bundle says of the text.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from checker import Input
from child_processes import child_of, kill
from msgspec import UNSET
from pipeline import WORDS, Ledger, check_all, wait_covered
from poison_bundle import RAISES, build_poison_bundle
from services import wait_until
from stalling_bundle import DELAYS, HANGS, build_stalling_bundle
from workers import Fleet, Worker

from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.domain.assignment import unit_hashes
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.scores import to_micro
from streamtag.events.summary import CommitSummary, ExperimentRows
from streamtag.events.unit_rows import unpack
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.settings import RedisSettings

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

LABELS = ("spam", "greeting")
CUTOFF_MICRO = 500_000
A_WRITE = 60
OUTCOMES = ("scored", "loading", "shed", "failures", "invalid")

Build = Callable[[Path, Path, list[str]], Path]


@dataclass
class Trial:
    """A tagger with a shadow experiment whose challenger scores every event, and what is written meanwhile."""

    fleet: Fleet
    ledger: Ledger
    experiment: Experiment
    bundle: Bundle
    worker: Worker
    texts: dict[str, str] = field(default_factory=dict)
    choose: random.Random = field(default_factory=lambda: random.Random(20_261_128))

    def write(self, *, among: str = "", every: int = 10) -> None:
        """Events of ordinary words; every tenth has the words ``among`` them."""
        made = []
        for i in range(A_WRITE):
            name = str(len(self.texts))
            words = self.choose.choices(WORDS, k=self.choose.randint(1, 12))
            if i % every == 0:
                words.insert(1, among)
            self.texts[name] = " ".join(words)
            key = f"entity-{i % 7}".encode()
            made.append((Input("event", name, key), (key, json.dumps({"id": name, "text": self.texts[name]}).encode())))
        self.ledger.write(made)

    def outcome(self, name: str) -> int:
        """Events of which this became, as the tagger's metrics have it."""
        found = self.worker.metrics().items()
        mine = (n for series, n in found if series.startswith("streamtag_experiment_events") and f'"{name}"' in series)
        return int(sum(mine))

    def missed(self) -> int:
        """Events that a challenger that died has not scored: in time nobody waits for, it may not have died yet."""
        return self.outcome("failures") + self.outcome("shed")

    def challenger(self) -> int:
        """The process of the challenger's model."""
        pid = wait_until(lambda: child_of(self.worker.process.pid), 60, f"the challenger runs: {self.worker}")
        assert pid is not None
        return pid

    def wait_another(self, than: int) -> None:
        """Waits until another process has taken the place of this one."""
        gone = (None, than)
        wait_until(
            lambda: child_of(self.worker.process.pid) not in gone, 90, f"another process than {than}: {self.worker}"
        )

    def wait_scored(self) -> None:
        """Waits until the challenger takes part, in events that are written meanwhile."""
        before = self.outcome("scored")

        def scored() -> bool:
            self.write()
            wait_covered(self.ledger, 30)
            return self.outcome("scored") > before

        wait_until(scored, 90, f"the challenger takes part: {self.worker}", every_s=0.1)

    def check(self) -> None:
        """Every event has its tag, the right one, and was scored by the challenger or counted as not scored."""
        wait_covered(self.ledger, 60)
        outcomes = {name: self.outcome(name) for name in OUTCOMES}
        assert self.worker.stop() == 0
        outputs, problems = check_all(self.ledger, self.fleet)
        assert not problems, (len(problems), problems[:5])
        rows = list(_rows(outputs.summaries, str(self.experiment.id)))
        shed = sum(one.shed for one in rows)
        assert shed == sum(outcomes.values()) - outcomes["scored"] > 0
        assert outcomes["scored"] + shed == len(outputs.tags) == len(self.texts)
        self._check_scored(rows, outcomes["scored"])

    def _check_scored(self, rows: list[ExperimentRows], expected: int) -> None:
        units = [unpack(one) for one in rows]
        hashes = np.concatenate([one.hashes for one in units])
        assert len(set(hashes.tolist())) == len(hashes) == expected > 0
        names = list(self.texts)
        by_hash = dict(
            zip(
                unit_hashes((name.encode() for name in names), self.experiment.document.salt).tolist(),
                names,
                strict=True,
            )
        )
        texts = [self.texts[by_hash[unit]] for unit in hashes.tolist()]
        champion = self.fleet.bundles / "tiny" / "1"
        for path, found in (
            (champion, np.concatenate([one.control for one in units])),
            (self.bundle.path, np.concatenate([one.candidate for one in units])),
        ):
            assert np.array_equal(to_micro(load_scorer(path, batch=64).score(texts)) >= CUTOFF_MICRO, found), path


def _rows(summaries: list[CommitSummary], experiment: str) -> Iterator[ExperimentRows]:
    for one in summaries:
        for pane in one.panes:
            for rows in [] if pane.experiments is UNSET else pane.experiments:
                assert (rows.id, rows.labels) == (experiment, list(LABELS))
                yield rows


@pytest.fixture
def begin(fleet: Fleet, ledger: Ledger, tmp_path: Path) -> Iterator[Callable[[Build], Trial]]:
    """A tagger, and a shadow experiment with a challenger of that bundle, which it takes part in already."""
    store = ControlStore(RedisSettings.model_validate({"url": fleet.redis_url, "namespace": fleet.namespace}))
    directory = tmp_path / "challengers"

    def begun(build: Build) -> Trial:
        bundle = read_bundle(build(directory, tmp_path / "scratch", [f"{a} {b}" for a in WORDS for b in WORDS]))
        worker = fleet.start(model__directories=f"[{fleet.bundles}, {directory}]").wait_ready(60)
        plan = ExperimentPlan("shadow", {label: LabelPolicy() for label in LABELS})
        experiment = ExperimentChanges(ExperimentLog(store)).start(
            Request(plan, 1.0), NewCandidate(bundle.ref, bundle.labels), Who("anna", "a test")
        )
        trial = Trial(fleet, ledger, experiment, bundle, worker)
        trial.challenger()  # from here on every event takes part
        trial.wait_scored()
        return trial

    yield begun
    store.close()


def test_while_a_challenger_hangs_tags_keep_coming_and_once_it_is_replaced_it_takes_part_again(
    begin: Callable[[Build], Trial],
) -> None:
    trial = begin(build_stalling_bundle)
    hangs = trial.challenger()
    trial.write(among=HANGS)
    wait_covered(trial.ledger, 60)
    assert trial.outcome("shed") > 0  # nobody waited: had it been killed meanwhile, they were failures
    trial.wait_another(hangs)
    trial.wait_scored()
    trial.check()


def test_a_challenger_that_dies_of_a_text_or_is_killed_costs_no_tag_and_comes_back(
    begin: Callable[[Build], Trial],
) -> None:
    trial = begin(build_poison_bundle)
    dies = trial.challenger()
    trial.write(among=RAISES)
    trial.wait_another(dies)
    trial.wait_scored()
    missed = trial.missed()
    assert missed > 0
    kill(trial.challenger())
    trial.write()
    wait_covered(trial.ledger, 60)
    assert trial.missed() > missed
    trial.wait_scored()
    trial.check()


def test_a_challenger_far_slower_than_the_budget_is_left_out_and_takes_part_again_once_it_keeps_up(
    begin: Callable[[Build], Trial],
) -> None:
    trial = begin(build_stalling_bundle)
    slow = trial.challenger()
    for _ in range(3):
        trial.write(among=DELAYS, every=1)
        wait_covered(trial.ledger, 60)
    assert trial.outcome("shed") > 0
    trial.wait_scored()
    assert trial.outcome("failures") == 0
    assert trial.challenger() == slow
    trial.check()
