"""The checker of stages finds each planted fault, and nothing in sound tag events."""

from typing import Any

import pytest
from checker import TagRecord
from stage_checker import Staged, stage_problems

FIRST, SECOND = {"spam": 0.5}, {"spam": 0.9}
EVENTS = {
    "sure": Staged(FIRST, SECOND, in_band=False, sampled=False),
    "unsure": Staged(FIRST, SECOND, in_band=True, sampled=False),
    "sampled": Staged(FIRST, SECOND, in_band=True, sampled=True),
}
BY_SECOND = {"scores": SECOND, "stage": "2", "stage1_scores": FIRST}


def tag(name: str, **fields: Any) -> TagRecord:
    source = {"topic": "content", "partition": 0, "offset": 0, "timestamp_ms": 0}
    return TagRecord(0, 0, None, {"id": name, "source": source, "scores": FIRST, **fields})


def test_sound_events_have_no_problem() -> None:
    sound = [
        tag("sure"),
        tag("unsure", **BY_SECOND, stage2="band"),
        tag("unsure", stage2="shed"),
        tag("sampled", **BY_SECOND, stage2="sample"),
        tag("sampled", stage2="shed"),
    ]
    assert not stage_problems(sound, EVENTS)


@pytest.mark.parametrize(
    ("faulty", "word"),
    [
        (tag("sure", **BY_SECOND, stage2="band"), "route"),
        (tag("unsure"), "route"),
        (tag("sampled", **BY_SECOND, stage2="band"), "route"),
        (tag("unsure", stage2="band"), "stage"),
        (tag("unsure", **{**BY_SECOND, "scores": FIRST}, stage2="band"), "scores"),
        (tag("unsure", scores=SECOND, stage2="shed"), "scores"),
        (tag("unsure", **{**BY_SECOND, "stage1_scores": SECOND}, stage2="band"), "stage 1"),
    ],
)
def test_a_planted_fault_is_found(faulty: TagRecord, word: str) -> None:
    assert [one.split(":")[0] for one in stage_problems([faulty], EVENTS)] == [word]
