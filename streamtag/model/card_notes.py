"""What a model card says that a manifest does not: notes by people, known data sets, figures measured since.

All of it lies in ``streamtag/model/cards/``: ``<name>.yaml`` are notes, ``datasets.yaml`` the public sets, and
``<name>-<version>.json`` figures, which are of exactly one bundle and shown for no other.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from streamtag import strict_json, strict_yaml
from streamtag.domain.release import BundleRef
from streamtag.errors import RefusedError
from streamtag.model.bundle import Bundle
from streamtag.model.card_forms import Lineage, known
from streamtag.model.evaluation.result import from_document
from streamtag.model.manifest import Manifest

__all__ = [
    "Dataset",
    "Measured",
    "Notes",
    "datasets",
    "decoded",
    "measured",
    "notes",
    "read_figures",
    "saved",
    "sets_of",
]

_CARDS = Path(__file__).parent / "cards"
_DIGITS = 6
"""Significant ones of a figure that is kept."""


class Notes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By people.

    Attributes:
        summary: what it is.
        use: what it is for.
        not_for: what it must not be used for.
        limits: what it gets wrong.
        cost: CPU, and where it was measured.
    """

    summary: str
    use: str
    not_for: list[str]
    limits: list[str]
    cost: str = ""


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public set: its name with a link, what it has, under which licence."""

    title: str
    gives: str
    licence: str


class Measured(msgspec.Struct, frozen=True):
    """Figures of one `streamtag model evaluate --output json`.

    Attributes:
        title: on what.
        figures: the document.
        at: when it was kept, where anybody said.
    """

    title: str
    figures: dict[str, Any]
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @property
    def id(self) -> str:
        """By its content: 12 hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    measured: list[Measured]


def sets_of(manifest: Manifest) -> dict[str, int]:
    """Folder of each set that it was trained from → rows read; empty where that is recorded in no form known."""
    lineage = known(manifest.training, Lineage) or Lineage()
    # a configuration's records name the reader; its folder may have another name
    sets = lineage.config.sets if lineage.config else []
    folders = {each.reader: each.path or each.reader for each in sets}
    found: dict[str, int] = {}
    for each in lineage.data:
        name = each.name.partition("/")[0]
        found[folders.get(name, name)] = each.rows
    return found


def datasets() -> dict[str, Dataset]:
    """The public sets by their folder."""
    document = strict_yaml.load((_CARDS / "datasets.yaml").read_text(encoding="utf-8"))
    return msgspec.convert(document, dict[str, Dataset])


def notes(bundle: Bundle) -> Notes | None:
    """Those of a bundle of this name, where it was trained from public sets alone: else they are of another model."""
    file = _CARDS / f"{bundle.ref.name}.yaml"
    sets = sets_of(bundle.manifest)
    if not sets or not sets.keys() <= datasets().keys() or not file.is_file():
        return None
    return msgspec.convert(strict_yaml.load(file.read_text(encoding="utf-8")), Notes)


def measured(bundle: Bundle) -> list[Measured]:
    """Figures that ship for this very bundle."""
    file = _CARDS / f"{bundle.ref.name}-{bundle.ref.version}.json"
    if not file.is_file():
        return []
    return decoded(file.read_bytes(), bundle.ref)


def decoded(content: bytes, ref: BundleRef) -> list[Measured]:
    """What `saved` wrote; nothing where it is of another bundle. Raises `msgspec.DecodeError` where it is damaged."""
    found = strict_json.decode(content, _File)
    return found.measured if found.sha256 == ref.sha256 else []


def saved(ref: BundleRef, found: Sequence[Measured]) -> bytes:
    """Figures as a file: as they ship in ``cards/``, or as `reports` keeps them."""
    kept = [msgspec.structs.replace(one, figures=_rounded(one.figures)) for one in found]
    return msgspec.json.encode(_File(ref.sha256, kept)) + b"\n"


def read_figures(content: bytes, name: str, bundle: Bundle, title: str = "") -> Measured:
    """The output of ``streamtag model evaluate --labels … --output json`` as figures of this bundle.

    Args:
        content: of the file.
        name: of the file.
        bundle: whose they must be.
        title: on what they were measured; empty: the file says.

    Raises:
        RefusedError: it is something else, or of another bundle, or figures that no card could show.
    """
    try:
        figures = strict_json.decode(content, dict[str, Any])
        sha256 = figures["bundle"]["sha256"]
    except (msgspec.DecodeError, KeyError, TypeError):
        raise RefusedError(
            f"{name} holds no figures", hint="Write them with: streamtag model evaluate --labels FILE --output json"
        ) from None
    if sha256 != bundle.ref.sha256:
        raise RefusedError(
            f"{name} holds figures of another bundle than {bundle.ref}",
            problems=[f"its sha256 is {str(sha256)[:12]}…, that of the bundle {bundle.ref.sha256[:12]}…"],
        )
    from_document(figures)
    return Measured(title or f"Measured on {Path(name).stem}", figures)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items() if key != "bundle"}  # the file says whose they are
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
