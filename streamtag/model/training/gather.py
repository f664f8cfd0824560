"""All sets of a configuration as one table of rows under the bundle's labels, with the hashes of what was read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamtag.errors import NotFoundError, RefusedError, StreamtagError
from streamtag.model.training.config import SetConfig, TrainConfig
from streamtag.model.training.readers.content import READERS, concatenate
from streamtag.model.training.rows import Rows
from streamtag.model.training.taxonomy_map import onto


@dataclass(frozen=True)
class Gathered:
    """Rows, and where they come from.

    Attributes:
        rows: of all sets, in the order of the configuration.
        weight: of each row's set in the loss.
        sources: per set its name, number of rows, and the hash of each file in its folder.
    """

    rows: Rows
    weight: tuple[float, ...]
    sources: list[dict[str, Any]]


def gather(config: TrainConfig, data: Path) -> Gathered:
    """Reads every set below ``data``; a single set may also lie in ``data`` itself.

    Raises:
        RefusedError: names every set that is missing or wrong, and every label that no row has.
    """
    parts, weights, sources, problems = [], [], [], []
    for each in config.sets:
        folder = data / (each.path or each.reader)
        if len(config.sets) == 1 and not folder.is_dir():
            folder = data
        try:
            rows = _read(each, folder, config.label_ids)
        except (NotFoundError, RefusedError) as error:
            problems += [f"set {each.reader}: {text}" for text in _lines(error)]
            continue
        parts.append(rows)
        weights += [each.weight] * len(rows.ids)
        sources.append({"name": each.reader, "rows": len(rows.ids), "files": _hashes(folder)})
    if not problems:
        together = concatenate(parts)
        problems = [f"label {name}: no row has it" for name in _empty(together)]
    if problems:
        raise RefusedError(
            f"the data in {data} do not fit the configuration {config.name}",
            problems=problems,
            hint="docs/howto-train.md says which files a set consists of.",
        )
    return Gathered(together, tuple(weights), sources)


def _read(each: SetConfig, folder: Path, labels: tuple[str, ...]) -> Rows:
    rows = READERS[each.reader](folder)
    means = each.means if each.means is not None else {name: [name] for name in labels if name in rows.labels}
    mapped = onto(rows, labels, means, each.positives_only)
    if each.only is None:
        return mapped
    return take(mapped, np.flatnonzero([language in each.only for language in mapped.language]).tolist())


def take(rows: Rows, places: list[int]) -> Rows:
    """Some of the rows, in the order given."""

    def some(column: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(column[i] for i in places)

    return Rows(
        labels=rows.labels,
        ids=some(rows.ids),
        texts=some(rows.texts),
        targets=rows.targets[places],
        natural=rows.natural[places],
        source=some(rows.source),
        language=some(rows.language),
        split=some(rows.split),
        features=some(rows.features) if rows.features is not None else None,
        group=some(rows.group) if rows.group is not None else None,
    )


def _empty(rows: Rows) -> list[str]:
    return [name for name, column in zip(rows.labels, rows.targets.T, strict=True) if not (column == 1).any()]


def _hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir()) if file.is_file()
    }


def _lines(error: StreamtagError) -> list[str]:
    found = getattr(error, "problems", ())
    return [f"{error.message}: {problem}" for problem in found] or [error.message]
