"""Change requests: opened, approved by another, published, expired, taken back; freezes; one audit entry a step."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from change_rig import ANNA, BORIS, DEFAULTS, Rig
from control_plane import BUNDLE
from control_plane import LABELS as TWO

from streamtag.control.approval import ApprovalError, ApprovalPolicy, Ungoverned
from streamtag.control.change_carrier import advanced
from streamtag.control.change_documents import encode_request
from streamtag.control.change_requests import SCHEDULER
from streamtag.control.changes import ReleaseChanges
from streamtag.control.connection import run_script
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.freeze import Freezes, FrozenError
from streamtag.control.proposal import Who
from streamtag.domain.change import State
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.release import BundleRef
from streamtag.domain.rollout import RolloutPolicy
from streamtag.domain.taxonomy import Taxonomy, TaxonomyLabel
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.errors import ConflictError, NotFoundError, RefusedError

NEXT = BundleRef("demo", "2", "b" * 64)


@pytest.fixture
def rig() -> Rig:
    return Rig().seed()


def test_a_label_that_is_not_critical_is_changed_by_one_person_as_ever(rig: Rig) -> None:
    assert rig.releases.set_thresholds({"spam": 0.6}, ANNA).committed
    assert rig.actions() == ["thresholds", "seed"]


def test_a_critical_label_is_not_and_the_answer_says_how(rig: Rig) -> None:
    with pytest.raises(ApprovalError) as refused:
        rig.releases.set_thresholds({"threat": 0.6, "spam": 0.6}, ANNA)
    assert refused.value.problems == ("threat is critical",)
    assert "change open" in refused.value.hint
    with pytest.raises(ApprovalError, match="second person"):
        rig.releases.set_thresholds({"threat": 0.6}, ANNA, when={"lang": "de"})
    with pytest.raises(ApprovalError, match="second person"):
        rig.releases.apply(ThresholdSet({**DEFAULTS.labels, "threat": 0.6}), ANNA, force=True)
    assert rig.actions() == ["seed"]


def test_a_segment_that_reads_like_another_passes_no_critical_change_by(rig: Rig) -> None:
    decoy, real = {"lang": "de,tenant=x"}, {"lang": "de", "tenant": "x"}
    high = ThresholdSet(DEFAULTS.labels, (Override(decoy, {"threat": 0.9}), Override(real, {"threat": 0.9})))
    ReleaseChanges(rig.store, max_step=1, permit=Ungoverned(break_glass=True)).apply(high, ANNA)
    low = ThresholdSet(DEFAULTS.labels, (Override(real, {"threat": 0.1}), Override(decoy, {"threat": 0.9})))
    with pytest.raises(ApprovalError, match="second person"):
        rig.releases.apply(low, ANNA, force=True)


def test_glass_is_broken_for_all_to_see(rig: Rig) -> None:
    broken = ReleaseChanges(rig.store, max_step=1, permit=Ungoverned(break_glass=True))
    broken.set_thresholds({"threat": 0.6}, ANNA)
    assert rig.store.audit(1)[0].fields["break_glass"] == "threat is critical"
    broken.set_thresholds({"spam": 0.6}, ANNA)
    assert "break_glass" not in rig.store.audit(1)[0].fields, "nothing was broken"


def test_the_way_back_needs_nobody(rig: Rig) -> None:
    ReleaseChanges(rig.store, max_step=1, permit=Ungoverned(break_glass=True)).set_thresholds({"threat": 0.6}, ANNA)
    rig.releases.restore(1, BORIS)
    assert rig.cutoffs()["threat"] == 0.7
    rig.releases.return_to(2, BORIS)
    assert rig.cutoffs()["threat"] == 0.6


def test_a_bundle_with_critical_labels_needs_a_second_person_and_one_without_none(rig: Rig) -> None:
    with pytest.raises(ApprovalError, match="second person"):
        rig.releases.promote(NEXT, list(DEFAULTS.labels), ANNA, thresholds=DEFAULTS)
    other = Rig()
    other.releases.seed(BundleRef("demo", "1", "a" * 64), TWO, ThresholdSet({"spam": 0.5, "insult": 0.6}))
    assert other.releases.promote(NEXT, TWO, ANNA).committed
    with pytest.raises(ApprovalError, match="second person"):
        other.releases.promote(BundleRef("demo", "3", "c" * 64), TWO, ANNA, critical=["spam"])


def test_a_taxonomy_says_what_is_critical_where_there_is_one() -> None:
    labels = tuple(
        TaxonomyLabel(name, name, "trust", since=1, critical=name == "spam") for name in ("spam", "insult", "threat")
    )
    rig = Rig(policy=ApprovalPolicy(taxonomy=lambda: Taxonomy("t", 1, labels))).seed()
    assert rig.releases.set_thresholds({"threat": 0.6}, ANNA).committed
    with pytest.raises(ApprovalError):
        rig.releases.set_thresholds({"spam": 0.6}, ANNA)


@pytest.mark.parametrize(
    ("rule", "refused"),
    [("none", []), ("critical", ["threat"]), ("large", ["threat", "insult"]), ("all", ["threat", "insult", "spam"])],
)
def test_the_rule_says_what_one_person_may_do(rule: str, refused: list[str]) -> None:
    rig = Rig(policy=ApprovalPolicy(rule, max_step=0.25)).seed()  # type: ignore[arg-type]
    found = []
    for label, cutoff in (("threat", 0.6), ("insult", 0.1), ("spam", 0.55)):
        try:
            rig.releases.set_thresholds({label: cutoff}, ANNA, force=True)
        except ApprovalError:
            found.append(label)
    assert found == refused


def test_a_request_goes_live_after_another_has_approved_it_and_says_all_that_was_done(rig: Rig) -> None:
    opened = rig.open(threat=0.6, spam=0.55)
    assert (opened.number, opened.state, opened.labels) == (1, State.DRAFT, ("spam", "threat"))
    assert opened.needs == ("threat is critical",)
    with pytest.raises(ApprovalError, match="cannot be published"):
        rig.requests.publish(1, "anna")
    with pytest.raises(RefusedError, match="approved") as refused:
        rig.requests.say(1, "approve", Who("Anna", ""))
    assert "second person" in refused.value.problems[0]
    rig.requests.say(1, "approve", BORIS)
    assert rig.cutoffs() == DEFAULTS.labels, "approval is no publication"
    found = rig.requests.publish(1, "anna")
    assert rig.cutoffs() == {"spam": 0.55, "insult": 0.6, "threat": 0.6}
    assert (found.request.state, found.request.approved_by) == (State.LIVE, "boris")
    assert [step.action for step in found.request.steps] == ["approve", "publish"]
    assert rig.actions() == ["thresholds", "change-approve", "change-open", "seed"]
    entry = rig.store.audit(1)[0].fields
    assert (entry["author"], entry["request"], entry["approved_by"], entry["published_by"]) == (
        "anna",
        "1",
        "boris",
        "anna",
    )


def test_what_needs_nobody_is_published_at_once_and_a_large_step_needs_somebody(rig: Rig) -> None:
    rig.open(spam=0.55)
    assert rig.requests.publish(1, "anna").request.state is State.LIVE
    assert rig.open(spam=0.9).needs[0].endswith("above the guard rail of 0.25")


def test_a_change_for_two_hours_goes_back_by_itself(rig: Rig) -> None:
    rig.open(spam=0.55, hours=2)
    live = rig.requests.publish(1, "anna").request
    assert live.expires_at == rig.time + timedelta(hours=2)
    with pytest.raises(RefusedError, match="cannot be ended"):
        rig.requests.expire(1)
    rig.wait(2)
    found = rig.requests.expire(1)
    assert (found.request.state, found.request.kept) == (State.EXPIRED, ())
    assert rig.cutoffs() == DEFAULTS.labels
    assert rig.actions()[0] == "expire"
    assert rig.store.audit(1)[0].fields["author"] == SCHEDULER


def test_going_back_leaves_what_somebody_has_moved_since(rig: Rig) -> None:
    rig.open(spam=0.55, insult=0.65, hours=2)
    rig.requests.publish(1, "anna")
    rig.releases.set_thresholds({"insult": 0.5}, BORIS)
    rig.wait(3)
    found = rig.requests.expire(1)
    assert rig.cutoffs() == {"spam": 0.5, "insult": 0.5, "threat": 0.7}
    assert found.request.kept == ("insult: 0.6 -> 0.65: somebody has moved it since",)
    assert rig.store.audit(1)[0].fields["kept"] == found.request.kept[0]


def test_where_everything_was_moved_since_nothing_goes_back_and_that_is_recorded(rig: Rig) -> None:
    rig.open(spam=0.55, hours=2)
    rig.requests.publish(1, "anna")
    rig.releases.set_thresholds({"spam": 0.45}, BORIS)
    rig.wait(3)
    found = rig.requests.expire(1)
    assert (found.change, found.request.state) == (None, State.EXPIRED)
    assert rig.cutoffs()["spam"] == 0.45
    assert rig.actions()[0] == "change-expire"


def test_the_order_of_overrides_comes_back_too(rig: Rig) -> None:
    one, other = Override({"lang": "de"}, {"spam": 0.6}), Override({"channel": "chat"}, {"spam": 0.55})
    before = ThresholdSet(DEFAULTS.labels, (one, other))
    rig.releases.apply(before, ANNA)
    content = rig.requests.compose().replacement(ThresholdSet(DEFAULTS.labels, (other,)))
    rig.requests.open(content, ANNA)
    rig.requests.publish(1, "anna")
    rig.requests.restore(1, BORIS)
    found = rig.store.current()
    assert found is not None
    assert found.thresholds == before
    with pytest.raises(RefusedError, match="another order"):
        rig.requests.compose().replacement(ThresholdSet(DEFAULTS.labels, (other, one)))


def test_of_two_who_change_one_label_the_second_learns_who_when_why_and_what(rig: Rig) -> None:
    rig.open(ANNA, spam=0.55)
    rig.open(BORIS, spam=0.45)
    rig.requests.publish(1, "anna")
    with pytest.raises(ConflictError) as refused:
        rig.requests.publish(2, "boris")
    assert refused.value.message.startswith("anna was first: spam is 0.55 (revision 2, 2026-11-23 03:00:00 UTC, ")
    assert "not 0.5" in refused.value.message
    assert rig.requests.log.find(2)[0].state is State.DRAFT
    assert any("anna was first" in line for line in rig.requests.obstacles(rig.requests.log.find(2)[0]))


def test_what_others_change_beside_it_is_no_conflict(rig: Rig) -> None:
    rig.open(spam=0.55)
    rig.releases.set_thresholds({"insult": 0.5}, BORIS)
    rig.requests.publish(1, "anna")
    assert rig.cutoffs() == {"spam": 0.55, "insult": 0.5, "threat": 0.7}


@pytest.mark.parametrize("rule", ["critical", "none"])
def test_a_step_that_others_made_larger_needs_a_second_person_by_then(rule: Any) -> None:
    rig = Rig(policy=ApprovalPolicy(rule)).seed()
    opened = rig.requests.open(rig.requests.compose().moves({"spam": 0.6}, {"lang": "de"}), ANNA)
    assert opened.needs == ()
    rig.releases.set_thresholds({"spam": 0.3}, BORIS)
    if rule == "none":
        assert rig.requests.obstacles(opened) == []
        assert rig.requests.publish(1, "anna").request.state is State.LIVE
        return
    reason = "lang=de spam: 0.3 -> 0.6 is a step of 0.3, above the guard rail of 0.25"
    assert rig.requests.obstacles(opened) == [f"approval: needs a second person by now, as {reason}"]
    with pytest.raises(ApprovalError, match="needs a second person by now") as refused:
        rig.requests.publish(1, "anna")
    assert refused.value.problems == (reason,)
    assert rig.requests.log.find(1)[0].state is State.DRAFT
    rig.requests.say(1, "approve", BORIS)
    assert rig.requests.obstacles(rig.requests.log.find(1)[0]) == []
    assert rig.requests.publish(1, "anna").request.state is State.LIVE


def test_it_is_withdrawn_by_its_author_and_rejected_by_others(rig: Rig) -> None:
    rig.open(spam=0.55)
    rig.open(insult=0.5)
    with pytest.raises(RefusedError):
        rig.requests.say(1, "withdraw", BORIS)
    assert rig.requests.say(1, "withdraw", ANNA).state is State.WITHDRAWN
    with pytest.raises(RefusedError, match="rejected") as refused:
        rig.requests.say(2, "reject", Who("boris", " "))
    assert refused.value.problems == ("comment: empty",)
    assert rig.requests.say(2, "reject", BORIS).state is State.REJECTED
    with pytest.raises(RefusedError, match="cannot be published"):
        rig.requests.publish(2, "anna")


def test_a_step_on_what_somebody_else_brought_forward_in_between_is_a_conflict(rig: Rig) -> None:
    rig.open(threat=0.6)
    request, raw = rig.requests.log.find(1)
    rig.requests.say(1, "withdraw", ANNA)
    with pytest.raises(ConflictError, match="anna: withdraw of change 1"):
        rig.requests.log.advance(raw, advanced(request, "approve", "boris", rig.time))


def test_a_withdrawal_in_the_very_moment_of_the_publication_lets_only_one_through(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.open(spam=0.55)
    commit = rig.store.commit

    def withdrawn_first(**arguments: object) -> object:
        monkeypatch.setattr(rig.store, "commit", commit)
        rig.requests.say(1, "withdraw", ANNA)
        return commit(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.store, "commit", withdrawn_first)
    with pytest.raises(ConflictError, match="in this very moment"):
        rig.requests.publish(1, "boris")
    assert rig.cutoffs() == DEFAULTS.labels
    assert rig.requests.log.find(1)[0].state is State.WITHDRAWN


@pytest.mark.parametrize("step", ["open", "approve"])
def test_a_step_whose_reply_was_lost_is_ones_own_although_somebody_was_quick_to_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    if step == "approve":
        rig.open(threat=0.6)
    calls = []

    def lost(*arguments: Any) -> Any:
        calls.append(run_script(*arguments))
        if len(calls) == 1:
            rig.requests.say(1, "comment", Who("carla", "let us see"))
            return run_script(*arguments)
        return calls[-1]

    monkeypatch.setattr("streamtag.control.change_log.run_script", lost)
    if step == "open":
        assert rig.open(threat=0.6).number == 1
    else:
        rig.requests.say(1, "approve", BORIS)
    approved = ["change-approve"] if step == "approve" else []
    assert rig.actions() == ["change-comment", *approved, "change-open", "seed"]
    assert rig.requests.log.newest() == 1


def test_another_ones_step_is_not_taken_for_ones_own(rig: Rig) -> None:
    rig.open(threat=0.6)
    before, raw = rig.requests.log.find(1)
    rig.requests.say(1, "comment", Who("carla", "let us see"))
    with pytest.raises(ConflictError, match="carla: comment of change 1"):
        rig.requests.log.advance(raw, advanced(before, "comment", "dora", rig.now(), comment="let us see"))


def test_a_publication_whose_reply_was_lost_is_made_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.open(spam=0.55, hours=1)
    commit = rig.store.commit

    def twice(**arguments: object) -> object:
        commit(**arguments)  # type: ignore[arg-type]
        return commit(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.store, "commit", twice)
    assert rig.requests.publish(1, "anna").request.state is State.LIVE
    assert rig.actions() == ["thresholds", "change-open", "seed"]


def test_a_bundle_is_promoted_in_the_place_it_was_approved_for_and_goes_back(rig: Rig) -> None:
    content = rig.requests.compose().promotion(NEXT, list(DEFAULTS.labels), ["threat"], DEFAULTS)
    opened = rig.requests.open(content, ANNA, lasts=timedelta(hours=1))
    assert opened.needs == ("threat is critical",)
    rig.requests.say(1, "approve", BORIS)
    rig.requests.publish(1, "boris")
    found = rig.store.current()
    assert found is not None
    assert (found.ref.bundle, found.release.document.critical) == (NEXT, ("threat",))
    rig.wait(1)
    assert rig.requests.expire(1).request.state is State.EXPIRED
    found = rig.store.current()
    assert found is not None
    assert found.ref.bundle.version == "1"


def test_a_bundle_that_was_approved_for_another_state_is_not_promoted(rig: Rig) -> None:
    rig.requests.open(rig.requests.compose().promotion(NEXT, list(DEFAULTS.labels), [], DEFAULTS), ANNA)
    rig.requests.say(1, "approve", BORIS)
    rig.releases.set_thresholds({"spam": 0.55}, BORIS)
    with pytest.raises(ConflictError, match="boris was first"):
        rig.requests.publish(1, "anna")


def promoted(rig: Rig) -> None:
    content = rig.requests.compose().promotion(NEXT, list(DEFAULTS.labels), [], DEFAULTS)
    rig.requests.open(content, ANNA, lasts=timedelta(hours=1))
    rig.requests.say(1, "approve", BORIS)
    rig.requests.publish(1, "anna")


def present(rig: Rig) -> tuple[BundleRef, dict[str, float]]:
    found = rig.store.current()
    assert found is not None
    return found.ref.bundle, dict(found.thresholds.labels)


def test_cut_offs_that_were_asked_for_the_scores_of_another_bundle_do_not_go_live(rig: Rig) -> None:
    alone = ReleaseChanges(rig.store, max_step=1, policy=ApprovalPolicy("none"))
    rig.open(spam=0.55)
    alone.promote(NEXT, list(DEFAULTS.labels), BORIS)
    with pytest.raises(ConflictError, match="rests on the scores of bundle demo@1"):
        rig.requests.publish(1, "anna")
    rig.open(spam=0.55)
    assert rig.requests.publish(2, "anna").request.state is State.LIVE


def test_what_waits_for_its_hour_is_withdrawn_after_redis_went_back(rig: Rig) -> None:
    rig.requests.open(rig.moves(spam=0.55), ANNA, not_before=rig.time + timedelta(hours=1))
    rig.open(insult=0.65, hours=1)
    rig.requests.publish(2, "anna")
    assert rig.requests.withdraw_scheduled(Who("boris", "Redis lost its disk")) == [1]
    found, live = (rig.requests.log.find(number)[0] for number in (1, 2))
    assert (found.state, found.due, live.state) == (State.WITHDRAWN, None, State.LIVE)
    assert "may have been live already" in found.steps[-1].comment
    assert rig.requests.log.due(rig.time + timedelta(hours=2)) == [2]


def test_a_request_that_cannot_be_read_hides_no_other(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for cutoff in (0.55, 0.56, 0.57):
        rig.open(spam=cutoff)
    rig.store.client.set(
        rig.store.keys.change_request(2), b'{"number": 2, "content": {"kind": "of a version to come"}}'
    )
    assert [one.number for one in rig.requests.log.page(10)] == [3, 1]
    assert "change request 2 in Redis cannot be read" in caplog.text
    with pytest.raises(RefusedError, match="change request 2 in Redis cannot be read"):
        rig.requests.log.find(2)


def test_a_freeze_lasts_by_the_clock_of_redis(rig: Rig) -> None:
    """A host whose clock is behind would else write a freeze that is over."""
    begun = Freezes(rig.store).begin(ANNA, lasts=timedelta(minutes=10))
    seconds, _ = rig.store.client.time()
    assert abs(begun.at.timestamp() - seconds) < 60
    assert rig.freezes.current() == begun


def test_a_release_that_others_have_left_since_stays_left(rig: Rig) -> None:
    promoted(rig)
    other = BundleRef("demo", "3", "c" * 64)
    ReleaseChanges(rig.store, max_step=1, policy=ApprovalPolicy("none")).promote(other, list(DEFAULTS.labels), BORIS)
    rig.wait(1)
    assert rig.requests.expire(1).request.kept == ("release 3 of boris decides since",)
    assert present(rig)[0] == other


def test_a_bundle_for_a_time_whose_cut_offs_somebody_moved_waits_for_a_person(rig: Rig) -> None:
    promoted(rig)
    rig.releases.set_thresholds({"spam": 0.55}, BORIS)
    rig.wait(1)
    with pytest.raises(ConflictError, match="release 3 of boris decides since, with the bundle of change 1") as refused:
        rig.requests.expire(1)
    assert "change restore 1" in refused.value.hint
    told: list[str] = []
    back = rig.requests.restore(1, BORIS, warn=told.append)
    assert (back.request.state, present(rig)) == (State.RESTORED, (BUNDLE, dict(DEFAULTS.labels)))
    assert told == ["release 3 of boris decides since: its cut-offs go with the bundle"]


@pytest.mark.parametrize("first", [1, 2])
def test_changes_for_a_time_that_lie_above_each_other_go_back_to_where_the_first_began(rig: Rig, first: int) -> None:
    """Whichever of them ends first."""
    for cutoff in (0.6, 0.7, 0.8):
        rig.requests.publish(rig.open(spam=cutoff, hours=1).number, "anna")
        rig.wait(0.1)
    rig.wait(1)
    kept = [rig.requests.expire(number).request.kept for number in ((1, 2, 3) if first == 1 else (2, 1, 3))]
    assert kept[-1] == ()
    assert rig.cutoffs() == DEFAULTS.labels


def test_a_change_for_a_time_that_a_person_took_back_below_another_is_gone_with_that(rig: Rig) -> None:
    for cutoff in (0.6, 0.7):
        rig.requests.publish(rig.open(spam=cutoff, hours=1).number, "anna")
        rig.wait(0.1)
    assert rig.requests.restore(1, BORIS).request.kept == ("spam: 0.5 -> 0.6: somebody has moved it since",)
    rig.wait(1)
    rig.requests.expire(2)
    assert rig.cutoffs() == DEFAULTS.labels


def test_a_request_that_ended_before_another_began_is_nothing_to_it(rig: Rig) -> None:
    rig.requests.publish(rig.open(spam=0.6, hours=1).number, "anna")
    rig.releases.set_thresholds({"spam": 0.65}, BORIS)
    rig.wait(1)
    assert rig.requests.expire(1).request.kept
    rig.releases.set_thresholds({"spam": 0.6}, BORIS)  # by chance where the first one ended up
    rig.wait(1)
    rig.requests.publish(rig.open(spam=0.7, hours=1).number, "anna")
    rig.wait(1)
    rig.requests.expire(2)
    assert rig.cutoffs()["spam"] == 0.6


def split(share: float = 0.1, promote: bool = False, mode: str = "split") -> Request:
    plan = ExperimentPlan(mode, {"threat": LabelPolicy()})  # type: ignore[arg-type]
    rollout = RolloutPolicy(promote=promote)
    return Request(plan, share, others=LabelPolicy(muted=True), rollout=rollout)


CANDIDATE = NewCandidate(thresholds=ThresholdSet({**DEFAULTS.labels, "threat": 0.6}))


def test_an_experiment_that_decides_about_a_critical_label_needs_a_second_person(rig: Rig) -> None:
    experiments = ExperimentChanges(ExperimentLog(rig.store), now=rig.now)
    for request in (split(), split(promote=True, mode="shadow")):
        with pytest.raises(ApprovalError, match="second person"):
            experiments.start(request, CANDIDATE, ANNA)
    content = rig.requests.compose().experiment(split(), CANDIDATE)
    assert rig.requests.open(content, ANNA).needs == ("threat is critical",)
    rig.requests.say(1, "approve", BORIS)
    found = rig.requests.publish(1, "anna")
    assert found.experiment is not None
    assert found.experiment.document.author == "anna"
    assert rig.store.audit(1)[0].fields["approved_by"] == "boris"
    with pytest.raises(ApprovalError, match="second person") as refused:
        experiments.set_share(1, 0.5, ANNA)
    assert "change open" not in refused.value.hint, "no request holds a share"
    assert "ramp" in refused.value.hint
    assert experiments.set_share(1, 0.05, ANNA).share == 0.05
    experiments.stop(1, BORIS)
    rig.actions()


@pytest.mark.parametrize(("rule", "needs"), [("none", False), ("critical", False), ("large", True), ("all", True)])
def test_an_experiment_does_not_pass_the_rule_on_large_steps_by(rule: Any, needs: bool) -> None:
    rig = Rig(policy=(policy := ApprovalPolicy(rule, max_step=0.25))).seed()
    experiments = ExperimentChanges(ExperimentLog(rig.store), policy=policy, now=rig.now)
    large = NewCandidate(thresholds=ThresholdSet({**DEFAULTS.labels, "insult": 0.1}))
    for request in (split(), split(promote=True, mode="shadow")):
        asked = rig.requests.open(rig.requests.compose().experiment(request, large), ANNA)
        assert any("insult: 0.6 -> 0.1" in reason for reason in asked.needs) == bool(asked.needs) == needs
        if needs:
            with pytest.raises(ApprovalError, match="second person"):
                experiments.start(request, large, ANNA)
    shadow = experiments.start(split(1.0, mode="shadow"), large, ANNA)
    assert bool(rig.requests.aim(rig.requests.compose().candidate(shadow)).reasons) == needs
    experiments.stop(1, ANNA)
    rig.requests.say(1, "approve", BORIS)
    rig.requests.publish(1, "anna")
    if needs:
        with pytest.raises(ApprovalError, match="second person"):
            experiments.set_share(2, 0.5, ANNA)
    else:
        assert experiments.set_share(2, 0.5, ANNA).share == 0.5


def test_a_large_step_counts_only_between_cutoffs_of_one_bundle() -> None:
    rig = Rig(policy=ApprovalPolicy("large", lambda: Taxonomy("t", 1, ()), max_step=0.25)).seed()
    found = NewCandidate(NEXT, list(DEFAULTS.labels), ThresholdSet({**DEFAULTS.labels, "insult": 0.1}))
    assert rig.requests.aim(rig.requests.compose().experiment(split(), found)).reasons == ()


def test_an_experiment_that_only_looks_on_needs_nobody(rig: Rig) -> None:
    experiments = ExperimentChanges(ExperimentLog(rig.store), now=rig.now)
    assert experiments.start(split(1.0, mode="shadow"), CANDIDATE, ANNA).id.number == 1


def test_while_it_is_frozen_only_the_way_back_is_open(rig: Rig) -> None:
    rig.releases.set_thresholds({"spam": 0.55}, ANNA)
    rig.requests.open(rig.moves(insult=0.5), ANNA, end_experiments=True)
    experiments = ExperimentChanges(ExperimentLog(rig.store), now=rig.now)
    experiments.start(split(1.0, mode="shadow"), CANDIDATE, ANNA)
    rig.freezes.begin(Who("carla", "election day"))
    refused = (
        lambda: rig.releases.set_thresholds({"spam": 0.6}, ANNA),
        lambda: ReleaseChanges(rig.store, max_step=1, permit=Ungoverned(break_glass=True)).set_thresholds(
            {"spam": 0.6}, ANNA
        ),
        lambda: rig.requests.publish(1, "anna"),
        lambda: experiments.set_share(1, 0.5, ANNA),
    )
    for change in refused:
        with pytest.raises(FrozenError, match=r"carla at .*election day"):
            change()
    experiments.stop(1, ANNA)
    rig.releases.restore(1, ANNA)
    rig.releases.return_to(2, ANNA)
    assert any(line.startswith("freeze: carla") for line in rig.requests.obstacles(rig.requests.log.find(1)[0]))
    rig.freezes.lift(BORIS)
    assert rig.requests.publish(1, "anna").request.state is State.LIVE


def test_an_end_that_comes_in_a_freeze_waits_for_it(rig: Rig) -> None:
    rig.open(spam=0.55, hours=1)
    rig.requests.publish(1, "anna")
    rig.freezes.begin(BORIS)
    rig.wait(2)
    with pytest.raises(FrozenError):
        rig.requests.expire(1)
    assert rig.requests.restore(1, ANNA).request.state is State.RESTORED, "a person may"


def test_a_freeze_is_one_at_a_time_has_words_and_ends(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="cannot begin"):
        rig.freezes.begin(Who("anna", " "))
    rig.freezes.begin(ANNA)
    with pytest.raises(ConflictError, match="anna at"):
        rig.freezes.begin(BORIS)
    assert rig.freezes.lift(BORIS).author == "anna"
    with pytest.raises(NotFoundError):
        rig.freezes.lift(BORIS)
    rig.time = datetime.now(UTC)  # its end is by the clock of Redis
    assert rig.freezes.begin(ANNA, lasts=timedelta(hours=1)) == rig.freezes.current()
    rig.freezes.lift(BORIS)
    rig.wait(-2)
    rig.freezes.begin(ANNA, lasts=timedelta(hours=1))
    assert rig.freezes.current() is None, "it has ended"
    assert rig.releases.set_thresholds({"spam": 0.55}, ANNA).committed
    assert rig.actions() == ["thresholds", "freeze", "unfreeze", "freeze", "unfreeze", "freeze", "seed"]


def test_pages_show_the_newest_first_and_only_what_was_asked(rig: Rig) -> None:
    for n in range(5):
        rig.open(spam=(51 + n) / 100)
    rig.requests.say(4, "withdraw", ANNA)

    def page(limit: int, **which: Any) -> list[int]:
        return [one.number for one in rig.requests.log.page(limit, **which)]

    assert (page(2), page(2, before=4), page(2, before=2), page(2, before=1)) == ([5, 4], [3, 2], [1], [])
    assert page(9, before=99) == [5, 4, 3, 2, 1]
    assert page(10, states=[State.WITHDRAWN]) == page(1, before=5, states=[State.WITHDRAWN]) == [4]
    with pytest.raises(NotFoundError):
        rig.requests.log.find(6)


@pytest.fixture
def many() -> Rig:
    """Number 1 waits, number 2 is live, and 28 after them are over."""
    rig = Rig().seed()
    for n in range(30):
        rig.open(spam=(51 + n) / 100)
    rig.requests.publish(2, "anna")
    for number in range(3, 31):
        rig.requests.say(number, "withdraw", ANNA)
    return rig


def documents_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of documents that are read from now on."""
    found: list[str] = []
    for name in ("mget", "get"):
        original = getattr(rig.store.client, name)

        def read(keys: Any, original: Any = original) -> Any:
            found.extend([keys] if isinstance(keys, str) else keys)
            return original(keys)

        monkeypatch.setattr(rig.store.client, name, read)
    return found


