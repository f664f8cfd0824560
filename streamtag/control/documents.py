"""What all immutable documents of the control plane have in common: exact bytes, a hash, and a number.

A document is encoded once, by whoever makes it, and from then on is an opaque JSON string: its identity is its number
and the SHA-256 of exactly those bytes. Redis' own ``cjson`` never touches it (it cuts floats to 14 digits and turns
``[]`` into ``{}``). Each document names its parent by number *and* hash, so history is a chain that can be verified
from the champion backwards.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Generic, Protocol, TypeVar

import msgspec

from streamtag.errors import RefusedError

__all__ = ["Document", "Number", "Sha256", "Stored", "Time", "decode", "in_utc", "seal", "sha256_of"]

Number = Annotated[int, msgspec.Meta(ge=1)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Document(Protocol):
    """What has a number among its kind."""

    @property
    def number(self) -> int:
        """From 1 on, never given twice."""


D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Stored(Generic[D]):
    """A document with its exact bytes and their SHA-256 (hexadecimal)."""

    document: D
    raw: bytes
    sha256: str


def in_utc(moment: datetime) -> datetime:
    """The same moment by the clock that all times are told by; one that no calendar holds there stays as it is."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999
        return moment


def sha256_of(raw: bytes) -> str:
    """Hexadecimal SHA-256 of a document's bytes."""
    return hashlib.sha256(raw).hexdigest()


def seal(document: D) -> Stored[D]:
    """Encodes a new document, once and for all."""
    raw = msgspec.json.encode(document)
    return Stored(document, raw, sha256_of(raw))


def decode(what: str, number: int, raw: bytes, sha256: str, decoder: msgspec.json.Decoder[D]) -> Stored[D]:
    """Reads a document and proves that it is the expected one.

    Raises:
        RefusedError: other bytes than were published, or another kind of document.
    """
    found = sha256_of(raw)
    if found != sha256:
        raise RefusedError(f"{what} {number} is not what was published: sha256 {found[:12]}… instead of {sha256[:12]}…")
    try:
        document = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"{what} {number} cannot be read: {error}") from None
    if document.number != number:
        raise RefusedError(f"{what} {number} calls itself {document.number}")
    return Stored(document, raw, sha256)
