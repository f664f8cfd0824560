"""A place with bundles: immutable versions ``<name>/<version>/``, and aliases that move between them.

A directory, or any URL that fsspec knows; bundles of a URL are fetched into a cache of this machine, by their hash.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from streamtag.domain.release import BundleRef
from streamtag.errors import BundleError, NotFoundError, RefusedError, UnavailableError
from streamtag.model.aliases import Alias, Aliases, read_aliases, write_aliases
from streamtag.model.bundle import bundle_files, read_bundle
from streamtag.model.bundle_checks import PLAIN_NAME
from streamtag.model.manifest import MANIFEST
from streamtag.model.manifest_file import listed_files
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
        mended: files of it that were missing there, or damaged, and are whole now.
    """

    ref: BundleRef
    created: bool
    new_signature: bool
    mended: tuple[str, ...]


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
        return BundleRef(name, version, _sha256(manifest))

    def manifest(self, name: str, version: str) -> bytes | None:
        """The bytes of a manifest; None where the version is not there."""
        return self.files.read(f"{name}/{version}/{MANIFEST}")

    def path(self, name: str, version: str) -> Path:
        """A directory of this machine with the bundle; from a URL, it is fetched first. Nothing is verified.

        What was fetched before is taken again, with the signature that the version has by now.

        Raises:
            NotFoundError: there is none.
            BundleError: at a URL, a file of it is missing or damaged.
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

        What lies here is read back in any case: of a version with the same manifest, what is damaged is written anew.

        Args:
            path: directory of the bundle.
            trusted: `model.trusted_keys`, see `read_bundle`; without keys, nobody asks whether its signature holds.

        Raises:
            BundleError: it is refused, or this version is here with other content, which names what is damaged of it.
            RefusedError: the version has the name of an alias.
        """
        bundle = read_bundle(path, trusted=trusted)
        ref, folder = bundle.ref, f"{bundle.ref.name}/{bundle.ref.version}"
        self._refuse_alias(ref)
        contents = bundle_files(bundle)
        created = self.files.put(folder, contents, last=MANIFEST)
        there = self.manifest(ref.name, ref.version) or b""
        _, damaged = self._listed(folder, there)
        if _sha256(there) != ref.sha256:
            raise BundleError(
                f"{self.url} has bundle {ref} already, with other content (sha256 {_sha256(there)[:12]}…, this one "
                f"{ref.sha256[:12]}…)",
                problems=[f"{name}: missing or damaged there; publishing that one again mends it" for name in damaged],
                hint="A version is never changed: give this one another.",
            )
        for name in damaged:
            self.files.replace(f"{folder}/{name}", contents[name])
        signed = _sign(self.files, folder, contents.get(SIGNATURE))
        return Published(ref, created, signed and not created, tuple(damaged))

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
        self.check_alias(alias, ref)
        if self.ref(ref.name, ref.version) != ref:
            raise NotFoundError(f"{self.url} has another bundle {ref} than the one of sha256 {ref.sha256[:12]}…")
        wanted = Alias(ref.version, ref.sha256)
        if based_on.aliases.get(alias) == wanted:
            return False
        changed = Aliases(based_on.revision + 1, {**based_on.aliases, alias: wanted}, alias, author, reason, at)
        write_aliases(self.files, ref.name, changed)
        return True

    def check_alias(self, alias: str, ref: BundleRef) -> None:
        """Refuses what cannot be an alias of ``ref``, which need not be here yet.

        Raises:
            RefusedError: it is no plain name, or that of a version.
        """
        if not PLAIN_NAME.fullmatch(alias):
            raise RefusedError(f"alias {alias!r} must be letters, digits, dot, dash or underscore")
        if alias in (ref.version, *self.versions(ref.name)):
            raise RefusedError(f"alias {alias} would hide the version {ref.name}@{alias}", hint="Take another alias.")

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
        """Into the cache at one stroke: what the manifest names, and the signature; other files there are nobody's."""
        folder = f"{ref.name}/{ref.version}"
        manifest = self.files.read(f"{folder}/{MANIFEST}") or b""
        if _sha256(manifest) != ref.sha256:
            raise BundleError(f"bundle {ref} at {self.url} changed while it was fetched", hint="Try again.")
        contents, damaged = self._listed(folder, manifest)
        if damaged:  # kept, it would be refused here even once it is mended there
            raise BundleError(
                f"bundle {ref} at {self.url} is refused",
                problems=[f"{name}: missing, or not what {MANIFEST} says" for name in damaged],
                hint="Publish the same bundle there again, which mends it.",
            )
        signature = self.files.read(f"{folder}/{SIGNATURE}")
        whole = {**contents, MANIFEST: manifest, **({} if signature is None else {SIGNATURE: signature})}
        cache = _cache_of(ref)
        # Looked for before it is read: one that another process puts there meanwhile comes whole, and stays.
        held = cache.read(f"{folder}/{MANIFEST}") if (cache.directory / folder).exists() else manifest
        if held is None or _sha256(held) != ref.sha256:
            shutil.rmtree(cache.directory / folder, ignore_errors=True)
        # One that was fetched by another process meanwhile has the same hash, and is as good.
        cache.put(folder, whole, last=MANIFEST)
        found = cached(ref)
        if found is None:
            raise UnavailableError(f"{cache.url} cannot be written anew", hint="Remove it: it is a cache.")
        return found

    def _listed(self, folder: str, manifest: bytes) -> tuple[dict[str, bytes], list[str]]:
        """The files of a manifest, as they lie in ``folder``, and the names of those that are missing or not right."""
        contents: dict[str, bytes] = {}
        damaged: list[str] = []
        for name, entry in listed_files(manifest).items():
            content = self.files.read(f"{folder}/{name}")
            if content is not None and _sha256(content) == entry.sha256:
                contents[name] = content
            else:
                damaged.append(name)
        return contents, damaged


def cached(ref: BundleRef, trusted: Sequence[str] = ()) -> Path | None:
    """Exactly this bundle, where it was fetched before and, if keys are given, its signature is of one of them."""
    cache = _cache_of(ref)
    path = cache.directory / ref.name / ref.version
    manifest = cache.read(f"{ref.name}/{ref.version}/{MANIFEST}")
    if manifest is None or _sha256(manifest) != ref.sha256:
        return None
    try:
        check_signature(path, manifest, trusted)
    except BundleError:
        return None
    return path


def _cache_of(ref: BundleRef) -> LocalFiles:
    return LocalFiles(bundle_cache() / ref.sha256)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sign(files: Files, folder: str, signature: bytes | None) -> bool:
    """Gives the bundle in ``folder`` this signature; False where it has it already, or there is none to give."""
    path = f"{folder}/{SIGNATURE}"
    if signature is None or files.read(path) == signature:
        return False
    files.replace(path, signature)
    return True
