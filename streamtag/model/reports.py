"""Evaluations that people kept of a bundle, for whoever has to decide about it later.

Each is a file of its own, ``<name>/.reports/<version>/<id>.json``, in any of the places for bundles: the place of the
bundle itself may be the package, where nobody writes. It says the hash of its bundle, and is shown for no other.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain

import msgspec

from streamtag.domain.release import BundleRef
from streamtag.errors import NotFoundError, RefusedError, StreamtagError
from streamtag.model.bundle import Bundle
from streamtag.model.card_notes import Measured, decoded, measured, saved
from streamtag.model.evaluation.result import Evaluation, from_document
from streamtag.model.registry import Place
from streamtag.model.store import BundleStore

__all__ = ["keep", "report", "reports"]

_FOLDER = ".reports"
_BEFORE = datetime.min.replace(tzinfo=UTC)


def keep(ref: BundleRef, title: str, found: Evaluation, places: Sequence[Place]) -> tuple[Measured, str]:
    """Keeps an evaluation where its bundle lies, or in the first of ``places``; also says where.

    Args:
        ref: the bundle that was measured.
        title: on what.
        found: the figures.
        places: directories and fsspec URLs for bundles.

    Raises:
        RefusedError: no title, or no place.
        UnavailableError: the place does not answer, or nothing may be written there.
    """
    if not title.strip():
        raise RefusedError("a report that is kept needs a title", hint="Say on which documents it was measured.")
    if not places:
        raise RefusedError(
            "there is no place to keep a report in",
            hint="Name one in model.directories; --html writes a page anywhere.",
        )
    now = datetime.now(UTC).replace(microsecond=0)
    content = saved(ref, [Measured(title.strip(), msgspec.to_builtins(found), now)])
    [kept] = decoded(content, ref)  # as it will be read, which its id is of
    stores = [BundleStore(place) for place in places]
    store = next((one for one in stores if _has(one, ref)), stores[0])
    store.files.create(f"{_folder(ref)}/{kept.id}.json", content)
    return kept, store.url


def reports(bundle: Bundle, places: Sequence[Place]) -> tuple[list[Measured], list[str]]:
    """Those that ship with a bundle, then those kept in ``places``, oldest first; and which could not be read."""
    found: list[Measured] = []
    problems: list[str] = []
    for place in places:
        kept, trouble = _kept(bundle.ref, place)
        found += kept
        problems += trouble
    found.sort(key=lambda one: (one.at or _BEFORE, one.title))
    every = {one.id: one for one in (*measured(bundle), *found)}
    return list(every.values()), problems


def report(bundle: Bundle, places: Sequence[Place], which: str) -> tuple[Measured, Evaluation]:
    """One of them, with its figures.

    Raises:
        NotFoundError: there is none with this id that can be read.
    """
    kept = (one for place in places for one in _kept(bundle.ref, place, which)[0])
    one = next((one for one in chain(measured(bundle), kept) if one.id == which), None)
    if one is None:
        raise NotFoundError(f"{bundle.ref} has no report {which}", hint="Its card lists them.")
    return one, from_document(one.figures)


def _kept(ref: BundleRef, place: Place, which: str | None = None) -> tuple[list[Measured], list[str]]:
    """What is kept in one place of a bundle, all or the one with this id; and what could not be read."""
    found: list[Measured] = []
    problems: list[str] = []
    try:
        files = BundleStore(place).files
        names = files.names(_folder(ref)) if which is None else [f"{which}.json"]
        for name in names:
            path = f"{_folder(ref)}/{name}"
            content = files.read(path) if name.endswith(".json") else None
            try:
                found += [] if content is None else _sound(content, ref, name.removesuffix(".json"))
            except (msgspec.DecodeError, RefusedError) as error:
                why = "; ".join([str(error), *getattr(error, "problems", ())])
                problems.append(f"{files.url}/{path} is damaged: {why}. Remove it.")
    except StreamtagError as error:
        problems.append(error.message)
    return found, problems


def _sound(content: bytes, ref: BundleRef, name: str) -> list[Measured]:
    """What a file holds of this bundle, fit to be shown."""
    found = decoded(content, ref)
    for one in found:
        if one.id != name:  # nobody could ask for it
            raise RefusedError(f"it holds report {one.id}")
        from_document(one.figures)
    return found


def _folder(ref: BundleRef) -> str:
    return f"{ref.name}/{_FOLDER}/{ref.version}"


def _has(store: BundleStore, ref: BundleRef) -> bool:
    try:
        return store.ref(ref.name, ref.version) == ref
    except NotFoundError:
        return False
