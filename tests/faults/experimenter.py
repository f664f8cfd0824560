"""The operator of a campaign of the read side: shadow experiments all the while, now and then another threshold."""

from dataclasses import replace
from typing import Any

from streamtag.control.documents import ExperimentId, ReleaseId, VerdictDocument
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance
from streamtag.errors import StreamtagError

from .operator import WHO, Operator
from .rows_recount import Subject
from .window import LABELS

_SHARES = (1.0, 0.5, 0.25)
_QUIET = LabelPolicy(muted=True)


class Experimenter(Operator):
    """Each label is judged by an experiment of its own: by a bad challenger, a good one, or one that is hard to judge.

    Learns of everything that Redis has held, also of what a Redis that is restarted empty will lose.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._log = ExperimentLog(self._store)
        self._experiments = ExperimentChanges(self._log)
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
            thresholds = self._store.load(ReleaseId(candidate.number, candidate.sha256)).thresholds
            self.subjects[experiment.id] = Subject(experiment, thresholds)
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
        judged = {label for one in running for label in one.document.plan.judged()}
        free = [label for label in LABELS if label not in judged]
        draw = self._choose.random()
        if draw < (0.5 if len(free) == len(LABELS) else 0.02):
            self.move()
        elif draw < (0.6 if len(free) == len(LABELS) else 0.02):
            self._promote("bundle swap", self._choose.choice(self._bundles))
        elif draw < 0.15 and running:
            self._reach_further(self._choose.choice(running))
        elif free:
            self._start(self._choose.choice(free))

    def _reach_further(self, experiment: Experiment) -> None:
        share = self._choose.choice([share for share in _SHARES if share != experiment.share])
        self._experiments.set_share(experiment.id.number, share, WHO)
        self.made["share changed"] += 1

    def _start(self, label: str) -> None:
        champion = self._store.current()
        assert champion is not None
        now = champion.thresholds
        kind = self._choose.choice(("bad", "bad", "good", "good", "unsure"))
        at = now.labels[label]
        shift = {"bad": 0.25, "good": 0.001, "unsure": 0.02}[kind]
        other = round(at - shift if at > 0.5 else at + shift, 6)
        candidate = replace(now, labels={**now.labels, label: other})
        policy = LabelPolicy(Tolerance(size=0.02 if kind == "unsure" else 0.2))
        plan = ExperimentPlan("shadow", {label: policy}, max_units=8_000 if kind == "unsure" else 10_000_000)
        request = Request(plan, self._choose.choice(_SHARES), others=_QUIET)
        self._experiments.start(request, NewCandidate(thresholds=candidate), WHO)
        self.made[f"{kind} challenger"] += 1
