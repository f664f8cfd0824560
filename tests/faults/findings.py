"""What a campaign finds wrong: counted by class, with a few examples of each."""

import threading
from collections import Counter

_EXAMPLES = 5

LOST = ("lost", "gap", "uncovered")
DOUBLED = ("doubled", "overlap", "invented")
NO_OUTCOME = ("behind", "grown", "unrecovered")
"""About processes, not about what became of a record. Every other class counts as wrong."""


class Findings:
    """Thread-safe. ``allowed`` classes are counted, but no violations."""

    def __init__(self, allowed: frozenset[str] = frozenset()) -> None:
        self._allowed = allowed
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, what: str, count: int = 1) -> None:
        """``count`` more of this class."""
        with self._lock:
            self._counts[kind] += count
            examples = self._examples.setdefault(kind, [])
            if len(examples) < _EXAMPLES:
                examples.append(what)

    def count(self, *kinds: str) -> int:
        """How many of these classes, allowed or not."""
        with self._lock:
            return sum(self._counts[kind] for kind in kinds)

    def violations(self) -> dict[str, int]:
        """By class, without what is allowed."""
        with self._lock:
            return {kind: n for kind, n in sorted(self._counts.items()) if kind not in self._allowed and n}

    def examples(self) -> list[str]:
        """A few of each class of violation."""
        with self._lock:
            return [f"{kind}: {e}" for kind, some in self._examples.items() if kind not in self._allowed for e in some]
