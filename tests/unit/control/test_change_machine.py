"""Change requests under anything people, the schedule, crashes and lost replies do in between, in any order."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from change_rig import LABELS, Rig
from control_plane import RecordedMetrics
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamtag.control import change_log, store
from streamtag.control.change_documents import ChangeRequest
from streamtag.control.change_schedule import ChangeSchedule
from streamtag.control.connection import run_script
from streamtag.control.proposal import Who
from streamtag.domain.audit_chain import verify
from streamtag.domain.change import State
from streamtag.errors import RefusedError, StreamtagError

people = st.sampled_from(["anna", "boris"])
cutoffs = st.sampled_from([0.4, 0.5, 0.6, 0.7])
labels = st.sampled_from(LABELS)


class Changes(RuleBasedStateMachine):
    """One control plane. Whatever is said of the past is read from the audit, whose chain must stand."""

    @initialize()
    def seed(self) -> None:
        self.rig = Rig().seed()
        self.seen: dict[int, ChangeRequest] = {}

    @rule(by=people, label=labels, cutoff=cutoffs, hours=st.sampled_from([None, 1]), later=st.booleans())
    def open(self, by: str, label: str, cutoff: float, hours: int | None, later: bool) -> None:
        with suppress(RefusedError):  # it is that already
            self.rig.requests.open(
                self.rig.moves(**{label: cutoff}),
                Who(by, "a raid"),
                lasts=None if hours is None else timedelta(hours=hours),
                not_before=self.rig.time + timedelta(hours=1) if later else None,
            )

    @rule(by=people, back=st.integers(0, 3), action=st.sampled_from(["approve", "approve", "reject", "withdraw"]))
    def say(self, by: str, back: int, action: Any) -> None:
        with suppress(StreamtagError):
            self.rig.requests.say(self.number(back), action, Who(by, "said"))

    @rule(by=people, back=st.integers(0, 3))
    def publish(self, by: str, back: int) -> None:
        with suppress(StreamtagError):
            self.rig.requests.publish(self.number(back), by)

    @rule(by=people, back=st.integers(0, 3))
    def restore(self, by: str, back: int) -> None:
        with suppress(StreamtagError):
            self.rig.requests.restore(self.number(back), Who(by, "enough"))

    @rule(by=people, label=labels, cutoff=cutoffs)
    def set_directly(self, by: str, label: str, cutoff: float) -> None:
        with suppress(RefusedError):
            self.rig.releases.set_thresholds({label: cutoff}, Who(by, "at once"))

    @rule(by=people)
    def freeze_or_lift(self, by: str) -> None:
        who = Who(by, "quiet")
        if self.rig.freezes.current() is None:
            self.rig.freezes.begin(who)
        else:
            self.rig.freezes.lift(who)

    @rule(hours=st.sampled_from([0.4, 1.0]))
    def look(self, hours: float) -> None:
        self.rig.wait(hours)
        self.schedule().step()

    @rule(done=st.booleans(), by=people, back=st.integers(0, 3), scheduled=st.booleans())
    def redis_goes_away(self, done: bool, by: str, back: int, scheduled: bool) -> None:
        """In the very moment of a write: before it is done, or before its reply has come."""

        def away(*arguments: Any) -> Any:
            if done:
                run_script(*arguments)
            raise redis.ConnectionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "run_script", away)
            patch.setattr(change_log, "run_script", away)
            with suppress(StreamtagError):
                if scheduled:
                    self.schedule().step()
                else:
                    self.rig.requests.publish(self.number(back), by)

    def schedule(self) -> ChangeSchedule:
        self.rig.store.client.delete(self.rig.store.keys.scheduler)
        return ChangeSchedule(lambda: self.rig.requests, self.rig.store, RecordedMetrics(), now=self.rig.now)

    def number(self, back: int) -> int:
        return max(1, self.rig.requests.log.newest() - back)

    @invariant()
    def the_chain_stands_and_says_what_the_requests_say(self) -> None:
        log = self.rig.store.audit_log
        assert verify(log.entries(), log.head()).fault is None
        last: dict[str, dict[str, str]] = {}
        for _, pairs in log.entries():
            entry = {name.decode(): value.decode() for name, value in pairs}
            if "request" in entry:
                last[entry["request"]] = entry
        found = self.rig.requests.log.page(500)
        assert len(found) == len(last)
        for request in found:
            assert last[str(request.number)]["request_state"] == request.state
        for state in State:
            assert self.rig.requests.log.page(500, states=[state]) == [one for one in found if one.state is state]

    @invariant()
    def nothing_critical_was_changed_without_a_second_person(self) -> None:
        for revision in self.rig.store.revisions():
            parent = revision.document.parent
            if parent is None:
                continue
            before = self.rig.store.revision(parent).document.thresholds.labels
            after = revision.document.thresholds.labels
            if after["threat"] == before["threat"]:
                continue
            (entry,) = (
                one.fields for one in self.rig.store.audit(500) if one.fields.get("revision_sha256") == revision.sha256
            )
            assert entry["approved_by"] != entry["request_author"]
            assert entry["action"] in ("thresholds", "expire", "restore")

    @invariant()
    def what_has_ended_never_changes_again(self) -> None:
        found = self.rig.requests.log.page(500)
        for request in found:
            before = self.seen.get(request.number)
            if before is not None:
                assert request.content == before.content or before.state.waits
                assert not before.steps or request.steps[: len(before.steps)] == before.steps
                if before.state in (State.EXPIRED, State.RESTORED, State.REJECTED, State.WITHDRAWN):
                    assert request == before
            self.seen[request.number] = request


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=25, stateful_step_count=30)
