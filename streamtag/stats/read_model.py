"""The read model in Redis: windows, how far they were added up, and the evidence of experiments that run.

Windows and the position up to which the log was read are written in one transaction of Redis: whatever state it is in,
also after a restore, they fit together, and whoever goes on from it comes to the same windows. All of it can be made
again from the panes, or from the summaries (`streamtag stats rebuild`): each making is a generation of its own, and an
alias names the one that counts.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import redis

from streamtag.control.connection import guarded
from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.store import ControlStore
from streamtag.control.verdict_documents import VerdictDocument
from streamtag.errors import ConflictError, RefusedError
from streamtag.stats import windows as wire
from streamtag.stats.experiment_fold import SavedFold
from streamtag.stats.revisions import Memory
from streamtag.stats.window_parts import Rates, Scores, SegmentRates
from streamtag.stats.windows import SIZES, WindowDocument, hour_before, start_of

__all__ = ["KEEP_S", "LOOK_BACK", "Checkpoint", "ReadModel"]

KEEP_S: Mapping[str, int] = {"1m": 8 * 86_400, "5m": 14 * 86_400, "1h": 90 * 86_400, "1d": 730 * 86_400}
"""How long a window is kept after its last change, by size: eight days, two weeks, three months, two years.

Longer where `stats.max_age_s` says so, see `ReadModel`.
"""
_BEYOND_LATE_S = 86_400
"""Windows outlive the latest records by so much, during which the app may stand still."""
_EVIDENCE_S = 86_400
MAKING = b"making"
LOOK_BACK = 30
"""So many windows are looked at for the newest one."""
Document = TypeVar("Document", WindowDocument, Rates, Scores, SegmentRates)
FIRST = "0"
"""The generation that is followed unless another was made."""


class Checkpoint(msgspec.Struct, frozen=True):
    """Where to go on.

    Attributes:
        position: all records of the panes topic before this offset are added up.
        memory: see `streamtag.stats.revisions.Memory`.
        at_ms: when it was written, Unix milliseconds.
    """

    position: int
    memory: Memory
    at_ms: int


class Reached(msgspec.Struct, frozen=True):
    """Of a checkpoint those alone."""

    position: int
    at_ms: int


Part = TypeVar("Part", Checkpoint, Reached)


class ReadModel:
    """The read model of one namespace. Safe to use from several threads.

    Every method raises `UnavailableError` when Redis does not answer in time, and `RefusedError` for what is no
    document of this version.

    Args:
        store: the control plane, whose Redis and namespace it shares.
        generation: to read and write; None: the one that the alias names, looked up at every call.
        max_age_s: `stats.max_age_s`, for whoever writes windows. None expires while records may come that are so late:
            one that has expired would begin anew with them, as if they were all there ever was.
    """

    def __init__(self, store: ControlStore, generation: str | None = None, *, max_age_s: int = 0) -> None:
        self.store = store
        self._max_age_s = max_age_s
        self._generation = generation
        self._seen: bytes | None = None
        self._prefix = store.keys.prefix + "windows:"

    @property
    def prefix(self) -> str:
        """Of the keys of this generation."""
        return f"{self._prefix}{self.generation()}:"

    def generation(self) -> str:
        """The one that is read and written."""
        if self._generation is not None:
            return self._generation
        with self._guarded("read which windows count"):
            raw: Any = self.store.client.get(self._prefix + "generation")
        return FIRST if raw is None else str(raw.decode())

    def keep_s(self, size: str) -> int:
        """How long a window of this size is kept after its last change, seconds."""
        return max(KEEP_S[size], self._max_age_s + _BEYOND_LATE_S)

    # -- windows -----------------------------------------------------------------------------------------------------

    def load(self, size: str, start_ms: int) -> WindowDocument | None:
        """One window; None where nothing was counted in it, or it has expired."""
        return self.read([(size, start_ms)])[0]

    def read(self, places: Sequence[tuple[str, int]]) -> list[WindowDocument | None]:
        """Windows by size and start, one round trip."""
        return self.read_as(WindowDocument, places)

    def read_as(self, kind: type[Document], places: Sequence[tuple[str, int]]) -> list[Document | None]:
        """Of windows what ``kind`` has, `WindowDocument` or one of `streamtag.stats.window_parts`; one round trip."""
        if not places:
            return []
        prefix = self.prefix
        with self._guarded("read windows"):
            found: Any = self.store.client.mget([f"{prefix}{size}:{start}" for size, start in places])
        decode = msgspec.json.Decoder(kind).decode
        return [
            None if raw is None else _unpacked(raw, place, decode) for raw, place in zip(found, places, strict=True)
        ]

    def newest(self, size: str, now_ms: int) -> WindowDocument | None:
        """The newest window with any event, of the last `LOOK_BACK` up to now (a minute ahead: clocks differ)."""
        last = start_of(size, now_ms + SIZES["1m"])
        windows = self.read([(size, last - n * SIZES[size]) for n in range(LOOK_BACK)])
        return next((one for one in windows if one is not None), None)

    def before(self, window: WindowDocument) -> tuple[WindowDocument | None, WindowDocument | None]:
        """The full hour before the window's own, and its own hour a week ago."""
        week_ago = start_of("1h", window.start_ms) - 7 * SIZES["1d"]
        hour, week = self.read([("1h", hour_before(window.start_ms)), ("1h", week_ago)])
        return hour, week

    def checkpoint(self) -> Checkpoint | None:
        """Where to go on, for whoever then writes; None where nothing was ever written, or all of it is lost."""
        self._seen = self._read_checkpoint()
        return self._decoded(self._seen, Checkpoint)

    def position(self) -> int:
        """The position up to which somebody has added up the panes, for whoever only looks; 0 without a checkpoint."""
        found = self.reached()
        return 0 if found is None else found.position

    def reached(self) -> Reached | None:
        """That position, and when it was; None without a checkpoint."""
        return self._decoded(self._read_checkpoint(), Reached)

    def write(self, documents: Iterable[WindowDocument], checkpoint: Checkpoint) -> None:
        """Stores windows and how far they go: all of it, or nothing.

        Raises:
            ConflictError: the checkpoint is not the one that this object has read or written last: somebody else goes
                on from there, or Redis has lost it. Whoever wrote would mix two states.
        """
        prefix = self.prefix
        with self._guarded("write windows"), self.store.client.pipeline(transaction=True) as pipeline:
            pipeline.watch(prefix + "checkpoint")  # type: ignore[no-untyped-call]
            if pipeline.get(prefix + "checkpoint") != self._seen:
                raise _overtaken()
            pipeline.multi()
            for one in documents:
                pipeline.set(f"{prefix}{one.size}:{one.start_ms}", _packed(one), ex=self.keep_s(one.size))
            written = _packed_checkpoint(checkpoint)
            pipeline.set(prefix + "checkpoint", written)
            try:
                pipeline.execute()
            except redis.WatchError as error:
                _raise_if_read_only(error)
                raise _overtaken() from None
        self._seen = written

    # -- making them again -------------------------------------------------------------------------------------------

    @property
    def lease_key(self) -> str:
        """Holds `MAKING` while the generation is being made, see `streamtag.stats.lease`."""
        return self.prefix + "lease"

    def put(self, documents: Iterable[WindowDocument]) -> None:
        """Stores windows of a generation that nobody follows yet."""
        prefix = self.prefix
        with self._guarded("write windows"):
            pipeline = self.store.client.pipeline(transaction=False)
            for one in documents:
                pipeline.set(f"{prefix}{one.size}:{one.start_ms}", _packed(one), ex=self.keep_s(one.size))
            pipeline.execute()

    def places(self) -> Iterator[tuple[str, int]]:
        """Size and start of each window, in any order; while others write, of those too that come or go."""
        prefix = self.prefix
        with self._guarded("list windows"):
            for key in self.store.client.scan_iter(match=_literally(prefix) + "*", count=1_000):
                size, _, start = key.decode()[len(prefix) :].partition(":")
                if size in SIZES:
                    yield size, int(start)

    def copy_to(self, other: "ReadModel", wanted: Callable[[str, int], bool]) -> int:
        """Copies those windows (by size and start) to another generation, as they are; returns how many."""
        mine, theirs, copied = self.prefix, other.prefix, 0
        for size, start in self.places():
            if wanted(size, start):
                with self._guarded("copy windows"):
                    copied += bool(
                        self.store.client.copy(f"{mine}{size}:{start}", f"{theirs}{size}:{start}", replace=True)
                    )
        return copied

    def swap(self, other: "ReadModel", checkpoint: Checkpoint) -> bool:
        """Makes another generation the one that counts, if this one is still at ``checkpoint``; else False.

        Whoever writes windows is overtaken by it, and goes on from the other generation. One whose lease is lost never
        counts.
        """
        key, theirs = self.prefix + "checkpoint", other.prefix + "checkpoint"
        marked = msgspec.structs.replace(checkpoint, at_ms=checkpoint.at_ms + 1)
        with self._guarded("make other windows count"), self.store.client.pipeline(transaction=True) as pipeline:
            pipeline.watch(key, other.lease_key)  # type: ignore[no-untyped-call]
            if pipeline.get(key) != _packed_checkpoint(checkpoint) or pipeline.get(other.lease_key) != MAKING:
                return False
            pipeline.multi()
            pipeline.delete(other.lease_key)
            pipeline.set(theirs, _packed_checkpoint(marked))
            pipeline.set(self._prefix + "generation", other.generation())
            try:
                pipeline.execute()
            except redis.WatchError as error:
                _raise_if_read_only(error)
                return False
        return True

    def generations(self) -> set[str]:
        """Names of all that have left anything in Redis, whether they count or not."""
        with self._guarded("list windows"):
            keys = self.store.client.scan_iter(match=_literally(self._prefix) + "*:*", count=1_000)
            return {key.decode()[len(self._prefix) :].partition(":")[0] for key in keys}

    def forget(self) -> None:
        """Removes all of this generation."""
        with self._guarded("remove windows"):
            for key in self.store.client.scan_iter(match=_literally(self.prefix) + "*", count=1_000):
                self.store.client.unlink(key)

    # -- evidence ----------------------------------------------------------------------------------------------------

    def write_evidence(self, found: Iterable[tuple[ExperimentId, VerdictDocument]]) -> None:
        """What is known so far of experiments that run, for people to look at."""
        with self._guarded("write evidence"):
            pipeline = self.store.client.pipeline(transaction=False)
            for wanted, document in found:
                pipeline.set(self._evidence(wanted), msgspec.json.encode(document), ex=_EVIDENCE_S)
            pipeline.execute()

    def evidence(self, wanted: ExperimentId) -> VerdictDocument | None:
        """What was known at the last look; None where nobody looks."""
        with self._guarded("read evidence"):
            raw: Any = self.store.client.get(self._evidence(wanted))
        try:
            return None if raw is None else msgspec.json.decode(raw, type=VerdictDocument)
        except msgspec.DecodeError:
            return None  # of another version; the next look writes it anew

    def save_fold(self, wanted: ExperimentId, saved: SavedFold) -> None:
        """Where to go on with an experiment that runs."""
        with self._guarded("write evidence"):
            self.store.client.set(self._fold(wanted), msgspec.msgpack.encode(saved), ex=_EVIDENCE_S)

    def saved_fold(self, wanted: ExperimentId) -> SavedFold | None:
        """The newest; None where there is none that this version can read: it is made again from the panes."""
        with self._guarded("read evidence"):
            raw: Any = self.store.client.get(self._fold(wanted))
        try:
            return None if raw is None else msgspec.msgpack.decode(raw, type=SavedFold)
        except msgspec.DecodeError:
            return None

    def drop_fold(self, wanted: ExperimentId) -> None:
        """Whoever goes on begins with the panes."""
        with self._guarded("remove evidence"):
            self.store.client.unlink(self._fold(wanted))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _read_checkpoint(self) -> bytes | None:
        with self._guarded("read how far windows were added up"):
            raw: Any = self.store.client.get(self.prefix + "checkpoint")
        return None if raw is None else bytes(raw)

    def _decoded(self, raw: bytes | None, kind: type[Part]) -> Part | None:
        try:
            return None if raw is None else msgspec.json.decode(zlib.decompress(raw), type=kind)
        except (zlib.error, msgspec.DecodeError) as error:
            raise RefusedError(
                f"the checkpoint of the windows in Redis cannot be read: {error}",
                hint=f"Delete the key {self.prefix}checkpoint: `streamtag stats` then reads all panes that there are.",
            ) from None

    def _fold(self, wanted: ExperimentId) -> str:
        return f"{self._evidence(wanted)}:fold"

    def _evidence(self, wanted: ExperimentId) -> str:
        return f"{self.store.keys.prefix}evidence:{wanted}"

    def _guarded(self, operation: str) -> Any:
        return guarded(self.store.where, operation)


