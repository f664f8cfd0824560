from typing import Any

import msgspec
import pytest
from bench.outputs import Reference

from streamtag.errors import RefusedError


def value(number: int, **changes: Any) -> bytes:
    event = {
        "id": f"event-{number}",
        "tags": [{"label": "a", "score": 0.75, "threshold": 0.5, "action": "tag"}],
        "scores": {"a": 0.75, "b": 0.1},
        "thresholds": {"a": 0.5, "b": 0.5},
        "processed_at": f"2026-11-23T00:00:0{number}Z",
    }
    return msgspec.json.encode({**event, **changes})


@pytest.fixture
def reference() -> Reference:
    return Reference(map(value, range(4)), (f"event-{i}" for i in range(4)))


def test_equal_decisions_pass_in_any_order_and_whatever_else_differs(reference: Reference) -> None:
    reversed_scores = value(1, scores={"b": 0.1, "a": 0.75}, processed_at="later", stage="2")
    reference.check("peer", [value(3), value(2), reversed_scores, value(0)], 4)


def test_a_shorter_run_is_compared_with_the_beginning(reference: Reference) -> None:
    reference.check("peer", [value(0), value(1)], 2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([value(0), value(2), value(3)], "event-1: missing"),
        ([value(0), value(1), value(2), value(3), value(3)], "event-3: there twice"),
        ([value(0), value(1), value(2), value(7)], "event-7: there twice, or never asked for"),
        ([value(0), value(1), value(2), value(3, tags=[])], "event-3: other tags"),
        ([value(0), value(1), value(2), value(3, scores={"a": 0.750001, "b": 0.1})], "event-3: other tags or scores"),
        ([value(0), value(1), value(2), value(3, thresholds={"a": 0.5, "b": 0.4})], "event-3: other tags or scores"),
    ],
)
def test_figures_of_a_peer_with_other_output_are_refused(reference: Reference, values: list[bytes], said: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        reference.check("peer", values, 4)
    assert any(problem.startswith(said) for problem in refusal.value.problems)


def test_a_plain_loop_that_skips_an_event_is_refused_by_its_own_reference() -> None:
    reference = Reference([value(0)], ("event-0", "event-1"))
    with pytest.raises(RefusedError):
        reference.check("plain", [value(0)], 2)
