"""Which gathered rows train and which test: near-duplicates, within and across sets, stay on one side."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from streamtag.model.training.config import SplitConfig
from streamtag.model.training.rows import Rows
from streamtag.model.training.split import Split, duplicate_groups, group_names, split_rows
from streamtag.model.training.stratify import hold_out_groups


def divide(rows: Rows, present: csr_matrix, config: SplitConfig) -> Split:
    """The same split whenever rows and configuration are the same.

    Only rows of natural rates are tested, where there are any; a set's own test rows are never trained on.

    Args:
        rows: to divide.
        present: [rows, buckets], which n-grams a row has.
        config: the method.
    """
    groups = joined(duplicate_groups(present), rows.group)
    names = bare_names(rows)
    own_test = np.array([side == "test" for side in rows.split], dtype=np.bool_)
    if config.method == "fixed":
        return Split(groups, train=~np.isin(groups, groups[own_test]), test=own_test)
    natural = rows.natural if rows.natural.any() else np.ones(len(names), dtype=np.bool_)
    if config.method == "hash":
        split = split_rows(names, natural, groups, share=config.share, salt=config.salt)
        test = split.test
    else:
        whole = group_names(names, groups)
        open_ = np.flatnonzero(natural)
        mine = [whole[i] for i in open_.tolist()]
        test = np.zeros(len(names), dtype=np.bool_)
        test[open_] = hold_out_groups(mine, rows.targets[open_], share=config.share, salt=config.salt)
    return Split(groups, train=~np.isin(groups, groups[test | own_test]), test=test)


def bare_names(rows: Rows) -> list[str]:
    """Ids without their set: which sets are added later does not move a row of the first to the other side."""
    return [name.partition(":")[2] for name in rows.ids]


def joined(groups: NDArray[np.int32], own: tuple[str, ...] | None) -> NDArray[np.int32]:
    """Groups that hold together what either of two divisions does, int32 [rows].

    Args:
        groups: int32 [rows].
        own: the sets' groups; None: there are none.
    """
    if own is None:
        return groups
    _, other = np.unique(np.array(own), return_inverse=True)
    n = len(groups)
    first = n + groups
    second = n + int(groups.max(initial=-1)) + 1 + other
    rows = np.arange(n)
    edges = np.concatenate([rows, rows]), np.concatenate([first, second])
    size = int(second.max(initial=-1)) + 1
    graph = coo_matrix((np.ones(2 * n, dtype=np.bool_), edges), shape=(size, size))  # type: ignore[no-untyped-call]
    found: NDArray[np.int32] = connected_components(graph, directed=False)[1][:n].astype(np.int32)
    return found
