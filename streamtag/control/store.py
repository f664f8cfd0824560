"""Reading and writing the control plane in Redis: releases, revisions, audit.

Everything that decides hangs on one alias, ``champion``. It holds number and hash of a release document, which holds
number and hash of a threshold revision: whatever is read from the champion on is proven, byte for byte.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec
import redis

from streamtag.control.audit_log import AuditLog
from streamtag.control.connection import Keys, address, connect, guarded, run_script
from streamtag.control.documents import Stored
from streamtag.control.release_documents import (
    ReleaseDocument,
    ReleaseId,
    RevisionId,
    ThresholdRevision,
    decode_release,
    decode_revision,
    reference,
)
from streamtag.domain.release import ReleaseRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import NotFoundError, RefusedError
from streamtag.settings import RedisSettings

__all__ = [
    "NO_STEP",
    "RESTORE_HINT",
    "AuditEntry",
    "CommitResult",
    "ControlStore",
    "Current",
    "Heads",
    "RequestStep",
]

RESTORE_HINT = (
    '`streamtag release restore-snapshot --reason "…"` on the host of a worker brings its last good release back.'
)
_FOLLOWED = 500  # entries of the audit stream that are read at a time


@dataclass(frozen=True)
class Current:
    """A release with the threshold revision it names, both proven by their hashes."""

    release: Stored[ReleaseDocument]
    revision: Stored[ThresholdRevision]

    @property
    def id(self) -> ReleaseId:
        """Number and hash of the release."""
        return ReleaseId(self.release.document.number, self.release.sha256)

    @property
    def ref(self) -> ReleaseRef:
        """The identity that workers stamp on what they decide."""
        return reference(self.release)

    @property
    def thresholds(self) -> ThresholdSet:
        """The set that decides."""
        return self.revision.document.thresholds.to_set()

    def facts(self) -> dict[str, Any]:
        """For programs: which release this is, what it pairs, who made it, when and why."""
        document = self.release.document
        return {
            "release": document.number,
            "sha256": self.release.sha256,
            "revision": document.thresholds.revision,
            "bundle": str(self.ref.bundle),
            "author": document.author,
            "reason": document.reason,
            "at": document.at,
        }


@dataclass(frozen=True)
class Heads:
    """The champion, and the highest numbers ever given here (0 = none)."""

    champion: ReleaseId | None
    release: int
    revision: int
    alias: bytes = b""
    """The champion's value as it stands in Redis: what a commit compares with."""
    damaged: bool = False
    """Whether some of it could not be read, and counts as none."""

    @property
    def blank(self) -> bool:
        """True in a Redis that never held a release of this namespace."""
        return not self.alias and self.release == 0 and self.revision == 0


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit stream: who did what, when and why."""

    id: str
    """Of the Redis stream: milliseconds of the server's clock and a sequence number."""
    fields: Mapping[str, str]


@dataclass(frozen=True)
class CommitResult:
    """What became of a commit; ``detail`` is the champion's value, what was taken, or the freeze that holds it up."""

    outcome: Literal["committed", "conflict", "taken", "frozen", "request moved"]
    detail: str = ""


@dataclass(frozen=True)
class RequestStep:
    """A step of a change request that is made together with what it does, or not at all.

    Attributes:
        number: of the request.
        before, after: its document, byte for byte.
        due_ms: when the scheduler shall look at it next, Unix time; None: never.
        place: among requests by state, see `streamtag.control.change_index`.
    """

    number: int
    before: bytes
    after: bytes
    due_ms: int | None = None
    place: int = 0

    @property
    def arguments(self) -> list[str | bytes | int]:
        """As ``lua/shared.lua`` takes them."""
        return [self.before, self.after, self.number, "" if self.due_ms is None else self.due_ms, self.place]


_T = TypeVar("_T")

NO_STEP = RequestStep(0, b"", b"")
"""Where no change request goes on."""


