"""Movable names of immutable bundle versions, e.g. ``production`` of ``moderation``: what people agreed on.

An alias decides nothing: workers follow releases alone. Moving one *proposes* a release.

Each change is a numbered file of its own, ``<name>/.aliases/00000007.json``, and says all aliases as they are after it.
It is created if nobody else has created that number: compare-and-set on any store that can create a file exclusively,
atomic for readers, and nothing is lost of what was before.
"""

import re
from datetime import datetime

import msgspec

from streamtag import strict_json
from streamtag.errors import BundleError, ConflictError
from streamtag.model.store_files import Files

__all__ = ["Alias", "Aliases", "read_aliases", "write_aliases"]

_FOLDER = ".aliases"
_FILE = re.compile(r"([0-9]{8})\.json")


class Alias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The version that a name means: its number, and the hash of its manifest."""

    version: str
    sha256: str


class Aliases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All aliases of the bundles of one name, after one change.

    Attributes:
        revision: number of this change, from 1; 0 before the first.
        aliases: by name.
        changed: the alias that this change moved or removed.
        author, reason, at: of this change.
    """

    revision: int = 0
    aliases: dict[str, Alias] = {}
    changed: str = ""
    author: str = ""
    reason: str = ""
    at: datetime | None = None


def read_aliases(files: Files, name: str, revision: int | None = None) -> Aliases:
    """The newest aliases of the bundles ``name``, or those of an earlier ``revision``.

    Raises:
        BundleError: the file is damaged.
        UnavailableError: the store does not answer.
    """
    if revision is None:
        found = map(_FILE.fullmatch, files.names(f"{name}/{_FOLDER}"))
        revision = max((int(file[1]) for file in found if file), default=0)
    if revision == 0:
        return Aliases()
    path = _path(name, revision)
    try:
        aliases = strict_json.decode(files.read(path) or b"", Aliases)
    except msgspec.DecodeError as error:
        raise BundleError(
            f"{files.url}/{path} is damaged: {error}", hint="Remove it: the one before it counts again."
        ) from None
    if aliases.revision != revision:
        raise BundleError(f"{files.url}/{path} says that it is revision {aliases.revision}", hint="Remove it.")
    return aliases


def write_aliases(files: Files, name: str, wanted: Aliases) -> None:
    """Puts ``wanted`` in force, if it is the change after the newest.

    Raises:
        ConflictError: somebody else was first; nothing was written.
    """
    if files.create(_path(name, wanted.revision), msgspec.json.format(msgspec.json.encode(wanted), indent=2) + b"\n"):
        return
    first = read_aliases(files, name)
    when = "" if first.at is None else f" at {first.at:%Y-%m-%d %H:%M:%S} UTC"
    raise ConflictError(
        f'{first.author} was first, and moved {first.changed} of {name}{when}, "{first.reason}". Nothing was written',
        hint="Look at `streamtag model aliases`, then decide again.",
    )


def _path(name: str, revision: int) -> str:
    return f"{name}/{_FOLDER}/{revision:08d}.json"
