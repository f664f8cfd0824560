"""Moves of cut-offs: they lead where they say, and back again as far as nobody has been there since."""

from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.moves import Move, apart, cutoff, moves_between, taken_back, with_moves
from streamtag.domain.thresholds import Override, ThresholdSet, diff

LABELS = ("spam", "insult", "threat")
values = st.sampled_from([0.1, 0.2, 0.3, 0.4])
cutoffs = st.fixed_dictionaries(dict.fromkeys(LABELS, values))
conditions = st.sampled_from([{"lang": "de"}, {"lang": "en"}, {"channel": "chat"}, {"lang": "de", "channel": "chat"}])
overrides = st.builds(Override, conditions, st.dictionaries(st.sampled_from(LABELS), values, min_size=1))
# Each condition once: of two with the same condition, only what they say together matters.
segments = st.lists(overrides, max_size=3, unique_by=lambda one: tuple(sorted(one.when.items()))).map(tuple)
sets = st.builds(ThresholdSet, cutoffs, segments)


@given(sets, sets)
def test_moves_give_every_cutoff_its_value(before: ThresholdSet, after: ThresholdSet) -> None:
    moves = moves_between(before, after)
    there = with_moves(before, moves)
    assert moves_between(there, after) == []
    assert apart(before, moves) == []


@given(sets, sets)
def test_what_nobody_touched_goes_back_whole(before: ThresholdSet, after: ThresholdSet) -> None:
    moves = moves_between(before, after)
    back, kept = taken_back(with_moves(before, moves), moves)
    assert (moves_between(back, before), kept) == ([], [])


@given(sets, sets, sets)
def test_what_somebody_moved_since_is_kept_and_the_rest_goes_back(
    before: ThresholdSet, after: ThresholdSet, later: ThresholdSet
) -> None:
    moves = moves_between(before, after)
    back, kept = taken_back(later, moves)
    for move in moves:
        there = cutoff(later, move.when, move.label)
        assert (move in kept) == (there != move.after)
        assert cutoff(back, move.when, move.label) == (there if move in kept else move.before)
    touched = {(move.where, move.label) for move in moves}
    assert {(move.where, move.label) for move in moves_between(later, back)} <= touched


def test_a_cutoff_of_its_own_comes_and_goes() -> None:
    base = ThresholdSet({"spam": 0.5})
    added = Move({"lang": "de"}, "spam", None, 0.7)
    there = with_moves(base, [added])
    assert there.segments == (Override({"lang": "de"}, {"spam": 0.7}),)
    assert taken_back(there, [added]) == (base, [])
    assert str(added) == "lang=de spam: none -> 0.7"


def test_an_order_of_overrides_is_no_move() -> None:
    one, other = Override({"lang": "de"}, {"spam": 0.6}), Override({"channel": "chat"}, {"spam": 0.4})
    before, after = (ThresholdSet({"spam": 0.5}, pair) for pair in ((one, other), (other, one)))
    assert moves_between(before, after) == []
    assert diff(before, after), "and yet they differ"
