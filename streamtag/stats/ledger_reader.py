"""Reads the stats topic into a `Ledger`, and looks whether the tagger's group has committed more than that covers."""

from collections.abc import Mapping

import msgspec

from streamtag.settings import Settings
from streamtag.stats.coverage import Place
from streamtag.stats.ledger import Finding, Ledger, UnreadableSummaryError, read_summary
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Partition
from streamtag.stream.topic_reader import TopicReader


class LedgerReport(msgspec.Struct):
    """Of one reading.

    Attributes:
        ledger: of all summaries that were read.
        committed: positions of the group, of the sources in it; each was asked for before the last record was read.
        tail: gaps between the last summary of a source and what is committed.
        unsettled: stats partitions whose end a transaction that stayed open hides; ``tail`` is not known then.
    """

    ledger: Ledger
    committed: dict[Partition, int]
    tail: list[Finding]
    unsettled: list[str]

    def findings(self) -> list[Finding]:
        """Everything that is wrong and named, by source and position."""
        return sorted((*self.ledger.findings(), *self.tail), key=lambda f: (f.topic, f.partition, f.start))

    def counts(self) -> dict[str, int]:
        """As `Ledger.counts`, with the gaps of the tail."""
        counts = self.ledger.counts()
        return counts | {"gap": counts["gap"] + len(self.tail)}


def reader_options(settings: Settings) -> StreamOptions:
    """How the ledger and its audit reach Kafka; the group is only asked for its positions."""
    return StreamOptions(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        group=settings.tagger.group,
        topics=(),
        transactional_id="streamtag-ledger",
        client=settings.kafka.client,
        consumer=settings.kafka.consumer,
        producer=settings.kafka.producer,
    )


def read_ledger(topic: str, reader: TopicReader, since_ms: int | None = None) -> LedgerReport:
    """Reads all summaries that the stats topic still holds, or those since a time.

    Args:
        topic: the stats topic.
        reader: of the tagger's group.
        since_ms: older summaries are left out, Unix milliseconds; a source's ledger begins with the first that is not.

    Raises:
        NotFoundError: there is no such topic.
        UnavailableError: Kafka does not answer.
    """
    ledger = Ledger()
    ranges = reader.bounds(topic) if since_ms is None else reader.from_time(topic, since_ms)
    _feed(ledger, topic, reader, ranges)
    committed = reader.committed(list(ledger.partitions))
    # What is committed by now has its summaries before the ends of now.
    rest = {p: (ranges[p][1], high) for p, (_, high) in reader.bounds(topic).items() if p in ranges}
    _feed(ledger, topic, reader, rest)
    unsettled = sorted(f"{name}/{partition}" for name, partition in reader.unsettled)
    return LedgerReport(ledger, committed, [] if unsettled else ledger.tail_gaps(committed), unsettled)


def _feed(ledger: Ledger, topic: str, reader: TopicReader, ranges: Mapping[int, tuple[int, int]]) -> None:
    for batch in reader.batches(topic, ranges):
        for record in batch:
            place = Place(record.partition() or 0, record.offset() or 0)
            try:
                one = read_summary(record.key(), record.value())
            except UnreadableSummaryError as error:
                ledger.put_aside(place, record.value(), error)
            else:
                ledger.add(place, one)
