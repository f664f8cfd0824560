"""Where each owned partition stands: committed, and processed in the open transaction. Pure; not thread-safe."""

from collections.abc import Iterable

from streamtag.stream.processor import Partition, Range


class Positions:
    """Tracks ranges so that consecutive transactions of a partition touch, whatever is redone.

    Example:
        >>> positions = Positions()
        >>> positions.assign(("content", 0), 5)
        >>> positions.advance(("content", 0), 9)
        >>> positions.open()
        {('content', 0): Range(start=5, end=9)}
        >>> positions.commit()
        >>> positions.open()
        {}
    """

    def __init__(self) -> None:
        self._committed: dict[Partition, int] = {}
        self._processed: dict[Partition, int] = {}

    def assign(self, partition: Partition, position: int) -> None:
        """Starts tracking; the first range will begin at ``position``."""
        self._committed[partition] = position
        self._processed.pop(partition, None)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Stops tracking; positions that were not committed are forgotten."""
        for partition in partitions:
            self._committed.pop(partition, None)
            self._processed.pop(partition, None)

    def advance(self, partition: Partition, position: int) -> None:
        """Everything below ``position`` has been processed in the open transaction.

        Raises:
            ValueError: the partition is not owned, or the position goes back: a record would count twice.
        """
        reached = self._processed.get(partition, self._committed.get(partition))
        if reached is None:
            raise ValueError(f"{partition} is not assigned")
        if position < reached:
            raise ValueError(f"{partition}: position {position} lies before {reached}, which is processed")
        self._processed[partition] = position

    def all(self) -> dict[Partition, int]:
        """First position not yet processed, of every owned partition."""
        return {**self._committed, **self._processed}

    def open(self) -> dict[Partition, Range]:
        """Ranges the open transaction covers; only partitions that moved."""
        return {p: Range(self._committed[p], end) for p, end in self._processed.items() if end > self._committed[p]}

    def commit(self) -> None:
        """The open ranges are committed."""
        self._committed.update(self._processed)
        self._processed.clear()

    def undo(self) -> None:
        """Forgets the open ranges."""
        self._processed.clear()
