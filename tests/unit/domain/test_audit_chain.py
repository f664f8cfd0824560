"""The audit chain: whatever is changed, removed or inserted is found, and named."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.domain.audit_chain import Fields, Head, digest, link, verify

fields = st.dictionaries(st.text(max_size=5).filter(lambda n: n not in ("number", "previous", "sha256")), st.text())


def chain(entries: list[dict[str, str]], head: Head | None = None) -> tuple[list[tuple[str, Fields]], Head]:
    found, head = [], head or Head()
    for entry in entries:
        head, linked = link(head, entry)
        found.append((f"{head.number}-0", linked))
    return found, head


THREE, HEAD = chain([{"action": "seed", "author": "streamtag"}, {"action": "thresholds"}, {"action": "return"}])


def test_the_canonical_form_is_that_of_the_page() -> None:
    head, entry = link(Head(), {"author": "zoé"})
    canonical = b"6:number,1:1,8:previous,0:,6:author,4:zo\xc3\xa9,"
    assert head.sha256 == hashlib.sha256(canonical).hexdigest()
    assert dict(entry)[b"sha256"].decode() == head.sha256
    assert digest([]) == hashlib.sha256(b"").hexdigest()


@given(st.lists(fields, max_size=6))
def test_what_was_linked_is_proven(entries: list[dict[str, str]]) -> None:
    found, head = chain(entries)
    verified = verify(found, head)
    assert (verified.fault, verified.entries, verified.head) == (None, len(entries), head)


@given(st.data(), st.lists(fields, min_size=1, max_size=5))
def test_any_one_change_is_found(data: st.DataObject, entries: list[dict[str, str]]) -> None:
    found, head = chain(entries)
    at = data.draw(st.integers(0, len(found) - 1))
    entry, pairs = found[at]
    where = data.draw(st.integers(0, len(pairs) - 1))
    name, value = pairs[where]
    other = data.draw(st.binary(max_size=8).filter(lambda text: text not in (name, value)))
    changed = data.draw(st.sampled_from([(name, other), (other, value)]))
    found[at] = entry, [*pairs[:where], changed, *pairs[where + 1 :]]
    assert verify(found, head).fault is not None


@given(st.data(), st.integers(1, 6))
def test_any_one_removal_is_found_but_at_the_beginning_where_it_shows_as_trimmed(
    data: st.DataObject, size: int
) -> None:
    found, head = chain([{"n": str(n)} for n in range(size)])
    at = data.draw(st.integers(0, size - 1))
    del found[at]
    verified = verify(found, head)
    if at == 0 and size > 1:
        assert (verified.fault, verified.trimmed) == (None, 1)
    else:
        assert verified.fault is not None


@pytest.mark.parametrize(
    ("entries", "entry", "problem"),
    [
        ([THREE[0], THREE[2]], "3-0", "comes after 1: 2 removed"),
        ([THREE[0], THREE[1], THREE[1], THREE[2]], "2-0", "inserted"),
        ([*THREE[:2], ("2-1", [(b"action", b"seed")]), THREE[2]], "2-1", "no link"),
        (THREE[:2], "", "ends with entry 2"),
        ([], "", "ends with entry 0"),
        ([("0-1", [(b"action", b"old")]), *THREE[1:]], "2-0", "removed"),
        ([THREE[0], chain([{"action": "forged"}], Head(1, "0" * 64))[0][0], THREE[2]], "2-0", "does not name"),
        ([*THREE[:2], chain([{"action": "forged"}], Head(2, HEAD.sha256))[0][0]], "3-0", "does not name"),
    ],
)
def test_the_first_bad_entry_is_named(entries: list[tuple[str, Fields]], entry: str, problem: str) -> None:
    fault = verify(entries, HEAD).fault
    assert fault is not None
    assert fault.entry == entry
    assert problem in fault.problem


def test_entries_from_before_the_chain_are_told_apart() -> None:
    verified = verify([("0-1", [(b"action", b"seed")]), *THREE], HEAD)
    assert (verified.fault, verified.before, verified.entries) == (None, 1, 3)


def test_entries_that_came_since_the_head_was_read_are_no_fault() -> None:
    assert verify(THREE, Head(2, dict(THREE[1][1])[b"sha256"].decode())).fault is None


def test_an_older_copy_is_sound_in_itself_and_only_a_note_tells() -> None:
    older = Head(2, dict(THREE[1][1])[b"sha256"].decode())
    assert verify(THREE[:2], older).fault is None
    told = verify(THREE[:2], older, noted=HEAD).fault
    assert told is not None
    assert "noted here before is 3" in told.problem
    gone_on, head = chain([{"action": "another"}], older)
    told = verify([*THREE[:2], *gone_on], head, noted=HEAD).fault
    assert told is not None
    assert "another hash" in told.problem


def test_a_note_of_what_was_trimmed_since_says_nothing() -> None:
    noted = Head(1, dict(THREE[0][1])[b"sha256"].decode())
    assert verify(THREE[1:], HEAD, noted).fault is None
