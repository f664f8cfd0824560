"""A place with bundles: immutable versions ``<name>/<version>/``, and aliases that move between them.

A directory, or any URL that fsspec knows; bundles of a URL are fetched into a cache of this machine, by their hash.
"""

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from streamtag.domain.release import BundleRef
from streamtag.errors import BundleError, NotFoundError, RefusedError
from streamtag.model.aliases import Alias, Aliases, read_aliases, write_aliases
from streamtag.model.bundle import bundle_files, read_bundle
from streamtag.model.bundle_checks import PLAIN_NAME
from streamtag.model.manifest import MANIFEST
from streamtag.model.signature import SIGNATURE, check_signature
from streamtag.model.store_files import Files, LocalFiles, open_files

__all__ = ["BundleStore", "Published", "bundle_cache", "cached"]


def bundle_cache() -> Path:
    """Where bundles of URLs are kept, by hash: ``$XDG_CACHE_HOME/streamtag/bundles``. It may be removed at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamtag" / "bundles"


class Published(NamedTuple):
    """What publishing a bundle came to.

    Attributes:
        ref: the version.
        created: it was not there before.
        new_signature: it was there, and what is new is its signature.
    """

    ref: BundleRef
    created: bool
    new_signature: bool


class BundleStore:
    """The bundles in one place. Methods raise `UnavailableError` where it does not answer.

    Args:
        place: a directory, or an fsspec URL.
    """

    def __init__(self, place: Path | str) -> None:
        self.files: Files = open_files(place)
        self.url = self.files.url

    def names(self) -> list[str]:
        """Names that may have versions."""
        return [name for name in self.files.names("") if PLAIN_NAME.fullmatch(name)]

    def versions(self, name: str) -> list[str]:
        """Versions of ``name`` that are there as a whole."""
        found = [version for version in self.files.names(name) if PLAIN_NAME.fullmatch(version)]
        return [version for version in found if self._has(name, version)]

    def ref(self, name: str, version: str) -> BundleRef:
        """Identity of a version, from the bytes of its manifest; nothing is verified.

        Raises:
            NotFoundError: there is none.
        """
        manifest = self.manifest(name, version)
        if manifest is None:
            raise NotFoundError(f"{self.url} has no bundle {name}@{version}")
        return BundleRef(name, version, hashlib.sha256(manifest).hexdigest())

    def manifest(self, name: str, version: str) -> bytes | None:
        """The bytes of a manifest; None where the version is not there."""
        return self.files.read(f"{name}/{version}/{MANIFEST}")

    def path(self, name: str, version: str) -> Path:
        """A directory of this machine with the bundle; from a URL, it is fetched first. Nothing is verified.

        What was fetched before is taken again, with the signature that the version has by now.

        Raises:
            NotFoundError: there is none.
        """
        if self.files.directory is not None:
            return self.files.directory / name / version
        ref = self.ref(name, version)
        found = cached(ref)
        if found is None:
            return self._fetch(ref)
        _sign(_cache_of(ref), f"{name}/{version}", self.files.read(f"{name}/{version}/{SIGNATURE}"))
        return found

    def publish(self, path: Path, *, trusted: Sequence[str] = ()) -> Published:
        """Copies the bundle at ``path`` here once it verifies; where it is here already, its signature alone.

        Args:
            path: directory of the bundle.
            trusted: `model.trusted_keys`, see `read_bundle`; without keys, nobody asks whether its signature holds.

        Raises:
            BundleError: it is refused, or this version is here with other content.
            RefusedError: the version has the name of an alias.
        """
        bundle = read_bundle(path, trusted=trusted)
        ref, folder = bundle.ref, f"{bundle.ref.name}/{bundle.ref.version}"
        self._refuse_alias(ref)
        contents = bundle_files(bundle)
        created = self.files.put(folder, contents, last=MANIFEST)
        there = self.ref(ref.name, ref.version)
        if there != ref:
            raise BundleError(
                f"{self.url} has bundle {ref} already, with other content (sha256 {there.sha256[:12]}…, this one "
                f"{ref.sha256[:12]}…)",
                hint="A version is never changed: give this one another.",
            )
        new_signature = not created and _sign(self.files, folder, contents.get(SIGNATURE))
        return Published(ref, created, new_signature)

    def aliases(self, name: str) -> Aliases:
        """The aliases of ``name`` as they are."""
        return read_aliases(self.files, name)

    def alias_history(self, name: str) -> list[Aliases]:
        """All changes of the aliases of ``name``, newest first."""
        newest = read_aliases(self.files, name)
        return [newest, *(read_aliases(self.files, name, number) for number in range(newest.revision - 1, 0, -1))]

    def set_alias(
        self, alias: str, ref: BundleRef, *, author: str, reason: str, at: datetime, based_on: Aliases
    ) -> bool:
        """Lets ``alias`` mean ``ref``, if ``based_on`` are the aliases as they are; False where it does already.

        Raises:
            RefusedError: the alias is no plain name, or that of a version.
            NotFoundError: the version is not here with this content.
            ConflictError: somebody else was first; nothing was written.
        """
        if not PLAIN_NAME.fullmatch(alias):
            raise RefusedError(f"alias {alias!r} must be letters, digits, dot, dash or underscore")
        if alias in self.versions(ref.name):
            raise RefusedError(f"alias {alias} would hide the version {ref.name}@{alias}", hint="Take another alias.")
        if self.ref(ref.name, ref.version) != ref:
            raise NotFoundError(f"{self.url} has another bundle {ref} than the one of sha256 {ref.sha256[:12]}…")
        wanted = Alias(ref.version, ref.sha256)
        if based_on.aliases.get(alias) == wanted:
            return False
        changed = Aliases(based_on.revision + 1, {**based_on.aliases, alias: wanted}, alias, author, reason, at)
        write_aliases(self.files, ref.name, changed)
        return True

    def _refuse_alias(self, ref: BundleRef) -> None:
        """Refuses a version that would take the place of an alias: what it means now is decided by moving it alone."""
        alias = self.aliases(ref.name).aliases.get(ref.version)
        if alias is not None:
            raise RefusedError(
                f"version {ref} would hide the alias {ref.version}, which means {ref.name}@{alias.version}",
                hint="Give the bundle another version.",
            )

    def _has(self, name: str, version: str) -> bool:
        if self.files.directory is not None:
            return (self.files.directory / name / version / MANIFEST).is_file()
        return MANIFEST in self.files.names(f"{name}/{version}")

    def _fetch(self, ref: BundleRef) -> Path:
        """Into the cache at one stroke; whatever lies in the folder comes along, and `read_bundle` judges it."""
        folder = f"{ref.name}/{ref.version}"
        contents = {name: self.files.read(f"{folder}/{name}") for name in self.files.names(folder)}
        whole = {name: content for name, content in contents.items() if content is not None}
        if hashlib.sha256(whole.get(MANIFEST, b"")).hexdigest() != ref.sha256:
            raise BundleError(f"bundle {ref} at {self.url} changed while it was fetched", hint="Try again.")
        # One that was fetched by another process meanwhile has the same hash, and is as good.
        _cache_of(ref).put(folder, whole, last=MANIFEST)
        found = cached(ref)
        assert found is not None, "it was written just now"
        return found


def cached(ref: BundleRef, trusted: Sequence[str] = ()) -> Path | None:
    """Exactly this bundle, where it was fetched before and, if keys are given, its signature is of one of them."""
    path = _cache_of(ref).directory / ref.name / ref.version
    if not (path / MANIFEST).is_file():
        return None
    try:
        check_signature(path, (path / MANIFEST).read_bytes(), trusted)
    except BundleError:
        return None
    return path


def _cache_of(ref: BundleRef) -> LocalFiles:
    return LocalFiles(bundle_cache() / ref.sha256)


def _sign(files: Files, folder: str, signature: bytes | None) -> bool:
    """Gives the bundle in ``folder`` this signature; False where it has it already, or there is none to give."""
    path = f"{folder}/{SIGNATURE}"
    if signature is None or files.read(path) == signature:
        return False
    files.replace(path, signature)
    return True
