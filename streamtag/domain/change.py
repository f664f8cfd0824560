"""The life of a change request: who may do what to it, and what it becomes.

A draft goes live, where it needs a second person after that one's approval. What is live for a time only expires by
itself, unless a person takes it back before. A pure function of what is known; who carries it out is another matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

__all__ = ["Action", "Facts", "State", "after", "allowed", "problems", "same_person"]

Action = Literal["approve", "reject", "withdraw", "comment", "publish", "expire", "restore"]


class State(StrEnum):
    """Where a change request stands."""

    DRAFT = "draft"
    APPROVED = "approved"
    LIVE = "live"
    EXPIRED = "expired"
    RESTORED = "restored"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"

    @property
    def waits(self) -> bool:
        """Whether it has not gone live yet, and still may."""
        return self in (State.DRAFT, State.APPROVED)


_NEXT: dict[tuple[State, Action], State] = {
    (State.DRAFT, "approve"): State.APPROVED,
    (State.DRAFT, "reject"): State.REJECTED,
    (State.APPROVED, "reject"): State.REJECTED,
    (State.DRAFT, "withdraw"): State.WITHDRAWN,
    (State.APPROVED, "withdraw"): State.WITHDRAWN,
    (State.DRAFT, "publish"): State.LIVE,
    (State.APPROVED, "publish"): State.LIVE,
    (State.LIVE, "expire"): State.EXPIRED,
    (State.LIVE, "restore"): State.RESTORED,
    **{(state, "comment"): state for state in State},
}
_PEOPLE: tuple[Action, ...] = ("approve", "reject", "withdraw", "comment", "publish", "restore")


@dataclass(frozen=True)
class Facts:
    """What of a change request its life depends on.

    Attributes:
        state: where it stands.
        author: who opened it.
        needs: why a second person must approve it; empty where nobody must.
        not_before: it does not go live earlier.
        expires_at: it does not stay live for longer.
        returns: whether there is a way back: an experiment is stopped instead.
    """

    state: State
    author: str
    needs: Sequence[str] = ()
    not_before: datetime | None = None
    expires_at: datetime | None = None
    returns: bool = True


def after(state: State, action: Action) -> State:
    """What it becomes.

    Raises:
        KeyError: the action is not possible in this state.
    """
    return _NEXT[state, action]


def problems(facts: Facts, action: Action, by: str, now: datetime) -> list[str]:
    """Everything that keeps ``by`` from doing this now; empty when nothing does."""
    if (facts.state, action) not in _NEXT:
        return [f"state: it is {facts.state}, and can be {_done(action)} only while {_while(action)}"]
    own, found = same_person(by, facts.author), []
    if action == "approve" and own:
        found.append(f"approval: {by} is its author; a second person approves")
    if action == "reject" and own:
        found.append(f"rejection: {by} is its author, who withdraws it instead")
    if action == "withdraw" and not own:
        found.append(f"withdrawal: only {facts.author}, its author, withdraws it; others reject it")
    if action == "publish":
        if facts.needs and facts.state is not State.APPROVED:
            found += [f"approval: needs a second person, as {reason}" for reason in facts.needs]
        if facts.not_before is not None and now < facts.not_before:
            found.append(f"schedule: not before {facts.not_before:%Y-%m-%d %H:%M:%S} UTC")
    if action == "expire" and (facts.expires_at is None or now < facts.expires_at):
        found.append("schedule: its time has not ended")
    if action in ("expire", "restore") and not facts.returns:
        found.append('way back: an experiment is stopped (`streamtag experiment stop N --reason "…"`), not taken back')
    return found


def allowed(facts: Facts, by: str, now: datetime) -> list[Action]:
    """What ``by`` may do now, apart from what somebody's rights say."""
    return [action for action in _PEOPLE if not problems(facts, action, by, now)]


def same_person(one: str, other: str) -> bool:
    """Names that differ in case or blanks only are no second person."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def _done(action: Action) -> str:
    return {
        "approve": "approved",
        "reject": "rejected",
        "withdraw": "withdrawn",
        "comment": "commented on",
        "publish": "published",
        "expire": "expired",
        "restore": "taken back",
    }[action]


def _while(action: Action) -> str:
    return " or ".join(state for state in State if (state, action) in _NEXT)
