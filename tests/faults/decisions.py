"""Each decision against its recomputation, and against the release it names."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .corpus import EVENT, LANGS, Corpus
from .findings import Findings
from .releases import Releases
from .tag_columns import Columns, Table

_MAX_FUTURE_MS, _MAX_AGE_MS = 60_000, 604_800_000


class Decisions:
    """Checks what tag events say of themselves.

    Args:
        corpus: what was written.
        scores: sha256 of each sound bundle to the scores of `Corpus.texts` in millionths, int64 [texts, labels].
        releases: what may decide.
        table: what the columns' rows point to.
        findings: takes what is wrong.
    """

    def __init__(
        self,
        corpus: Corpus,
        scores: Mapping[str, NDArray[np.int64]],
        releases: Releases,
        table: Table,
        findings: Findings,
    ) -> None:
        self._corpus, self._scores, self._releases = corpus, scores, releases
        self._table, self._findings = table, findings
        self._seen: Counter[tuple[int, int]] = Counter()  # (row, lang)

    def check(self, c: Columns) -> None:
        """More tag events: content, scores, tags and placement."""
        facts = self._corpus.facts(c.ordinal)
        self._wrong("changed", c, (facts.entity != c.entity) | (facts.lang != c.lang) | (facts.kind != EVENT))
        self._wrong("decision", c, ~c.sound)
        self._wrong("decision", c, (c.tagged != (c.micro >= self._table.cutoffs[c.row])).any(axis=1))
        rows = self._table.rows
        for row in np.unique(c.row).tolist():
            of = c.row == row
            expected = self._scores.get(rows[row].bundle_sha256)
            if expected is None:
                self._findings.add("release", f"{rows[row]} decided with a bundle that is not sound", int(of.sum()))
            else:
                self._wrong("score", c, of & (c.micro != expected[facts.text]).any(axis=1))
            for lang, n in enumerate(np.bincount(c.lang[of], minlength=len(LANGS)).tolist()):
                self._seen[row, lang] += n
        unbelieved = (c.stamp > c.processed_ms + _MAX_FUTURE_MS) | (c.stamp < c.processed_ms - _MAX_AGE_MS)
        self._wrong("placement", c, unbelieved != c.by_arrival)

    def finish(self) -> None:
        """When all releases are known: each that decided was active, and decided by its own cut-offs."""
        for (index, lang), n in self._seen.items():
            row = self._table.rows[index]
            known = self._releases.known(row.release_sha256)
            if n == 0:
                continue
            if known is None or known.revision_sha256 != row.revision_sha256 or not known.good:
                self._findings.add("release", f"{row.release_sha256[:12]} decided and was never active", n)
            elif self._releases.cutoffs(row.revision_sha256, (LANGS[lang], None, None)) != row.cutoffs:
                self._findings.add("threshold", f"release {known.number} in {LANGS[lang]}: {row.cutoffs}", n)

    def _wrong(self, kind: str, columns: Columns, where: NDArray[np.bool_]) -> None:
        if where.any():
            i = int(np.flatnonzero(where)[0])
            self._findings.add(kind, f"{columns.partition[i]}/{columns.offset[i]}", int(where.sum()))
