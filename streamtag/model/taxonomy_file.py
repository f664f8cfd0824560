"""Taxonomies as people keep them: one YAML file, a new version of it for every change, e.g. in git.

::

taxonomy: moderation
version: 3
labels:
  - id: hate                      # required: id, name, owner, since
    name: Hate against groups
    owner: trust-and-safety
    since: 2
    description: Attacks people for what they are.
    critical: true
    parent: abuse
    renamed_from: [identity_hate] # ids it had before
  - id: insult
    …
    deprecated_by: abuse          # its place is taken; it is still scored somewhere
retired:
  - id: spam                      # no label any more, and never again
    until: 3
    replaced_by: null             # or the label that its old tags belong to
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamtag import strict_yaml
from streamtag.domain.taxonomy import Retired, Taxonomy, TaxonomyLabel, problems
from streamtag.errors import RefusedError
from streamtag.settings import ModelSettings

__all__ = ["configured_taxonomy", "parse_taxonomy", "read_taxonomy"]

_TOP = {"taxonomy": str, "version": int, "labels": list, "retired": list}
_LABEL = {
    "id": str,
    "name": str,
    "owner": str,
    "since": int,
    "description": str,
    "critical": bool,
    "parent": str,
    "deprecated_by": str,
    "renamed_from": list,
}
_RETIRED = {"id": str, "until": int, "replaced_by": str}
_REQUIRED = {
    "top": ("taxonomy", "version", "labels"),
    "label": ("id", "name", "owner", "since"),
    "retired": ("id", "until"),
}
_WORDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list"}


def configured_taxonomy(model: ModelSettings) -> Taxonomy | None:
    """The taxonomy that the settings name, read anew; None where they name none.

    Raises:
        RefusedError: it cannot be read, or contradicts itself.
    """
    return None if model.taxonomy is None else read_taxonomy(model.taxonomy)


def taxonomy_if_readable(model: ModelSettings, tell: Callable[[str], None]) -> Taxonomy | None:
    """The same for what only describes; ``tell`` hears why there is none where it cannot be read."""
    try:
        return configured_taxonomy(model)
    except RefusedError as error:
        tell(error.message)
        return None


def read_taxonomy(path: Path) -> Taxonomy:
    """The taxonomy in a file.

    Raises:
        RefusedError: it cannot be read, or `parse_taxonomy` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RefusedError(
            f"taxonomy {path} cannot be read: {reason}", hint="The setting model.taxonomy says where it lies."
        ) from None
    return parse_taxonomy(text, str(path))


def parse_taxonomy(text: str, name: str) -> Taxonomy:
    """Reads the form above.

    Raises:
        RefusedError: not of this form, or it contradicts itself; names every problem.
    """
    try:
        raw = strict_yaml.load(text)
    except ValueError as error:
        raise RefusedError(f"{name} is neither YAML nor JSON: {error}") from None
    found: list[str] = []
    top = _fields("", raw, _TOP, _REQUIRED["top"], found)
    labels = [
        _fields(_where("labels", i, one), one, _LABEL, _REQUIRED["label"], found)
        for i, one in enumerate(top.get("labels", ()))
    ]
    retired = [
        _fields(_where("retired", i, one), one, _RETIRED, _REQUIRED["retired"], found)
        for i, one in enumerate(top.get("retired", ()))
    ]
    for label in labels:
        older = label.get("renamed_from", [])
        if any(not isinstance(old, str) for old in older):
            found.append(f"labels.{label.get('id')}.renamed_from: ids must be text")
        label["renamed_from"] = tuple(older)
    if not found:
        taxonomy = Taxonomy(
            top["taxonomy"],
            top["version"],
            tuple(TaxonomyLabel(**label) for label in labels),
            tuple(Retired(**one) for one in retired),
        )
        found = problems(taxonomy)
    if found:
        raise RefusedError(
            f"{name} is no sound taxonomy", problems=found, hint="docs/howto-taxonomy.md shows the form."
        )
    return taxonomy


def _where(section: str, i: int, raw: object) -> str:
    name = raw.get("id") if isinstance(raw, dict) else None
    return f"{section}.{name}" if isinstance(name, str) else f"{section}[{i}]"


def _fields(
    where: str, raw: object, types: Mapping[str, type], required: tuple[str, ...], found: list[str]
) -> dict[str, Any]:
    """The fields of ``raw`` that are of the right type; every fault goes to ``found``. null means not given."""
    if not isinstance(raw, dict):
        found.append(f"{where or 'the file'}: must be a mapping with {', '.join(required)}")
        return {}
    dot = f"{where}." if where else ""
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in types:
            found.append(f"{dot}{key}: unknown; known are {', '.join(types)}")
        elif value is not None and not _is(value, types[key]):
            found.append(f"{dot}{key}: must be {_WORDS[types[key]]}, not {type(value).__name__}")
        elif value is not None:
            kept[key] = value
    found += [f"{dot}{key}: missing" for key in required if raw.get(key) is None]
    return kept


def _is(value: object, wanted: type) -> bool:
    # bool is an int in Python, and in no file
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
