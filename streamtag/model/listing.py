"""One line for each bundle that can be found: what it is, or why it would be refused."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from streamtag import strict_json
from streamtag.errors import StreamtagError
from streamtag.model.bundle import read_bundle
from streamtag.model.registry import Located, list_bundles
from streamtag.settings import ModelSettings

__all__ = ["Listed", "listed"]


class Listed(msgspec.Struct, frozen=True):
    """A bundle, or a place that does not answer (then name and version are empty).

    Attributes:
        name, version, sha256: its identity; no hash where it is refused.
        labels: in the order of the scores.
        aliases: that mean this version where it lies.
        place: directory or URL, without secrets.
        path: directory of this machine; None where it was not fetched.
        problems: everything that speaks against it.
    """

    name: str
    version: str
    sha256: str
    labels: Sequence[str]
    aliases: Sequence[str]
    place: str
    path: Path | None
    problems: Sequence[str]


def listed(model: ModelSettings) -> Iterator[Listed]:
    """All bundles in the configured places and in the package.

    Those of this machine are verified, signature included; of those at a URL, the manifest is read.
    """
    for found in list_bundles(model.directories):
        if isinstance(found, StreamtagError):
            yield Listed("", "", "", (), (), "", None, (found.message,))
        else:
            yield _entry(found, model)


def _entry(found: Located, model: ModelSettings) -> Listed:
    store = found.store
    path = None if store.files.directory is None else found.path()
    sha256, labels, problems, aliases = "", [], [], []
    try:
        moved = store.aliases(found.name).aliases
        aliases = [alias for alias, one in moved.items() if one.version == found.version]
        if path is not None:
            bundle = read_bundle(path, trusted=model.trusted_keys)
            sha256, labels = bundle.ref.sha256, list(bundle.labels)
        else:
            summary = strict_json.decode(store.manifest(found.name, found.version) or b"", _Summary)
            sha256 = store.ref(found.name, found.version).sha256
            labels = [label.id for label in summary.labels]
    except msgspec.DecodeError as error:
        problems = [f"manifest.json: {error}"]
    except StreamtagError as error:
        problems = list(getattr(error, "problems", ())) or [error.message]
    return Listed(found.name, found.version, sha256, labels, aliases, store.url, path, problems)


class _LabelId(msgspec.Struct):
    id: str


class _Summary(msgspec.Struct):
    labels: list[_LabelId]
