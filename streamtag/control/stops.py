"""Stop marks: a worker that met too many dead letters stays stopped, over restarts, until a person lifts the mark.

A mark stands in Redis, for the whole group, and in the state directory of the host that set it, so that a restart
while Redis is away does not forget it. Lifting happens in Redis and remembers the mark's id, which voids the copy on
the disk at the next look. It also says what may pass, or what led to the stop would stop the group again.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from streamtag.atomic_files import replace_file
from streamtag.control.connection import guarded, run_script
from streamtag.control.documents import Time, sha256_of
from streamtag.control.partition_places import Place, Position, partition_of
from streamtag.control.store import ControlStore
from streamtag.errors import NotFoundError, RefusedError, UnavailableError
from streamtag.settings import Settings

__all__ = ["Pardon", "StopMark", "StopStore"]

log = logging.getLogger(__name__)


class StopMark(msgspec.Struct, frozen=True, kw_only=True):
    """Why a group's workers stopped: who saw it, when, and the counts that led to it."""

    group: str
    reason: str
    at: Time
    worker: str
    counts: Mapping[str, int] = {}

    @property
    def id(self) -> str:
        """Hash of the mark's content."""
        return sha256_of(msgspec.json.encode(self))


class Pardon(msgspec.Struct, frozen=True, kw_only=True):
    """What the last lifting of a group's stop lets pass: whatever its topics held by then."""

    at: Time
    until: Mapping[Place, Position]
    """``topic/partition`` to the offset before which dead letters do not count."""

    @property
    def offsets(self) -> dict[tuple[str, int], int]:
        """The same by (topic, partition)."""
        return {partition_of(place): offset for place, offset in self.until.items()}