@pytest.mark.parametrize(("state", "number"), [(State.DRAFT, 1), (State.LIVE, 2), (State.WITHDRAWN, 30)])
def test_a_list_reads_what_it_shows_however_much_is_over(
    many: Rig, monkeypatch: pytest.MonkeyPatch, state: State, number: int
) -> None:
    read = documents_read(many, monkeypatch)
    assert [one.number for one in many.requests.log.page(1, states=[state])] == [number]
    assert read == [many.store.keys.change_request(number)]


def test_what_an_earlier_version_has_left_is_found_and_from_then_on_by_its_place(
    many: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, client = many.store.keys, many.store.client
    client.delete(keys.requests_by_state, keys.change_request(30))
    client.set(keys.change_request(29), "of a version to come")
    waiting = [State.DRAFT, State.APPROVED]
    assert [one.number for one in many.requests.log.page(9, states=waiting)] == [1]
    assert [one.number for one in many.requests.log.page(2, states=[State.WITHDRAWN])] == [28, 27]
    read = documents_read(many, monkeypatch)
    assert [one.number for one in many.requests.log.page(9, states=waiting)] == [1]
    assert set(read) == {keys.change_request(number) for number in (1, 29, 30)}


def test_what_an_earlier_version_brings_on_meanwhile_leaves_its_old_list_and_joins_the_new_one(many: Rig) -> None:
    request, _ = many.requests.log.find(1)
    forward = advanced(request, "reject", "boris", many.time, comment="no")
    many.store.client.set(many.store.keys.change_request(1), encode_request(forward)[0])
    assert many.requests.log.page(9, states=[State.DRAFT]) == []
    assert [one.number for one in many.requests.log.page(9, states=[State.REJECTED])] == [1]


def test_a_place_goes_with_its_document_into_a_state_of_before(many: Rig) -> None:
    client = many.store.client
    names = [key.decode() for key in client.keys("*")]  # type: ignore[union-attr]
    before = {name: client.dump(name) for name in names}
    many.requests.say(1, "withdraw", ANNA)
    assert many.requests.log.page(9, states=[State.DRAFT]) == []
    for name, raw in before.items():
        client.restore(name, 0, raw, replace=True)  # type: ignore[arg-type]
    assert [one.number for one in many.requests.log.page(9, states=[State.DRAFT])] == [1]


def test_a_lifting_whose_reply_was_lost_is_its_own_and_is_audited_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(*arguments: Any) -> Any:
        run_script(*arguments)
        return run_script(*arguments)

    monkeypatch.setattr("streamtag.control.freeze.run_script", twice)
    for reason in ("election day", "the day after"):
        begun = rig.freezes.begin(Who("carla", reason))
        assert rig.freezes.lift(BORIS) == begun
        assert rig.freezes.current() is None
    assert rig.releases.set_thresholds({"spam": 0.6}, ANNA).committed
    assert rig.actions() == ["thresholds", "unfreeze", "freeze", "unfreeze", "freeze", "seed"]


def test_of_two_who_lift_a_freeze_the_second_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = rig.freezes.begin(ANNA)
    raw = rig.freezes._present()
    rig.freezes.lift(BORIS)
    monkeypatch.setattr(rig.freezes, "_present", lambda: raw)
    with pytest.raises(NotFoundError, match="somebody was first"):
        rig.freezes.lift(BORIS)
    assert raw[1] == begun


def test_what_cannot_be_asked_for_is_refused_with_everything_that_is_wrong(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="not valid"):
        rig.moves(spam=0.5)
    with pytest.raises(RefusedError, match="not valid"):
        rig.moves(spam=1.5)
    with pytest.raises(RefusedError) as refused:
        rig.requests.open(rig.moves(spam=0.6), Who("", ""), not_before=rig.time, lasts=timedelta(0))
    assert len(refused.value.problems) == 4
    assert rig.actions() == ["seed"]


def test_what_is_due_is_found(rig: Rig) -> None:
    at = rig.time + timedelta(hours=1)
    rig.requests.open(rig.moves(spam=0.55), ANNA, not_before=at)
    rig.requests.open(rig.moves(threat=0.6), ANNA, not_before=at)
    assert rig.requests.log.due(at) == [1], "the other needs a second person first"
    rig.requests.say(2, "approve", BORIS)
    assert rig.requests.log.due(at) == [1, 2]
    assert rig.requests.log.due(at - timedelta(seconds=1)) == []
    rig.requests.say(2, "withdraw", ANNA)
    assert rig.requests.log.due(at) == [1]


def test_a_time_with_another_offset_is_told_in_utc(rig: Rig) -> None:
    at = (rig.time + timedelta(hours=2)).astimezone(timezone(timedelta(hours=5)))
    opened = rig.requests.open(rig.moves(spam=0.55), ANNA, not_before=at)
    assert opened.not_before == at
    assert opened.not_before is not None
    assert opened.not_before.tzinfo is UTC
    assert "schedule: not before 2026-11-23 05:00:00 UTC" in rig.requests.obstacles(opened)


def test_a_frozen_policy_of_an_experiment_is_not_passed_by_its_rollout(rig: Rig) -> None:
    permit = Ungoverned(exempt="the policy of the experiment")
    rollout = ExperimentChanges(ExperimentLog(rig.store), permit=permit, now=rig.now)
    rollout.start(split(), CANDIDATE, ANNA)
    assert rollout.set_share(1, 0.2, ANNA).share == 0.2
    rig.freezes.begin(BORIS)
    with pytest.raises(FrozenError):
        rollout.set_share(1, 0.3, ANNA)


def test_a_candidate_without_its_verdict_is_in_the_way_of_its_own_promotion(rig: Rig) -> None:
    log = ExperimentLog(rig.store)
    experiments = ExperimentChanges(log, now=rig.now)
    experiment = experiments.start(split(1.0, mode="shadow"), CANDIDATE, ANNA)
    asked = rig.requests.open(rig.requests.compose().candidate(experiment), ANNA, end_experiments=True)
    assert "verdict: experiment 1 has not passed" in rig.requests.obstacles(asked)
