"""Holding out whole groups so that every label has its share of them.

Iterative stratification (Sechidis, Tsoumakas & Vlahavas, "On the stratification of multi-label data", ECML 2011), on
groups instead of rows: the rarest label is served first, since later labels have more groups to choose from.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.model.training.split import unit_hash


def hold_out_groups(groups: Sequence[str], targets: NDArray[np.int8], *, share: float, salt: str) -> NDArray[np.bool_]:
    """Rows to hold out, bool [rows]: all of a group, or none.

    Args:
        groups: of the rows.
        targets: int8 [rows, labels]; 1 counts.
        share: of each label's groups to hold out, 0 … 1; one at least where a label has two.
        salt: names the split; groups are taken in the order of their salted hash.
    """
    names, group_of = np.unique(np.array(groups), return_inverse=True)
    has = np.zeros((len(names), targets.shape[1]), dtype=np.bool_)
    np.logical_or.at(has, group_of, targets > 0)
    place = unit_hash(names.tolist(), salt)
    order = np.argsort(place, kind="stable")
    held = place < share  # of groups without any label
    free = np.ones(len(names), dtype=np.bool_)
    while (waiting := (has & free[:, None]).sum(axis=0)).any():
        label = int(np.argmin(np.where(waiting, waiting, np.iinfo(np.int64).max)))
        own = order[has[order, label]]
        open_ = own[free[own]]
        taken = own[~free[own]]
        least = 1 if len(own) > 1 else 0
        want = max(least, round(share * len(own))) - int(held[taken].sum())
        held[open_] = np.arange(len(open_)) < want
        free[open_] = False
    rows: NDArray[np.bool_] = held[group_of]
    return rows