class StopStore:
    """The stop marks of one namespace."""

    def __init__(self, settings: Settings, *, store: ControlStore | None = None) -> None:
        self._store = store or ControlStore(settings.redis)
        self._directory = settings.state_dir / "stops" / settings.redis.namespace
        self._away = False
        self._odd = b""
        self._unkept: StopMark | None = None

    def set(self, mark: StopMark) -> None:
        """Stops the group, here and in Redis; one of the two is enough to hold over a restart of this host.

        Raises:
            UnavailableError: neither could be written.
        """
        on_disk = self._keep(mark)
        try:
            self._publish(mark)
        except UnavailableError as error:
            if not on_disk:
                raise
            log.warning("stop mark of group %s is on this host only: %s", mark.group, error.message)

    def get(self, group: str) -> StopMark | None:
        """The mark that stops ``group``, the latest where several do; None where none does.

        Without Redis only what this host has seen is known.
        """
        return self.look(group)[0]

    def look(self, group: str, held: StopMark | None = None) -> tuple[StopMark | None, Pardon | None]:
        """The mark as of `get`, and what the last lifting lets pass, as of the same moment.

        Without Redis, or in one that has lost it, what this host has seen lets pass.

        Args:
            group: the consumer group.
            held: the mark that the caller has stopped for. Where the disk has none it stands in for it, and is put
                there: on a full disk it would be forgotten as soon as Redis is away.
        """
        local, pardon = self._read(group), self._read_pardon(group)
        missing = held is not None and local is None
        local = local or held
        try:
            # Redis may have been away when it was set, or emptied since: a person must be able to see and lift it.
            void = local is not None and not self._publish(local)
            with guarded(self._store.where, "read the stop marks"):
                pipeline = self._store.client.pipeline(transaction=True)
                pipeline.hvals(self._store.keys.stops(group))
                pipeline.get(self._store.keys.pardon(group))
                raws, raw = pipeline.execute()
            self._away = False
        except UnavailableError as error:
            # Asked again every few seconds: said once per outage.
            if not self._away:
                log.warning("stop marks: only those of this host are known: %s", error.message)
            self._away = True
            raws = []
        else:
            if void:
                self._forget(group)
                local = None
            pardon = self._newer(group, pardon, raw)
        if missing and local is not None:
            self._keep(local)
        standing = [self._decode(raw, group) for raw in raws] + ([local] if local else [])
        return max(standing, key=lambda mark: mark.at, default=None), pardon

    def lift(self, group: str, author: str, reason: str, until: Mapping[str, int]) -> list[StopMark]:
        """Lets the group go on, on every host; audited.

        Args:
            group: the consumer group.
            author: who lets it go on.
            reason: why.
            until: see `Pardon`.

        Returns:
            The marks that stood.

        Raises:
            RefusedError: author or reason is blank.
            NotFoundError: the group is not stopped.
            UnavailableError: Redis does not answer, and nothing was lifted.
        """
        if not author.strip() or not reason.strip():
            raise RefusedError("lifting a stop needs an author and a reason")
        local = self._read(group)
        keys, now = self._store.keys, datetime.now(UTC)
        if local is not None:
            self._publish(local)
        with guarded(self._store.where, "lift the stop"):
            at = f"{now:%Y-%m-%dT%H:%M:%S.%fZ}"
            audit = {"action": "lift-stop", "author": author, "reason": reason, "at": at, "group": group}
            marks = [keys.stops(group), keys.lifted_stops(group), keys.audit, keys.audit_head, keys.pardon(group)]
            now_ms, pardon = int(now.timestamp() * 1000), msgspec.json.encode(Pardon(at=now, until=until))
            raws = self._store.audit_log.append(
                audit, lambda entry: run_script(self._store.client, "lift", marks, [now_ms, pardon, *entry])
            )
        self._forget(group)
        if not raws and not self._was_lifted_by(group, pardon):
            raise NotFoundError(f"group {group} is not stopped")
        return [self._decode(raw, group) for raw in raws]

    def _was_lifted_by(self, group: str, pardon: bytes) -> bool:
        """Whether this very lifting was done: the reply to an earlier try was lost on its way."""
        with guarded(self._store.where, "read what may pass"):
            return bool(self._store.client.get(self._store.keys.pardon(group)) == pardon)

    def _publish(self, mark: StopMark) -> bool:
        """Puts the mark into Redis; False where a person has lifted it already."""
        keys = self._store.keys
        with guarded(self._store.where, "write the stop mark"):
            marks = [keys.stops(mark.group), keys.lifted_stops(mark.group)]
            return bool(run_script(self._store.client, "mark", marks, [mark.id, msgspec.json.encode(mark)]))

    def _keep(self, mark: StopMark) -> bool:
        """Puts the mark on this host's disk; False where that cannot be."""
        try:
            replace_file(self._path(mark.group), msgspec.json.encode(mark))
        except OSError as error:
            if mark != self._unkept:  # tried again every few seconds: said once
                log.error("stop mark of group %s is not on disk: %s", mark.group, error)
            self._unkept = mark
            return False
        self._unkept = None
        return True

    def _path(self, group: str) -> Path:
        name = f"{group}.json"
        if Path(name).name != name:
            raise RefusedError(f"group {group!r} has no stop marks: its name would lead to another directory")
        return self._directory / name

    def _pardon_path(self, group: str) -> Path:
        return self._directory / "pardons" / self._path(group).name

    def _read_pardon(self, group: str) -> Pardon | None:
        try:
            return self._decode_pardon(self._pardon_path(group).read_bytes(), group)
        except OSError:
            return None  # most often there is none; and what may pass only spares a person a step

    def _newer(self, group: str, seen: Pardon | None, raw: bytes | None) -> Pardon | None:
        """The pardon that Redis holds, kept on this host, too; ``seen`` where it holds none, or an older one."""
        found = None if raw is None else self._decode_pardon(raw, group)
        if found is None or (seen is not None and found.at <= seen.at):
            return seen
        try:
            replace_file(self._pardon_path(group), msgspec.json.encode(found))
        except OSError as error:
            log.warning("what may pass in group %s is not kept on disk: %s", group, error)
        return found

    def _decode_pardon(self, raw: bytes, group: str) -> Pardon | None:
        try:
            return msgspec.json.decode(raw, type=Pardon)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if raw != self._odd:  # looked at every few seconds: said once
                log.warning("what may pass in group %s cannot be read, everything counts: %s", group, error)
            self._odd = raw
            return None

    def _read(self, group: str) -> StopMark | None:
        path = self._path(group)
        try:
            return self._decode(path.read_bytes(), group)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _unreadable(group, error)

    def _forget(self, group: str) -> None:
        try:
            self._path(group).unlink(missing_ok=True)
        except OSError as error:
            # It is void already, and is found void again at every look.
            log.warning("lifted stop mark of group %s stays on disk: %s", group, error)

    @staticmethod
    def _decode(raw: bytes, group: str) -> StopMark:
        try:
            return msgspec.json.decode(raw, type=StopMark)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _unreadable(group, error)


def _unreadable(group: str, error: Exception) -> StopMark:
    """Somebody meant to stop: a mark that cannot be read still stops."""
    reason = f"a stop mark that cannot be read: {error}"
    return StopMark(group=group, reason=reason, at=datetime.fromtimestamp(0, UTC), worker="")
