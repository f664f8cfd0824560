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
        self._unknown: Counter[tuple[int, int]] = Counter()  # (row, lang) of releases nobody has named yet
        self._judged: dict[tuple[int, int], tuple[str, str] | None] = {}  # (row, lang) to class and words of a finding

    def scored(self, bundle_sha256: str, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """What a sound bundle must say of events, in millionths, int64 [n, labels]."""
        return self._scores[bundle_sha256][self._corpus.facts(ordinals).text]

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
            for lang in np.unique(c.lang[of]).tolist():
                self._judge(row, lang, int((c.lang[of] == lang).sum()))
        unbelieved = (c.stamp > c.processed_ms + _MAX_FUTURE_MS) | (c.stamp < c.processed_ms - _MAX_AGE_MS)
        self._wrong("placement", c, unbelieved != c.by_arrival)

    def finish(self) -> None:
        """When all releases are known: a release that decided and is not among them was never active."""
        unknown, self._unknown = self._unknown, Counter()
        for (row, lang), n in unknown.items():
            self._judge(row, lang, n)
        for (row, _), n in self._unknown.items():
            self._findings.add("release", f"{self._table.rows[row].release_sha256[:12]} was never active", n)

    def _judge(self, index: int, lang: int, n: int) -> None:
        """Whether a release that is known was active, and these are its cut-offs for this language."""
        row = self._table.rows[index]
        if (index, lang) not in self._judged:
            known = self._releases.known(row.release_sha256)
            if known is None:  # made a moment ago: its maker has yet to say so
                self._unknown[index, lang] += n
                return
            right = self._releases.cutoffs(row.revision_sha256, (LANGS[lang], None, None))
            if known.revision_sha256 != row.revision_sha256 or not known.good:
                self._judged[index, lang] = "release", f"{row.release_sha256[:12]} decided and was never active"
            elif right != row.cutoffs:
                self._judged[index, lang] = "threshold", f"release {known.number} in {LANGS[lang]}: {row.cutoffs}"
            else:
                self._judged[index, lang] = None
        if (finding := self._judged[index, lang]) is not None:
            self._findings.add(*finding, n)

    def _wrong(self, kind: str, columns: Columns, where: NDArray[np.bool_]) -> None:
        if where.any():
            i = int(np.flatnonzero(where)[0])
            self._findings.add(kind, f"{columns.partition[i]}/{columns.offset[i]}", int(where.sum()))
