from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letter_factory import make

from streamtag.dead_letters.plan import ReplaySpec, Step, Tally, check_target, replay_headers, step_for
from streamtag.dead_letters.selection import Selection
from streamtag.errors import RefusedError
from streamtag.events import dead_letters as wire
from streamtag.settings import TopicsSettings

TOPICS = frozenset({"content", "other"})


@pytest.mark.parametrize(
    ("letter", "spec", "max_replays", "step"),
    [
        ({}, {}, 3, Step.REPLAY),
        ({}, {"selection": Selection(stages=("infer",))}, 3, Step.OTHER),
        ({"truncated": True}, {}, 3, Step.TRUNCATED),
        ({"truncated": True}, {"selection": Selection(stages=("infer",))}, 3, Step.OTHER),
        ({"replay_count": 2}, {}, 3, Step.REPLAY),
        ({"replay_count": 3}, {}, 3, Step.EXHAUSTED),
        ({"replay_count": 3}, {}, None, Step.REPLAY),
        ({"source_topic": "gone"}, {}, 3, Step.NO_TOPIC),
        ({"source_topic": "gone"}, {"to": "other"}, 3, Step.REPLAY),
        ({}, {"to": "gone"}, 3, Step.NO_TOPIC),
    ],
)
def test_what_happens_to_a_letter(
    letter: dict[str, Any], spec: dict[str, Any], max_replays: int | None, step: Step
) -> None:
    assert step_for(make(**letter), ReplaySpec("dead", **spec), max_replays=max_replays, topics=TOPICS) is step


@pytest.mark.parametrize("to", ["tags", "stats", "panes", "dead-letters", "__consumer_offsets"])
def test_what_was_no_event_is_put_where_only_we_or_kafka_write_by_nobody(to: str) -> None:
    with pytest.raises(RefusedError, match=to):
        check_target(ReplaySpec("dead-letters", to=to), TopicsSettings.model_validate({}))


@pytest.mark.parametrize("to", [None, "content", "repairs"])
def test_letters_go_back_to_their_own_topic_or_to_another(to: str | None) -> None:
    check_target(ReplaySpec("dead-letters", to=to), TopicsSettings.model_validate({}))


def test_marks_of_an_earlier_replay_are_replaced_and_the_count_goes_on() -> None:
    letter = make(
        headers=((wire.REPLAY_ID, b"old"), ("a", b"1"), (wire.REPLAY_COUNT, b"2"), ("a", None)), replay_count=2
    )
    assert replay_headers(letter, "new") == [
        ("a", b"1"),
        ("a", None),
        (wire.REPLAY_OF, b"dead/1/7"),
        (wire.REPLAY_ID, b"new"),
        (wire.REPLAY_COUNT, b"3"),
    ]


specs = st.builds(
    ReplaySpec,
    st.sampled_from(["dead", "dead-2"]),
    st.builds(
        Selection,
        error_classes=st.lists(st.sampled_from("ab"), max_size=2).map(tuple),
        since_ms=st.none() | st.integers(0, 9),
        positions=st.lists(st.sampled_from(["0/1", "0/2"]), max_size=2).map(tuple),
        min_replays=st.integers(0, 2),
    ),
    st.none() | st.just("other"),
)


@given(specs, specs)
def test_a_spec_survives_and_its_id_is_its_own(one: ReplaySpec, two: ReplaySpec) -> None:
    assert ReplaySpec.decode(one.encode()) == one
    assert (one.default_id() == two.default_id()) == (one == two)


def test_an_id_never_changes_between_releases() -> None:
    # People's running replays hang on it.
    spec = ReplaySpec("dead-letters", Selection(error_classes=("mapping",), since_ms=1), "content")
    assert spec.encode() == (
        '{"dead_letters":"dead-letters","selection":{"error_classes":["mapping"],"since_ms":1},"to":"content"}'
    )
    assert spec.default_id() == "rfc081f79081f"


@pytest.mark.parametrize("text", ["", "p=4;", "{}", "[]", "null"])
def test_metadata_of_somebody_else_is_no_spec(text: str) -> None:
    assert ReplaySpec.decode(text) is None


def test_a_selection_too_large_to_keep_is_refused() -> None:
    with pytest.raises(RefusedError, match="at most 4000"):
        ReplaySpec("dead", Selection(positions=tuple(f"0/{n}" for n in range(1_000)))).encode()


def test_a_tally_names_what_is_left_but_not_without_end() -> None:
    tally = Tally(keep=3)
    for offset in range(5):
        tally.add(make(offset=offset), Step.TRUNCATED)
    tally.add(make(), Step.REPLAY)
    tally.add(make(), Step.OTHER)
    assert (tally.counts[Step.TRUNCATED], tally.replayed) == (5, 1)
    assert tally.left == {Step.TRUNCATED: ["1/0", "1/1", "1/2"]}
    assert msgspec.json.encode(tally)
