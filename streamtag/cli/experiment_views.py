"""How an experiment is shown."""

from typing import Any

from streamtag.cli.context import print_facts, print_table
from streamtag.control.experiment_log import Experiment
from streamtag.control.experiment_view import experiment_state
from streamtag.control.release_documents import ReleaseId
from streamtag.control.rollout_file import describe_policy
from streamtag.domain.experiment import LabelPolicy, Tolerance
from streamtag.domain.release import ReleaseRef


def print_experiment(experiment: Experiment, champion: ReleaseId | None) -> None:
    """The plan, label by label, and the phases, for people."""
    document, plan, ended = experiment.document, experiment.document.plan, experiment.ended
    now = experiment_state(experiment, champion)
    if now == "stale" and champion is not None:
        now_text = f"stale: release {champion.number} decides now; stop it, and start a new one"
    elif ended is not None:
        now_text = f'{now}, by {ended.author} at {ended.at:%Y-%m-%d %H:%M:%S} UTC: "{ended.reason}"'
    else:
        now_text = now
    print_facts(
        {
            "experiment": experiment.id,
            "state": now_text,
            "mode": plan.mode,
            "control": release_text(document.control),
            "candidate": release_text(document.candidate),
            "unit": document.unit,
            "author": document.author,
            "reason": document.reason,
            "alpha": f"{plan.alpha:g}",
            "gives up after": f"{plan.max_units:,} units or {plan.max_hours:g} hours",
            "by itself": describe_policy(document.rollout),
            "a worse label": "fails the experiment" if plan.on_worse == "fail" else "is a warning, unless critical",
        }
    )
    columns = ("label", "tolerance", "worse is", "weight", "", "base rate")
    print_table(columns, [_label(name, policy, document.base_rates) for name, policy in plan.labels.items()])
    phases = [
        (i, f"{phase.share:g}", f"{phase.began_at:%Y-%m-%d %H:%M:%S}") for i, phase in enumerate(experiment.phases)
    ]
    print_table(("phase", "share", "began (UTC)"), phases)


def describe(experiment: Experiment) -> str:
    """One line, and one more where both arms decide alike."""
    document = experiment.document
    control, candidate = document.control, document.candidate
    line = (
        f"experiment {experiment.id.number} ({document.plan.mode}): release {candidate.number} against "
        f"release {control.number}, share {experiment.share:g}, {len(document.plan.judged())} labels judged"
    )
    same = (control.bundle, control.revision_sha256) == (candidate.bundle, candidate.revision_sha256)
    return f"{line}\n  both have the same bundle and thresholds: it compares the champion with itself" if same else line


def release_text(release: ReleaseRef) -> str:
    """``release 5: moderation@1, threshold revision 4``."""
    return f"release {release.number}: {release.bundle}, threshold revision {release.revision}"


def _label(name: str, policy: LabelPolicy, base_rates: dict[str, float]) -> tuple[Any, ...]:
    worse = {"increase": "more", "decrease": "less", "either": "more or less"}[policy.direction]
    flags = ", ".join(flag for flag in ("critical", "muted") if getattr(policy, flag))
    rate = f"{base_rates[name]:g}" if name in base_rates else None
    return name, _tolerance(policy.tolerance), worse, f"{policy.weight:g}", flags, rate


def _tolerance(tolerance: Tolerance) -> str:
    return f"±{100 * tolerance.size:g}%" if tolerance.kind == "relative" else f"±{tolerance.size:g}"
