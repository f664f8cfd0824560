"""Recomputes what two stages must have made of each event: pure, so that it can be tested with planted faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checker import TagRecord

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Staged:
    """What both stages score an event, and where it belongs."""

    first: Scores
    second: Scores
    in_band: bool
    sampled: bool

    def reasons(self) -> tuple[str | None, ...]:
        """Why it may, or may not, have been to stage 2; the budget alone decides among these."""
        if self.sampled:  # beyond the budget there is none left for it as one in a band either
            return ("sample", "shed" if self.in_band else None)
        return ("band", "shed") if self.in_band else (None,)


def stage_problems(tags: Sequence[TagRecord], events: Mapping[str, Staged]) -> list[str]:
    """Everything that is wrong with stages and scores, taking from the outcome only what the budget decided."""
    problems = []
    for tag in tags:
        event, given = tag.event, events[tag.event["id"]]
        stage, why = event.get("stage", "1"), event.get("stage2")
        if why not in given.reasons():
            problems.append(f"route: {tag.source} says {why}, it may be {given.reasons()}")
        if stage != ("2" if why in ("band", "sample") else "1"):
            problems.append(f"stage: {tag.source} was decided by stage {stage}, and says {why}")
        if event["scores"] != (given.second if stage == "2" else given.first):
            problems.append(f"scores: those of {tag.source} are not those of stage {stage}")
        if event.get("stage1_scores") != (given.first if stage == "2" else None):
            problems.append(f"stage 1: its scores of {tag.source} are not those that it gives")
    return problems
