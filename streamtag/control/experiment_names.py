"""Ids of labels that an experiment was asked with, read as the champion names its labels."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from streamtag.control.experiment_request import Request
from streamtag.domain.taxonomy import Taxonomy
from streamtag.domain.threshold_labels import in_words_of
from streamtag.errors import RefusedError

__all__ = ["request_by_taxonomy"]


def request_by_taxonomy(
    request: Request, taxonomy: Taxonomy, labels: Sequence[str], tell: Callable[[str], None]
) -> Request:
    """The request with ids that were renamed or replaced read as what they mean today; tells of each.

    Args:
        request: what was asked.
        taxonomy: says what ids mean.
        labels: that the champion scores.
        tell: is given a line for each id that is read as another.

    Raises:
        RefusedError: an id could be read in more than one way, or two of them mean one label and say different things.
    """
    warnings: list[str] = []
    problems: list[str] = []
    policies = in_words_of("labels", request.plan.labels, taxonomy, labels, warnings, problems)
    rates = in_words_of("base_rates", request.base_rates, taxonomy, labels, warnings, problems)
    if problems:
        raise RefusedError(
            f"the experiment's labels cannot be read by taxonomy {taxonomy.name} {taxonomy.version}",
            problems=problems,
            hint="`streamtag taxonomy map` shows what each id has become.",
        )
    for warning in warnings:
        tell(warning)
    return replace(request, plan=replace(request.plan, labels=policies), base_rates=rates)
