"""How an experiment of the demo reads: one line that says what it is and how far, one that says why."""

from streamtag.devstack.demo.trials import LabelTrial, TrialState
from streamtag.domain.verdict import State

__all__ = ["how_far", "moved", "why"]


def how_far(trial: TrialState) -> str:
    """``FAIL after 2.0 s``; only the state while it runs."""
    return f"{trial.state} after {trial.after_s:.1f} s" if trial.over and trial.units else trial.state


def why(trial: TrialState) -> str:
    """The verdict's reason with the numbers it rests on; what is missing while there is none."""
    reason = "; ".join(trial.reasons)
    if not trial.units:
        return reason or "nothing is counted yet"
    if trial.state == State.FAIL:
        return ", ".join([reason, *(_far(label) for label in trial.labels if label.so == "worse")])
    if trial.state == State.PASS:
        return f"all within {_allowed(trial.labels[0])}: {', '.join(map(moved, trial.labels))}"
    return reason or "   ".join(map(_so_far, trial.labels))


def moved(label: LabelTrial) -> str:
    """``toxic 15.5% -> 15.1%``: champion and challenger."""
    return f"{label.label} {_rates(label)}"


def _rates(label: LabelTrial) -> str:
    if label.control_rate is None or label.candidate_rate is None:
        return "not counted"
    return f"{label.control_rate:.1%} -> {label.candidate_rate:.1%}"


def _far(label: LabelTrial) -> str:
    """By how much at least, where that is more than the tolerance allows."""
    (low, high), (least, most) = label.ratio, label.allowed
    if low > most:
        return f"{_rates(label)}: surely over {low:.2f}x, {most:.2f}x allowed"
    if high < least:
        return f"{_rates(label)}: surely under {high:.2f}x, {least:.2f}x allowed"
    return _rates(label)


def _allowed(label: LabelTrial) -> str:
    return f"±{label.allowed[1] - 1:.0%}"


def _so_far(label: LabelTrial) -> str:
    if label.so != "open":
        return f"{label.label} {label.so}"
    needed = "open" if label.units_needed is None else f"about {label.units_needed:,} more events"
    return f"{label.label} {needed}"
