"""Who sits where: a blur excuses a worker by the name it publishes under."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from faults.campaign import _writers
from faults.seats import CampaignWorker, Seat
from faults.stage import Stage

STARTS = '{"ts": "t", "event": "tagger starts", "worker": "%s", "group": "g"}\n'


def seat(index: int, logs: Path, *names: str) -> Seat:
    """A seat on which workers of these names have sat, one after another."""
    log = logs / f"worker-{index}.log"
    log.write_text("".join(STARTS % name + '{"event": "something else"}\n' for name in names), encoding="utf-8")
    return Seat(index, {}, logs, worker=cast(CampaignWorker, SimpleNamespace(log=log)))


def test_a_seat_has_the_name_of_its_last_worker(tmp_path: Path) -> None:
    assert seat(0, tmp_path, "group-host-0", "group-host-2").writer() == "group-host-2"


def test_an_empty_seat_and_one_that_has_not_spoken_have_no_name(tmp_path: Path) -> None:
    assert Seat(0, {}, tmp_path).writer() is None
    assert seat(1, tmp_path).writer() is None


def test_a_fault_of_one_seat_excuses_its_worker_and_one_of_all_excuses_everybody(tmp_path: Path) -> None:
    seats = [seat(0, tmp_path, "a"), seat(1, tmp_path, "b")]
    stage = cast(Stage, SimpleNamespace(seats=seats))
    assert _writers(stage, seats[1:]) == frozenset({"b"})
    assert _writers(stage, seats) is None


@pytest.mark.parametrize(
    ("said", "code", "clean"),
    [
        ("", 0, True),
        ("", -signal.SIGTERM, True),
        ("", 1, False),
        (STARTS % "new", 0, True),
        (STARTS % "new", -signal.SIGTERM, False),
        (STARTS % "new", 1, False),
    ],
)
def test_only_a_worker_that_did_not_listen_yet_may_die_of_the_signal(
    tmp_path: Path, said: str, code: int, clean: bool
) -> None:
    one = seat(0, tmp_path, "old")
    log = one.current().log
    one._began_at = log.stat().st_size
    with log.open("a", encoding="utf-8") as out:
        out.write(said)
    process = SimpleNamespace(terminate=lambda: None, wait=lambda _timeout: code)
    one.worker = cast(CampaignWorker, SimpleNamespace(log=log, process=process))
    one.stop()
    assert (one.unexpected == []) is clean


class Ended:
    """A worker that has ended as its log says."""

    alive, frozen = False, False

    def __init__(self, log: Path, code: int) -> None:
        self.log = log
        self.process = SimpleNamespace(returncode=code)

    def kill(self) -> None:
        """Too late."""

    def tell(self, command: str) -> None:
        """Nobody hears."""


def ended(index: int, logs: Path, *, armed: bool, said: str, code: int) -> Seat:
    """A seat whose worker has ended, maybe after it was told to strike itself down."""
    one = seat(index, logs, "w")
    one.worker = cast(CampaignWorker, Ended(one.current().log, code))
    if armed:
        one.arm("revoke.after", 0, "kill")
    with one.current().log.open("a", encoding="utf-8") as out:
        out.write(said)
    return one


def test_a_worker_that_strikes_itself_down_as_told_ends_as_it_should(tmp_path: Path) -> None:
    one = ended(0, tmp_path, armed=True, said="fault point revoke.after: kill\n", code=-signal.SIGKILL)
    assert one.wait_struck("revoke.after", "kill", 1.0)
    one.look()
    one.leave()
    assert one.unexpected == []


def test_a_worker_that_ends_before_it_strikes_itself_down_ends_unasked(tmp_path: Path) -> None:
    one = ended(0, tmp_path, armed=True, said="SystemError\n", code=1)
    assert not one.wait_struck("revoke.after", "kill", 1.0)
    one.disarm()
    one.leave()
    [unexpected] = one.unexpected
    assert unexpected.startswith("tagger 0: exit code 1: ")


def test_a_strike_that_comes_after_all_was_asked_for(tmp_path: Path) -> None:
    """After the wait for it, and before the worker heard that it is over."""
    one = ended(0, tmp_path, armed=True, said="fault point revoke.after: kill\n", code=-signal.SIGKILL)
    one.disarm()
    one.leave()
    assert one.unexpected == []


def test_whoever_has_ended_already_is_not_killed(tmp_path: Path) -> None:
    one = ended(0, tmp_path, armed=False, said="", code=1)
    one.kill()
    assert len(one.unexpected) == 1
    one.leave()
    assert len(one.unexpected) == 1
