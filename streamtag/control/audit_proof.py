"""Proving the audit chain, and noting on this host how far it was proven: the same for the command and the API."""

from dataclasses import dataclass

from streamtag.control.audit_log import AuditLog
from streamtag.control.audit_note import AuditNote
from streamtag.domain.audit_chain import Head, Verified, verify
from streamtag.errors import RefusedError

__all__ = ["Proof", "prove"]


@dataclass(frozen=True)
class Proof:
    """What was found, and what it was compared with.

    Attributes:
        found: by walking the whole stream.
        kept: the head beside the stream.
        noted: what this host had noted before; None: nothing, or it was not to count.
        unwritten: why the note could not be written; the proof is as good, the next one knows less. Empty: it was.
    """

    found: Verified
    kept: Head
    noted: Head | None
    unwritten: str = ""


def prove(log: AuditLog, note: AuditNote, *, accept: bool = False) -> Proof:
    """Proves every link; where all stands, this host notes the newest.

    Whoever may read the audit may have it proven, over HTTP, too, and the note moves all the same: it only ever moves
    forward, along the chain that it was compared with, so nobody can do harm by it, and every proof makes the next one
    stronger. Going back (``accept``) takes somebody on the host.

    Args:
        log: the stream.
        note: of this host.
        accept: note what Redis holds now even where this host has seen a later entry.

    Raises:
        UnavailableError: Redis does not answer in time.
        RefusedError: the note, or the head beside the stream, cannot be read.
    """
    noted = None if accept else note.read()
    kept = log.head()  # before the entries: whatever comes meanwhile lies behind it
    found = verify(log.entries(), kept, noted)
    stands = found.fault is None and found.head.number > 0
    return Proof(found, kept, noted, _write(note, found.head, accept) if stands else "")


def _write(note: AuditNote, head: Head, accept: bool) -> str:
    """Why it failed; empty where it did not."""
    try:
        present = None if accept else note.read()  # anew: another proof may have come further meanwhile
        if present is None or present.number < head.number:
            note.write(head)
    except RefusedError as error:
        return error.message
    return ""
