from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from letter_factory import make

from streamtag.dead_letters.grouping import Dimension, group
from streamtag.dead_letters.letter import DeadLetter


def test_groups_are_counted_largest_first_with_times_and_an_example() -> None:
    letters = [
        make(at_ms=30, offset=1, error_class="a", size=5),
        make(at_ms=10, offset=2, error_class="b", size=7, truncated=True),
        make(at_ms=20, offset=3, error_class="b", size=1),
    ]
    first, second = group(letters, [Dimension.CLASS])
    assert (first.values, first.count, first.truncated, first.bytes) == ({"class": "b"}, 2, 1, 8)
    assert (first.first_ms, first.last_ms, first.example) == (10, 20, "1/3")
    assert (second.values, second.count, second.example) == ({"class": "a"}, 1, "1/1")


letters = st.lists(
    st.builds(
        make,
        error_class=st.sampled_from("ab"),
        stage=st.sampled_from("ab"),
        field=st.sampled_from("ab"),
        source_topic=st.sampled_from("ab"),
        message=st.sampled_from("ab"),
        replay_count=st.integers(0, 2),
        at_ms=st.integers(0, 9),
    )
)


@given(letters, st.lists(st.sampled_from(Dimension), unique=True, min_size=1))
def test_every_letter_is_in_exactly_one_group(found: list[DeadLetter], by: list[Dimension]) -> None:
    groups = group(found, by)
    assert Counter({tuple(g.values.values()): g.count for g in groups}) == Counter(
        tuple(dimension.of(letter) for dimension in by) for letter in found
    )
    assert [g.count for g in groups] == sorted((g.count for g in groups), reverse=True)
    for g in groups:
        assert g.first_ms <= g.last_ms
