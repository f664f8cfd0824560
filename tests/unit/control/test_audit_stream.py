"""The audit stream in Redis: every way to write appends a link, and the command says what stands."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from control_plane import ANNA, BUNDLE, DEFAULTS, LABELS, Run, new_store
from typer.testing import CliRunner

from streamtag.cli import audit
from streamtag.control.audit_log import AuditLog
from streamtag.control.audit_note import AuditNote
from streamtag.control.audit_proof import prove
from streamtag.control.changes import ReleaseChanges
from streamtag.control.connection import run_script
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.stops import StopMark, StopStore
from streamtag.control.store import ControlStore
from streamtag.domain.audit_chain import Fields, Verified, verify
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import RefusedError
from streamtag.settings import Settings

pytest_plugins = ("command_line",)


def look(store: ControlStore) -> Verified:
    return verify(store.audit_log.entries(), store.audit_log.head())


def test_releases_experiments_and_lifted_stops_are_links_of_one_chain(tmp_path: Path) -> None:
    store = new_store()
    changes = ReleaseChanges(store, max_step=1)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    changes.set_thresholds({"spam": 0.6}, ANNA)
    experiments = ExperimentChanges(ExperimentLog(store))
    request = Request(ExperimentPlan("shadow", {"spam": LabelPolicy()}), 0.5)
    experiments.start(request, NewCandidate(thresholds=ThresholdSet({"spam": 0.7, "insult": 0.6})), ANNA)
    experiments.stop(1, ANNA)
    stops = StopStore(Settings(state_dir=tmp_path), store=store)
    stops.set(StopMark(group="g", reason="a test", at=datetime(2026, 11, 23, tzinfo=UTC), worker="w"))
    stops.lift("g", "anna", "mended", {})
    found = look(store)
    assert (found.fault, found.entries, found.head) == (None, 5, store.audit_log.head())
    actions = [entry.fields["action"] for entry in store.audit()]
    assert actions == ["lift-stop", "experiment-stop", "experiment-start", "thresholds", "seed"]


def test_a_note_whose_reply_was_lost_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store()

    def twice(*arguments: Any) -> Any:
        run_script(*arguments)
        return run_script(*arguments)

    monkeypatch.setattr("streamtag.control.store.run_script", twice)
    for _ in range(2):
        store.note({"action": "model-import", "author": "anna"})
    found = look(store)
    assert (found.fault, found.entries) == (None, 2)


def test_many_who_write_at_once_make_one_chain() -> None:
    store = new_store()
    changes = ReleaseChanges(store, max_step=1)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    stops = StopStore(Settings(), store=store)

    def lift(number: int) -> None:
        stops._publish(StopMark(group=f"g{number}", reason="r", at=datetime(2026, 11, 23, tzinfo=UTC), worker="w"))
        stops.lift(f"g{number}", "anna", "mended", {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lift, range(24)))
    assert (look(store).fault, look(store).entries) == (None, 25)


def test_a_release_that_is_lost_and_repeated_is_audited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store()
    changes = ReleaseChanges(store, max_step=1)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    commit = store.commit

    def twice(**arguments: object) -> object:
        commit(**arguments)  # type: ignore[arg-type]
        return commit(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "commit", twice)
    changes.set_thresholds({"spam": 0.6}, ANNA)
    assert look(store).entries == 2


def test_entries_from_before_the_chain_stay_readable() -> None:
    store = new_store()
    store.client.xadd(store.keys.audit, {"action": "seed", "author": "an old version"})
    changes = ReleaseChanges(store, max_step=1)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    assert [entry.fields["author"] for entry in store.audit()][1:] == ["an old version"]
    assert (look(store).before, look(store).entries, look(store).fault) == (1, 1, None)


def test_a_damaged_stream_or_head_lets_nothing_through() -> None:
    store = new_store()
    changes = ReleaseChanges(store, max_step=1)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    store.client.hset(store.keys.audit_head, "number", "many")
    with pytest.raises(RefusedError, match="head of the audit stream"):
        changes.set_thresholds({"spam": 0.6}, ANNA)
    assert store.heads().release == 1


def test_pages_of_a_long_stream_are_read_to_the_end() -> None:
    store = new_store()
    for _ in range(2_500):
        store.client.xadd(store.keys.audit, {"action": "old"})
    assert look(store).before == 2_500


def test_who_follows_from_the_beginning_reads_page_by_page_and_misses_nothing() -> None:
    store = new_store()
    written = [store.client.xadd(store.keys.audit, {"action": "old"}).decode() for _ in range(1_200)]  # type: ignore[union-attr]
    pages, after = [], "0-0"
    while page := store.follow_audit(after, wait_s=0.001):
        pages.append([entry.id for entry in page])
        after = pages[-1][-1]
    assert [len(page) for page in pages] == [500, 500, 200]
    assert [entry for page in pages for entry in page] == written


def invoke(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.add_typer(audit.app, name="audit")
    result = CliRunner().invoke(app, ["audit", *words])
    return result.exit_code, result.stdout


def test_the_command_shows_and_proves_and_notices_what_redis_has_lost(
    seeded: ControlStore, run: Run, tmp_path: Path
) -> None:
    changes = ReleaseChanges(seeded, max_step=1)
    changes.set_thresholds({"spam": 0.6}, ANNA)
    client: Any = seeded.client
    copy, head = client.dump(seeded.keys.audit), client.hgetall(seeded.keys.audit_head)
    changes.set_thresholds({"spam": 0.7}, ANNA)
    assert "thresholds" in invoke("show", "--limit", "1")[1]
    code, text = invoke("verify", "--output", "json")
    assert (code, json.loads(text)["found"]["entries"]) == (0, 3)
    assert (tmp_path / "audit" / "default.json").exists()
    # Redis comes back from an older copy: sound in itself.
    client.delete(seeded.keys.audit)
    client.restore(seeded.keys.audit, 0, copy)
    client.hset(seeded.keys.audit_head, mapping=head)
    code, text = invoke("verify")
    assert code == 1
    assert "noted here before is 3" in text
    assert invoke("verify", "--accept")[0] == 0
    assert invoke("verify")[0] == 0


def test_a_proof_that_was_overtaken_does_not_set_the_note_back(tmp_path: Path) -> None:
    store = new_store()
    changes = ReleaseChanges(store, max_step=1)
    changes.seed(BUNDLE, LABELS, DEFAULTS)
    note = AuditNote(tmp_path, "default")

    class Overtaken(AuditLog):
        """Another proof reads, proves and notes a later entry while this one reads."""

        def entries(self) -> Iterator[tuple[str, Fields]]:
            yield from list(super().entries())
            changes.set_thresholds({"spam": 0.6}, ANNA)
            assert prove(store.audit_log, note).found.head.number == 2

    slow = Overtaken(store.client, store.keys, store.where)
    assert prove(slow, note).found.head.number == 1
    assert note.read() == store.audit_log.head()


def test_the_command_names_the_first_bad_entry(seeded: ControlStore, run: Run) -> None:
    ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": 0.6}, ANNA)
    second, first = seeded.audit()
    client: Any = seeded.client
    client.delete(seeded.keys.audit)
    client.xadd(seeded.keys.audit, {**first.fields, "author": "somebody else"}, id=first.id)
    client.xadd(seeded.keys.audit, dict(second.fields), id=second.id)
    code, text = invoke("verify", "--output", "json")
    found = json.loads(text)
    assert (code, found["ok"], found["found"]["fault"]["entry"]) == (1, False, first.id)
    assert json.loads(invoke("show", "-o", "json")[1])[0]["number"] == "2"
