"""Where bundles are found: in the configured places, in their order, and in the package.

A place is a directory or an fsspec URL (`streamtag.model.store`) with ``<name>/<version>/``.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamtag.domain.release import BundleRef
from streamtag.errors import BundleError, NotFoundError, StreamtagError, UnavailableError
from streamtag.model.bundle_checks import PLAIN_NAME
from streamtag.model.manifest import MANIFEST
from streamtag.model.shipped import SHIPPED
from streamtag.model.store import BundleStore, cached
from streamtag.model.store_files import place_name

__all__ = ["SHIPPED", "Located", "Place", "find_bundle", "find_exact", "list_bundles", "locate", "version_order"]

Place = Path | str
"""A directory, or (with ``://`` in it) an fsspec URL."""

_SPEC = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@(?P<version>[A-Za-z0-9][A-Za-z0-9._-]*))?")


@dataclass(frozen=True)
class Located:
    """A version in the place that has it."""

    store: BundleStore
    name: str
    version: str

    def path(self) -> Path:
        """A directory of this machine with the bundle; fetched first where it is at a URL."""
        return self.store.path(self.name, self.version)


def find_bundle(spec: str, places: Sequence[Place]) -> Path:
    """The directory of the bundle meant by ``spec``.

    Args:
        spec: ``name`` (its highest version), ``name@version``, ``name@alias``, or a path (contains ``/``).
        places: searched in this order, before the shipped ones; the first that has the name wins.

    Raises:
        NotFoundError: names the places searched.
        UnavailableError: a place that comes before does not answer: it could have the name, too.
    """
    if "/" in spec:
        path = Path(os.path.expanduser(spec))  # Path.expanduser raises RuntimeError where there is no such user
        if (path / MANIFEST).is_file():
            return path
        raise NotFoundError(f"no bundle at {path}: it has no {MANIFEST}")
    return locate(spec, places).path()


def locate(spec: str, places: Sequence[Place]) -> Located:
    """The place and the version meant by a ``spec`` without a ``/``.

    Raises:
        BundleError: an alias of the name of a version, or of a version that was exchanged.
        NotFoundError, UnavailableError: as of `find_bundle`.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise NotFoundError(f"{spec!r} is no bundle: write name, name@version, name@alias, or a path with a /")
    name, wanted = match["name"], match["version"]
    for place in (*places, SHIPPED):
        store = BundleStore(place)
        versions = store.versions(name)
        if wanted in versions:
            _refuse_alias(store, name, wanted)
            return Located(store, name, wanted)
        if wanted is None and versions:
            return Located(store, name, max(versions, key=version_order))
        alias = store.aliases(name).aliases.get(wanted) if wanted and versions else None
        if alias is not None:
            if store.ref(name, alias.version).sha256 != alias.sha256:
                raise BundleError(
                    f"{store.url}: {name}@{wanted} means version {alias.version} of sha256 {alias.sha256[:12]}…, and "
                    "that version is another one by now",
                    hint="A version is never changed: find out who did, and promote the one that is meant again.",
                )
            return Located(store, name, alias.version)
    raise _not_found(spec, places)


def find_exact(ref: BundleRef, places: Sequence[Place], *, trusted: Sequence[str] = ()) -> Path:
    """The directory of exactly this bundle; a namesake with another hash is passed over.

    One that was fetched from a URL before is taken from the cache, and no place is asked, unless its signature does not
    hold: the version may have been signed anew since.

    Args:
        ref: the bundle.
        places: searched in this order, before the shipped ones.
        trusted: `model.trusted_keys`, whose signatures count; whoever reads the bundle has to check them all the same.

    Raises:
        NotFoundError: names the places searched, and the namesakes found there.
        UnavailableError: it was not found, and not every place did answer.
    """
    remote = any("://" in str(place) for place in places)
    if remote and _plain(ref) and (before := cached(ref, trusted)) is not None:
        return before
    others, silent = [], []
    for place in (*places, SHIPPED):
        try:
            store = BundleStore(place)
            found = store.ref(ref.name, ref.version) if _plain(ref) else None
            if found == ref:
                return store.path(ref.name, ref.version)
            others.append(f"{store.url}: sha256 {found.sha256[:12]}…" if found else "")
        except NotFoundError:
            continue
        except UnavailableError as error:
            silent.append(error.message)
        except BundleError as error:
            others.append(f"{place_name(place)}: {'; '.join(error.problems) or error.message}")
    missing = _not_found(f"{ref} with sha256 {ref.sha256[:12]}…", places, [other for other in others if other])
    if silent:
        raise UnavailableError(
            f"{missing.message}; {'; '.join(silent)}", hint="Is the place there, and are its credentials set?"
        )
    raise missing


def list_bundles(places: Sequence[Place]) -> Iterator[Located | StreamtagError]:
    """Every bundle: configured places first, then by name and version; an error for a place that does not answer."""
    for place in (*places, SHIPPED):
        try:
            store = BundleStore(place)
            for name in store.names():
                yield from (Located(store, name, v) for v in sorted(store.versions(name), key=version_order))
        except StreamtagError as error:
            yield error


def version_order(version: str) -> list[tuple[int, int, str]]:
    """Sort key of versions: numbers by value, so that 10 follows 9; a dash goes before the end: 1.0-rc1, 1.0, 1.0.1."""
    parts = re.findall(r"\d+|\D+", version)
    return [*map(_part_order, parts), (1, 0, "")]  # the end


def _part_order(part: str) -> tuple[int, int, str]:
    """What begins with a dash, the end (1), other text, numbers."""
    if part.isdigit():
        return (3, int(part), "")
    return (0 if part.startswith("-") else 2, 0, part)


def _refuse_alias(store: BundleStore, name: str, version: str) -> None:
    """Refuses a version of the name of an alias: nobody can tell which is meant. Publishing makes none."""
    alias = store.aliases(name).aliases.get(version)
    if alias is not None:
        raise BundleError(
            f"{store.url}: {name}@{version} is a version, and an alias of version {alias.version}",
            hint=f"Publish the bundle as another version, and remove {name}/{version} once no release needs it.",
        )


def _plain(ref: BundleRef) -> bool:
    return PLAIN_NAME.fullmatch(ref.name) is not None and PLAIN_NAME.fullmatch(ref.version) is not None


def _not_found(what: str, places: Sequence[Place], others: Sequence[str] = ()) -> NotFoundError:
    searched = ", ".join(place_name(place) for place in (*places, SHIPPED))
    found = f"; found instead: {'; '.join(others)}" if others else ""
    return NotFoundError(
        f"no bundle {what} in {searched}{found}",
        hint="`streamtag model list` shows what is there; `model.directories` says where to look.",
    )
