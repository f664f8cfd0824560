"""What a person says about a graph beside it: its labels, and the numbers that it reads."""

from typing import Any

import msgspec

from streamtag import strict_yaml
from streamtag.model.contracts.numeric import Feature
from streamtag.model.manifest import Label

DEFAULT_THRESHOLD = 0.5


class _LabelEntry(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    description: str = ""
    threshold: float = DEFAULT_THRESHOLD
    critical: bool = False


def read_labels(text: str, problems: list[str]) -> list[Label]:
    """Labels in the order of the graph's columns.

    Args:
        text: a label a line; or YAML or JSON: a list of names or of ``{id, description, threshold, critical}``; or a
            Hugging Face ``config.json``, whose ``id2label`` counts.
        problems: what is wrong is added here.
    """
    entries = _entries(text, problems)
    labels = []
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, str):
            entry = {"id": entry}  # noqa: PLW2901
        try:
            found = msgspec.convert(entry, _LabelEntry)
        except msgspec.ValidationError as error:
            problems.append(f"labels: entry {number}: {error}")
            continue
        labels.append(Label(found.id, found.description, found.threshold, found.critical))
        if not found.id.strip():
            problems.append(f"labels: entry {number} is empty")
        if not 0 <= found.threshold <= 1:
            problems.append(f"labels: entry {number}: threshold {found.threshold} is outside 0 … 1")
        elif round(found.threshold, 6) != found.threshold:
            problems.append(f"labels: entry {number}: threshold {found.threshold!r} has more than 6 decimals")
    ids = [label.id for label in labels]
    problems += [f"labels: {name!r} stands {ids.count(name)} times" for name in sorted(set(ids)) if ids.count(name) > 1]
    if not entries and not problems:
        problems.append("labels: the file is empty; write a label a line, in the order of the model's outputs")
    return labels


def read_features(text: str, problems: list[str]) -> list[Feature]:
    """Numbers that the graph reads, in the order of its columns.

    Args:
        text: YAML or JSON: a list of names or of ``{name, minimum, maximum, default, outside}``.
        problems: what is wrong is added here.
    """
    document = _document(text, "features", problems)
    if document is None:
        return []
    entries = document.get("features") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        problems.append("features: must be a list")
        return []
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(msgspec.convert({"name": entry} if isinstance(entry, str) else entry, Feature))
        except msgspec.ValidationError as error:
            problems.append(f"features: entry {number}: {error}")
    return found


def _entries(text: str, problems: list[str]) -> list[Any]:
    text = text.removeprefix("\ufeff")
    if not text.lstrip().startswith(("[", "{", "- ", "labels:", "id2label:")):
        return [line.strip() for line in text.splitlines() if line.strip()]
    document = _document(text, "labels", problems)
    if isinstance(document, dict) and "id2label" in document:
        return _by_number(document["id2label"], problems)
    if isinstance(document, dict) and "labels" in document:
        document = document["labels"]
    if not isinstance(document, list):
        if not problems:
            problems.append("labels: must be a list, or a config.json with id2label")
        return []
    return document


def _by_number(names: object, problems: list[str]) -> list[Any]:
    """The values of ``{"0": name, "1": name, …}`` in the order of its numbers, which must leave none out."""
    keys = {str(key): name for key, name in names.items()} if isinstance(names, dict) else {}
    wanted = [str(number) for number in range(len(keys))]
    if not keys or set(keys) != set(wanted):
        problems.append("labels: the keys of id2label must be the numbers 0, 1, 2 …")
        return []
    return [keys[number] for number in wanted]


def _document(text: str, what: str, problems: list[str]) -> Any:
    try:
        return strict_yaml.load(text)
    except ValueError as error:
        problems.append(f"{what}: {error}")
        return None
