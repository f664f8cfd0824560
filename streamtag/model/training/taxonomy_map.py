"""A set's own labels, read as labels of a bundle: what the set says nothing about is unknown."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from streamtag.errors import RefusedError
from streamtag.model.training.rows import Rows


def onto(
    rows: Rows, labels: Sequence[str], meanings: Mapping[str, Sequence[str]], positives_only: Collection[str] = ()
) -> Rows:
    """``rows`` under other labels.

    Args:
        rows: of one set.
        labels: of the bundle.
        meanings: label of the bundle → labels of the set that imply it: yes where one of them is, no where none is,
            unknown where that depends on what is unknown. A label that is not here is unknown.
        positives_only: labels of the bundle for which "none of them" is no "no": the set covers a part of the label.

    Raises:
        RefusedError: names every label that the bundle or the set does not have.
    """
    found = [
        f"{label}: not a label of the bundle"
        for label in {**meanings, **dict.fromkeys(positives_only)}
        if label not in labels
    ]
    found += [
        f"{label}: the set has no label {name}; it has {', '.join(rows.labels)}"
        for label, names in meanings.items()
        for name in names
        if name not in rows.labels
    ]
    if found:
        raise RefusedError("the labels of a set cannot be mapped", problems=found)
    targets = np.full((len(rows.ids), len(labels)), -1, dtype=np.int8)
    for j, label in enumerate(labels):
        if label in meanings:
            own = rows.targets[:, [rows.labels.index(name) for name in meanings[label]]]
            targets[(own == 0).all(axis=1), j] = -1 if label in positives_only else 0
            targets[(own == 1).any(axis=1), j] = 1
    return replace(rows, labels=tuple(labels), targets=targets)
