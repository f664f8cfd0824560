"""Changes: compare-and-set, numbers, guard rails, refusals that name everything."""

from collections.abc import Callable

import fakeredis
import pytest
from control_plane import ANNA, BORIS, BUNDLE, DEFAULTS, LABELS, current, heartbeat, new_changes, new_store
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.control.approval import ApprovalError, ApprovalPolicy
from streamtag.control.changes import FIRST_AUTHOR, ReleaseChanges
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.fleet import Heartbeat, send
from streamtag.control.proposal import Who
from streamtag.control.release_documents import Cutoffs, ReleaseId
from streamtag.control.store import ControlStore
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.errors import ConflictError, NotFoundError, RefusedError

NEXT = BundleRef("demo", "2", "b" * 64)


@pytest.fixture
def store() -> ControlStore:
    return new_store()


@pytest.fixture
def changes(store: ControlStore) -> ReleaseChanges:
    return new_changes(store)


@pytest.fixture
def seeded(changes: ReleaseChanges) -> ReleaseChanges:
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    return changes


def beat_of_release(number: int, sha256: str = "f" * 64, revision: int = 1) -> Heartbeat:
    return heartbeat(release=number, release_sha256=sha256, revision=revision)


def test_the_first_start_is_seeded_with_the_defaults_and_audited(store: ControlStore, seeded: ReleaseChanges) -> None:
    found = current(store)
    assert (found.id.number, found.ref.revision, found.thresholds) == (1, 1, DEFAULTS)
    (entry,) = store.audit()
    assert (entry.fields["action"], entry.fields["author"]) == ("seed", FIRST_AUTHOR)


def test_a_redis_that_holds_releases_is_not_seeded_again(seeded: ReleaseChanges) -> None:
    with pytest.raises(ConflictError, match="not a first start"):
        seeded.seed(BUNDLE, LABELS, DEFAULTS)


def test_a_deleted_champion_is_not_a_first_start(store: ControlStore, seeded: ReleaseChanges) -> None:
    store.client.delete(store.keys.champion)
    with pytest.raises(ConflictError):
        seeded.seed(BUNDLE, LABELS, DEFAULTS)


def test_a_change_makes_a_release_with_the_same_bundle(store: ControlStore, seeded: ReleaseChanges) -> None:
    outcome = seeded.set_thresholds({"spam": 0.6}, ANNA)
    found = current(store)
    assert outcome.committed
    assert outcome.current == found
    assert found.id.number == 2
    assert found.ref.bundle == BUNDLE
    assert found.thresholds == ThresholdSet({"spam": 0.6, "insult": 0.6})
    assert outcome.before is not None
    assert found.release.document.parent == outcome.before.id
    assert (found.release.document.author, found.release.document.reason) == ("anna", "first try")


def test_a_change_is_published_for_the_watchers(store: ControlStore, seeded: ReleaseChanges) -> None:
    pubsub = store.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    pubsub.subscribe(store.keys.channel)
    pubsub.get_message(timeout=1)
    seeded.set_thresholds({"spam": 0.6}, ANNA)
    assert pubsub.get_message(timeout=1)["data"] == store.client.get(store.keys.champion)


def test_a_change_for_a_segment_leaves_the_base_alone(store: ControlStore, seeded: ReleaseChanges) -> None:
    seeded.set_thresholds({"spam": 0.7}, ANNA, when={"lang": "de"})
    seeded.set_thresholds({"insult": 0.5}, ANNA, when={"lang": "de"})
    found = current(store).thresholds
    assert found.labels == DEFAULTS.labels
    assert found.segments == (Override({"lang": "de"}, {"spam": 0.7, "insult": 0.5}),)


def test_a_change_that_changes_nothing_commits_nothing(store: ControlStore, seeded: ReleaseChanges) -> None:
    outcome = seeded.set_thresholds({"spam": 0.5}, ANNA)
    assert not outcome.committed
    assert current(store).id.number == 1


def test_the_order_of_overrides_is_a_change(seeded: ReleaseChanges) -> None:
    one, other = Override({"lang": "de"}, {"spam": 0.6}), Override({"channel": "chat"}, {"spam": 0.55})
    assert seeded.apply(ThresholdSet(DEFAULTS.labels, (one, other)), ANNA).committed
    assert seeded.apply(ThresholdSet(DEFAULTS.labels, (other, one)), ANNA).committed


