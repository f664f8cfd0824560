"""The operator of a campaign of the read side: experiments all the while, now and then another threshold or bundle."""

from dataclasses import replace
from typing import Any, Literal

from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import Current
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Mode, Tolerance
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import StreamtagError

from .operator import WHO, Operator
from .rows_recount import Subject
from .window import LABELS

Kind = Literal["bad", "good", "unsure"]

_SHARES: dict[Mode, tuple[float, ...]] = {"shadow": (1.0, 0.5, 0.25), "split": (0.75, 0.5, 0.25)}
_KINDS: tuple[Kind, ...] = ("bad", "bad", "good", "good", "unsure")
_SHIFT = {"good": 0.001, "unsure": 0.02}
_BAD = 0.995
"""Cut-off that tags a seventh of what others do: scores of made-up bundles lie at either end."""
_MAX_UNITS = {"bad": 40_000, "good": 40_000, "unsure": 8_000}
_QUIET = LabelPolicy(muted=True)
_OWN_BUNDLE = 0.3
"""Chance of a candidate whose bundle is not the champion's: a process for each tagger, which costs."""


class Experimenter(Operator):
    """Rounds of experiments: a split, which needs all units for itself, or a few shadows, each of a label of its own.

    Challengers are bad, good, or hard to judge: by other thresholds, or by another bundle, which may score as the
    champion's does. Learns of everything that Redis has held, also of what a Redis that is restarted empty will lose.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._log = ExperimentLog(self._store)
        self._experiments = ExperimentChanges(self._log)
        self._mode: Mode = "shadow"
        self._left = 0  # experiments to start in this round
        self.subjects: dict[ExperimentId, Subject] = {}
        """All experiments there have been, whoever has started them."""
        self.verdicts: dict[ExperimentId, VerdictDocument] = {}

    def sync(self) -> None:
        """Experiments and their verdicts, too."""
        super().sync()
        try:
            self.learn()
        except StreamtagError:  # the next time
            return

    def learn(self) -> None:
        """Looks at what Redis holds of experiments.

        Raises:
            StreamtagError: Redis is being hurt; what it holds will be there the next time.
        """
        found: dict[ExperimentId, VerdictDocument] = {}
        for experiment in self._log.experiments():
            candidate = experiment.document.candidate
            release = self._store.load(ReleaseId(candidate.number, candidate.sha256))
            self._releases.add(release, 0)  # in a split it decides
            self.subjects[experiment.id] = Subject(experiment, release.thresholds)
            if experiment.id in self.verdicts:
                break  # what came before it is known
            if experiment.verdict is not None and (stored := self._log.verdict(experiment)) is not None:
                found[experiment.id] = stored.document
        self.verdicts |= found  # only now: whatever stands before a verdict that is known is looked at no more

    def held(self) -> set[int]:
        """Numbers of the experiments whose verdicts Redis holds now."""
        return {one.id.number for one in self._log.experiments() if one.verdict is not None}

    def running(self) -> list[Experiment]:
        """As Redis says now."""
        return self._log.running()

    def _change(self) -> None:
        if self._store.champion() is None:
            return
        self.learn()
        running = self._log.running()
        champion = self._store.current()
        assert champion is not None
        stale = next((one for one in running if one.document.control != champion.ref), None)
        if stale is not None:
            self._experiments.stop(stale.id.number, WHO)
            self.made["experiment stopped"] += 1
            return
        draw = self._choose.random()
        if draw < (0.02 if running else 0.3):
            self.move()
        elif draw < (0.03 if running else 0.4):
            self._promote("bundle swap", self._choose.choice(self._bundles))
        elif draw < 0.15 and running:
            self._reach_further(self._choose.choice(running))
        else:
            self._go_on(running, champion)

    def _go_on(self, running: list[Experiment], champion: Current) -> None:
        """Starts the next experiment of this round, or begins another round once nothing runs."""
        if not self._left and not running:
            self._mode = self._choose.choice(("split", "shadow"))
            self._left = 1 if self._mode == "split" else self._choose.randint(2, 4)
        judged = {label for one in running for label in one.document.plan.judged()}
        free = [label for label in LABELS if label not in judged]
        if self._left and free and not (self._mode == "split" and running):
            self._start(self._choose.choice(free), running, champion)
            self._left -= 1

    def _reach_further(self, experiment: Experiment) -> None:
        others = [share for share in _SHARES[experiment.document.plan.mode] if share != experiment.share]
        self._experiments.set_share(experiment.id.number, self._choose.choice(others), WHO)
        self.made["share changed"] += 1

    def _start(self, label: str, running: list[Experiment], champion: Current) -> None:
        kind = self._choose.choice(_KINDS)
        policy = LabelPolicy(Tolerance(size=0.02 if kind == "unsure" else 0.2))
        plan = ExperimentPlan(self._mode, {label: policy}, max_units=_MAX_UNITS[kind])
        request = Request(plan, self._choose.choice(_SHARES[self._mode]), others=_QUIET)
        name = f"{kind} {self._mode}"
        candidate = NewCandidate(thresholds=self._other(champion.thresholds, label, kind))
        if self._choose.random() < _OWN_BUNDLE and not any(one.document.plan.mode == "shadow" for one in running):
            others = [bundle for bundle in self._bundles if bundle.ref != champion.ref.bundle]
            bundle = self._choose.choice(others)
            candidate = replace(candidate, bundle=bundle.ref, labels=bundle.labels)
            name += ", bundle of its own"
        self._experiments.start(request, candidate, WHO)
        self.made[name] += 1

    def _other(self, thresholds: ThresholdSet, label: str, kind: Kind) -> ThresholdSet:
        at = thresholds.labels[label]
        other = _BAD if kind == "bad" else round(at - _SHIFT[kind] if at > 0.5 else at + _SHIFT[kind], 6)
        return replace(thresholds, labels={**thresholds.labels, label: other})
