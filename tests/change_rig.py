"""A control plane with a critical label, change requests on it, and a clock that is set by hand."""

from datetime import UTC, datetime, timedelta

from control_plane import BUNDLE, new_store

from streamtag.control.approval import ApprovalPolicy
from streamtag.control.change_documents import ChangeRequest, Content
from streamtag.control.change_requests import ChangeRequests
from streamtag.control.changes import ReleaseChanges
from streamtag.control.freeze import Freezes
from streamtag.control.proposal import Who
from streamtag.control.store import ControlStore
from streamtag.domain.audit_chain import verify
from streamtag.domain.thresholds import ThresholdSet

LABELS = ("spam", "insult", "threat")
DEFAULTS = ThresholdSet({"spam": 0.5, "insult": 0.6, "threat": 0.7})
ANNA, BORIS = Who("anna", "a raid"), Who("boris", "looked at it")


class Rig:
    """Everybody shares one store and one clock; ``threat`` is critical."""

    def __init__(self, store: ControlStore | None = None, policy: ApprovalPolicy = ApprovalPolicy()) -> None:  # noqa: B008
        self.store = store or new_store()
        self.time = datetime(2026, 11, 23, 3, tzinfo=UTC)
        self.requests = ChangeRequests(self.store, policy=policy, max_step=0.25, now=self.now)
        self.releases = ReleaseChanges(self.store, max_step=0.25, policy=policy, now=self.now)
        self.freezes = Freezes(self.store, now=self.now)

    def now(self) -> datetime:
        return self.time

    def seed(self) -> "Rig":
        self.releases.seed(BUNDLE, LABELS, DEFAULTS, critical=("threat",))
        return self

    def wait(self, hours: float) -> None:
        self.time += timedelta(hours=hours)

    def moves(self, **cutoffs: float) -> Content:
        return self.requests.compose().moves(cutoffs, {})

    def open(self, who: Who = ANNA, hours: float | None = None, **cutoffs: float) -> ChangeRequest:
        lasts = None if hours is None else timedelta(hours=hours)
        return self.requests.open(self.moves(**cutoffs), who, lasts=lasts)

    def cutoffs(self) -> dict[str, float]:
        found = self.store.current()
        assert found is not None
        return dict(found.thresholds.labels)

    def actions(self) -> list[str]:
        """Of the audit, newest first; the chain must stand."""
        assert verify(self.store.audit_log.entries(), self.store.audit_log.head()).fault is None
        return [entry.fields["action"] for entry in self.store.audit(500)]
