"""Change requests as Redis holds them: one document each, which every step replaces as a whole.

What a request asks for never changes once it is open; whoever wants something else opens another one.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from streamtag.control.documents import Number, Time, sha256_of
from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.experiment_request import Request
from streamtag.control.release_documents import Bundle, Cutoffs, ReleaseId, RevisionId
from streamtag.domain.change import Facts, State
from streamtag.domain.moves import Move
from streamtag.domain.release import ReleaseRef
from streamtag.errors import RefusedError

__all__ = [
    "CandidatePromotion",
    "ChangeRequest",
    "Content",
    "ExperimentStart",
    "Promotion",
    "Step",
    "ThresholdMoves",
    "decode_request",
    "encode_request",
]


class ThresholdMoves(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="thresholds"):
    """Cut-offs that move. Others may change meanwhile; these must start where they did.

    Attributes:
        moves: each with where it starts.
        bundle: whose scores they are for, and no other's; None where an earlier version has written it.
        base: the revision that they were found on.
        made: the revision they led to; None until they are live.
    """

    moves: tuple[Move, ...]
    bundle: Bundle | None = None
    base: RevisionId
    made: RevisionId | None = None


class Promotion(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="release"):
    """A bundle that shall decide.

    Attributes:
        bundle: which.
        labels: that it scores.
        critical: those that it calls critical.
        thresholds: with it; None: those that decide then.
        base: the release in whose place it shall come, and no other.
    """

    bundle: Bundle
    labels: tuple[str, ...]
    critical: tuple[str, ...]
    thresholds: Cutoffs | None
    base: ReleaseId


class CandidatePromotion(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="candidate"):
    """The candidate of an experiment that shall decide, if its verdict is PASS; ``base`` is the control."""

    experiment: ExperimentId
    candidate: ReleaseId
    base: ReleaseId


class ExperimentStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="experiment"):
    """An experiment that shall begin.

    Attributes:
        request: how the two shall be compared, and what becomes of the candidate by itself.
        challenger: the release compared; None: one to be made of what follows.
        bundle: None: the champion's.
        labels, critical: of the bundle.
        thresholds: None: the champion's.
        base: the champion it shall compare with, and no other.
    """

    request: Request
    challenger: ReleaseRef | None
    bundle: Bundle | None
    labels: tuple[str, ...]
    critical: tuple[str, ...]
    thresholds: Cutoffs | None
    base: ReleaseId


Content = ThresholdMoves | Promotion | CandidatePromotion | ExperimentStart


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a request: by whom, when, with which words, and what was made of it."""

    action: str
    by: str
    at: Time
    comment: str = ""
    made: str = ""


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A change that somebody asks for, and how far it has come.

    Attributes:
        number: of the request.
        state: where it stands.
        author, reason, at: who opened it, why and when.
        ticket: where more about it stands, e.g. a link.
        content: what shall change.
        labels: that it touches.
        needs: why a second person must approve it, as of when it was opened.
        not_before: it goes live by itself then, once nothing else holds it up; None: a person publishes it.
        lasts_s: after so long live it goes back by itself; None: it stays.
        end_experiments: experiments that compare with the present release may end with it.
        steps: what was done, in order.
        expires_at: when it goes back; None until it is live, and where it stays.
        made: the release it led to.
        kept: what did not go back when it expired or was taken back, in words.
    """

    number: Number
    state: State
    author: str
    reason: str
    at: Time
    ticket: str = ""
    content: Content
    labels: tuple[str, ...]
    needs: tuple[str, ...] = ()
    not_before: Time | None = None
    lasts_s: Annotated[int, msgspec.Meta(ge=1)] | None = None
    end_experiments: bool = False
    steps: tuple[Step, ...] = ()
    expires_at: Time | None = None
    made: ReleaseId | None = None
    kept: tuple[str, ...] = ()

    @property
    def facts(self) -> Facts:
        """What its life depends on."""
        returns = not isinstance(self.content, ExperimentStart)
        return Facts(self.state, self.author, self.needs, self.not_before, self.expires_at, returns)

    @property
    def approved_by(self) -> str:
        """The second person; empty where there is none."""
        return next((step.by for step in reversed(self.steps) if step.action == "approve"), "")

    @property
    def due(self) -> datetime | None:
        """When something may happen to it by itself."""
        if self.state is State.LIVE:
            return self.expires_at
        waits = self.state is State.APPROVED or (self.state is State.DRAFT and not self.needs)
        return self.not_before if waits else None

    @property
    def due_ms(self) -> int | None:
        """`due`, Unix time."""
        return None if self.due is None else round(self.due.timestamp() * 1000)

    @property
    def kind(self) -> str:
        """``thresholds``, ``release``, ``candidate`` or ``experiment``."""
        return str(type(self.content).__struct_config__.tag)


_DECODER = msgspec.json.Decoder(ChangeRequest)


def encode_request(request: ChangeRequest) -> tuple[bytes, str]:
    """Its bytes, and their SHA-256, which the audit names."""
    raw = msgspec.json.encode(request)
    return raw, sha256_of(raw)


def decode_request(raw: bytes, number: int) -> ChangeRequest:
    """Reads a request.

    Raises:
        RefusedError: it is none, or calls itself otherwise.
    """
    try:
        request = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"change request {number} in Redis cannot be read: {error}") from None
    if request.number != number:
        raise RefusedError(f"change request {number} in Redis calls itself {request.number}")
    return request
