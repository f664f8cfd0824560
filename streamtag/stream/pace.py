"""How many records are processed at once: as many as took a tenth of a second, by the batch before.

Between two batches releases, revocations and due commits are looked at. With a slow model, 512 records at once would
outlast the transaction's timeout, be undone, and come again for ever. A few cheap records say little about those that
follow: so more are tried only where as many as allowed have gone well, and then twice as many.
"""

from streamtag.stream.source import Batch

LONGEST_S = 0.1
_AT_FIRST = 32


class Pace:
    """Cuts batches to what is known of the processor's speed."""

    def __init__(self) -> None:
        self._at_once = _AT_FIRST
        self._rest: Batch | None = None

    def has_rest(self) -> bool:
        """Whether something was cut off."""
        return self._rest is not None

    def rest(self) -> Batch | None:
        """What was cut off, once."""
        rest, self._rest = self._rest, None
        return rest

    def cut(self, batch: Batch) -> Batch:
        """The records to process now; the others are kept as `rest`."""
        if len(batch.records) <= self._at_once:
            return batch
        self._rest = batch._replace(records=batch.records[self._at_once :])
        return batch._replace(records=batch.records[: self._at_once])

    def took(self, records: int, seconds: float) -> None:
        """So many were processed in this time."""
        most = 2 * self._at_once if records >= self._at_once else self._at_once
        self._at_once = max(1, min(most, int(records * LONGEST_S / max(seconds, 1e-6))))
