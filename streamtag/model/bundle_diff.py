"""What two bundles differ in, from their manifests: labels, contract, cut-offs, figures, files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streamtag.model.manifest import Manifest

__all__ = ["Difference", "bundle_differences"]

# From the section of the manifest to the word for it; in the order in which people ask.
_PARTS = {
    "labels": "labels",
    "preprocessing": "contract",
    "calibration": "calibration",
    "recalibrations": "recalibration",
    "ort": "session",
    "stage2": "stage 2",
    "evaluation": "figures",
    "training": "training",
    "files": "files",
}
_KEYS = ("id", "label", "name")
"""Fields that name an entry of a list."""


@dataclass(frozen=True)
class Difference:
    """One place where two manifests say different things; None where one says nothing."""

    part: str
    what: str
    before: Any
    after: Any


def bundle_differences(before: Manifest, after: Manifest) -> list[Difference]:
    """All that differs, part by part; name, version and description are not compared."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    found = [Difference("cut-offs", *rest) for rest in _differ(_cutoffs(old), _cutoffs(new))]
    order = ([label.id for label in before.labels], [label.id for label in after.labels])
    if order[0] != order[1]:
        found.insert(0, Difference("labels", "columns", ", ".join(order[0]), ", ".join(order[1])))
    for section, part in _PARTS.items():
        for what, one, other in _differ(_leaves(old.get(section)), _leaves(new.get(section))):
            if (part, what.rpartition(".")[2]) != ("labels", "threshold") and not (
                part == "files" and what.endswith(".size")
            ):
                found.append(Difference(part, what, one, other))
    parts = ["labels", "cut-offs", *_PARTS.values()]
    return sorted(found, key=lambda difference: parts.index(difference.part))


def _cutoffs(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {label["id"]: label["threshold"] for label in manifest["labels"]}


def _differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for what in dict.fromkeys([*old, *new]):
        if old.get(what) != new.get(what):
            yield what, old.get(what), new.get(what)


def _leaves(node: Any, path: str = "") -> dict[str, Any]:
    """Dotted names to values; an entry of a list goes by its name where it has one, else by its number."""
    if isinstance(node, Mapping):
        entries = [(str(key), value) for key, value in node.items()]
    elif isinstance(node, list):
        entries = [(_name(value, i), value) for i, value in enumerate(node)]
    else:
        return {path: node}
    found: dict[str, Any] = {}
    for key, value in entries:
        found.update(_leaves(value, f"{path}.{key}" if path else key))
    return found


def _name(entry: Any, number: int) -> str:
    if isinstance(entry, Mapping):
        return next((str(entry[key]) for key in _KEYS if key in entry), str(number))
    return str(number)
