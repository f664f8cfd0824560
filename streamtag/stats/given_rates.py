"""Base rates of an experiment that nobody has given, from the windows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from streamtag.control.champion import champion_to_change
from streamtag.control.experiment_request import Request
from streamtag.control.store import ControlStore
from streamtag.domain.experiment import LabelPolicy
from streamtag.errors import RefusedError
from streamtag.stats.base_rates import BaseRates, measured
from streamtag.stats.read_model import ReadModel

__all__ = ["with_measured_rates"]


def with_measured_rates(request: Request, store: ControlStore, now: datetime) -> tuple[Request, list[str]]:
    """The request with a measured rate for each label that needs one and has none; and, in words, what was taken.

    Raises:
        RefusedError: of such a label nothing was measured, or too little to be sure that its rate lies above the
            tolerance. Names each.
        StreamtagError: the champion or the windows cannot be read.
    """
    champion, _ = champion_to_change(store)
    plan = request.over(champion.thresholds.labels)
    needed = {
        label: policy
        for label, policy in plan.judged().items()
        if policy.tolerance.kind == "absolute" and label not in request.base_rates
    }
    if plan.mode != "shadow" or not needed:
        return request, []
    number = champion.id.number
    found = measured(ReadModel(store), number, round(now.timestamp() * 1000))
    problems = [one for label, policy in needed.items() for one in _problems(label, policy, found, number)]
    if found is None or problems:
        raise RefusedError(
            "the experiment cannot be started",
            problems=problems,
            hint="Wait for more events, give the rate as you know it (base_rates; --base-rate LABEL=RATE), or use a "
            "relative tolerance.",
        )
    taken = found.rates(needed)
    told = [
        f"base rate of {label}: {_percent(rate)} of {found.figures[label].events:,} events, {_source(found, number)}"
        for label, rate in taken.items()
    ]
    return replace(request, base_rates={**request.base_rates, **taken}), told


def _problems(label: str, policy: LabelPolicy, found: BaseRates | None, number: int) -> Iterator[str]:
    size = f"labels.{label}.tolerance: ±{policy.tolerance.size:g}"
    if found is None:
        yield f"{size} needs the label's rate, and no event that release {number} decided was counted since yesterday"
        return
    if label not in found.figures:
        yield f"{size} needs the label's rate, and the label is not in {_source(found, number)}"
        return
    figures = found.figures[label]
    low, high = figures.interval()
    if low <= policy.tolerance.size:
        yield (
            f"{size} is not surely below the label's rate, which lies within {_percent(low)} – {_percent(high)}: "
            f"{figures.alerts:,} of {figures.events:,} events, {_source(found, number)}. A candidate that never tags "
            "could pass"
        )


def _source(found: BaseRates, number: int) -> str:
    begun = datetime.fromtimestamp(found.window.start_ms / 1000, UTC)
    return f"release {number}, {found.window.size} from {begun:%Y-%m-%d %H:%M:%S} UTC"


def _percent(rate: float) -> str:
    return f"{rate * 100:.3g} %"
