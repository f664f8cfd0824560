"""The life of a change request: who may do what when, whatever came before."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.change import Action, Facts, State, after, allowed, problems, same_person

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
ACTIONS: tuple[Action, ...] = ("approve", "reject", "withdraw", "comment", "publish", "expire", "restore")
facts = st.builds(
    Facts,
    state=st.sampled_from(State),
    author=st.sampled_from(["anna", "boris"]),
    needs=st.sampled_from([(), ("spam is critical",)]),
    not_before=st.sampled_from([None, NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)]),
    expires_at=st.sampled_from([None, NOW, NOW + timedelta(seconds=1)]),
    returns=st.booleans(),
)
people = st.sampled_from(["anna", "boris", "zoe"])


@given(facts, st.sampled_from(ACTIONS), people)
def test_what_is_possible_leads_somewhere_and_only_where_it_should(found: Facts, action: Action, by: str) -> None:
    if problems(found, action, by, NOW):
        return
    then = after(found.state, action)
    assert not (then is State.APPROVED and action == "approve" and by == found.author)
    if then is State.LIVE and action != "comment":
        assert found.state is State.APPROVED or not found.needs
        assert found.not_before is None or found.not_before <= NOW
    if then is State.EXPIRED and action != "comment":
        assert found.expires_at == NOW


@given(facts, people)
def test_what_has_ended_stays_as_it_is(found: Facts, by: str) -> None:
    if found.state in (State.EXPIRED, State.RESTORED, State.REJECTED, State.WITHDRAWN):
        assert allowed(found, by, NOW) == ["comment"]


@pytest.mark.parametrize(
    ("state", "action", "by", "problem"),
    [
        (State.DRAFT, "approve", "Anna ", "second person"),
        (State.DRAFT, "reject", "anna", "withdraws it instead"),
        (State.DRAFT, "withdraw", "boris", "others reject it"),
        (State.DRAFT, "publish", "anna", "needs a second person, as spam is critical"),
        (State.LIVE, "withdraw", "anna", "it is live, and can be withdrawn only while draft or approved"),
        (State.LIVE, "expire", "x", "has not ended"),
        (State.WITHDRAWN, "restore", "anna", "can be taken back only while live"),
    ],
)
def test_a_refusal_says_why(state: State, action: Action, by: str, problem: str) -> None:
    (found,) = problems(Facts(state, "anna", ("spam is critical",)), action, by, NOW)
    assert problem in found


def test_a_schedule_holds_back_what_was_approved() -> None:
    found = Facts(State.APPROVED, "anna", not_before=NOW + timedelta(hours=1))
    assert problems(found, "publish", "anna", NOW) == ["schedule: not before 2026-11-23 04:00:00 UTC"]
    assert not problems(found, "publish", "anna", NOW + timedelta(hours=1))


def test_an_experiment_has_no_way_back() -> None:
    (found,) = problems(Facts(State.LIVE, "anna", returns=False), "restore", "anna", NOW)
    assert "stopped" in found


def test_blanks_and_case_make_no_second_person() -> None:
    assert same_person(" Anna  Berg", "anna berg")
    assert not same_person("anna", "anne")
