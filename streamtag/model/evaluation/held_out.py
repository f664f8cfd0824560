"""The rows that were held out of a bundle's training, found anew from its records, as labelled documents.

Bundles keep no data: they keep the hashes of the files they were trained from, and how those were divided.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from streamtag.errors import RefusedError
from streamtag.model.manifest import Manifest
from streamtag.model.training.backbone import contract_of, count_all
from streamtag.model.training.config import TrainConfig
from streamtag.model.training.data import read_jigsaw
from streamtag.model.training.divide import divide
from streamtag.model.training.gather import gather
from streamtag.model.training.security.bundle import read_sets
from streamtag.model.training.security.fit import SecurityConfig
from streamtag.model.training.security.fit import held_out as security_held_out
from streamtag.model.training.train import Recipe, split_dataset

__all__ = ["held_out_lines"]

_HINT = "Its held-out rows are known by the very files that it was trained from."


T = TypeVar("T")


class _Set(msgspec.Struct, frozen=True):
    """A set that was read: the hash of each of its files."""

    name: str
    files: dict[str, str]


class _File(msgspec.Struct, frozen=True):
    """A file that was read."""

    name: str
    sha256: str


class _Records(msgspec.Struct, frozen=True):
    """What tells how the rows were divided."""

    config: dict[str, Any] | None = None
    recipe: dict[str, Any] = {}


@dataclass(frozen=True)
class _Rows:
    """Columns of the rows held out."""

    labels: Sequence[str]
    texts: Sequence[str]
    targets: NDArray[np.int8]
    group: Sequence[object]
    source: Sequence[str] = ()
    lang: Sequence[str] = ()


def held_out_lines(manifest: Manifest, data: Path) -> Iterator[bytes]:
    """JSON lines of the form of `streamtag.model.evaluation.labelled`; with groups, so that intervals are honest.

    Raises:
        RefusedError: the bundle's records say nothing of a split, or the data are others.
    """
    rows = _rows(manifest, data)
    for i, text in enumerate(rows.texts):
        known = {label: int(y) for label, y in zip(rows.labels, rows.targets[i].tolist(), strict=True) if y >= 0}
        line: dict[str, Any] = {"text": text, "labels": known, "group": str(rows.group[i])}
        for name, column in (("source", rows.source), ("lang", rows.lang)):
            if column and column[i]:
                line[name] = column[i]
        yield msgspec.json.encode(line) + b"\n"


def _rows(manifest: Manifest, data: Path) -> _Rows:
    records = _converted(manifest, manifest.training, _Records)
    if records.config is not None:
        return _of_configuration(manifest, records.config, data)
    if "sets" in records.recipe:
        return _of_security(manifest, _converted(manifest, records.recipe, SecurityConfig), data)
    if "salt" in records.recipe:
        return _of_jigsaw(manifest, _converted(manifest, records.recipe, Recipe), data)
    raise RefusedError(
        f"{manifest.name}@{manifest.version} says nothing of rows held out of its training",
        hint="Only bundles that streamtag trained know theirs; label documents of your own for others.",
    )


def _converted(manifest: Manifest, record: Any, form: type[T]) -> T:
    """A record in the form that this version knows."""
    try:
        return msgspec.convert(record, form)
    except msgspec.ValidationError as error:
        raise _unknown_form(manifest, str(error)) from None


def _unknown_form(manifest: Manifest, why: str) -> RefusedError:
    return RefusedError(
        f"the training of {manifest.name}@{manifest.version} is recorded in a form that this version does not know",
        problems=[why],
        hint="Label documents of your own for it.",
    )


def _of_configuration(manifest: Manifest, record: dict[str, Any], data: Path) -> _Rows:
    try:
        config = TrainConfig.model_validate(record)
    except ValidationError as error:
        raise _unknown_form(manifest, f"config: {error.error_count()} of its entries are not understood") from None
    gathered = gather(config, data)
    recorded = {each.name: each.files for each in _recorded(manifest, _Set)}
    found = {each["name"]: each["files"] for each in gathered.sources}
    _refuse_others(
        manifest,
        [
            f"set {name}: {file} differs"
            for name, files in recorded.items()
            for file, digest in files.items()
            if found.get(name, {}).get(file) != digest
        ],
    )
    rows = gathered.rows
    split = divide(rows, count_all(contract_of(config.features), list(rows.texts)), config.split)
    at = np.flatnonzero(split.test)
    columns = (rows.texts, split.groups.tolist(), rows.source, rows.language)
    texts, groups, source, lang = ([column[i] for i in at.tolist()] for column in columns)
    return _Rows(rows.labels, texts, rows.targets[at], groups, source, lang)


def _of_security(manifest: Manifest, config: SecurityConfig, data: Path) -> _Rows:
    files = _recorded(manifest, _File)
    _refuse_others(manifest, [f"{each.name}: differs" for each in files if not _same(data, each)])
    rows = read_sets(data, config)
    at = np.flatnonzero(security_held_out(rows, config)[0])
    texts, groups, source = ([column[i] for i in at.tolist()] for column in (rows.texts, rows.group or (), rows.source))
    return _Rows(rows.labels, texts, rows.targets[at], groups, source)


def _of_jigsaw(manifest: Manifest, recipe: Recipe, data: Path) -> _Rows:
    rows = read_jigsaw(data)
    known = {each.sha256 for each in _recorded(manifest, _File)}
    _refuse_others(manifest, [] if rows.sha256 in known else [f"{rows.file.name}: differs"])
    split = split_dataset(rows, recipe, lambda _: None)
    at = np.flatnonzero(split.test)
    texts, groups = ([column[i] for i in at.tolist()] for column in (rows.texts, split.groups.tolist()))
    return _Rows([label.id for label in manifest.labels], texts, rows.targets[at], groups)


def _recorded(manifest: Manifest, form: type[T]) -> list[T]:
    """The data that it was trained from; a split of unknown data is none."""
    found = [_converted(manifest, each, form) for each in _converted(manifest, manifest.training.get("data", []), list)]
    if not found:
        raise _unknown_form(manifest, "data: nothing is recorded")
    return found


def _same(data: Path, recorded: _File) -> bool:
    try:
        return hashlib.sha256((data / recorded.name).read_bytes()).hexdigest() == recorded.sha256
    except OSError:
        return False


def _refuse_others(manifest: Manifest, problems: list[str]) -> None:
    if problems:
        named = f"{manifest.name}@{manifest.version}"
        raise RefusedError(f"the data are not those that {named} was trained from", problems=problems, hint=_HINT)
