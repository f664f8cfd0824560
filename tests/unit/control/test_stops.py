"""Stop marks: they hold over restarts and outages, and only a person lifts them."""

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from control_plane import new_store

from streamtag.control.connection import run_script
from streamtag.control.stops import Pardon, StopMark, StopStore
from streamtag.errors import NotFoundError, RefusedError, UnavailableError
from streamtag.settings import Settings

AT = datetime(2026, 11, 23, 3, tzinfo=UTC)
MARK = StopMark(group="g", reason="500 dead letters in a row", at=AT, worker="w1", counts={"dead": 500})


def stops_of(host: Path, server: fakeredis.FakeServer) -> StopStore:
    """The stop store as a (re)started process on ``host`` sees it."""
    return StopStore(Settings.model_validate({"state_dir": host}), store=new_store(server))


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def test_a_stop_holds_over_restarts_and_on_other_hosts(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops_of(tmp_path / "a", server).set(MARK)
    assert stops_of(tmp_path / "a", server).get("g") == MARK
    assert stops_of(tmp_path / "b", server).get("g") == MARK
    assert stops_of(tmp_path / "b", server).get("other") is None


def test_a_stop_set_without_redis_holds_here_and_shows_up_later(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    server.connected = False
    stops_of(tmp_path / "a", server).set(MARK)
    assert stops_of(tmp_path / "a", server).get("g") == MARK
    server.connected = True
    assert stops_of(tmp_path / "b", server).get("g") is None
    assert stops_of(tmp_path / "a", server).get("g") == MARK
    assert stops_of(tmp_path / "b", server).get("g") == MARK


def test_an_emptied_redis_lifts_nothing(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops_of(tmp_path, server).set(MARK)
    new_store(server).client.flushall()
    assert stops_of(tmp_path, server).get("g") == MARK


def test_lifting_elsewhere_voids_the_mark_on_the_workers_disk(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops_of(tmp_path / "worker", server).set(MARK)
    assert stops_of(tmp_path / "laptop", server).lift("g", "anna", "mapping repaired", {}) == [MARK]
    assert stops_of(tmp_path / "worker", server).get("g") is None
    server.connected = False
    assert stops_of(tmp_path / "worker", server).get("g") is None


def test_a_later_stop_stands_after_an_earlier_one_was_lifted(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops_of(tmp_path, server).set(MARK)
    stops_of(tmp_path, server).lift("g", "anna", "repaired", {})
    again = StopMark(group="g", reason="again", at=AT + timedelta(minutes=1), worker="w1")
    stops_of(tmp_path, server).set(again)
    assert stops_of(tmp_path, server).get("g") == again


def test_lifting_lifts_the_marks_of_all_workers(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    other = StopMark(group="g", reason="20 % dead letters", at=AT + timedelta(seconds=1), worker="w2")
    stops_of(tmp_path / "a", server).set(MARK)
    stops_of(tmp_path / "b", server).set(other)
    assert stops_of(tmp_path / "a", server).get("g") == other
    lifted = stops_of(tmp_path / "c", server).lift("g", "anna", "repaired", {})
    assert sorted(mark.worker for mark in lifted) == ["w1", "w2"]
    assert stops_of(tmp_path / "a", server).get("g") is None
    assert stops_of(tmp_path / "b", server).get("g") is None


def test_lifting_is_audited_and_needs_a_stop_and_a_reason(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops = stops_of(tmp_path, server)
    with pytest.raises(NotFoundError, match="group g is not stopped"):
        stops.lift("g", "anna", "repaired", {})
    stops.set(MARK)
    with pytest.raises(RefusedError):
        stops.lift("g", "anna", "", {})
    stops.lift("g", "anna", "repaired", {})
    (entry,) = new_store(server).audit()
    assert (entry.fields["action"], entry.fields["author"], entry.fields["group"]) == ("lift-stop", "anna", "g")


def test_what_a_lifting_lets_pass_is_known_to_all_until_the_next(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops, elsewhere = stops_of(tmp_path / "a", server), stops_of(tmp_path / "b", server)
    assert elsewhere.look("g")[1] is None
    for until in ({"content/0": 7, "content/1": 3}, {"content/0": 9}):
        stops.set(StopMark(group="g", reason="again", at=AT + timedelta(minutes=len(until)), worker="w1"))
        stops.lift("g", "anna", "repaired", until)
        found = elsewhere.look("g")[1]
        assert found is not None
        assert found.until == until
    assert Pardon(at=AT, until={"a.b/11": 3}).offsets == {("a.b", 11): 3}


@pytest.mark.parametrize("away", [True, False])
def test_what_may_pass_outlasts_redis(tmp_path: Path, server: fakeredis.FakeServer, away: bool) -> None:
    stops_of(tmp_path / "a", server).set(MARK)
    stops_of(tmp_path / "laptop", server).lift("g", "anna", "repaired", {"content/0": 7})
    pardon = stops_of(tmp_path / "a", server).look("g")[1]
    if away:
        server.connected = False
    else:
        new_store(server).client.flushall()
    assert pardon is not None
    assert stops_of(tmp_path / "a", server).look("g") == (None, pardon)
    assert stops_of(tmp_path / "b", server).look("g") == (None, None)


@pytest.mark.parametrize(
    "raw", [b"by hand", b'{"at": "2026-11-23T03:00:00Z", "until": {"content": 5}}', b'{"at": "\xff"}']
)
def test_what_cannot_be_read_lets_nothing_pass_and_ends_nobody(
    tmp_path: Path, server: fakeredis.FakeServer, caplog: pytest.LogCaptureFixture, raw: bytes
) -> None:
    stops, store = stops_of(tmp_path, server), new_store(server)
    store.client.set(store.keys.pardon("g"), raw)
    for _ in range(3):
        assert stops.look("g") == (None, None)
    assert len([record for record in caplog.records if "everything counts" in record.message]) == 1


def test_a_mark_whose_lifting_is_known_only_in_part_still_stops(
    tmp_path: Path, server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis says that this mark was lifted, and is away before it says what may pass."""
    stops = stops_of(tmp_path / "a", server)
    stops.set(MARK)
    stops_of(tmp_path / "b", server).lift("g", "anna", "repaired", {"content/0": 7})
    publish = stops._publish

    def then_away(mark: StopMark) -> bool:
        stands = publish(mark)
        server.connected = False
        return stands

    monkeypatch.setattr(stops, "_publish", then_away)
    assert stops.get("g") == MARK
    server.connected = True
    monkeypatch.undo()
    mark, pardon = stops.look("g")
    assert mark is None
    assert pardon is not None


def test_a_lifting_whose_answer_was_lost_is_not_taken_for_somebody_elses(
    tmp_path: Path, server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends a script again where the connection ends before the answer."""
    stops = stops_of(tmp_path, server)
    stops.set(MARK)

    def twice(*script: Any) -> Any:
        run_script(*script)
        return run_script(*script)

    monkeypatch.setattr("streamtag.control.stops.run_script", twice)
    assert stops.lift("g", "anna", "repaired", {"content/0": 7}) == []
    with pytest.raises(NotFoundError):
        stops.lift("g", "anna", "repaired", {"content/0": 7})


def test_nothing_is_lifted_without_redis(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops = stops_of(tmp_path, server)
    stops.set(MARK)
    server.connected = False
    with pytest.raises(UnavailableError):
        stops.lift("g", "anna", "repaired", {})
    assert stops.get("g") == MARK


def test_a_mark_that_cannot_be_read_still_stops(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops = stops_of(tmp_path, server)
    stops.set(MARK)
    (file,) = (tmp_path / "stops").rglob("*.json")
    file.write_bytes(b'{"group": ')
    new_store(server).client.flushall()
    found = stops.get("g")
    assert found is not None
    assert "cannot be read" in found.reason
    stops.lift("g", "anna", "looked into it", {})
    assert stops.get("g") is None


def test_a_mark_whose_time_has_no_zone_stops_beside_others(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    stops, store = stops_of(tmp_path, server), new_store(server)
    stops.set(MARK)
    by_hand = b'{"group": "g", "reason": "by hand", "at": "2026-11-23T03:00:00", "worker": ""}'
    store.client.hset(store.keys.stops("g"), "by hand", by_hand)
    assert stops.get("g") == MARK
    assert len(stops.lift("g", "anna", "looked into it", {})) == 2


def test_a_stop_that_can_be_kept_nowhere_is_an_error(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    (tmp_path / "stops").write_text("in the way")
    server.connected = False
    with pytest.raises(UnavailableError):
        stops_of(tmp_path, server).set(MARK)


def test_a_disk_that_cannot_be_written_hinders_neither_a_stop_nor_its_lifting(
    tmp_path: Path, server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    stops, laptop = stops_of(tmp_path / "a", server), stops_of(tmp_path / "laptop", server)
    stops.set(MARK)
    again = StopMark(group="g", reason="again", at=AT + timedelta(minutes=1), worker="w1")
    with monkeypatch.context() as patch:
        patch.setattr("streamtag.control.stops.replace_file", refuse)
        patch.setattr(Path, "unlink", refuse)
        stops.set(again)
        assert laptop.get("g") == again
        assert len(laptop.lift("g", "anna", "repaired", {"content/0": 7})) == 2
        for _ in range(2):
            mark, pardon = stops.look("g")
            assert (mark, pardon and pardon.until) == (None, {"content/0": 7})
    for words in ("is not on disk", "stays on disk", "is not kept on disk"):
        assert words in caplog.text
    assert stops.look("g") == (None, pardon)
    server.connected = False
    assert stops_of(tmp_path / "a", server).look("g") == (None, pardon), "written as soon as it could be"


def test_a_mark_that_may_not_be_read_still_stops(tmp_path: Path, server: fakeredis.FakeServer) -> None:
    (tmp_path / "stops" / "default" / "g.json").mkdir(parents=True)
    found = stops_of(tmp_path, server).get("g")
    assert found is not None
    assert "cannot be read" in found.reason


def test_an_outage_is_logged_once(
    tmp_path: Path, server: fakeredis.FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    stops = stops_of(tmp_path, server)
    server.connected = False
    for _ in range(3):
        assert stops.get("g") is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize("group", ["../../releases/default", "a/b", "/etc/x"])
def test_a_group_never_names_a_file_elsewhere(tmp_path: Path, server: fakeredis.FakeServer, group: str) -> None:
    stops = stops_of(tmp_path, server)
    with pytest.raises(RefusedError, match="another directory"):
        stops.get(group)
    with pytest.raises(RefusedError, match="another directory"):
        stops.lift(group, "anna", "repaired", {})
