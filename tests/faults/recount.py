"""What a commit summary says against what its tag events say."""

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from streamtag.domain.scores import BINS, bin_of
from streamtag.events.summary import CommitSummary, PaneCounts

from .corpus import LANGS, Corpus
from .findings import Findings
from .tag_columns import Row
from .window import LABELS

_DECLARED = ("de", "en")
_ARMS = ("control", "candidate")
_Key = tuple[str, str, str, str, int]
"""Release, bundle and revision, arm, start of the pane."""


def recount(
    cells: NDArray[np.void], summary: CommitSummary, rows: Sequence[Row], corpus: Corpus, findings: Findings
) -> None:
    """Every pane of a summary must equal the fold over its tag events, and so must what it says of their number.

    Args:
        cells: of the summary's range, those that hold one tag event.
        summary: to check.
        rows: what ``cells["release"]`` points to.
        corpus: what was written.
        findings: takes what does not add up.
    """
    where = f"{summary.partition}[{summary.from_offset}, {summary.to_offset})"
    tagged = int(cells["tagged"].any(axis=1).sum())
    if (summary.tagged, summary.clean) != (tagged, len(cells) - tagged):
        what = f"{summary.tagged} tagged and {summary.clean} clean, {tagged} of {len(cells)} have tags"
        findings.add("counts", f"{where}: {what}")
    found: dict[_Key, list[NDArray[np.void]]] = {}
    for index in np.unique(cells["release"]).tolist():
        of, row = cells[cells["release"] == index], rows[index]
        for pane, theirs in set(zip(of["pane"].tolist(), of["candidate"].tolist(), strict=True)):
            key = (row.release_sha256, row.bundle_sha256, row.revision_sha256, _ARMS[theirs], pane)
            found.setdefault(key, []).append(of[(of["pane"] == pane) & (of["candidate"] == theirs)])
    decided = [pane for pane in summary.panes if pane.shadow is not True]
    said = {(p.release_sha256, p.bundle_sha256, p.revision_sha256, p.arm, p.start_ms): p for p in decided}
    if said.keys() != found.keys() or len(said) != len(decided):
        findings.add("recount", f"{where}: {len(decided)} panes, {sorted(said)} instead of {sorted(found)}")
        return
    for key, parts in found.items():
        if not _equals(said[key], np.concatenate(parts), corpus):
            findings.add("recount", f"{where}: pane {key}")


def _equals(said: PaneCounts, cells: NDArray[np.void], corpus: Corpus) -> bool:
    if (said.events, said.by_arrival) != (len(cells), int(cells["by_arrival"].sum())):
        return False
    lang = corpus.facts(cells["ordinal"]).lang
    value = [LANGS[code] if LANGS[code] in _DECLARED else "other" for code in range(len(LANGS))]
    segments = Counter(value[code] for code in lang.tolist())
    if {name: counts.events for name, counts in said.segments.get("lang", {}).items()} != segments:
        return False
    pairs = {} if said.pairs is UNSET else said.pairs
    for i, j in itertools.combinations(range(len(LABELS)), 2):
        first, second = sorted((LABELS[i], LABELS[j]))
        if pairs.get(first, {}).get(second, 0) != int((cells["tagged"][:, i] & cells["tagged"][:, j]).sum()):
            return False
    for j, label in enumerate(LABELS):
        counts, micro = said.labels[label], cells["micro"][:, j].astype(np.int64)
        histogram = np.bincount(bin_of(micro), minlength=BINS)
        bins = np.flatnonzero(histogram)
        wanted = (int(cells["tagged"][:, j].sum()), int(micro.sum()), bins.tolist(), histogram[bins].tolist())
        if (counts.alerts, counts.sum_micro, counts.bins, counts.counts) != wanted:
            return False
    return True
