"""When dead letters are no longer single accidents: stop, rather than drain a topic into the dead-letter topic."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from streamtag.settings import DeadLetterSettings
from streamtag.stream.processor import Partition


class DeadLetterLimit:
    """Watches outcomes; what an undone transaction reported is forgotten, like its records.

    Example:
        >>> limit = DeadLetterLimit(DeadLetterSettings(max_consecutive=2))
        >>> limit.report([(("content", 0), True), (("content", 0), True)])
        >>> limit.exceeded() is None
        True
        >>> limit.report([(("content", 0), True)])
        >>> limit.exceeded()
        '3 dead letters in a row on content/0 (dead_letters.max_consecutive is 2)'
    """

    def __init__(self, settings: DeadLetterSettings) -> None:
        self._settings = settings
        self._window: deque[tuple[int, int]] = deque()  # (records, dead) per batch, committed
        self._in_row: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}  # up to where each row was counted
        self._open: list[tuple[int, int]] = []
        self._open_in_row: dict[Partition, int] = {}
        self._too_many: dict[Partition, int] = {}  # in a row, since the last commit, whatever has followed
        self._open_ends: Mapping[Partition, int] = {}
        self._pardoned: dict[Partition, int] = {}

    def assigned(self, positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> None:
        """These partitions are read from there on, their logs end there; what is open of them will not be committed.

        A pardon beyond the end of a log was given for another one, of a topic that was made anew since: it is void.

        A row goes on where it was left: it outlasts an undone transaction, and a rebalance that leaves the partition
        here. Anywhere else somebody else has read in between, perhaps nothing but good records.
        """
        for partition, end in ends.items():
            if self._pardoned.get(partition, 0) > end:
                del self._pardoned[partition]
        for partition, position in positions.items():
            self._open_in_row.pop(partition, None)
            self._too_many.pop(partition, None)
            if self._ends.get(partition) != position:
                self._in_row.pop(partition, None)
                self._ends.pop(partition, None)

    def report(self, outcomes: Sequence[tuple[Partition, bool]]) -> None:
        """Outcomes of a batch, true = dead letter, in position order per partition."""
        in_row = self._open_in_row
        dead = 0
        for partition, is_dead in outcomes:
            if is_dead:
                dead += 1
                n = in_row[partition] = in_row.get(partition, self._in_row.get(partition, 0)) + 1
                if n > self._settings.max_consecutive:
                    self._too_many[partition] = n
            else:
                in_row[partition] = 0
        self._open.append((len(outcomes), dead))

    def report_clean(self, partitions: Iterable[Partition], records: int) -> None:
        """A batch without any dead letter: the usual case, cheap."""
        for partition in partitions:
            self._open_in_row[partition] = 0
        self._open.append((records, 0))

    def exceeded(self) -> str | None:
        """Why to stop, or None."""
        for (topic, index), n in self._too_many.items():
            limit = self._settings.max_consecutive
            return f"{n} dead letters in a row on {topic}/{index} (dead_letters.max_consecutive is {limit})"
        records = dead = 0
        for batch_records, batch_dead in (*reversed(self._open), *reversed(self._window)):
            records, dead = records + batch_records, dead + batch_dead
            if records >= self._settings.window:
                break
        if records >= self._settings.min_records and dead > self._settings.max_ratio * records:
            ratio = self._settings.max_ratio
            return f"{dead} of the last {records} records are dead letters (dead_letters.max_ratio is {ratio:g})"
        return None

    def closing(self, ends: Mapping[Partition, int]) -> None:
        """What was reported is about to be committed, up to these positions."""
        self._open_ends = ends

    def committed(self) -> None:
        """What was reported stands."""
        self._window.extend(self._open)
        self._in_row.update(self._open_in_row)
        self._ends.update(self._open_ends)
        for partition, end in self._open_ends.items():
            if partition in self._pardoned and self._pardoned[partition] <= end:
                del self._pardoned[partition]
        self.undo()
        total = sum(records for records, _ in self._window)
        while self._window and total - self._window[0][0] >= self._settings.window:
            total -= self._window.popleft()[0]

    def undo(self) -> None:
        """What was reported since the last commit comes again."""
        self._open.clear()
        self._open_in_row.clear()
        self._too_many.clear()
        self._open_ends = {}

    def pardons(self, partitions: Collection[Partition]) -> bool:
        """Whether some records of these may pass."""
        return not self._pardoned.keys().isdisjoint(partitions)

    def counts(self, partition: Partition, offset: int) -> bool:
        """Whether the outcome of this record is to be reported: not where a person has let it pass."""
        return offset >= self._pardoned.get(partition, 0)

    def pardon(self, until: Mapping[Partition, int]) -> None:
        """A person has lifted a stop: what lies before these offsets may pass, and counting begins anew."""
        self._pardoned = dict(until)
        self.undo()
        self._window.clear()
        self._in_row.clear()
