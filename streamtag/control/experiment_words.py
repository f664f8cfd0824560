"""Steps of experiments in words: for people, for the audit, and for whoever is about to end one."""

from collections.abc import Sequence

from streamtag.control.experiment_documents import ExperimentChange, ExperimentId
from streamtag.control.experiment_log import Experiment
from streamtag.control.release_documents import ReleaseId
from streamtag.control.verdict_documents import VerdictDocument

__all__ = ["candidate_note", "champion_warnings", "describe_change", "step_audit", "verdict_problems"]


def candidate_note(experiment: int) -> str:
    """The note of a release that was made for this experiment, which tells it from one that was there before."""
    return f"candidate of experiment {experiment}"


def describe_change(change: ExperimentChange) -> str:
    """``anna started experiment 3 at 2026-11-23 03:00:00 UTC, "why"``."""
    number = change.run.experiment.number
    done = {
        "start": f"started experiment {number}",
        "phase": f"set the share of experiment {number} to {change.run.phases[-1].share:g}",
        "stop": f"stopped experiment {number}",
        "return": f"took the candidate of experiment {number} back",
        "verdict": f"concluded experiment {number}" + (f" with {change.verdict.state}" if change.verdict else ""),
    }[change.action]
    return f'{change.author} {done} at {change.at:%Y-%m-%d %H:%M:%S} UTC, "{change.reason}"'


def champion_warnings(running: Sequence[Experiment], champion: ReleaseId) -> list[str]:
    """What whoever is about to change the champion, or has just done so, must be told of experiments.

    Args:
        running: `ExperimentLog.running`.
        champion: that decides before the change.
    """
    found = []
    for experiment in running:
        document = experiment.document
        control = ReleaseId(document.control.number, document.control.sha256)
        if control == champion:
            found.append(
                f"experiment {experiment.id.number} ({document.plan.mode}, of {document.author}: "
                f'"{document.reason}") compares release {document.candidate.number} with release {control.number}, '
                "which decides now. Under another champion its evidence does not go on: it must be started anew"
            )
    return found


def step_audit(change: ExperimentChange, experiment: Experiment) -> dict[str, str]:
    """Fields of the audit entry of one step."""
    document = experiment.document
    return {
        "action": f"experiment-{change.action}",
        "author": change.author,
        "reason": change.reason,
        "at": f"{change.at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "experiment": str(experiment.id.number),
        "experiment_sha256": experiment.id.sha256,
        "mode": document.plan.mode,
        "control": str(document.control.number),
        "candidate": str(document.candidate.number),
        "share": f"{experiment.share:g}",
        "change": str(change.number),
        **({"state": change.verdict.state.value, "verdict": change.verdict.sha256} if change.verdict else {}),
    }


def verdict_problems(verdict: VerdictDocument, experiment: Experiment) -> list[str]:
    """What keeps ``verdict`` from being that of ``experiment``."""
    found = []
    if ExperimentId(verdict.number, verdict.experiment_sha256) != experiment.id:
        found.append(f"verdict: it is of experiment {verdict.number} with sha256 {verdict.experiment_sha256[:12]}…")
    if not verdict.state.final:
        found.append(f"state: {verdict.state} is no verdict; the experiment goes on")
    return found