class ControlStore:
    """The control plane of one namespace.

    Every method raises `UnavailableError` when Redis does not answer in time. Safe to use from several threads.
    """

    def __init__(self, settings: RedisSettings, *, client: redis.Redis | None = None) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.client = client if client is not None else connect(settings)
        self.where = address(settings.url)
        self.audit_log = AuditLog(self.client, self.keys, self.where)

    def close(self) -> None:
        """Closes the connections."""
        self.client.close()

    def heads(self, *, damaged: bool = False) -> Heads:
        """The champion's identity and the highest numbers given; one round trip.

        Args:
            damaged: read a damaged alias or counter as none, for who is about to replace it.

        Raises:
            RefusedError: the alias or a counter is damaged.
        """
        with guarded(self.where, "read the champion"):
            pipeline = self.client.pipeline(transaction=True)
            pipeline.get(self.keys.champion)
            pipeline.hmget(self.keys.heads, ["release", "revision"])
            alias, numbers = pipeline.execute()
        # Each on its own: what can be read keeps numbers from being given twice, whatever else is damaged.
        champion = _read(partial(_parse_alias, alias), damaged)
        release, revision = (_read(partial(_parse_count, number), damaged) for number in numbers)
        unread = (alias is not None and champion is None) or None in (release, revision)
        least = champion.number if champion else 0
        return Heads(champion, max(release or 0, least), revision or 0, alias or b"", unread)

    def champion(self) -> ReleaseId | None:
        """Identity of the release that shall decide, or None."""
        return self.heads().champion

    def load(self, champion: ReleaseId) -> Current:
        """The release and its revision.

        Raises:
            NotFoundError: a document is missing.
            RefusedError: a document is not what was published.
        """
        release = self.release(champion)
        return Current(release, self.revision(release.document.thresholds))

    def current(self) -> Current | None:
        """The champion with its documents, or None where there is none; raises as `load`."""
        champion = self.champion()
        return None if champion is None else self.load(champion)

    def release(self, wanted: ReleaseId) -> Stored[ReleaseDocument]:
        """One release document; raises as `load`."""
        raw = self._get(self.keys.release(wanted.number), f"release {wanted.number}")
        return decode_release(raw, wanted)

    def revision(self, wanted: RevisionId) -> Stored[ThresholdRevision]:
        """One threshold revision; raises as `load`."""
        raw = self._get(self.keys.revision(wanted.revision), f"threshold revision {wanted.revision}")
        return decode_revision(raw, wanted)

    def releases(self) -> Iterator[Stored[ReleaseDocument]]:
        """From the champion back to the first release, each proven by the one after it; raises as `load`."""
        wanted = self.champion()
        while wanted is not None:
            release = self.release(wanted)
            yield release
            wanted = release.document.parent

    def revisions(self, start: RevisionId | None = None) -> Iterator[Stored[ThresholdRevision]]:
        """From ``start`` (None: the champion's threshold revision) back to the first, likewise."""
        current = self.current() if start is None else None
        revision = self.revision(start) if start is not None else current.revision if current else None
        while revision is not None:
            yield revision
            parent = revision.document.parent
            revision = None if parent is None else self.revision(parent)

    def commit(
        self,
        *,
        expected: bytes,
        release: Stored[ReleaseDocument],
        revision: Stored[ThresholdRevision] | None,
        audit: Mapping[str, str],
        bound: bool = False,
        step: RequestStep = NO_STEP,
    ) -> CommitResult:
        """Makes ``release`` the champion if ``expected`` still is: one atomic script, safe to repeat.

        Args:
            expected: `Heads.alias` that the change was made from.
            release: the new release document.
            revision: its threshold revision, or None where an existing one is kept.
            audit: fields of the audit entry.
            bound: whether a freeze holds it up.
            step: of a change request that this carries out.
        """
        number = release.document.number
        revision_number = release.document.thresholds.revision
        keys = self.keys
        arguments: list[str | bytes | int] = [
            expected,
            msgspec.json.encode(ReleaseId(number, release.sha256)),
            number,
            release.raw,
            revision_number,
            b"" if revision is None else revision.raw,
            keys.channel,
            "bound" if bound else "",
            *step.arguments,
        ]
        places = [keys.champion, keys.heads, keys.release(number), keys.revision(revision_number)]
        places += [keys.audit, keys.audit_head, keys.freeze, keys.change_request(step.number), keys.requests_due]
        places.append(keys.requests_by_state)
        with guarded(self.where, f"commit release {number}; whether it was committed is unknown"):
            reply = self.audit_log.append(
                audit, lambda entry: run_script(self.client, "commit", places, [*arguments, *entry])
            )
        outcome, *detail = (part.decode() for part in reply)
        return CommitResult(outcome, detail[0] if detail else "")

    def note(self, fields: Mapping[str, str]) -> None:
        """Adds an entry to the audit stream for what is done elsewhere than in Redis."""
        places = [self.keys.audit, self.keys.audit_head]
        with guarded(self.where, "write to the audit stream"):
            self.audit_log.append(fields, lambda entry: run_script(self.client, "note", places, entry))

    def audit(self, limit: int = 50, *, before: str | None = None) -> list[AuditEntry]:
        """Entries of the audit stream, newest first: the latest, or those before the one with this id."""
        latest = "+" if before is None else f"({before}"
        with guarded(self.where, "read the audit stream"):
            entries: Any = self.client.xrevrange(self.keys.audit, max=latest, count=limit)
        return [_entry(*entry) for entry in entries]

    def follow_audit(self, after: str, wait_s: float) -> list[AuditEntry]:
        """The next entries later than the id ``after``, waiting up to ``wait_s`` (or half the time-out) for the first.

        At most a page: who follows from far behind asks again from the last one on, and nobody holds the whole stream.
        """
        block_ms = max(1, int(min(wait_s, self.settings.timeout_s / 2) * 1000))
        with guarded(self.where, "follow the audit stream"):
            streams: Any = self.client.xread({self.keys.audit: after}, count=_FOLLOWED, block=block_ms)
        return [_entry(*entry) for _, entries in streams or () for entry in entries]

    def _get(self, key: str, what: str) -> bytes:
        with guarded(self.where, f"read {what}"):
            raw: Any = self.client.get(key)
        if raw is None:
            raise NotFoundError(
                f"{what} is missing in Redis (key {key})",
                hint=RESTORE_HINT,
            )
        return bytes(raw)


def _read(parse: Callable[[], _T], damaged: bool) -> _T | None:
    try:
        return parse()
    except RefusedError:
        if damaged:
            return None
        raise


def _parse_alias(raw: bytes | None) -> ReleaseId | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=ReleaseId)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"the champion in Redis cannot be read: {error}", hint=RESTORE_HINT) from None


def _parse_count(raw: bytes | None) -> int:
    if raw is None:
        return 0
    if not raw.isdigit():
        raise RefusedError("the numbers of the latest documents in Redis cannot be read", hint=RESTORE_HINT)
    return int(raw)


def _entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> AuditEntry:
    return AuditEntry(entry_id.decode(), {k.decode(): v.decode(errors="replace") for k, v in fields.items()})