_AGAIN = "`streamtag stats rebuild` makes the windows again from the summaries."


def _unpacked(raw: bytes, place: tuple[str, int], decode: Callable[[bytes], Document]) -> Document:
    try:
        found = decode(zlib.decompress(raw))
    except (zlib.error, msgspec.DecodeError) as error:
        raise RefusedError(f"window {place[0]} {place[1]} in Redis cannot be read: {error}", hint=_AGAIN) from None
    if found.version != wire.VERSION or (found.size, found.start_ms) != place:
        raise RefusedError(f"window {place[0]} {place[1]} in Redis is none of this version", hint=_AGAIN)
    return found


def _packed(one: WindowDocument) -> bytes:
    return zlib.compress(wire.encode(one), 1)


def _packed_checkpoint(checkpoint: Checkpoint) -> bytes:
    return zlib.compress(msgspec.json.encode(checkpoint), 1)


def _raise_if_read_only(error: redis.WatchError) -> None:
    """A replica has refused: nobody else has written. What was watched ended with the connection to it."""
    if isinstance(error.__context__, redis.exceptions.ReadOnlyError):
        raise error.__context__ from None


def _overtaken() -> ConflictError:
    return ConflictError("somebody else writes the windows of this namespace, or Redis has lost them")


def _literally(text: str) -> str:
    """As a pattern of Redis."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
