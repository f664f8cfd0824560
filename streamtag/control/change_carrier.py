"""A change request as what a release or an experiment is made on: its next step goes along, or nothing does."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from streamtag.control.approval import ApprovalError
from streamtag.control.change_documents import ChangeRequest, Step, ThresholdMoves
from streamtag.control.change_log import audit_of
from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.proposal import Who
from streamtag.control.release_documents import RevisionId
from streamtag.control.store import Current, RequestStep
from streamtag.domain.change import Action, after

__all__ = ["ASK", "Carrier", "advanced"]

ASK = "Somebody else than its author approves it (`streamtag change approve`)."


class Carrier:
    """Of one step of a request; a `streamtag.control.approval.Permit`."""

    def __init__(
        self, request: ChangeRequest, raw: bytes, action: Action, by: str, at: datetime, comment: str = ""
    ) -> None:
        self.request = request
        self.raw = raw
        self.made = request
        self.action = action
        self._by = by
        self._at = at
        self._comment = comment
        self._kept: tuple[str, ...] = ()

    @property
    def author(self) -> Who:
        """In whose name: that of whoever asked for it, or takes it back."""
        if self.action == "publish":
            return Who(self.request.author, self.request.reason)
        return Who(self._by, self._comment)

    def keep(self, kept: Sequence[str]) -> None:
        """What does not go back."""
        self._kept = tuple(kept)

    def settle(self, reasons: list[str]) -> Mapping[str, str]:
        """As `Permit` says: what was approved may be made, and what was agreed to end, too."""
        if self.action == "publish" and reasons and not self.request.approved_by:
            number = self.request.number
            raise ApprovalError(f"change {number} needs a second person by now", problems=reasons, hint=ASK)
        return {"published_by": self._by} if self.action == "publish" else {}

    def step(self, made: Current | ExperimentId) -> tuple[RequestStep, Mapping[str, str]]:
        """As `Permit` says."""
        self.made = self.forward(made)
        return audit_of(self.raw, self.made)

    def forward(self, made: Current | ExperimentId | None) -> ChangeRequest:
        """The request as it is since."""
        text = "" if made is None else f"experiment {made}"
        content, release = self.request.content, self.request.made
        if isinstance(made, Current):
            text = f"release {made.id.number}"
            if self.action == "publish":
                release = made.id
                if isinstance(content, ThresholdMoves):
                    revision = RevisionId(made.revision.document.revision, made.revision.sha256)
                    content = replace(content, made=revision)
        forward = advanced(self.request, self.action, self._by, self._at, comment=self._comment, made=text)
        lasts = self.request.lasts_s
        ends = self.action == "publish" and lasts is not None
        expires_at = self._at + timedelta(seconds=lasts or 0) if ends else self.request.expires_at
        return replace(forward, content=content, made=release, expires_at=expires_at, kept=self._kept)


def advanced(
    request: ChangeRequest, action: Action, by: str, at: datetime, *, comment: str = "", made: str = ""
) -> ChangeRequest:
    """The request after this step; the action must be possible."""
    step = Step(action=action, by=by, at=at, comment=comment, made=made)
    return replace(request, state=after(request.state, action), steps=(*request.steps, step))