def test_the_loser_of_a_race_learns_who_won_when_why_and_what(
    store: ControlStore, seeded: ReleaseChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.commit

    def boris_first(**arguments: object) -> object:
        monkeypatch.setattr(store, "commit", commit)
        seeded.set_thresholds({"insult": 0.7}, BORIS)
        return commit(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "commit", boris_first)
    with pytest.raises(ConflictError) as refused:
        seeded.set_thresholds({"spam": 0.6}, ANNA)
    message = refused.value.message
    assert message.startswith("boris was first: release 2 (revision 2) at 2026-11-23 03:00:")
    assert '"second try"; it changed insult: 0.6 -> 0.7.' in message
    assert "This change rests on release 1; nothing was written" in message
    assert current(store).thresholds == ThresholdSet({"spam": 0.5, "insult": 0.7})


def test_apply_from_an_older_revision_is_a_conflict(seeded: ReleaseChanges) -> None:
    seeded.set_thresholds({"insult": 0.7}, BORIS)
    with pytest.raises(ConflictError, match=r"it changed insult: 0\.6 -> 0\.7\. This change rests on revision 1"):
        seeded.apply(DEFAULTS, ANNA, expected=1)
    assert seeded.apply(DEFAULTS, ANNA, expected=2).committed


def test_a_commit_whose_reply_was_lost_is_recognised_not_called_a_conflict(
    store: ControlStore, seeded: ReleaseChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.commit

    def twice(**arguments: object) -> object:
        commit(**arguments)  # type: ignore[arg-type]
        return commit(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "commit", twice)
    assert seeded.set_thresholds({"spam": 0.6}, ANNA).committed
    assert current(store).id.number == 2
    assert len(store.audit()) == 2


def test_every_error_is_named(store: ControlStore, seeded: ReleaseChanges) -> None:
    with pytest.raises(RefusedError) as refused:
        seeded.set_thresholds({"spam": 1.5, "insult": float("nan"), "spma": 0.5}, Who("anna", " "))
    text = "\n".join(refused.value.problems)
    for expected in ("reason: empty", "labels.spam: 1.5 is outside", "labels.insult: nan", "labels.spma: the bundle"):
        assert expected in text
    assert current(store).id.number == 1


def test_a_missing_label_is_refused(seeded: ReleaseChanges) -> None:
    with pytest.raises(RefusedError) as refused:
        seeded.apply(ThresholdSet({"spam": 0.5}), ANNA)
    assert refused.value.problems == ("labels.insult: missing; the bundle scores it",)


def test_too_large_a_step_needs_force(store: ControlStore, seeded: ReleaseChanges) -> None:
    with pytest.raises(RefusedError, match="too large") as refused:
        seeded.set_thresholds({"spam": 0.8}, ANNA)
    assert "--force" in refused.value.hint
    assert seeded.set_thresholds({"spam": 0.8}, ANNA, force=True).committed


def test_the_way_back_is_free_of_the_guard_rail(store: ControlStore, seeded: ReleaseChanges) -> None:
    seeded.set_thresholds({"spam": 0.95}, ANNA, force=True)
    outcome = seeded.restore(1, BORIS)
    assert outcome.committed
    found = current(store)
    assert (found.thresholds, found.ref.revision) == (DEFAULTS, 3)
    assert found.release.document.note == "restore of revision 1"
    assert seeded.revision(1).document.thresholds == Cutoffs.of(DEFAULTS)


def test_one_step_returns_to_the_release_before_bundle_and_thresholds_alike(
    store: ControlStore, seeded: ReleaseChanges
) -> None:
    """As one release, whatever the step: half of the way back could be worse than either end."""
    seeded.promote(NEXT, LABELS, ANNA, thresholds=ThresholdSet({"spam": 0.95, "insult": 0.6}))
    outcome = seeded.return_to(None, BORIS)
    assert outcome.committed
    found = current(store)
    assert (found.ref.bundle, found.thresholds) == (BUNDLE, DEFAULTS)
    assert (found.id.number, found.ref.revision) == (3, 3)
    assert (found.release.document.note, found.release.document.author) == ("return to release 1", "boris")
    assert store.audit(1)[0].fields["action"] == "return"
    with pytest.raises(ConflictError, match=r"boris has gone back already, .* release 3 decides as release 1 did"):
        seeded.return_to(None, ANNA)  # of two who undo the same thing, the second does not redo it
    again = seeded.return_to(2, BORIS).current
    assert (again.ref.bundle, again.thresholds.labels["spam"]) == (NEXT, 0.95)


def test_cut_offs_that_never_decided_with_this_bundle_are_no_way_back(store: ControlStore) -> None:
    guarded = ReleaseChanges(store, max_step=1, policy=ApprovalPolicy("all"))
    guarded.seed(BUNDLE, LABELS, DEFAULTS)
    plain = new_changes(store)
    plain.set_thresholds({"spam": 0.6}, ANNA)
    assert guarded.restore(1, BORIS).committed, "revision 1 decided with this bundle"
    plain.promote(NEXT, LABELS, ANNA)
    with pytest.raises(ApprovalError, match="second person"):
        guarded.restore(2, BORIS)
    assert plain.restore(2, BORIS).committed
    entry = store.audit(1)[0].fields
    assert (entry["action"], entry["note"]) == ("thresholds", "restore of revision 2")


def test_an_earlier_release_can_be_named(store: ControlStore, seeded: ReleaseChanges) -> None:
    for value in (0.6, 0.7, 0.8):
        seeded.set_thresholds({"spam": value}, ANNA)
    assert seeded.return_to(2, ANNA).current.thresholds.labels["spam"] == 0.6
    assert not seeded.return_to(5, ANNA).committed
    with pytest.raises(NotFoundError, match="no release 9 in the champion's history"):
        seeded.return_to(9, ANNA)


def test_before_the_first_release_there_is_none_to_return_to(seeded: ReleaseChanges) -> None:
    with pytest.raises(NotFoundError, match="release 1 is the first"):
        seeded.return_to(None, ANNA)
    with pytest.raises(RefusedError) as refused:
        seeded.return_to(None, Who("", " "))
    assert refused.value.problems == ("author: empty", "reason: empty")


def test_whoever_is_asked_before_a_change_can_refuse_it_but_is_not_asked_about_none(
    store: ControlStore, seeded: ReleaseChanges
) -> None:
    asked = []

    def refuse(champion: ReleaseId) -> None:
        asked.append(champion)
        raise RefusedError("not now")

    guarded = ReleaseChanges(store, max_step=0.25, before=refuse)
    assert not guarded.apply(DEFAULTS, ANNA).committed
    assert asked == []
    steps: list[Callable[[], object]] = [
        lambda: guarded.set_thresholds({"spam": 0.6}, ANNA),
        lambda: guarded.promote(NEXT, LABELS, ANNA),
    ]
    for step in steps:
        with pytest.raises(RefusedError, match="not now"):
            step()
    assert asked == [current(store).id] * 2
    assert current(store).id.number == 1


def test_history_is_proven_from_the_champion_back(store: ControlStore, seeded: ReleaseChanges) -> None:
    for value in (0.6, 0.7):
        seeded.set_thresholds({"spam": value}, ANNA)
    assert [found.document.number for found in store.releases()] == [3, 2, 1]
    assert [found.document.revision for found in store.revisions()] == [3, 2, 1]
    raw = store.client.get(store.keys.revision(2))
    assert isinstance(raw, bytes)
    store.client.set(store.keys.revision(2), raw.replace(b"0.6", b"0.9"))
    with pytest.raises(RefusedError, match="threshold revision 2 is not what was published"):
        list(store.revisions())


def test_an_unknown_revision_is_not_found(seeded: ReleaseChanges) -> None:
    with pytest.raises(NotFoundError, match="no threshold revision 7"):
        seeded.restore(7, ANNA)


def test_promotion_can_keep_the_revision(store: ControlStore, seeded: ReleaseChanges) -> None:
    seeded.promote(NEXT, LABELS, ANNA)
    found = current(store)
    assert (found.ref.bundle, found.ref.revision, found.id.number) == (NEXT, 1, 2)
    seeded.set_thresholds({"spam": 0.6}, ANNA)
    assert current(store).ref.revision == 2


def test_a_new_label_arrives_with_bundle_and_thresholds_or_not_at_all(
    store: ControlStore, seeded: ReleaseChanges
) -> None:
    with pytest.raises(RefusedError, match="cannot decide together") as refused:
        seeded.promote(NEXT, (*LABELS, "threat"), ANNA)
    assert refused.value.problems == ("labels.threat: missing; the bundle scores it",)
    seeded.promote(NEXT, (*LABELS, "threat"), ANNA, thresholds=ThresholdSet({**DEFAULTS.labels, "threat": 0.9}))
    assert current(store).thresholds.labels["threat"] == 0.9


def test_the_guard_rail_holds_for_a_promotion_of_the_same_bundle_only(seeded: ReleaseChanges) -> None:
    far = ThresholdSet({"spam": 0.9, "insult": 0.6})
    with pytest.raises(RefusedError, match="too large"):
        seeded.promote(BUNDLE, LABELS, ANNA, thresholds=far)
    assert seeded.promote(NEXT, LABELS, ANNA, thresholds=far).committed


def test_documents_are_never_overwritten(store: ControlStore, seeded: ReleaseChanges) -> None:
    store.client.set(store.keys.revision(2), b"something")
    with pytest.raises(RefusedError, match="threshold revision 2 exists in Redis already"):
        seeded.set_thresholds({"spam": 0.6}, ANNA)
    assert store.client.get(store.keys.revision(2)) == b"something"
    assert current(store).id.number == 1


def test_nothing_to_change_in_an_empty_redis(changes: ReleaseChanges) -> None:
    with pytest.raises(NotFoundError, match="holds no release"):
        changes.set_thresholds({"spam": 0.6}, ANNA)


def test_a_redis_behind_its_workers_accepts_no_change(store: ControlStore, seeded: ReleaseChanges) -> None:
    send(store, beat_of_release(5), 1.0)
    with pytest.raises(RefusedError, match="restored from an older state") as refused:
        seeded.set_thresholds({"spam": 0.6}, ANNA)
    assert refused.value.problems == ("worker w1 decides by release 5",)
    assert "restore-snapshot" in refused.value.hint


def test_a_number_of_other_content_is_behind_too(store: ControlStore, seeded: ReleaseChanges) -> None:
    send(store, beat_of_release(1, sha256="e" * 64), 1.0)
    with pytest.raises(RefusedError, match="restored from an older state"):
        seeded.set_thresholds({"spam": 0.6}, ANNA)


def test_a_worker_on_the_champion_is_no_obstacle(store: ControlStore, seeded: ReleaseChanges) -> None:
    send(store, beat_of_release(1, sha256=current(store).id.sha256), 1.0)
    assert seeded.set_thresholds({"spam": 0.6}, ANNA).committed


def test_an_emptied_redis_is_not_seeded_while_workers_decide(store: ControlStore, changes: ReleaseChanges) -> None:
    send(store, beat_of_release(5), 1.0)
    with pytest.raises(RefusedError, match="has lost"):
        changes.seed(BUNDLE, LABELS, DEFAULTS)


@pytest.mark.parametrize("damage", ["emptied", "rewound", "alias", "document"])
def test_a_restored_snapshot_is_numbered_above_all_that_was(
    store: ControlStore, seeded: ReleaseChanges, damage: str
) -> None:
    for value in (0.55, 0.6, 0.65):
        seeded.set_thresholds({"spam": value}, ANNA)
    lost = current(store)
    if damage == "emptied":
        store.client.flushall()
    elif damage == "rewound":
        store.client.flushall()
        seeded.seed(BUNDLE, LABELS, DEFAULTS)
    elif damage == "alias":
        store.client.set(store.keys.champion, b"\xff garbage")
    else:
        store.client.set(store.keys.release(4), b"{}")
    send(store, beat_of_release(6, revision=6), 1.0)
    outcome = seeded.restore_snapshot(lost, BORIS, force=True)
    found = current(store)
    assert outcome.current == found
    assert (found.id.number, found.ref.revision) == (7, 7)
    assert found.thresholds == lost.thresholds
    assert found.release.document.note.startswith("restore of release 4, revision 4")
    assert next(release.document.number for release in store.releases()) == 7


@pytest.mark.parametrize("damage", ["alias", "release", "revision"])
def test_what_is_damaged_does_not_hide_the_numbers_that_an_experiment_has_taken(
    store: ControlStore, seeded: ReleaseChanges, damage: str
) -> None:
    lost = current(store)
    candidate = NewCandidate(thresholds=ThresholdSet({**DEFAULTS.labels, "spam": 0.6}))
    plan = ExperimentPlan("shadow", {"spam": LabelPolicy()})
    taken = ExperimentChanges(ExperimentLog(store)).start(Request(plan, 1.0), candidate, ANNA)
    assert (taken.document.candidate.number, taken.document.candidate.revision) == (2, 2)
    if damage == "alias":
        store.client.set(store.keys.champion, b"\xff garbage")
    else:
        store.client.hset(store.keys.heads, damage, "garbage")
    with pytest.raises(RefusedError):
        store.heads()
    found = store.heads(damaged=True)
    assert (found.release, found.revision) == {"alias": (2, 2), "release": (1, 2), "revision": (2, 0)}[damage]
    if damage == "alias":
        seeded.restore_snapshot(lost, BORIS)
        assert (current(store).id.number, current(store).ref.revision) == (3, 3)


def test_a_damaged_counter_beside_a_good_champion_needs_no_force(store: ControlStore, seeded: ReleaseChanges) -> None:
    seeded.set_thresholds({"spam": 0.6}, ANNA)
    lost = current(store)
    store.client.hset(store.keys.heads, "revision", "garbage")
    seeded.restore_snapshot(lost, BORIS)
    assert (current(store).id.number, current(store).ref.revision) == (3, 3)
    assert current(store).thresholds == lost.thresholds


def test_a_snapshot_older_than_what_redis_or_a_worker_knows_is_refused(
    store: ControlStore, seeded: ReleaseChanges
) -> None:
    seeded.set_thresholds({"spam": 0.6}, ANNA)
    old = current(store)
    with pytest.raises(RefusedError, match="not the last good state") as refused:
        seeded.restore_snapshot(old, BORIS)
    assert refused.value.problems == ("Redis has lost nothing: its champion is release 2",)
    store.client.flushall()
    send(store, beat_of_release(3), 1.0)
    with pytest.raises(RefusedError) as refused:
        seeded.restore_snapshot(old, BORIS)
    assert refused.value.problems == ("worker w1 decides by release 3",)


@pytest.mark.parametrize("document", ["release", "revision"])
def test_a_later_champion_that_cannot_be_read_is_later_all_the_same(
    store: ControlStore, seeded: ReleaseChanges, document: str
) -> None:
    old = current(store)
    seeded.set_thresholds({"spam": 0.6}, ANNA)
    lost = current(store)
    store.client.delete(getattr(store.keys, document)(2))
    with pytest.raises(RefusedError) as refused:
        seeded.restore_snapshot(old, BORIS)
    assert refused.value.problems == ("Redis' champion is release 2, whose documents cannot be read",)
    seeded.restore_snapshot(lost, BORIS)
    assert current(store).thresholds == lost.thresholds


steps = st.lists(
    st.tuples(st.sampled_from(LABELS), st.integers(0, 20).map(lambda n: n / 20), st.booleans()), max_size=12
)


@given(steps)
@settings(max_examples=30, deadline=None)
def test_numbers_grow_by_one_and_every_revision_stays_what_it_was(wanted: list[tuple[str, float, bool]]) -> None:
    store = new_store()
    changes = ReleaseChanges(store, max_step=1.0)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    seen = [DEFAULTS]
    for label, value, back in wanted:
        outcome = changes.restore(1, ANNA) if back else changes.set_thresholds({label: value}, ANNA)
        if outcome.committed:
            seen.append(outcome.current.thresholds)
    history = list(store.revisions())[::-1]
    assert [found.document.revision for found in history] == list(range(1, len(seen) + 1))
    assert [found.document.thresholds.to_set() for found in history] == seen
    assert store.heads().release == len(seen)
    assert len(store.audit(1000)) == len(seen)


def test_two_namespaces_do_not_meet() -> None:
    server = fakeredis.FakeServer()
    new_changes(new_store(server)).seed(BUNDLE, LABELS, DEFAULTS)
    assert new_store(server, namespace="other").current() is None
