"""What there is to say about an experiment and its verdict, for programs."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from streamtag.control.experiment_log import Experiment
from streamtag.control.release_documents import ReleaseId
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.domain import verdict as domain
from streamtag.domain.experiment import ExperimentPlan
from streamtag.domain.looks import Looks
from streamtag.errors import NotFoundError

__all__ = ["State", "experiment_state", "experiment_view", "label_rows", "looks_view"]

State = Literal["running", "stale", "stopped", "returned", "PASS", "FAIL", "INCONCLUSIVE", "INVALID"]


def experiment_state(experiment: Experiment, champion: ReleaseId | None) -> State:
    """``stale``: another release than the control decides now, so that its evidence cannot go on.

    One that has ended is ``stopped`` by a person, ``returned`` by its rollout, or what its verdict says.
    """
    if experiment.verdict is not None:
        return experiment.verdict.state.value  # type: ignore[return-value]  # a final one
    if experiment.ended is not None:
        return "returned" if experiment.ended.action == "return" else "stopped"
    control = experiment.document.control
    return "running" if champion == ReleaseId(control.number, control.sha256) else "stale"


def experiment_view(experiment: Experiment, champion: ReleaseId | None) -> dict[str, Any]:
    """All that was agreed, how far it has come, and who ended it."""
    ended = experiment.ended
    return {
        "experiment": experiment.id.number,
        "id": str(experiment.id),
        "sha256": experiment.id.sha256,
        "state": experiment_state(experiment, champion),
        **{k: v for k, v in msgspec.to_builtins(experiment.document).items() if k != "number"},
        "phases": experiment.phases,
        "stopped": ended and {"author": ended.author, "reason": ended.reason, "at": ended.at},
    }


def label_rows(plan: ExperimentPlan, found: VerdictDocument) -> Iterator[dict[str, Any]]:
    """Each label, the judged ones first, worst first; evidence and the bounds it must reach are natural logarithms."""
    peaks = found.peaks.to_peaks()
    judged = plan.judged()
    order = sorted(plan.labels, key=lambda label: (label not in judged, -peaks.worse.get(label, 0.0), label))
    parts = plan.alphas()
    for label in order:
        policy = plan.labels[label]
        evidence = domain.label_evidence(plan, label, found.phases)
        rates = domain.rates(plan, label, found.phases)
        worse = peaks.worse.get(label, domain.worse_evidence(policy, evidence))
        words = _words(plan, label, worse, evidence.equal, parts.get(label))
        settled = policy.muted or words != "open"
        relative = plan.mode == "split" or policy.tolerance.kind == "relative"
        unknown = (0.0, math.inf) if relative else (-1.0, 1.0)
        yield {
            "label": label,
            "muted": policy.muted,
            "control_rate": rates[0] if rates else None,
            "candidate_rate": rates[1] if rates else None,
            "relative": relative,
            "interval": domain.interval(plan, label, found.phases) if found.units else unknown,
            "log_e_worse": worse,
            "log_e_equal": evidence.equal,
            "worse_from": math.log(1 / parts[label]) if label in parts else None,
            "equal_from": math.log(1 / plan.alpha) if label in parts else None,
            "words": words,
            # Ville: evidence of E is seen with a chance of 1/E at most, where there is nothing to see.
            "error": math.exp(-max(0.0, evidence.equal if words == "equal" else worse)),
            "units_needed": None if settled else domain.units_needed(plan, label, found.phases),
        }


def looks_view(experiment: Experiment, kept: Looks, label: str | None = None) -> dict[str, Any]:
    """The looks that are kept, oldest first, with each judged label against its bounds, in the words of `label_rows`.

    Args:
        experiment: that was looked at.
        kept: looks at it.
        label: that alone; None: all that are judged.

    Raises:
        NotFoundError: it does not judge this label.
    """
    plan = experiment.document.plan
    parts = plan.alphas()
    if label is not None and label not in parts:
        raise NotFoundError(
            f"experiment {experiment.id.number} does not judge {label}", hint=f"It judges {', '.join(parts)}."
        )
    names = list(parts) if label is None else [label]
    return {
        "experiment": experiment.id.number,
        "spacing_s": kept.spacing_ms / 1000,
        "labels": {
            name: {"worse_from": math.log(1 / parts[name]), "equal_from": math.log(1 / plan.alpha)} for name in names
        },
        "items": [
            {
                "at": datetime.fromtimestamp(one.at_ms / 1000, UTC),
                "units": one.units,
                "labels": {
                    name: {
                        "log_e_worse": one.labels[name].worse,
                        "log_e_equal": one.labels[name].equal,
                        "control_rate": one.labels[name].control_rate,
                        "candidate_rate": one.labels[name].candidate_rate,
                    }
                    for name in names
                },
            }
            for one in kept.items
        ],
    }


def _words(plan: ExperimentPlan, label: str, worse: float, equal: float, part: float | None) -> str:
    if part is None:
        return "muted"
    if worse >= math.log(1 / part):
        return "worse"
    return "equal" if equal >= math.log(1 / plan.alpha) else "open"
