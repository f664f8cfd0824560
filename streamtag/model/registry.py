"""Where bundles lie: ``<directory>/<name>/<version>/``, in the configured directories and in the package."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from streamtag.domain.release import BundleRef
from streamtag.errors import BundleError, NotFoundError
from streamtag.model.bundle import MANIFEST, peek_ref

SHIPPED = Path(__file__).parent / "bundles"
"""Bundles that come with the package."""

_SPEC = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@(?P<version>[A-Za-z0-9][A-Za-z0-9._-]*))?")


def find_bundle(spec: str, directories: Sequence[Path]) -> Path:
    """The directory of the bundle meant by ``spec``.

    Args:
        spec: ``name`` (its highest version), ``name@version``, or a path (contains ``/``).
        directories: searched in this order, before the shipped ones; the first that has the name wins.

    Raises:
        NotFoundError: names the places searched.
    """
    if "/" in spec:
        path = Path(spec).expanduser()
        if (path / MANIFEST).is_file():
            return path
        raise NotFoundError(f"no bundle at {path}: it has no {MANIFEST}")
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise NotFoundError(f"{spec!r} is no bundle: write name, name@version, or a path with a /")
    name, version = match["name"], match["version"]
    for directory in (*directories, SHIPPED):
        versions = _versions(directory / name)
        if version in versions:
            return versions[version]
        if version is None and versions:
            return versions[max(versions, key=version_order)]
    raise _not_found(spec, directories)


def find_exact(ref: BundleRef, directories: Sequence[Path]) -> Path:
    """The directory of exactly this bundle; a namesake with another hash is passed over.

    Raises:
        NotFoundError: names the places searched, and the namesakes found there.
    """
    others = []
    for directory in (*directories, SHIPPED):
        path = _versions(directory / ref.name).get(ref.version)
        if path is None:
            continue
        try:
            found = peek_ref(path)
        except BundleError as error:
            others.append(f"{path}: {'; '.join(error.problems) or error.message}")
            continue
        if found == ref:
            return path
        others.append(f"{path}: sha256 {found.sha256[:12]}…")
    raise _not_found(f"{ref} with sha256 {ref.sha256[:12]}…", directories, others)


def list_bundles(directories: Sequence[Path]) -> Iterator[Path]:
    """Every directory with a manifest: configured places first, then by name and version."""
    for directory in (*directories, SHIPPED):
        if directory.is_dir():
            for name in sorted(path for path in directory.iterdir() if path.is_dir()):
                versions = _versions(name)
                yield from (versions[version] for version in sorted(versions, key=version_order))


def version_order(version: str) -> list[tuple[int, int, str]]:
    """Sort key of versions: numbers by value, so that 10 follows 9 and 1.10 follows 1.9."""
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _versions(directory: Path) -> dict[str, Path]:
    if not directory.is_dir():
        return {}
    return {
        path.name: path for path in directory.iterdir() if not path.name.startswith(".") and (path / MANIFEST).is_file()
    }


def _not_found(what: str, directories: Sequence[Path], others: Sequence[str] = ()) -> NotFoundError:
    places = ", ".join(str(directory) for directory in (*directories, SHIPPED))
    found = f"; found instead: {'; '.join(others)}" if others else ""
    return NotFoundError(
        f"no bundle {what} in {places}{found}",
        hint="`streamtag model list` shows what is there; `model.directories` says where to look.",
    )
