"""Slots: two workers of a host never share one, and whoever comes after a killed worker takes its slot."""

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamtag.errors import SettingsError, StreamtagError
from streamtag.stream import slots
from streamtag.stream.slots import take_slot

# Takes a slot, says its name, and holds it until its standard input ends.
_HOLDER = """
import sys
from pathlib import Path
from streamtag.stream.slots import take_slot
with take_slot(sys.argv[1], Path(sys.argv[2])) as slot:
    print(slot.name, flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that holds a slot."""

    def __init__(self, group: str, state_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, group, str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.name = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[str], Holder]]:
    made: list[Holder] = []

    def hold(group: str = "g") -> Holder:
        made.append(Holder(group, tmp_path))
        return made[-1]

    yield hold
    for one in made:
        one.kill()


def test_a_slot_held_by_another_process_is_not_given_and_is_free_when_that_was_killed(
    holder: Callable[..., Holder], tmp_path: Path
) -> None:
    other = holder()
    assert other.name.startswith("g-")
    with take_slot("g", tmp_path) as mine:
        assert mine.name != other.name
        other.kill()
        with take_slot("g", tmp_path) as heir:
            assert heir.name == other.name


def test_slots_are_numbered_from_zero_and_the_lowest_free_one_is_taken(tmp_path: Path) -> None:
    taken = [take_slot("g", tmp_path) for _ in range(4)]
    assert [slot.name.rpartition("-")[2] for slot in taken] == ["0", "1", "2", "3"]
    taken[1].close()
    with take_slot("g", tmp_path) as heir:
        assert heir.name == taken[1].name
    for slot in taken:
        slot.close()


def test_groups_do_not_share_slots(tmp_path: Path) -> None:
    with take_slot("one", tmp_path) as one, take_slot("two", tmp_path) as two:
        assert one.name.endswith("-0")
        assert two.name.endswith("-0")
        assert one.name != two.name


def test_a_slot_closed_twice_does_not_close_what_was_opened_in_between(tmp_path: Path) -> None:
    slot = take_slot("g", tmp_path)
    slot.close()
    with take_slot("g", tmp_path) as heir:
        slot.close()
        with take_slot("g", tmp_path) as other:
            assert other.name != heir.name


def test_a_fixed_slot_is_taken_at_its_word(tmp_path: Path) -> None:
    with take_slot("g", tmp_path, "7") as one, take_slot("g", tmp_path, "7") as two:
        assert one.name == two.name == "g-7"
    assert list(tmp_path.iterdir()) == []


def test_a_state_dir_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(SettingsError, match=str(in_the_way)) as caught:
        take_slot("g", in_the_way)
    assert "state_dir" in caught.value.hint


def test_more_workers_than_slots_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(_lock: int, _operation: int) -> None:
        raise BlockingIOError

    monkeypatch.setattr(slots, "MAX_SLOTS", 3)
    monkeypatch.setattr(fcntl, "flock", taken)
    with pytest.raises(StreamtagError, match="all 3 slots of group g"):
        take_slot("g", tmp_path)
